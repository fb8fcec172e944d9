"""A reply streams as the same message it is as JSON, and breaks where the fault says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import StandInError
from agentrt.testing import Fault, Raw, RedactedThinking, Text, Thinking, ToolUse, Turn
from agentrt.testing.models import MODELS
from agentrt.testing.prompt import CacheUse, read_prompt
from agentrt.testing.reply import (
    Answer,
    answer_json,
    answer_stream,
    raise_status,
    refuse,
    write_message,
)
from agentrt.testing.request import ApiError

REFUND = ToolUse("refund_payment", {"to": "ACME", "amount": 1000})


def message(turn: Turn, *, model: str = "claude-opus-4-6", **more: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        **more,
    }
    return write_message(
        turn,
        turn.reply,  # type: ignore[arg-type]
        request=request,
        model=MODELS[model],
        prompt=read_prompt(request),
        cache=CacheUse(),
    )


def body(answer: Answer) -> bytes:
    return b"".join(piece for piece in answer.pieces if isinstance(piece, bytes))


def stream(turn: Turn, fault: Fault | None = None, **options: Any) -> Answer:
    return answer_stream(message(turn), fault, request_id="req_sim_1", **options)


def events(answer: Answer) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for frame in body(answer).decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def deltas(answer: Answer, kind: str, field: str) -> list[str]:
    found = (data["delta"] for name, data in events(answer) if name == "content_block_delta")
    return [delta[field] for delta in found if delta["type"] == kind]


def test_a_stream_has_the_order_of_the_api() -> None:
    turn = Turn(reply=[Thinking("Hm."), Text("I look it up."), REFUND])
    names = [name for name, _ in events(stream(turn))]
    assert names[:2] == ["message_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    blocks = [name for name in names[2:-2] if name != "content_block_delta"]
    assert blocks == ["content_block_start", "content_block_stop"] * 3


def test_every_event_is_named_after_its_type() -> None:
    answer = stream(Turn(reply=[Thinking("Hm."), Text("Hello"), REFUND]))
    assert all(name == data["type"] for name, data in events(answer))


@given(st.text())
def test_the_text_deltas_are_the_text(text: str) -> None:
    assert "".join(deltas(stream(Turn(reply=text)), "text_delta", "text")) == text


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())))
def test_the_input_deltas_are_the_input_and_begin_empty(arguments: dict[str, Any]) -> None:
    answer = stream(Turn(reply=[ToolUse("t", arguments)]))
    pieces = deltas(answer, "input_json_delta", "partial_json")
    assert pieces[0] == ""
    assert json.loads("".join(pieces)) == arguments


def test_thinking_ends_with_one_signature() -> None:
    answer = stream(Turn(reply=[Thinking("Let me see what is known about it.")]))
    written = message(Turn(reply=[Thinking("Let me see what is known about it.")]))
    assert deltas(answer, "signature_delta", "signature") == [written["content"][0]["signature"]]
    assert len(deltas(answer, "thinking_delta", "thinking")) > 1


def test_the_first_event_has_the_whole_usage_of_the_input_side() -> None:
    _, start = events(stream(Turn(reply="Hello")))[0]
    usage = start["message"]["usage"]
    assert usage["output_tokens"] == 1
    assert usage.keys() == message(Turn(reply="Hello"))["usage"].keys()
    assert start["message"]["content"] == []
    assert start["message"]["stop_reason"] is None


def test_tool_ids_are_new_for_each_call_and_the_same_when_asked_again() -> None:
    turn = Turn(reply=[REFUND, REFUND, ToolUse("t", {}, "toolu_mine")])
    ids = [block["id"] for block in message(turn)["content"]]
    assert len(set(ids)) == 3
    assert ids[2] == "toolu_mine"
    assert all(i.startswith("toolu_sim_") for i in ids[:2])
    assert ids == [block["id"] for block in message(turn)["content"]]


def test_calls_stop_the_turn_and_words_end_it() -> None:
    assert message(Turn(reply=[Text("Hm."), REFUND]))["stop_reason"] == "tool_use"
    assert message(Turn(reply="Done."))["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "reason",
    ["max_tokens", "pause_turn", "stop_sequence", "model_context_window_exceeded", "invented"],
)
def test_any_stop_reason_can_be_played(reason: str) -> None:
    turn = Turn(reply="x", stop_reason=reason)
    assert message(turn)["stop_reason"] == reason
    (end,) = [data for name, data in events(stream(turn)) if name == "message_delta"]
    assert end["delta"]["stop_reason"] == reason


def test_a_refusal_says_why() -> None:
    assert message(Turn(stop_reason="refusal"))["stop_details"]["type"] == "refusal"
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    turn = Turn(stop_reason="refusal", stop_details=details)
    assert message(turn)["stop_details"] == details


def test_usage_and_the_model_served_can_be_overridden() -> None:
    turn = Turn(reply="x", usage={"input_tokens": 120_000}, model="claude-haiku-5-5")
    written = message(turn)
    assert written["usage"]["input_tokens"] == 120_000
    assert written["usage"]["output_tokens"] == 1
    assert written["model"] == "claude-haiku-5-5"


def test_thinking_shows_as_the_request_and_the_model_want_it() -> None:
    turn = Turn(reply=[Thinking("Hm."), Text("Yes.")])
    adaptive = {"type": "adaptive"}

    def shown(model: str, **thinking: str) -> str:
        return str(
            message(turn, model=model, thinking=adaptive | thinking)["content"][0]["thinking"]
        )

    assert shown("claude-opus-5-5") == ""
    assert shown("claude-opus-5-5", display="summarized") == "Hm."
    assert shown("claude-opus-4-6") == "Hm."
    assert shown("claude-opus-4-6", display="omitted") == ""


def test_hidden_thinking_is_paid_for() -> None:
    usage = message(Turn(reply=[Thinking("x" * 400)]), model="claude-opus-5-5")["usage"]
    assert usage["output_tokens_details"]["thinking_tokens"] == usage["output_tokens"] == 100


def test_disabled_thinking_is_not_played() -> None:
    turn = Turn(reply=[Thinking("Hm."), RedactedThinking("abc"), Text("Yes.")])
    content = message(turn, thinking={"type": "disabled"})["content"]
    assert [block["type"] for block in content] == ["text"]


def test_other_blocks_are_sent_as_they_stand() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": 1}}
    turn = Turn(reply=[Raw(block), RedactedThinking("abc")], stop_reason="pause_turn")
    starts = [data for name, data in events(stream(turn)) if name == "content_block_start"]
    assert [start["content_block"] for start in starts] == [
        block,
        {"type": "redacted_thinking", "data": "abc"},
    ]


def test_a_warm_up_gets_no_content() -> None:
    written = message(Turn(reply="Hello"), max_tokens=0)
    assert (written["content"], written["stop_reason"]) == ([], "max_tokens")
    assert written["usage"]["output_tokens"] == 0


def test_a_call_is_cut_where_a_lenient_parser_takes_it_for_whole() -> None:
    answer = stream(Turn(reply=[REFUND]), Fault(cut="eof", at="tool_input"))
    assert "".join(deltas(answer, "input_json_delta", "partial_json")) == '{"to":"ACME","amount":10'
    assert "message_stop" not in [name for name, _ in events(answer)]


def test_text_is_cut_after_its_first_piece() -> None:
    answer = stream(Turn(reply="Hello, how are you?"), Fault(cut="connection", at="text"))
    assert answer.cut
    assert len(deltas(answer, "text_delta", "text")) == 1


@given(st.integers(0, 3000))
def test_a_cut_at_bytes_is_a_prefix_of_the_whole(size: int) -> None:
    turn = Turn(reply=[Text("Hello, how are you?"), REFUND])
    whole = body(stream(turn))
    assert body(stream(turn, Fault(cut="eof", at=size))) == whole[:size]


@given(st.integers(0, 3000))
def test_a_silence_loses_nothing(size: int) -> None:
    turn = Turn(reply=[Text("Hello, how are you?"), REFUND])
    answer = stream(turn, Fault(silent_s=7, at=size))
    assert body(answer) == body(stream(turn))
    assert 7 in answer.pieces


def test_a_silence_begins_before_the_first_word_unless_it_is_told_where() -> None:
    assert stream(Turn(reply="Hello"), Fault(silent_s=7)).pieces[0] == 7


@pytest.mark.parametrize("at", ["text", 100, None])
def test_an_error_in_a_stream_is_its_last_event(at: Any) -> None:
    fault = Fault(stream_error="overloaded_error", message="Too much.", at=at)
    name, data = events(stream(Turn(reply="Hello, how are you?"), fault))[-1]
    assert name == "error"
    assert data["error"] == {"type": "overloaded_error", "message": "Too much."}
    assert data["request_id"] == "req_sim_1"


def test_a_fault_that_strikes_nothing_is_an_error_of_the_script() -> None:
    with pytest.raises(StandInError, match="strikes at tool_input"):
        stream(Turn(reply="Hello"), Fault(cut="eof", at="tool_input"))


def test_a_pace_puts_a_pause_between_the_events() -> None:
    answer = stream(Turn(reply="Hello"), pace_s=0.25)
    assert answer.pieces.count(0.25) == len(events(answer))
    assert body(answer) == body(stream(Turn(reply="Hello")))


def test_json_that_is_cut_stays_short_of_its_length() -> None:
    whole = answer_json({"a": 1})
    for fault in (Fault(cut="eof"), Fault(cut="connection", at=3), Fault(cut="eof", at=999)):
        answer = answer_json({"a": 1}, fault)
        assert answer.cut
        assert len(body(answer)) < int(answer.headers["content-length"]) == len(body(whole))


def test_an_error_of_a_stream_is_a_status_without_one() -> None:
    with pytest.raises(ApiError) as error:
        answer_json({}, Fault(stream_error="overloaded_error"))
    assert error.value.status == 529


def test_a_status_comes_with_its_headers() -> None:
    fault = Fault(status=429, retry_after=7, headers={"x-should-retry": "false"}, error_code="ramp")
    with pytest.raises(ApiError) as error:
        raise_status(fault)
    answer = refuse(error.value, "req_sim_1")
    assert answer.status == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-should-retry"] == "false"
    assert json.loads(body(answer))["error"]["details"] == {"error_code": "ramp"}
