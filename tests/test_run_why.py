import json
import re

import pytest
from everything import everything
from hypothesis import given
from walks import CHOICES, walk
from worlds import Desk, a_story, asked, began, decided, finished, replied, said, use

from agentrt.approvals import KeyFile
from agentrt.audit.records import read_record
from agentrt.errors import NotFound
from agentrt.events import RunFinished, User
from agentrt.run import Why, explain, tell
from agentrt.run.why import TEXT_MAX

RUN = "r_0000000000000001"


async def paid(desk: Desk, keys: dict[str, KeyFile]) -> Why:
    """Why a payment happened that ana approved."""
    call = await desk.hold(user=User(name="mona", roles=("clerk",), verified="oidc"))
    run = await desk.queue.approve(call.id, signer=keys["ana"], reason="invoice 7")
    run = await desk.store.append(run, [began(run.calls[0])])
    run = await desk.store.append(run, [finished(run.calls[0], "paid 5")])
    run = await desk.store.append(run, [asked(2), replied(said("Paid."), turn=2)])
    await desk.store.append(run, [RunFinished(stop_reason="end_turn", output="Paid.")])
    return explain(desk.store.records(RUN), call.id)


async def test_the_story_goes_from_the_prompt_to_the_result_and_what_followed(
    desk: Desk, keys: dict[str, KeyFile]
) -> None:
    why = await paid(desk, keys)
    assert [fact.type for fact in why.led_here] == [
        "run.started",
        "claude.asked",
        "claude.replied",
        "call.decided",
        "call.approved",
        "call.started",
        "call.finished",
    ]
    assert [fact.type for fact in why.followed] == ["claude.replied", "run.finished"]


async def test_the_story_names_who_asked_what_decided_and_who_approved(
    desk: Desk, keys: dict[str, KeyFile]
) -> None:
    why = await paid(desk, keys)
    text = "\n".join(why.lines())
    for words in (
        "mona (clerk, oidc) asked the agent desk",
        f"{why.call.id}  pay  finished",
        "policy decided: hold (revision 1)",
        'asked for this call: pay {"payee": "bob", "cents": 5}',
        "ana approved it",
        'said: "invoice 7"',
        "was shown the run up to record 4: revision 1",
        f"signed with {why.call.approvals[0].key}",
        "attempt 1 started with key",
        "attempt 1 came back (ok",
        "what followed",
        "the run finished (end_turn)",
    ):
        assert words in text


async def test_the_data_of_a_story_is_json(desk: Desk, keys: dict[str, KeyFile]) -> None:
    why = await paid(desk, keys)
    data = json.loads(json.dumps(why.data()))
    assert (data["tool"], data["status"], data["attempts"]) == ("pay", "finished", 1)
    assert [fact["type"] for fact in data["followed"]] == ["claude.replied", "run.finished"]


def test_the_chain_is_that_of_recorded_causes() -> None:
    story = a_story(use("pay", payee="bob"))
    replied_at = story.run.seq
    story.tell(decided(story.call(), cause=replied_at))
    story.tell(began(story.call()))
    why = explain(story.records, story.call().id)
    assert [fact.seq for fact in why.led_here] == [3, 4, 5]


def test_a_call_that_no_record_speaks_of_is_not_found() -> None:
    story = a_story(use("pay", payee="bob"))
    for call in (story.call().id, "c_nowhere"):
        with pytest.raises(NotFound):
            explain(story.records, call)


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    story = a_story(use("pay", payee="bob"))
    story.tell(decided(story.call(), reason="x" * (TEXT_MAX + 7)))
    text = "\n".join(explain(story.records, story.call().id).lines())
    assert "[7 more characters]" in text
    assert "x" * (TEXT_MAX + 1) not in text


def test_every_kind_of_event_has_a_line_of_its_own() -> None:
    for story in everything():
        facts = tell(story.records)
        assert [fact.seq for fact in facts] == list(range(1, story.run.seq + 1))
        assert all(fact.text and not re.search(r"\bNone\b", fact.text) for fact in facts)


@given(CHOICES)
def test_every_decided_call_of_any_run_can_be_explained(choices: list[int]) -> None:
    story = walk(choices)
    for call in story.run.all_calls:
        if call.revision:
            why = explain(story.records, call.id)
            assert why.call == call
            assert why.run == story.run
            assert list(why.lines())
            json.dumps(why.data())


@given(CHOICES)
def test_a_story_can_be_told_after_its_content_was_forgotten(choices: list[int]) -> None:
    story = walk(choices)
    records = [
        read_record(written.record.header, written.record.hash, {}, written.shared)
        for written in story.written
    ]
    assert len(tell(records)) == len(records)
