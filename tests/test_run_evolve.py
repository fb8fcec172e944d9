import itertools
import json
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from walks import CHOICES, next_facts, walk
from worlds import (
    AT,
    HOUR_MS,
    Story,
    a_story,
    approved,
    asked,
    began,
    decided,
    doubted,
    expired,
    failed,
    finished,
    rejected,
    replied,
    said,
    settled,
    started,
    use,
)

from agentrt.audit.projections import project
from agentrt.audit.records import read_record
from agentrt.claude.request import Requests, request_head
from agentrt.events import (
    Approver,
    BundleLoaded,
    CallAbandoned,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    User,
)
from agentrt.run import Execute, Run, evolve, fold, next_step
from agentrt.run.state import Trail, call_id

PAY = use("pay", payee="bob", cents=5)


# --- laws ------------------------------------------------------------------------------


@given(CHOICES)
def test_a_run_folded_from_its_records_is_the_run_that_made_them(choices: list[int]) -> None:
    story = walk(choices)
    if story.records:
        assert fold(story.records) == story.run


@given(CHOICES, st.integers(0, 60))
def test_a_fold_may_stop_anywhere_and_go_on(choices: list[int], place: int) -> None:
    records = walk(choices).records
    head, tail = records[: place + 1], records[place + 1 :]
    if head:
        assert fold(tail, run=fold(head)) == fold(records)


@given(CHOICES)
def test_runs_that_grow_out_of_one_another_never_see_each_others_messages(
    choices: list[int],
) -> None:
    story = walk(choices)
    for event in next_facts(story.run):
        branch = Story(story.run.id)
        branch.run, branch.written = story.run, list(story.written)
        branch.tell(event)
        assert branch.run == fold(branch.records)
    if story.records:
        assert story.run == fold(story.records)


@given(CHOICES)
def test_the_conversation_is_only_ever_added_to(choices: list[int]) -> None:
    before: list[bytes] = []
    run: Run | None = None
    for record in walk(choices).records:
        run = evolve(run or Run(record.run), record)
        now = list(run.messages)
        assert now[: len(before)] == before
        before = now


@given(CHOICES)
def test_each_request_extends_the_one_before_byte_for_byte(choices: list[int]) -> None:
    run: Run | None = None
    bodies: list[bytes] = []
    for record in walk(choices).records:
        run = evolve(run or Run(record.run), record)
        if record.event.type == "claude.asked":
            head = request_head(run.definition.data)
            bodies.append(Requests(head, stream=True).body(run.messages)[0])
    for earlier, later in itertools.pairwise(bodies):
        assert later.startswith(earlier.removesuffix(b"]}"))
        assert {**json.loads(earlier), "messages": 0} == {**json.loads(later), "messages": 0}


@given(CHOICES)
def test_every_tool_use_is_answered_once_in_the_next_message_and_in_order(
    choices: list[int],
) -> None:
    messages = [json.loads(message) for message in walk(choices).run.messages]
    for message, following in itertools.pairwise(messages):
        if message["role"] == "assistant" and following["role"] == "user":
            asked_for = [part["id"] for part in message["content"] if part["type"] == "tool_use"]
            assert [part["tool_use_id"] for part in following["content"]] == asked_for


@given(CHOICES)
def test_a_run_whose_content_was_forgotten_still_folds_and_runs_nothing(
    choices: list[int],
) -> None:
    run: Run | None = None
    for written in walk(choices).written:
        record = read_record(written.record.header, written.record.hash, {}, written.shared)
        run = evolve(run or Run(record.run), record)
        assert not isinstance(next_step(run), Execute)


@given(CHOICES)
def test_only_the_word_of_the_function_changes_an_answer(choices: list[int]) -> None:
    run: Run | None = None
    for record in walk(choices).records:
        before = {call.id: call for call in run.calls if call.resolved} if run else {}
        run = evolve(run or Run(record.run), record)
        for call in run.all_calls:
            if call.id in before and record.event.type != "call.finished":
                assert call == before[call.id]


@given(CHOICES)
def test_the_number_of_a_record_and_its_hash_are_where_the_run_stands(choices: list[int]) -> None:
    story = walk(choices)
    if story.records:
        last = story.records[-1]
        assert (story.run.seq, story.run.head, story.run.at) == (last.seq, last.hash, last.at)


def test_a_fold_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="without records"):
        fold([])


# --- cost ------------------------------------------------------------------------------


def test_a_record_costs_the_same_in_the_first_turn_and_the_thousandth() -> None:
    story = Story()
    story.tell(started())
    _turn(story, 1)
    early = _calls_of_a_turn(story, 2)
    for turn in range(3, 1000):
        _turn(story, turn)
    assert len(story.run.messages) == 1999
    # A collection of garbage may fall into either turn; what grew would be hundreds.
    assert abs(_calls_of_a_turn(story, 1000) - early) < 50


def _turn(story: Story, turn: int) -> None:
    story.tell(asked(turn), replied(use("read_note", name="a"), turn=turn))
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    story.tell(finished(story.call()))


def _calls_of_a_turn(story: Story, turn: int) -> int:
    """How many functions are called for the facts of a turn and for their projections.

    What a C function does is not seen, so the lists of the trails must not be copied either.
    """
    before = story.run
    items = before.messages._items, before.past_calls._items
    counted = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        _turn(story, turn)
        list(project(before, story.run, story.records[-5:]))
    finally:
        sys.setprofile(None)
    after = story.run.messages._items, story.run.past_calls._items
    assert [id(old) for old in items] == [id(new) for new in after]
    return counted


def test_one_trail_extended_by_many_threads_never_mixes_their_items() -> None:
    trail: Trail[int] = Trail([0])
    made: list[Trail[int]] = []
    gate = threading.Barrier(8)

    def extend(name: int) -> None:
        gate.wait(timeout=10)
        mine = trail
        for step in range(50):
            mine = mine.plus(name * 1000 + step)
        made.append(mine)

    threads = [threading.Thread(target=extend, args=(name,)) for name in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(list(one) for one in made) == [
        [0, *(name * 1000 + step for step in range(50))] for name in range(1, 9)
    ]
    assert list(trail) == [0]


# --- runs ------------------------------------------------------------------------------


def test_a_run_starts_with_its_prompt_as_the_first_message() -> None:
    story = Story()
    run = story.tell(started('say "hi"\n', user=User(name="mona", roles=("clerk",))))
    assert run.status == "running"
    assert [json.loads(message) for message in run.messages] == [
        {"role": "user", "content": 'say "hi"\n'}
    ]
    assert run.user == User(name="mona", roles=("clerk",))
    assert run.deadline_at == run.at + HOUR_MS


def test_a_run_ends_with_its_last_word() -> None:
    story = Story()
    story.tell(started(), asked(), replied(said("all "), said("done")))
    run = story.tell(RunFinished(stop_reason="end_turn", output=story.run.text))
    assert (run.status, run.output, run.over) == ("finished", "all done", True)


def test_usage_and_cost_add_up_and_an_unknown_price_is_said() -> None:
    story = Story()
    story.tell(started(), asked(), replied(said("a"), stop_reason="pause_turn"))
    unknown = replied(said("b"), turn=2).model_copy(update={"cost_usd": None})
    run = story.tell(asked(2), unknown)
    assert (run.usage.input_tokens, run.usage.output_tokens) == (20, 10)
    assert run.cost_usd == Decimal("0.00007")
    assert run.cost_unknown


def test_the_time_a_run_waits_for_people_does_not_count() -> None:
    story = a_story(PAY)
    story.tell(decided(story.call(), "hold"), at=AT + 10_000)
    assert story.run.status == "waiting"
    before = story.run.deadline_at
    run = story.tell(approved(story.call()), at=AT + 70_000)
    assert run.deadline_at == before + 60_000


def test_cancelling_closes_what_had_not_started_and_leaves_what_had() -> None:
    story = a_story(PAY, use("pay", id="b"), use("pay", id="c"))
    story.tell(decided(story.call(0)), decided(story.call(1), "hold"))
    story.tell(began(story.call(0)))
    run = story.tell(RunCancelled(by="ana", by_ref="r", reason="stop"))
    assert [call.status for call in run.calls] == ["started", "cancelled", "cancelled"]
    after = story.tell(finished(run.calls[0], "paid"))
    assert after.calls[0].result == "paid"
    assert after.status == "cancelled"


def test_what_did_not_happen_in_a_cancelled_run_is_not_asked_for_again() -> None:
    story = a_story(PAY)
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    story.tell(RunCancelled(by="ana", by_ref="r", reason="stop"), doubted(story.call()))
    run = story.tell(settled(story.call(), happened=False))
    assert run.calls[0].status == "cancelled"


def test_a_resumed_run_goes_on_with_a_fresh_deadline_and_no_failures() -> None:
    story = Story()
    story.tell(started(), asked(), failed(), asked(ask=2), failed())
    story.tell(RunFailed(code="overloaded", resumable=True, message="busy"))
    assert (story.run.over, story.run.resumable, story.run.error) == (
        True,
        True,
        ("overloaded", "busy"),
    )
    run = story.tell(RunResumed(by="ana", by_ref="r"), at=AT + HOUR_MS)
    assert (run.status, run.failures, run.error, run.resumable) == ("running", 0, None, False)
    assert run.deadline_at == AT + 2 * HOUR_MS


def test_the_stores_own_chain_folds_too() -> None:
    story = Story("store")
    run = story.tell(BundleLoaded(bundle="b" * 64, service="s", files=b"{}"))
    assert run.bundle == "b" * 64


# --- calls -----------------------------------------------------------------------------


def test_only_a_reply_that_stopped_for_tools_asks_for_calls() -> None:
    for reason in ("max_tokens", "end_turn", "refusal", "pause_turn", "some_new_reason"):
        story = Story()
        assert story.tell(started(), asked(), replied(PAY, stop_reason=reason)).calls == ()


def test_a_call_has_an_id_of_its_place_whatever_claude_calls_it() -> None:
    story = a_story(use("read_note", id="same"))
    first = story.call()
    story.tell(decided(first))
    story.tell(finished(story.call()), asked(2), replied(use("read_note", id="same"), turn=2))
    assert first.id == call_id(story.run.id, 1, 0) != story.call().id


def test_calls_of_simulated_runs_are_simulated() -> None:
    assert a_story(PAY, id="sim_r_1").call().id.startswith("sim_c_")


@pytest.mark.parametrize(
    ("outcome", "result", "is_error"), [("ok", "42", None), ("error", "no", True)]
)
def test_the_result_goes_back_under_the_id_claude_gave(
    outcome: str, result: str, is_error: bool | None
) -> None:
    story = a_story(use("pay", id="toolu_9"))
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    run = story.tell(finished(story.call(), result, outcome=outcome))
    block = {"type": "tool_result", "tool_use_id": "toolu_9", "content": result}
    expected = block if is_error is None else {**block, "is_error": True}
    assert json.loads(list(run.messages)[-1]) == {"role": "user", "content": [expected]}
    assert run.calls == ()
    assert [call.status for call in run.past_calls] == ["finished"]


@pytest.mark.parametrize(
    ("close", "status", "words"),
    [
        (lambda call: rejected(call, reason="too much"), "rejected", "rejected it. Reason: too m"),
        (expired, "expired", "nobody approved it in time"),
        (lambda call: decided(call, "deny"), "denied", "policy denies it. Reason: a rule says so"),
    ],
)
def test_a_call_that_will_not_run_tells_claude_why(
    close: Callable[..., Any], status: str, words: str
) -> None:
    story = a_story(PAY)
    story.tell(decided(story.call(), "hold"))
    run = story.tell(close(story.call()))
    (call,) = run.past_calls
    assert (call.status, call.is_error) == (status, True)
    assert words in call.result
    assert json.loads(list(run.messages)[-1])["content"][0]["is_error"] is True


def test_a_turn_goes_back_only_when_all_its_calls_have_an_answer() -> None:
    story = a_story(use("pay", id="a"), use("pay", id="b"))
    story.tell(decided(story.call(1), "deny"))
    assert len(story.run.messages) == 2
    run = story.tell(decided(story.call(0), "deny"))
    assert [part["tool_use_id"] for part in json.loads(list(run.messages)[-1])["content"]] == [
        "a",
        "b",
    ]


def held(quorum: int = 1) -> Story:
    story = a_story(PAY, use("read_note", id="other"))
    story.tell(decided(story.call(), "hold", approver=Approver(quorum=quorum)))
    return story


def test_a_quorum_is_met_by_different_people_only() -> None:
    story = held(quorum=2)
    story.tell(approved(story.call(), "ana"), approved(story.call(), "ana"))
    assert story.call().status == "held"
    assert story.tell(approved(story.call(), "bob")).calls[0].status == "approved"


def test_a_new_revision_keeps_only_the_approvals_that_it_names() -> None:
    story = held()
    story.tell(approved(story.call(), "ana"))
    seq = story.run.seq
    kept = story.tell(decided(story.call(), "hold", approvals=(seq,)))
    assert kept.calls[0].status == "approved"
    voided = story.tell(decided(story.call(), "hold"))
    assert (voided.calls[0].status, voided.calls[0].approvals) == ("held", ())


@pytest.mark.parametrize("late", [approved, rejected, expired, decided])
@pytest.mark.parametrize("status", ["started", "in doubt", "finished", "denied", "requested"])
def test_a_verdict_on_a_call_that_nobody_holds_changes_nothing(
    late: Callable[..., Any], status: str
) -> None:
    if (late, status) == (decided, "requested"):
        return  # this is how a call is decided
    story = a_story(PAY, use("read_note", id="other"))
    if status == "denied":
        story.tell(decided(story.call(), "deny"))
    elif status != "requested":
        story.tell(decided(story.call()))
        story.tell(began(story.call()))
        story.tell(*([doubted(story.call())] if status == "in doubt" else []))
        story.tell(*([finished(story.call())] if status == "finished" else []))
    before = story.call()
    assert before.status == status
    assert story.tell(late(before)).calls[0] == before


def test_what_did_not_happen_is_decided_anew_without_its_approvals() -> None:
    story = held()
    story.tell(approved(story.call()))
    used = story.call().approvals[0].statement_digest
    story.tell(began(story.call()))
    story.tell(doubted(story.call()))
    call = story.tell(settled(story.call(), happened=False)).calls[0]
    assert (call.status, call.approvals, call.attempt) == ("requested", (), 1)
    assert call.used == (used,)


def test_what_happened_is_finished_with_what_was_found() -> None:
    story = held()
    story.tell(approved(story.call()))
    story.tell(began(story.call()))
    story.tell(doubted(story.call()))
    call = story.tell(settled(story.call(), happened=True)).calls[0]
    assert (call.status, call.result, call.is_error) == ("finished", "looked", False)


def test_a_function_that_reports_late_is_believed_over_the_doubt() -> None:
    story = held()
    story.tell(approved(story.call()))
    story.tell(began(story.call()))
    started_call = story.call()
    story.tell(doubted(started_call), finished(started_call, "paid after all"))
    assert (story.call().status, story.call().result) == ("finished", "paid after all")
    story.tell(doubted(started_call), settled(started_call, happened=False))
    assert (story.call().status, story.call().result) == ("finished", "paid after all")


def test_what_was_settled_and_is_told_otherwise_later_is_a_contradiction() -> None:
    story = held()
    story.tell(approved(story.call()))
    story.tell(began(story.call()))
    first = story.call()
    story.tell(doubted(first), settled(first, happened=False))
    assert story.call().status == "requested"
    story.tell(decided(story.call(), "hold"), finished(first, "paid after all"))
    assert (story.run.all_calls[0].status, story.run.all_calls[0].result) == (
        "finished",
        "paid after all",
    )
    (found,) = story.run.contradictions
    assert "settled by its check (it did not happen)" in found.text


def test_a_late_word_of_one_attempt_does_not_answer_for_the_next() -> None:
    story = held()
    story.tell(approved(story.call()))
    story.tell(began(story.call()))
    first = story.call()
    story.tell(doubted(first), settled(first, happened=False))
    story.tell(decided(story.call()))
    story.tell(began(story.call()), finished(first, "paid after all"))
    assert (story.call().status, story.call().attempt) == ("started", 2)
    assert "Attempt 2 may have done it again" in story.run.contradictions[0].text


def test_an_attempt_that_was_not_entered_is_decided_anew() -> None:
    story = held()
    story.tell(approved(story.call()))
    story.tell(began(story.call()))
    story.tell(doubted(story.call()))
    story.tell(CallAbandoned(call=story.call().id, attempt=1, why="not_carried"))
    assert (story.call().status, story.call().approvals) == ("requested", ())


def test_only_an_attempt_that_is_open_is_abandoned() -> None:
    story = held()
    story.tell(approved(story.call()))
    story.tell(began(story.call()))
    story.tell(CallAbandoned(call=story.call().id, attempt=2, why="too_late"))
    assert story.call().status == "started"


def test_a_run_waits_only_while_nothing_but_a_person_can_move_it() -> None:
    story = a_story(use("pay", id="a"), use("read_note", id="b"), use("pay", id="c"))
    story.tell(decided(story.call(0), "hold"))
    assert story.run.status == "running"
    story.tell(decided(story.call(1)), decided(story.call(2)))
    assert story.run.status == "running"
    story.tell(began(story.call(1)))
    assert story.run.status == "running"
    assert story.tell(finished(story.call(1))).status == "waiting"
    assert story.tell(rejected(story.call(0))).status == "running"


def test_a_record_of_another_run_does_not_pass_for_one_of_this_calls() -> None:
    story, other = held(), a_story(PAY, id="r_other")
    other.tell(decided(other.call(), "hold"))
    before = story.call()
    assert story.tell(approved(other.call())).calls[0] == before
