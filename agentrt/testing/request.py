"""What a request to Claude must look like, and the error it gets when it does not.

The shape and the rules are those of the Messages API, version 2026-10-21. Beta fields are
unknown fields here: the stand-in does not play threads, compaction, fallbacks or remote MCP.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from agentrt.testing.models import Model, find_model
from agentrt.testing.prompt import Prompt, read_prompt
from agentrt.testing.schema import schema_complaints

__all__ = ["API_VERSION", "ApiError", "check_count", "check_message"]

API_VERSION = "2026-10-21"

_ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """An error answer of the Messages API: the envelope, and the status it travels with."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        error_type: str | None = None,
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.error_type = error_type or _ERROR_TYPES.get(status, "api_error")
        self.error_code = error_code
        self.headers = dict(headers or {})

    def to_wire(self, request_id: str) -> dict[str, Any]:
        """Answer as the API does."""
        error: dict[str, Any] = {"type": self.error_type, "message": self.message}
        if self.error_code is not None:
            error["details"] = {"error_code": self.error_code}
        return {"type": "error", "error": error, "request_id": request_id}


def _as_blocks(content: Any) -> Any:
    """Read a string as what it is short for: a list of one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_CLOSED = with_config(ConfigDict(extra="forbid"))
_OPEN = with_config(ConfigDict(extra="allow"))


@_CLOSED
class CacheControl(TypedDict):
    """A mark: the prompt up to here is worth keeping."""

    type: Literal["ephemeral"]
    ttl: NotRequired[Literal["5m", "1h"] | None]


class _Marked(TypedDict):
    cache_control: NotRequired[CacheControl | None]


@_CLOSED
class TextBlock(_Marked):
    """Text; citations are checked by role."""

    type: Literal["text"]
    text: str
    citations: NotRequired[list[dict[str, Any]] | None]


@_CLOSED
class ThinkingBlock(TypedDict):
    """Thinking, sent back as it came."""

    type: Literal["thinking"]
    thinking: str
    signature: str


@_CLOSED
class RedactedThinkingBlock(TypedDict):
    """Thinking nobody may read, sent back as it came."""

    type: Literal["redacted_thinking"]
    data: str


@_CLOSED
class ToolUseBlock(_Marked):
    """A call of one of the request's tools."""

    type: Literal["tool_use"]
    id: Annotated[str, StringConstraints(pattern="^[a-zA-Z0-9_-]+$")]
    name: str
    input: dict[str, Any]
    caller: NotRequired[dict[str, Any] | None]
    toolset_name: NotRequired[str | None]


@_CLOSED
class ToolResultBlock(_Marked):
    """The result of a call; its content may be text, images and documents."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: NotRequired[Annotated[list["ResultBlock"] | None, BeforeValidator(_as_blocks)]]
    is_error: NotRequired[bool | None]
    toolset_name: NotRequired[str | None]


@_OPEN
class OtherBlock(_Marked):
    """A block whose insides nothing here depends on."""

    type: str


_SPELLED_OUT = {"text", "thinking", "redacted_thinking", "tool_use", "tool_result"}
_IN_RESULTS = {"image", "search_result", "document", "tool_reference", "browser_state"}
_SERVER_RESULTS = {
    f"{name}_tool_result"
    for name in (
        "web_search",
        "web_fetch",
        "code_execution",
        "bash_code_execution",
        "text_editor_code_execution",
        "tool_search",
    )
}
_IN_MESSAGES = (_IN_RESULTS - {"tool_reference", "browser_state"}) | _SERVER_RESULTS
_IN_MESSAGES |= {"server_tool_use", "container_upload"}


def _kind_in(spelled_out: set[str], other: set[str]) -> Callable[[Any], str | None]:
    def kind(block: Any) -> str | None:
        name = block.get("type") if isinstance(block, Mapping) else None
        if not isinstance(name, str):
            return None
        return name if name in spelled_out else "other" if name in other else None

    return kind


def _one_of(spelled_out: set[str], other: set[str]) -> Discriminator:
    return Discriminator(
        _kind_in(spelled_out, other),
        custom_error_type="unknown_block",
        custom_error_message=f"type: must be one of {', '.join(sorted(spelled_out | other))}",
    )


ResultBlock = Annotated[
    Annotated[TextBlock, Tag("text")] | Annotated[OtherBlock, Tag("other")],
    _one_of({"text"}, _IN_RESULTS),
]
ContentBlock = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[OtherBlock, Tag("other")],
    _one_of(_SPELLED_OUT, _IN_MESSAGES),
]


@_CLOSED
class Message(TypedDict):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[list[ContentBlock], BeforeValidator(_as_blocks)]


@_OPEN
class InputSchema(TypedDict):
    """The JSON schema of a tool's arguments."""

    type: Literal["object"]


@_CLOSED
class CustomTool(_Marked):
    """A tool the client runs."""

    name: Annotated[str, StringConstraints(pattern="^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: InputSchema
    type: NotRequired[Literal["custom"] | None]
    description: NotRequired[str | None]
    strict: NotRequired[bool | None]
    defer_loading: NotRequired[bool | None]
    allowed_callers: NotRequired[list[str] | None]
    input_examples: NotRequired[list[dict[str, Any]] | None]
    eager_input_streaming: NotRequired[bool | None]


@_OPEN
class AnthropicTool(_Marked):
    """A tool Anthropic defines; only its type and name are looked at."""

    type: str
    name: NotRequired[str]


_ANTHROPIC_TOOLS = re.compile(
    r"(bash|text_editor|memory|code_execution|web_search|web_fetch|tool_search_tool_bm25"
    r"|tool_search_tool_regex|computer_toolset|browser_toolset)_20\d{6}"
)


def _tool_kind(tool: Any) -> str | None:
    name = tool.get("type") if isinstance(tool, Mapping) else None
    if name is None or name == "custom":
        return "custom"
    return "anthropic" if _ANTHROPIC_TOOLS.fullmatch(str(name)) else None


Tool = Annotated[
    Annotated[CustomTool, Tag("custom")] | Annotated[AnthropicTool, Tag("anthropic")],
    Discriminator(
        _tool_kind,
        custom_error_type="unknown_tool",
        custom_error_message="type: not a tool type of this API version",
    ),
]


@_CLOSED
class ThinkingConfig(TypedDict):
    """How Claude is to think."""

    type: Literal["adaptive", "enabled", "disabled", "between_tools"]
    budget_tokens: NotRequired[Annotated[int, Field(ge=1024)]]
    display: NotRequired[Literal["summarized", "omitted"] | None]


@_CLOSED
class ToolChoice(TypedDict):
    """Whether Claude must call a tool."""

    type: Literal["auto", "any", "tool", "none"]
    name: NotRequired[str]
    disable_parallel_tool_use: NotRequired[bool]


@_CLOSED
class OutputFormat(TypedDict):
    """The schema the reply must fit."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


@_CLOSED
class OutputConfig(TypedDict):
    """How much effort the reply is worth, and its format."""

    effort: NotRequired[Literal["low", "medium", "high", "xhigh", "max"] | None]
    format: NotRequired[OutputFormat | None]


@_CLOSED
class CountRequest(TypedDict):
    """The body of POST /v1/messages/count_tokens."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=100_000)]
    system: NotRequired[Annotated[list[TextBlock], BeforeValidator(_as_blocks)]]
    tools: NotRequired[list[Tool]]
    tool_choice: NotRequired[ToolChoice]
    thinking: NotRequired[ThinkingConfig]
    output_config: NotRequired[OutputConfig]
    cache_control: NotRequired[CacheControl | None]
    speed: NotRequired[Literal["standard", "fast"] | None]


@_CLOSED
class MessageRequest(CountRequest):
    """The body of POST /v1/messages."""

    max_tokens: Annotated[int, Field(ge=0)]
    stream: NotRequired[bool]
    stop_sequences: NotRequired[list[str]]
    metadata: NotRequired[dict[str, Any]]
    service_tier: NotRequired[Literal["auto", "standard_only"]]
    inference_geo: NotRequired[str | None]
    container: NotRequired[str | dict[str, Any] | None]
    diagnostics: NotRequired[dict[str, Any] | None]


_MESSAGE: TypeAdapter[MessageRequest] = TypeAdapter(MessageRequest)
_COUNT: TypeAdapter[CountRequest] = TypeAdapter(CountRequest)

_GONE = ("temperature", "top_p", "top_k")


def check_message(body: bytes) -> tuple[dict[str, Any], Model, Prompt]:
    """Read the body of POST /v1/messages; content that was a string comes as blocks.

    Raises:
        ApiError: The API would refuse this request.
    """
    return _check(body, _MESSAGE)


def check_count(body: bytes) -> Prompt:
    """Read the body of POST /v1/messages/count_tokens.

    Raises:
        ApiError: The API would refuse this request.
    """
    _, _, prompt = _check(body, _COUNT)
    return prompt


def _check(body: bytes, shape: TypeAdapter[Any]) -> tuple[dict[str, Any], Model, Prompt]:
    request = _shaped(body, shape)
    model = find_model(request["model"])
    if model is None or model.lifecycle == "retired":
        raise ApiError(f"model: {request['model']}", status=404)
    prompt = read_prompt(request)
    for rule in _RULES:
        for complaint in rule(request, model):
            raise ApiError(complaint)
    for complaint in _thinking_complaints(prompt, model):
        raise ApiError(complaint)
    return request, model, prompt


def _shaped(body: bytes, shape: TypeAdapter[Any]) -> dict[str, Any]:
    try:
        request: dict[str, Any] = shape.validate_json(body, strict=True)
    except ValidationError as error:
        raise ApiError(_complaint(error)) from None
    return request


def _complaint(error: ValidationError) -> str:
    """Word the first problem the way the API does: where it is, and what."""
    details = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in details["loc"])
    if where in _GONE:
        return f"{where}: sampling parameters are not supported in API version {API_VERSION}."
    return f"{where}: {details['msg']}" if where else details["msg"]


Complaints = Iterator[str]


def _roles_hold_their_blocks(request: dict[str, Any], _: Model) -> Complaints:
    for index, message in enumerate(request["messages"]):
        for block in message["content"]:
            if block["type"] in _FOREIGN[message["role"]]:
                yield (
                    f"messages.{index}: `{block['type']}` blocks are not allowed"
                    f" in a message of role `{message['role']}`."
                )
            if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
                yield f"messages.{index}: citations are not allowed on text of a user message."


_CALLS = {"thinking", "redacted_thinking", "tool_use", "server_tool_use"}
_FOREIGN = {
    "user": _CALLS,
    "assistant": {"tool_result", "document", "image", "search_result"},
    "system": (_SPELLED_OUT | _IN_MESSAGES) - {"text"},
}


def _system_messages_have_their_place(request: dict[str, Any], _: Model) -> Complaints:
    messages = request["messages"]
    for index, message in enumerate(messages):
        if message["role"] != "system":
            continue
        if index == 0:
            yield "messages.0: a `system` message cannot be the first; use top-level `system`."
        elif messages[index - 1]["role"] == "assistant" and not _ends_in_server_call(
            messages[index - 1]
        ):
            yield f"messages.{index}: a `system` message must follow a `user` message."
        if index + 1 < len(messages) and messages[index + 1]["role"] == "user":
            yield f"messages.{index}: a `system` message must be last or before `assistant`."


def _ends_in_server_call(message: dict[str, Any]) -> bool:
    content = message["content"]
    return bool(content) and content[-1]["type"] == "server_tool_use"


def _calls_have_their_results(request: dict[str, Any], _: Model) -> Complaints:
    calls: list[str] = []
    for index, message in enumerate(request["messages"]):
        results = _ids(message, "tool_result", "tool_use_id")
        if calls != results:
            yield from _pair_complaints(index, calls, results)
        if any(b["type"] != "tool_result" for b in message["content"][: len(results)]):
            yield f"messages.{index}: `tool_result` blocks must come before any other block."
        calls = _ids(message, "tool_use", "id")
    yield from _pair_complaints(len(request["messages"]), calls, [])


def _pair_complaints(index: int, calls: list[str], results: list[str]) -> Complaints:
    """Compare the calls of one message with the results of the next, which has this index."""
    if missing := [call for call in calls if call not in results]:
        yield (
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks"
            f" immediately after: {', '.join(missing)}. Each `tool_use` block must have a"
            " corresponding `tool_result` block in the next message."
        )
    for result, count in Counter(results).items():
        if result not in calls:
            yield (
                f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks:"
                f" {result}. Each `tool_result` block must have a corresponding `tool_use`"
                " block in the previous message."
            )
        if count > 1:
            yield f"messages.{index}: more than one `tool_result` block with id: {result}."


def _ids(message: dict[str, Any], kind: str, field: str) -> list[str]:
    return [block[field] for block in message["content"] if block["type"] == kind]


def _call_ids_are_unique(request: dict[str, Any], _: Model) -> Complaints:
    ids = Counter(i for m in request["messages"] for i in _ids(m, "tool_use", "id"))
    for call, count in ids.items():
        if count > 1:
            yield f"messages: `tool_use` ids must be unique; found {count} times: {call}."


def _tool_names_are_unique(request: dict[str, Any], _: Model) -> Complaints:
    names = Counter(tool["name"] for tool in request.get("tools") or () if "name" in tool)
    for name, count in names.items():
        if count > 1:
            yield f"tools: Tool names must be unique; found {count} times: {name}."


def _cache_marks_are_few_and_in_order(request: dict[str, Any], _: Model) -> Complaints:
    ttls = [mark.get("ttl") or "5m" for mark in _marks(request)]
    if len(ttls) > 4:
        yield f"A maximum of 4 blocks with cache_control may be provided. Found {len(ttls)}."
    if "5m" in ttls and "1h" in ttls[ttls.index("5m") :]:
        yield "A ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."


def _marks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    blocks = [*(request.get("tools") or ()), *(request.get("system") or ())]
    for message in request["messages"]:
        for block in message["content"]:
            if block["type"] == "tool_result":
                blocks.extend(block.get("content") or ())
            blocks.append(block)
    for block in (*blocks, request):
        if mark := block.get("cache_control"):
            yield mark


def _forced_choice_is_supported(request: dict[str, Any], model: Model) -> Complaints:
    choice = request.get("tool_choice", {})
    if choice.get("type") not in ("any", "tool"):
        return
    if not model.forced_tool_choice:
        yield 'tool_choice: type "tool" and "any" are not supported for this model.'
    if request.get("thinking", {}).get("type") == "enabled":
        yield "Thinking may not be enabled when tool_choice forces tool use."
    names = [tool.get("name") for tool in request.get("tools") or ()]
    if choice["type"] == "tool" and choice.get("name") not in names:
        yield f"tool_choice: Tool '{choice.get('name')}' not found in provided tools."


def _thinking_is_supported(request: dict[str, Any], model: Model) -> Complaints:
    thinking = request.get("thinking")
    if thinking is None:
        return
    kind = thinking["type"]
    if kind not in model.thinking:
        instead = " or ".join(f'"thinking.type.{name}"' for name in model.thinking)
        yield f'"thinking.type.{kind}" is not supported for this model. Use {instead}.'
    if kind == "disabled" and "adaptive" in model.thinking and _effort(request) in ("xhigh", "max"):
        yield '"thinking.type.disabled" is only supported at effort "high" or below.'
    if kind == "enabled" and "budget_tokens" not in thinking:
        yield "thinking.enabled.budget_tokens: Field required"
    if thinking.get("budget_tokens", 0) >= request.get("max_tokens", float("inf")):
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."


def _effort(request: dict[str, Any]) -> str | None:
    effort: str | None = request.get("output_config", {}).get("effort")
    return effort


def _effort_is_supported(request: dict[str, Any], model: Model) -> Complaints:
    effort = _effort(request)
    if effort is not None and effort not in model.efforts:
        yield f'output_config.effort: "{effort}" is not supported for this model.'


def _ends_with_the_user(request: dict[str, Any], model: Model) -> Complaints:
    last = request["messages"][-1]
    if last["role"] == "assistant" and not model.prefill and not _ends_in_server_call(last):
        yield (
            "This model does not support assistant message prefill."
            " The conversation must end with a user message."
        )


def _format(request: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = request.get("output_config", {}).get("format")
    return found


def _schemas_can_be_compiled(request: dict[str, Any], _: Model) -> Complaints:
    schemas = {
        f"tools.{index}.input_schema": tool["input_schema"]
        for index, tool in enumerate(request.get("tools") or ())
        if tool.get("strict")
    }
    if len(schemas) > 20:
        yield f"tools: at most 20 strict tools are supported. Found {len(schemas)}."
    if wanted := _format(request):
        schemas["output_config.format.schema"] = wanted["schema"]
    yield from schema_complaints(schemas)


def _warm_up_asks_for_nothing(request: dict[str, Any], _: Model) -> Complaints:
    if request.get("max_tokens") != 0:
        return
    unwanted = {
        "stream": request.get("stream"),
        "thinking": request.get("thinking", {}).get("type") == "enabled",
        "output_config.format": _format(request),
        "tool_choice": request.get("tool_choice", {}).get("type") in ("any", "tool"),
    }
    for name, given in unwanted.items():
        if given:
            yield f"max_tokens: 0 cannot be combined with `{name}`."


_RULES: tuple[Callable[[dict[str, Any], Model], Complaints], ...] = (
    _roles_hold_their_blocks,
    _calls_have_their_results,
    _system_messages_have_their_place,
    _call_ids_are_unique,
    _tool_names_are_unique,
    _cache_marks_are_few_and_in_order,
    _forced_choice_is_supported,
    _thinking_is_supported,
    _effort_is_supported,
    _ends_with_the_user,
    _schemas_can_be_compiled,
    _warm_up_asks_for_nothing,
)


def _thinking_complaints(prompt: Prompt, model: Model) -> Complaints:
    for thought in prompt.thoughts:
        if not thought.is_genuine:
            yield "Invalid `signature` in `thinking` block."
        if model.binds_history and not thought.is_in_place:
            yield (
                "A `thinking` block was sent back after a different `system`, `tools` or earlier"
                " message than it was written after. History is append-only for this model."
            )
