"""A script answers what it says to what the conversation holds."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentrt.errors import StandInError
from agentrt.testing import (
    Conversation,
    Fault,
    Raw,
    RedactedThinking,
    Script,
    Text,
    Thinking,
    ToolUse,
    Turn,
    When,
)


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


def after_call(
    result: str, *, tool: str = "get_customer", is_error: bool = False, user: str = "Refund me."
) -> Conversation:
    """A conversation in which one tool has just answered."""
    call = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": text(result)}
    return Conversation(
        {
            "model": "claude-opus-5-5",
            "system": text("You are a support agent."),
            "messages": [
                {"role": "user", "content": text(user)},
                {"role": "assistant", "content": [call]},
                {"role": "user", "content": [{**answer, "is_error": is_error}]},
            ],
        }
    )


def opening(user: str = "Refund me.") -> Conversation:
    return Conversation(
        {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": text(user)}]}
    )


@pytest.mark.parametrize(
    "when",
    [
        When(),
        When(user="refund"),
        When(user="/^refund .*\\.$/"),
        When(after="get_customer"),
        When(result="4711"),
        When(error=False),
        When(turn=1),
        When(system="support"),
        When(model="opus"),
        When(user="refund", after="get_customer", turn=1),
    ],
)
def test_a_condition_that_holds_lets_the_turn_answer(when: When) -> None:
    assert when.unmet(after_call("customer 4711")) is None


@pytest.mark.parametrize(
    "when",
    [
        When(user="cancel"),
        When(user="/^me/"),
        When(after="refund_payment"),
        When(result="4712"),
        When(error=True),
        When(turn=0),
        When(system="pirate"),
        When(model="haiku"),
        When(user="refund", after="get_customer", turn=2),
    ],
)
def test_one_condition_that_does_not_hold_keeps_the_turn_silent(when: When) -> None:
    assert when.unmet(after_call("customer 4711")) is not None


def test_an_error_of_a_tool_can_be_answered() -> None:
    assert When(error=True).unmet(after_call("no such customer", is_error=True)) is None


def test_without_a_result_there_is_neither_error_nor_success() -> None:
    assert When(error=True).unmet(opening())
    assert When(error=False).unmet(opening())


def test_a_notice_after_the_results_does_not_hide_them() -> None:
    conversation = after_call("4711")
    notice = {"role": "system", "content": text("Two dollars are left.")}
    messages = [*conversation.request["messages"], notice]
    noticed = Conversation({**conversation.request, "messages": messages})
    assert When(after="get_customer").unmet(noticed) is None


def test_the_latest_words_of_the_user_are_not_lost_behind_results() -> None:
    assert after_call("4711").user == "Refund me."


def test_the_first_turn_that_fits_answers() -> None:
    script = Script(
        turns=[Turn(when=When(user="cancel")), Turn(when=When(turn=0)), Turn(reply="Done.")]
    )
    assert script.turn_for(opening("Refund me.")) == 1


def test_when_no_turn_fits_the_error_names_each_and_what_it_wants() -> None:
    script = Script(turns=[Turn(when=When(user="cancel")), Turn(when=When(turn=3))])
    with pytest.raises(StandInError) as error:
        script.turn_for(opening("Refund me."))
    assert "turn 1 wants user: 'cancel'" in str(error.value)
    assert "turn 2 wants turn: 3" in str(error.value)
    assert "Refund me." in str(error.value)


@pytest.mark.parametrize(
    ("placeholder", "value"),
    [
        ("{{ get_customer.id }}", 4711),
        ("{{get_customer.name}}", "Ann"),
        ("{{ get_customer.orders.1.cents }}", 1000),
        ("{{ get_customer.vip }}", True),
        ("{{ get_customer.orders }}", [{"cents": 5}, {"cents": 1000}]),
        ("Customer {{ get_customer.id }} ({{ get_customer.name }})", "Customer 4711 (Ann)"),
        ("no placeholder", "no placeholder"),
    ],
)
def test_a_placeholder_stands_for_a_part_of_an_earlier_result(
    placeholder: str, value: object
) -> None:
    result = json.dumps(
        {"id": 4711, "name": "Ann", "vip": True, "orders": [{"cents": 5}, {"cents": 1000}]}
    )
    turn = Turn(reply=[ToolUse("refund_payment", {"nested": [{"value": placeholder}]})])
    (block,) = turn.blocks(after_call(result))
    assert block == ToolUse("refund_payment", {"nested": [{"value": value}]})


def test_text_may_speak_of_a_result_that_is_not_json() -> None:
    turn = Turn(reply="It says: {{ get_customer }}")
    assert turn.blocks(after_call("nobody home")) == (Text("It says: nobody home"),)


@pytest.mark.parametrize(
    "placeholder",
    ["{{ get_order.id }}", "{{ get_customer.age }}", "{{ get_customer.id.more }}"],
)
def test_a_placeholder_for_what_is_not_there_is_an_error(placeholder: str) -> None:
    with pytest.raises(StandInError, match="get_"):
        Turn(reply=placeholder).blocks(after_call('{"id": 4711}'))


def test_a_result_that_is_an_error_fills_no_placeholder() -> None:
    with pytest.raises(StandInError, match="there is none"):
        Turn(reply="{{ get_customer.id }}").blocks(after_call('{"id": 1}', is_error=True))


def test_a_function_may_reply() -> None:
    turn = Turn(reply=lambda c: [ToolUse("say", {"to": c.user}), {"text": c.results[0].text}])
    assert turn.blocks(after_call("4711")) == (
        ToolUse("say", {"to": "Refund me."}),
        Text("4711"),
    )


def test_a_function_that_gives_no_reply_is_an_error() -> None:
    with pytest.raises(StandInError, match="gave no reply"):
        Turn(reply=lambda _: 17).blocks(opening())


def test_yaml_and_python_say_the_same() -> None:
    written = Script.parse(
        """
        faults: [{status: 529, times: 2, retry_after: 1}]
        turns:
          - when: {user: refund, turn: 0}
            reply:
              - thinking: Who is it?
              - redacted_thinking: abc
              - text: One moment.
              - tool_use: {name: get_customer, input: {email: ann@example.com}, id: toolu_x}
              - raw: {type: container_upload, file_id: file_1}
            faults: [{cut: eof, at: tool_input}]
          - reply: Done.
            delay_s: 0.5
        """
    )
    assert written == Script(
        faults=[Fault(status=529, times=2, retry_after=1)],
        turns=[
            Turn(
                when=When(user="refund", turn=0),
                reply=[
                    Thinking("Who is it?"),
                    RedactedThinking("abc"),
                    Text("One moment."),
                    ToolUse("get_customer", {"email": "ann@example.com"}, "toolu_x"),
                    Raw({"type": "container_upload", "file_id": "file_1"}),
                ],
                faults=[Fault(cut="eof", at="tool_input")],
            ),
            Turn(reply="Done.", delay_s=0.5),
        ],
    )


@pytest.mark.parametrize(
    ("written", "line", "words"),
    [
        ("turns:\n  - reply: Hi\n    wen: {}\n", 3, "unknown key 'wen': did you mean 'when'?"),
        ("turns:\n  - when:\n      usr: x\n", 3, "did you mean 'user'?"),
        ("turns:\n  - reply:\n    - tool_use:\n        nme: x\n", 4, "did you mean 'name'?"),
        ("turns:\n  - reply:\n    - txt: x\n", 3, "a block is one key, one of text"),
        ("turns:\n  - reply:\n    - {text: x, thinking: y}\n", 3, "a block is one key"),
        ("turns:\n  - reply: x\n    delay_s: -1\n", 3, "greater than or equal to 0"),
        ("turns:\n  - reply:\n    - text: 5\n", 3, "valid string"),
        ("turns: []\nfaults:\n  - {cut: eof, status: 500}\n", 3, "a fault is one of status"),
        ("turns: []\nfaults:\n  - {times: 3}\n", 3, "a fault is one of status"),
        ("turns:\n  - [\n", 3, "expected"),
        ("", 1, "valid dictionary"),
        ("faults: []\n", 1, "Field required"),
        ("turns:\n  - reply: x\n    reply: y\n", 3, "key 'reply' is given twice"),
        ("turns:\n  - when:\n      user: /(/\n", 3, "no regular expression"),
        ("turns: \x00\n", 1, "not allowed"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_file_and_line(
    tmp_path: Path, written: str, line: int, words: str
) -> None:
    file = tmp_path / "refunds.yaml"
    file.write_text(written)
    with pytest.raises(StandInError) as error:
        Script.load(file)
    assert f"{file}:{line}: " in str(error.value)
    assert words in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StandInError, match=r"missing\.yaml: cannot be read"):
        Script.load(tmp_path / "missing.yaml")


def test_in_python_an_unknown_key_is_refused_too() -> None:
    with pytest.raises(ValidationError, match="did you mean 'reply'"):
        Turn(repply="x")  # type: ignore[call-arg]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("ab{} .", max_size=9),
        lambda v: st.lists(v) | st.dictionaries(st.text("ab"), v),
        max_leaves=9,
    )
)
def test_input_without_placeholders_arrives_as_it_was_written(value: object) -> None:
    # The letters cannot spell a placeholder: it would have to name a tool between the braces.
    if "{{" in json.dumps(value):
        return
    turn = Turn(reply=[ToolUse("echo", {"value": value})])
    assert turn.blocks(opening()) == (ToolUse("echo", {"value": value}),)
