"""A request the API would refuse is refused; one it would take is taken."""

import json
from typing import Any

import pytest

from agentrt.testing.prompt import seal
from agentrt.testing.request import ApiError, check_count, check_message

TOOL = {"name": "get_customer", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_customer", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "4711"}
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else content}


def assistant(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def system(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "system"}


def words(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def asking(*messages: dict[str, Any], model: str = "claude-opus-5-5", **more: Any) -> bytes:
    body = {"model": model, "max_tokens": 100, "messages": messages or [user("Hi")], **more}
    return json.dumps({k: v for k, v in body.items() if v is not ...}).encode()


def refusal(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as error:
        check_message(body)
    return error.value


@pytest.mark.parametrize(
    "body",
    [
        asking(),
        asking(user(words("Hi", citations=None, cache_control=None))),
        asking(user("Hi"), user("there")),
        asking(user("Hi"), assistant(CALL), user(RESULT), tools=[TOOL]),
        asking(user("Hi"), assistant(CALL), user(RESULT, words("and?")), system("Be brief.")),
        asking(user("Hi"), assistant(words("Hm."), {**CALL, "caller": None}), user(RESULT)),
        asking(user("Hi"), assistant({"type": "server_tool_use", "id": "s", "name": "web_search"})),
        asking(user("Hi"), assistant("It is "), model="claude-haiku-4-5"),
        asking(tools=[TOOL, {"type": "web_search_20260318", "name": "web_search"}]),
        asking(tools=[TOOL], tool_choice={"type": "any"}, model="claude-haiku-5-5"),
        asking(
            tools=[TOOL],
            tool_choice={"type": "tool", "name": "get_customer"},
            model="claude-opus-5",
        ),
        asking(thinking={"type": "adaptive", "display": "summarized"}),
        asking(thinking={"type": "between_tools"}, model="claude-sonnet-5-5"),
        asking(
            thinking={"type": "disabled"},
            output_config={"effort": "high"},
            model="claude-haiku-5-5",
        ),
        asking(
            thinking={"type": "enabled", "budget_tokens": 1024},
            max_tokens=2000,
            model="claude-opus-4-5",
        ),
        asking(max_tokens=0),
        asking(cache_control=MARK, system=[words("Be kind.", cache_control=HOUR)]),
        asking(user({"type": "image", "source": {"type": "url", "url": "http://x"}})),
    ],
)
def test_what_the_api_takes_is_taken(body: bytes) -> None:
    check_message(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "should be an object"),
        (asking(max_tokens=...), "max_tokens: Field required"),
        (asking(model=...), "model: Field required"),  # type: ignore[arg-type]
        (asking(messages=...), "messages: Field required"),
        (asking(messages=[]), "at least 1 item"),
        (asking(max_tokens="100"), "max_tokens: Input should be a valid integer"),
        (asking(max_tokens=-1), "max_tokens: Input should be greater"),
        (asking(n=2), "n: Extra inputs are not permitted"),
        (asking(thread={"type": "create"}), "thread: Extra inputs are not permitted"),
        (asking(temperature=1.0), "temperature: sampling parameters are not supported"),
        (asking(top_p=1.0), "top_p: sampling parameters"),
        (asking(top_k=5), "top_k: sampling parameters"),
        (asking({"role": "robot", "content": "Hi"}), "messages.0.role"),
        (asking(user(words("Hi", colour="red"))), "colour: Extra inputs are not permitted"),
        (asking(user({"type": "poem"})), "type: must be one of"),
        (asking(user(words("Hi", citations=[{}]))), "citations are not allowed"),
        (asking(user(CALL)), "`tool_use` blocks are not allowed"),
        (asking(user("Hi"), assistant({"type": "document", "source": {}})), "`document` blocks"),
        (asking(system("Be brief."), user("Hi")), "cannot be the first"),
        (asking(user("Hi"), system("Be brief."), user("Hi")), "must be last or before"),
        (asking(user("a"), assistant("b"), system("c")), "must follow a `user` message"),
        (asking(user("Hi"), system({"type": "image"})), "`image` blocks are not allowed"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(body: bytes, words: str) -> None:
    error = refusal(body)
    assert (error.status, error.error_type) == (400, "invalid_request_error")
    assert words in error.message


MISSING = "`tool_use` ids were found without `tool_result` blocks immediately after"
UNEXPECTED = "unexpected `tool_use_id` found in `tool_result` blocks"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([user("Hi"), assistant(CALL)], MISSING),
        ([user("Hi"), assistant(CALL), user("and?")], MISSING),
        ([user("Hi"), assistant(CALL), system("x")], MISSING),
        ([user("Hi"), assistant(CALL, {**CALL, "id": "toolu_2"}), user(RESULT)], "toolu_2"),
        ([user("Hi"), assistant(CALL), user("so"), user(RESULT)], MISSING),
        ([user(RESULT)], UNEXPECTED),
        (
            [user("Hi"), assistant(CALL), user({**RESULT, "tool_use_id": "toolu_9"}, RESULT)],
            UNEXPECTED,
        ),
        ([user("Hi"), assistant(CALL), user(RESULT, RESULT)], "more than one `tool_result`"),
        ([user("Hi"), assistant(CALL), user(words("so"), RESULT)], "must come before any other"),
        (
            [user("Hi"), assistant(CALL), user(RESULT), assistant(CALL), user(RESULT)],
            "must be unique",
        ),
    ],
)
def test_every_call_has_one_result_in_the_next_message(
    messages: list[dict[str, Any]], words: str
) -> None:
    assert words in refusal(asking(*messages)).message


@pytest.mark.parametrize("name", ["", "get customer", "über", "x" * 129])
def test_a_tool_name_has_few_letters(name: str) -> None:
    assert "String should match pattern" in refusal(asking(tools=[{**TOOL, "name": name}])).message


def test_two_tools_cannot_have_one_name() -> None:
    assert "Tool names must be unique" in refusal(asking(tools=[TOOL, TOOL])).message


def test_a_tool_of_an_unknown_kind_is_refused() -> None:
    assert "not a tool type" in refusal(asking(tools=[{"type": "crystal_ball_1"}])).message


def test_five_cache_marks_are_too_many() -> None:
    body = asking(
        user(words("a", cache_control=MARK), words("b", cache_control=MARK)),
        tools=[{**TOOL, "cache_control": MARK}],
        system=[words("Be kind.", cache_control=MARK)],
        cache_control=MARK,
    )
    assert "Found 5" in refusal(body).message


def test_a_long_mark_cannot_follow_a_short_one() -> None:
    body = asking(user(words("a", cache_control=HOUR)), tools=[{**TOOL, "cache_control": MARK}])
    assert "ttl='1h'" in refusal(body).message


FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": {"type": "any"}}


@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-mythos-5-1"]
)
def test_newer_models_cannot_be_forced_to_call_a_tool(model: str) -> None:
    assert "not supported for this model" in refusal(asking(model=model, **FORCED)).message


def test_forced_calls_and_a_thinking_budget_exclude_each_other() -> None:
    budget = {"type": "enabled", "budget_tokens": 1024}
    body = asking(model="claude-opus-4-5", max_tokens=2000, thinking=budget, **FORCED)
    assert "Thinking may not be enabled" in refusal(body).message


def test_a_forced_tool_must_be_among_the_tools() -> None:
    body = asking(model="claude-haiku-5-5", tools=[TOOL], tool_choice={"type": "tool", "name": "x"})
    assert "Tool 'x' not found" in refusal(body).message


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("claude-opus-5-5", "enabled"),
        ("claude-opus-5-5", "disabled"),
        ("claude-fable-5-1", "disabled"),
        ("claude-sonnet-5-5", "disabled"),
        ("claude-sonnet-5-5", "enabled"),
        ("claude-haiku-5-5", "enabled"),
        ("claude-haiku-4-5", "adaptive"),
    ],
)
def test_each_model_takes_its_own_kinds_of_thinking(model: str, kind: str) -> None:
    body = asking(model=model, thinking={"type": kind}, max_tokens=2000)
    assert f'"thinking.type.{kind}" is not supported' in refusal(body).message


def test_haiku_stops_thinking_only_at_effort_high_or_below() -> None:
    off = {"type": "disabled"}
    body = asking(model="claude-haiku-5-5", thinking=off, output_config={"effort": "max"})
    assert '"high" or below' in refusal(body).message


@pytest.mark.parametrize("budget", [100, 100_000, ...])
def test_a_thinking_budget_fits_into_max_tokens(budget: Any) -> None:
    thinking = {"type": "enabled"} | ({} if budget is ... else {"budget_tokens": budget})
    body = asking(model="claude-haiku-4-5", thinking=thinking, max_tokens=4000)
    assert "budget_tokens" in refusal(body).message


def test_an_effort_the_model_does_not_have_is_refused() -> None:
    body = asking(model="claude-haiku-4-5", output_config={"effort": "low"})
    assert "not supported" in refusal(body).message


def test_a_reply_cannot_be_begun_for_claude() -> None:
    assert "prefill" in refusal(asking(user("Hi"), assistant("It is "))).message


def test_a_schema_that_cannot_be_compiled_is_refused() -> None:
    schema = {"type": "object", "properties": {}}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    assert "output_config.format.schema" in refusal(asking(output_config=wanted)).message
    strict = {**TOOL, "strict": True}
    assert "tools.0.input_schema" in refusal(asking(tools=[strict])).message


def test_twenty_one_strict_tools_are_too_many() -> None:
    schema = {"type": "object", "additionalProperties": False}
    tools = [{"name": f"t{i}", "strict": True, "input_schema": schema} for i in range(21)]
    assert "at most 20 strict tools" in refusal(asking(tools=tools)).message


@pytest.mark.parametrize("more", [{"stream": True}, FORCED | {"model": "claude-haiku-5-5"}])
def test_warming_the_cache_asks_for_no_reply(more: dict[str, Any]) -> None:
    assert "max_tokens: 0" in refusal(asking(max_tokens=0, **more)).message


@pytest.mark.parametrize("model", ["claude-opus-9", "claude-mythos-preview", "gpt"])
def test_a_model_nobody_serves_is_not_found(model: str) -> None:
    error = refusal(asking(model=model))
    assert (error.status, error.error_type) == (404, "not_found_error")


def thinking(text: str, *before: dict[str, Any], model: str) -> dict[str, Any]:
    _, _, prompt = check_message(asking(*before, model=model))
    return {"type": "thinking", "thinking": text, "signature": seal(text, prompt.digest)}


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-opus-4-6"])
def test_thinking_goes_back_as_it_came(model: str) -> None:
    thought = thinking("Hm.", user("Hi"), model=model)
    check_message(asking(user("Hi"), assistant(thought, words("Yes.")), user("So?"), model=model))


@pytest.mark.parametrize("altered", [{"thinking": "Aha."}, {"signature": "sim.forged"}])
def test_altered_thinking_is_refused(altered: dict[str, str]) -> None:
    thought = thinking("Hm.", user("Hi"), model="claude-opus-5-5") | altered
    body = asking(user("Hi"), assistant(thought, words("Yes.")), user("So?"))
    assert "Invalid `signature`" in refusal(body).message


@pytest.mark.parametrize(
    ("opening", "more"), [("Hello", {}), ("Hi", {"system": "New."}), ("Hi", {"tools": [TOOL]})]
)
def test_history_under_thinking_is_append_only(opening: str, more: dict[str, Any]) -> None:
    thought = thinking("Hm.", user("Hi"), model="claude-opus-5-5")
    body = asking(user(opening), assistant(thought), user("So?"), **more)
    assert "append-only" in refusal(body).message


def test_older_models_do_not_bind_thinking_to_history() -> None:
    thought = thinking("Hm.", user("Hi"), model="claude-opus-4-6")
    check_message(asking(user("Hello"), assistant(thought), user("So?"), model="claude-opus-4-6"))


def test_counting_takes_no_max_tokens_and_checks_the_rest() -> None:
    assert check_count(asking(max_tokens=...)).tokens > 0
    with pytest.raises(ApiError, match="max_tokens: Extra inputs"):
        check_count(asking())
    with pytest.raises(ApiError, match="not supported for this model"):
        check_count(asking(max_tokens=..., **FORCED))


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, "invalid_request_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(status: int, error_type: str) -> None:
    envelope = ApiError("No.", status=status, error_code="ramp").to_wire("req_sim_1")
    assert envelope["error"]["type"] == error_type
    assert envelope["error"]["details"] == {"error_code": "ramp"}
    assert envelope["request_id"] == "req_sim_1"
