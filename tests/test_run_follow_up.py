import json
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from facts import JSON
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json
from walks import CHOICES, walk
from worlds import (
    AGENT,
    Story,
    a_story,
    asked,
    decided,
    finished,
    replied,
    said,
    started,
    use,
)

from agentrt.agent import Agent
from agentrt.errors import RunError
from agentrt.events import RunCancelled, RunFailed, RunFinished, RunStarted
from agentrt.run import Run, begin_after
from agentrt.run.follow_up import messages_of

NEXT = started("And then?")
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
DONE = RunFinished(stop_reason="end_turn", output="Paid.")


def ended(*blocks: dict[str, Any], end: Any = DONE, stop_reason: str | None = None) -> Run:
    """A run of one reply that came to this end."""
    story = Story()
    return story.tell(started(), asked(), replied(*blocks, stop_reason=stop_reason), end)


def failed(code: str, *, resumable: bool = False) -> RunFailed:
    return RunFailed(code=code, resumable=resumable, message="so it is")


def told(first: RunStarted) -> Run:
    return Story("r_0000000000000002").tell(first)


# --- laws ------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(st.text(), JSON), max_size=5), st.sampled_from([None, 2]))
def test_a_history_comes_apart_into_the_very_bytes_it_was_made_of(
    messages: list[Any], indent: int | None
) -> None:
    texts = [json.dumps(message, indent=indent).encode() for message in messages]
    assert messages_of(b"[%s]" % b",".join(texts)) == texts


@pytest.mark.parametrize("text", [b'{"a":1.0,"b":1E5}', b'{"a":%s}' % (b"9" * 5_000), b'"\\u00e4"'])
def test_what_json_can_say_in_two_ways_stays_as_it_was(text: bytes) -> None:
    assert messages_of(b"[%s,%s]" % (text, text)) == [text, text]


@pytest.mark.parametrize("text", [b"[{]", b"[nothing]", b'["a]', b"\xff\xff\xff"])
def test_what_is_no_history_does_not_pass_for_one(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|decode"):
        messages_of(text)


@given(CHOICES)
def test_a_run_that_can_be_followed_is_over_and_every_call_in_it_has_its_result(
    choices: list[int],
) -> None:
    parent = walk(choices).run
    run = Run("r_0000000000000002")
    with suppress(RunError):
        run = told(begin_after(parent, NEXT.model_copy(update={"user_ref": parent.user_ref})))
    if run.status == "new":
        return
    assert parent.over
    assert list(run.messages)[:-1] == list(parent.messages)
    messages = [json.loads(message) for message in run.messages]
    for message, following in pairwise(messages):
        blocks = message["content"] if message["role"] == "assistant" else []
        asked_for = {block["id"] for block in blocks if block["type"] == "tool_use"}
        blocks = following["content"] if asked_for else []
        assert asked_for == {block.get("tool_use_id") for block in blocks}


# --- what is taken over ----------------------------------------------------------------


def test_a_follow_up_begins_with_the_conversation_and_names_where_it_ended() -> None:
    parent = ended(said("Paid."))
    first = begin_after(parent, NEXT)
    assert (first.parent, first.parent_head) == (parent.id, parent.head.hex())
    run = told(first)
    assert list(run.messages)[:-1] == list(parent.messages)
    assert json.loads(list(run.messages)[-1]) == {"role": "user", "content": "And then?"}
    assert (run.parent, run.inherited, run.prompt) == (parent.id, 2, "And then?")


def test_a_run_that_follows_none_inherits_nothing() -> None:
    run = told(NEXT)
    assert (run.parent, run.inherited, len(run.messages)) == (None, 0, 1)
    assert not {"parent", "parent_head"} & NEXT.header().keys()


def test_the_figures_of_a_follow_up_are_its_own() -> None:
    run = told(begin_after(ended(said("Paid.")), NEXT))
    assert (run.turn, run.cost_usd, run.usage.input_tokens) == (0, Decimal(0), 0)


# --- what cannot be followed -----------------------------------------------------------


def refused(parent: Run, first: RunStarted = NEXT) -> str:
    with pytest.raises(RunError, match=parent.id) as refusal:
        begin_after(parent, first)
    return str(refusal.value)


def test_a_run_that_is_not_over_cannot_be_followed() -> None:
    story = a_story(use("pay", payee="bob"))
    assert "agentrt runs watch" in refused(story.run)
    story.tell(decided(story.call(), "hold"))
    assert "agentrt approvals list" in refused(story.run)


def test_a_failure_that_can_be_resumed_is_resumed_and_not_followed() -> None:
    parent = ended(said("a"), end=failed("deadline", resumable=True))
    assert f"agentrt runs resume {parent.id}" in refused(parent)


@pytest.mark.parametrize("code", ["refusal", "context_window", "invalid_request", "new_one"])
def test_a_failure_of_the_conversation_itself_cannot_be_followed(code: str) -> None:
    assert f"({code})" in refused(ended(said("a"), end=failed(code)))


def test_a_run_that_used_up_its_turns_is_followed_after_its_last_results() -> None:
    story = a_story(use("read_note", name="a"))
    story.tell(decided(story.call()), finished(story.call()), failed("turn_limit"))
    run = told(begin_after(story.run, NEXT))
    roles = [json.loads(message)["role"] for message in run.messages]
    assert roles == ["user", "assistant", "user", "user"]


@pytest.mark.parametrize(
    ("blocks", "can"),
    [
        ([said("half a sen")], True),
        ([THOUGHT, said("half a sen")], True),
        ([], True),
        ([THOUGHT], False),
        ([said("I pay."), use("pay")], False),
    ],
)
def test_a_reply_that_was_cut_is_followed_when_it_was_cut_in_its_text(
    blocks: list[Any], can: bool
) -> None:
    parent = ended(*blocks, stop_reason="max_tokens", end=failed("max_tokens"))
    if can:
        assert told(begin_after(parent, NEXT)).inherited == (2 if blocks else 1)
    else:
        assert "in the middle" in refused(parent)


def test_a_run_that_was_cancelled_in_the_middle_of_its_calls_cannot_be_followed() -> None:
    story = a_story(use("pay", payee="bob"))
    enough = RunCancelled(by="ana", by_ref="ref", reason="enough")
    assert "in the middle" in refused(story.tell(enough))
    story = Story()
    assert told(begin_after(story.tell(started(), asked(), enough), NEXT)).inherited == 1


def test_a_finished_run_with_a_call_that_nobody_answered_cannot_be_followed() -> None:
    assert "in the middle" in refused(ended(use("pay"), stop_reason="end_turn"))
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    assert "in the middle" in refused(ended(search, said("a"), stop_reason="end_turn"))
    assert begin_after(ended(search, found, said("a"), stop_reason="end_turn"), NEXT).history


# --- who may follow --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent": "cook"}, "the agent 'desk'"),
        ({"user_ref": "ref of eve"}, "for nobody named"),
        ({"simulated": True}, "a real run"),
    ],
)
def test_another_agent_user_or_kind_of_claude_cannot_follow(
    change: dict[str, Any], words: str
) -> None:
    assert words in refused(ended(said("a")), NEXT.model_copy(update=change))


def changed(**options: Any) -> RunStarted:
    fields = {"model": AGENT.model, "instructions": AGENT.instructions, "tools": AGENT.tools}
    agent = Agent(name=AGENT.name, **{**fields, **options})
    return started("And then?", model=agent.model, definition=agent.definition())


@pytest.mark.parametrize(
    ("options", "can"),
    [
        ({}, True),
        ({"tokens_max": 9, "turns_max": 2, "effort": "low", "cache": "1h"}, True),
        ({"model": "claude-opus-5-5"}, True),
        ({"instructions": "Be brief."}, False),
        ({"tools": ()}, False),
    ],
)
def test_thinking_is_not_sent_back_after_other_instructions_or_tools(
    options: dict[str, Any], can: bool
) -> None:
    """The API takes it for an altered history. Another model just does not read it."""
    first = changed(**options)
    assert begin_after(ended(said("Paid.")), first).history
    thoughtful = ended(THOUGHT, said("Paid."))
    if can:
        assert begin_after(thoughtful, first).history
    else:
        assert "have changed since" in refused(thoughtful, first)


def test_a_tool_whose_code_alone_has_changed_is_no_change_of_what_is_sent() -> None:
    definition = json.loads(AGENT.definition())
    for tool in definition["tools"]:
        tool["digest"] = "f" * 64
    first = started("And then?", definition=to_json(definition))
    assert begin_after(ended(THOUGHT, said("Paid.")), first).history
