"""A script: what the scripted Claude answers to which conversation, and what goes wrong.

The format is explained in docs/scripted-claude.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from agentrt.errors import StandInError
from agentrt.testing.conversation import Conversation

__all__ = [
    "Block",
    "Fault",
    "Raw",
    "RedactedThinking",
    "Script",
    "Text",
    "Thinking",
    "ToolUse",
    "Turn",
    "When",
]


@dataclass(frozen=True)
class Text:
    """A text block."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """A thinking block; the stand-in signs it."""

    thinking: str


@dataclass(frozen=True)
class RedactedThinking:
    """A redacted thinking block."""

    data: str


@dataclass(frozen=True)
class ToolUse:
    """A tool call; without an id, one is derived from the conversation."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class Raw:
    """A content block sent as it stands, for kinds that have no word of their own here."""

    block: Mapping[str, Any]


_WORDS: Mapping[str, type] = {
    "text": Text,
    "thinking": Thinking,
    "redacted_thinking": RedactedThinking,
    "tool_use": ToolUse,
    "raw": Raw,
}


def _word(value: Any) -> str | None:
    """Say which kind of block this is: an object by its type, a mapping by its only key."""
    if isinstance(value, Mapping):
        return next(iter(value)) if len(value) == 1 else None
    return next((word for word, kind in _WORDS.items() if isinstance(value, kind)), None)


def _unwrap(value: Any) -> Any:
    """Turn `{tool_use: {...}}` into the fields of a ToolUse, `{text: ...}` into a Text's."""
    if not isinstance(value, Mapping):
        return value
    ((word, content),) = value.items()
    if word == "tool_use":
        return _known_keys(ToolUse, content)
    return {fields(_WORDS[word])[0].name: content}


def _known_keys(kind: type, value: Any) -> Any:
    """Refuse a key the kind does not have, and say which one was probably meant."""
    if isinstance(value, Mapping):
        known = _keys(kind)
        for key in value:
            if key not in known:
                raise PydanticCustomError(
                    "unknown_key", "{problem}", {"key": key, "problem": _unknown(key, known)}
                )
    return value


def _keys(kind: type) -> list[str]:
    if is_dataclass(kind):
        return [each.name for each in fields(kind)]
    return list(kind.model_fields) if issubclass(kind, BaseModel) else []


def _unknown(key: object, known: Sequence[str]) -> str:
    close = get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
    return f"unknown key {key!r}: {hint}"


Block = Annotated[
    Annotated[Text, BeforeValidator(_unwrap), Tag("text")]
    | Annotated[Thinking, BeforeValidator(_unwrap), Tag("thinking")]
    | Annotated[RedactedThinking, BeforeValidator(_unwrap), Tag("redacted_thinking")]
    | Annotated[ToolUse, BeforeValidator(_unwrap), Tag("tool_use")]
    | Annotated[Raw, BeforeValidator(_unwrap), Tag("raw")],
    Discriminator(
        _word,
        custom_error_type="not_a_block",
        custom_error_message=f"a block is one key, one of {', '.join(_WORDS)}",
    ),
]


def _said(value: Any) -> Any:
    """Take a plain string for a reply of one text block."""
    return (Text(value),) if isinstance(value, str) else value


Blocks = Annotated[tuple[Block, ...], BeforeValidator(_said)]
ReplyFunction = Callable[[Conversation], str | Sequence[Any]]

_BLOCKS: TypeAdapter[tuple[Block, ...]] = TypeAdapter(Blocks)


class _Written(BaseModel):
    """A mapping of the script: frozen, and without keys nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        return _known_keys(cls, value)


def _can_match(pattern: str) -> str:
    """Refuse a regular expression that is none while the script is read, not when it is used."""
    try:
        _matches("", pattern)
    except re.error as error:
        raise PydanticCustomError(
            "not_a_pattern",
            "{pattern} is no regular expression: {problem}",
            {"pattern": pattern, "problem": str(error)},
        ) from None
    return pattern


Pattern = Annotated[str, AfterValidator(_can_match)]


class When(_Written):
    """What must be true of a conversation for a turn to answer it; all that is given."""

    user: Pattern | None = None
    after: str | None = None
    result: Pattern | None = None
    error: bool | None = None
    turn: int | None = None
    system: Pattern | None = None
    model: Pattern | None = None

    def unmet(self, conversation: Conversation) -> str | None:
        """Name the first condition that does not hold, None when all of them do."""
        for name, wanted in self:
            if wanted is not None and not _CONDITIONS[name](conversation, wanted):
                return f"{name}: {wanted!r}"
        return None


def _matches(text: str, pattern: str) -> bool:
    """`/.../` is a regular expression, anything else a part of the text; case is ignored."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return re.search(pattern[1:-1], text, re.IGNORECASE | re.DOTALL) is not None
    return pattern.casefold() in text.casefold()


_CONDITIONS: Mapping[str, Callable[[Conversation, Any], bool]] = {
    "user": lambda c, wanted: _matches(c.user, wanted),
    "after": lambda c, wanted: any(r.tool == wanted for r in c.results),
    "result": lambda c, wanted: any(_matches(r.text, wanted) for r in c.results),
    "error": lambda c, wanted: bool(c.results) and any(r.is_error for r in c.results) is wanted,
    "turn": lambda c, wanted: c.turns == wanted,
    "system": lambda c, wanted: _matches(c.system, wanted),
    "model": lambda c, wanted: _matches(c.model, wanted),
}


class Fault(_Written):
    """One thing that goes wrong, so many times: an HTTP status, a cut, a silence or an error."""

    times: int = Field(default=1, ge=1)
    status: int | None = Field(default=None, ge=400, le=599)
    error_type: str | None = None
    error_code: str | None = None
    message: str | None = None
    retry_after: int | str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    cut: Literal["eof", "connection"] | None = None
    stream_error: str | None = None
    silent_s: float | None = Field(default=None, ge=0)
    at: Literal["text", "tool_input"] | Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        kinds = ("status", "cut", "stream_error", "silent_s")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise PydanticCustomError("one_kind", f"a fault is one of {', '.join(kinds)}")
        return self


class Turn(_Written):
    """One answer, and the conversations it answers."""

    when: When = Field(default_factory=When)
    reply: Blocks | ReplyFunction = ()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = Field(default_factory=dict)
    model: str | None = None
    delay_s: float = Field(default=0, ge=0)
    pace_s: float = Field(default=0, ge=0)
    faults: tuple[Fault, ...] = ()

    def blocks(self, conversation: Conversation) -> tuple[Block, ...]:
        """Say what this turn replies to a conversation, every placeholder filled in.

        Raises:
            StandInError: A placeholder names a result or a field that is not there, or a
                reply function gave something that is not a reply.
        """
        if callable(self.reply):
            return _checked(self.reply(conversation))
        return tuple(_filled_in(block, conversation) for block in self.reply)


class Script(_Written):
    """Turns, of which the first that fits answers; and faults that strike before any turn's."""

    turns: tuple[Turn, ...]
    faults: tuple[Fault, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a script from a YAML file.

        Raises:
            StandInError: The file is not a script; the message says where, as file:line.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StandInError(f"{path}: cannot be read: {error}") from error
        return cls.parse(text, name=str(path))

    @classmethod
    def parse(cls, text: str, *, name: str = "script") -> Self:
        """Read a script from YAML text; `name` stands for the file in messages.

        Raises:
            StandInError: The text is not a script.
        """
        try:
            root, written = _read(text)
        except yaml.YAMLError as error:
            raise StandInError(_unreadable(error, name)) from error
        try:
            return cls.model_validate(written)
        except ValidationError as error:
            raise StandInError("\n".join(_complaints(error, root, name))) from error

    def turn_for(self, conversation: Conversation) -> int:
        """Choose the turn that answers, by its index.

        Raises:
            StandInError: No turn answers this conversation; the message says why not, for
                each of them.
        """
        considered = []
        for index, turn in enumerate(self.turns):
            unmet = turn.when.unmet(conversation)
            if unmet is None:
                return index
            considered.append(f"turn {index + 1} wants {unmet}")
        raise StandInError(_unanswered(conversation, considered))


def _unanswered(conversation: Conversation, considered: Sequence[str]) -> str:
    results = ", ".join(f"{r.tool}: {r.text[:80]!r}" for r in conversation.results) or "none"
    return (
        "No turn of the script answers this conversation"
        f" (user: {conversation.user[:80]!r}, turn: {conversation.turns}, results: {results})."
        f" Considered: {'; '.join(considered) or 'the script has no turns'}."
    )


def _checked(reply: Any) -> tuple[Block, ...]:
    try:
        return _BLOCKS.validate_python(reply)
    except ValidationError as error:
        raise StandInError(f"The reply function of a turn gave no reply: {error}") from error


# "{{ tool }}" is the latest result of a tool, "{{ tool.field.0 }}" a part of it.
_PLACEHOLDER = re.compile(r"\{\{\s*([a-zA-Z0-9_-]+)((?:\.[^.\s{}]+)*)\s*\}\}")


def _filled_in(block: Block, conversation: Conversation) -> Block:
    match block:
        case Text(text):
            return Text(str(_fill_in_text(text, conversation)))
        case ToolUse(name, written, call_id):
            return ToolUse(name, _fill_in(written, conversation), call_id)
        case _:
            return block


def _fill_in(value: Any, conversation: Conversation) -> Any:
    match value:
        case str():
            whole = _PLACEHOLDER.fullmatch(value.strip())
            return _value_of(whole, conversation) if whole else _fill_in_text(value, conversation)
        case Mapping():
            return {key: _fill_in(each, conversation) for key, each in value.items()}
        case list():
            return [_fill_in(each, conversation) for each in value]
        case _:
            return value


def _fill_in_text(text: str, conversation: Conversation) -> str:
    return _PLACEHOLDER.sub(lambda match: str(_value_of(match, conversation)), text)


def _value_of(placeholder: re.Match[str], conversation: Conversation) -> Any:
    tool, path = placeholder.groups()
    result = conversation.result_of(tool)
    if result is None:
        raise StandInError(f"{placeholder[0]} needs a result of {tool}, and there is none.")
    try:
        value = result.json()
    except ValueError:
        value = result.text
    for step in path.split(".")[1:]:
        value = _part(value, step, placeholder[0])
    return value


def _part(value: Any, step: str, placeholder: str) -> Any:
    try:
        return value[int(step)] if isinstance(value, list) else value[step]
    except (KeyError, IndexError, TypeError, ValueError):
        raise StandInError(f"{placeholder} names {step!r}, which {value!r} has not.") from None


class _Loader(yaml.SafeLoader):
    """Plain YAML, in which no key may be given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(text: str) -> tuple[yaml.Node | None, Any]:
    """Read YAML, and keep the nodes, which know their lines."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _unreadable(error: yaml.YAMLError, name: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{name}:{error.problem_mark.line + 1}: {error.problem}"
    return f"{name}:1: {error}"


def _complaints(error: ValidationError, root: yaml.Node | None, name: str) -> Iterator[str]:
    for details in error.errors(include_url=False):
        yield f"{name}:{_line(root, details)}: {_place(details)}{details['msg']}"


def _place(details: ErrorDetails) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in details["loc"]]
    return "".join(steps).lstrip(".") + ": " if steps else ""


def _line(root: yaml.Node | None, details: ErrorDetails) -> int:
    """Find the line an error speaks of; steps that only pydantic knows are passed over."""
    if root is None:
        return 1
    node = line_of = root
    for step in (*details["loc"], details.get("ctx", {}).get("key")):
        key, child = _child(node, step)
        if child is not None:
            line_of, node = key or child, child
    return int(line_of.start_mark.line) + 1


def _child(node: yaml.Node, step: object) -> tuple[yaml.Node | None, yaml.Node | None]:
    match node, step:
        case yaml.SequenceNode(), int() if step < len(node.value):
            return None, node.value[step]
        case yaml.MappingNode(), str():
            return next(((k, v) for k, v in node.value if k.value == step), (None, None))
        case _:
            return None, None
