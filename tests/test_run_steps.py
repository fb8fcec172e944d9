import pytest
from hypothesis import given
from walks import CHOICES, walk
from worlds import (
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

from agentrt.events import RunCancelled, RunFailed, RunFinished, RunResumed
from agentrt.run import AskClaude, Decide, Execute, Fail, Finish, Recover, Step, next_step
from agentrt.run.steps import ASKS_MAX


def about(story: Story) -> Step | None:
    return next_step(story.run)


def executes(story: Story) -> list[int]:
    step = about(story)
    assert isinstance(step, Execute)
    return [call.index for call in step.calls]


def after_reply(stop_reason: str) -> Step | None:
    story = Story()
    story.tell(started(), asked(), replied(said("hm"), stop_reason=stop_reason))
    return about(story)


# --- replies ---------------------------------------------------------------------------


def test_a_new_run_asks_claude() -> None:
    story = Story()
    story.tell(started())
    assert about(story) == AskClaude(1, 1)


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence"])
def test_a_last_word_finishes_the_run(reason: str) -> None:
    assert after_reply(reason) == Finish(reason, "hm")


def test_a_pause_asks_again_in_a_new_turn() -> None:
    assert after_reply("pause_turn") == AskClaude(2, 1)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("max_tokens", "max_tokens"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context_window"),
        ("a_reason_of_tomorrow", "unknown_stop_reason"),
    ],
)
def test_a_reply_that_is_no_answer_fails_the_run_for_good(reason: str, code: str) -> None:
    step = after_reply(reason)
    assert isinstance(step, Fail)
    assert (step.code, step.resumable) == (code, False)


def test_a_refusal_says_its_category() -> None:
    story = Story()
    refusal = replied(stop_reason="refusal").model_copy(update={"refusal": "cyber"})
    story.tell(started(), asked(), refusal)
    step = about(story)
    assert isinstance(step, Fail)
    assert "cyber" in step.message


@pytest.mark.parametrize("reason", ["max_tokens", "end_turn", "refusal", "pause_turn", "new"])
def test_a_call_in_a_reply_that_stopped_for_something_else_is_never_run(reason: str) -> None:
    story = Story()
    story.tell(started(), asked(), replied(use("pay"), stop_reason=reason))
    assert not isinstance(about(story), Decide | Execute)


def test_a_reply_that_stopped_for_a_tool_and_names_none_fails() -> None:
    step = after_reply("tool_use")
    assert isinstance(step, Fail)
    assert (step.code, step.resumable) == ("reply_malformed", False)


def test_two_calls_of_one_id_in_one_reply_run_nothing() -> None:
    story = a_story(use("read_note", id="same"), use("pay", id="same"))
    step = about(story)
    assert isinstance(step, Fail)
    assert step.code == "reply_malformed"
    assert "same" in step.message


def test_the_turn_limit_ends_a_run_that_would_ask_again() -> None:
    story = Story()
    story.tell(started(turns_max=1), asked(), replied(use("read_note", name="a")))
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    story.tell(finished(story.call()))
    step = about(story)
    assert isinstance(step, Fail)
    assert step.code == "turn_limit"


def test_the_last_turn_may_still_answer() -> None:
    story = Story()
    story.tell(started(turns_max=1), asked(), replied(said("42")))
    assert about(story) == Finish("end_turn", "42")


# --- failures --------------------------------------------------------------------------


def test_a_request_that_got_no_reply_is_asked_again_in_the_same_turn() -> None:
    story = Story()
    story.tell(started(), asked())
    assert about(story) == AskClaude(1, 2)


def test_a_failed_request_is_asked_again_as_often_as_it_may_be() -> None:
    story = Story()
    story.tell(started())
    for ask in range(1, ASKS_MAX):
        story.tell(asked(ask=ask), failed())
        assert about(story) == AskClaude(1, ask + 1)
    story.tell(asked(ask=ASKS_MAX), failed())
    assert about(story) == Fail("overloaded", "busy", resumable=True)


def test_a_failure_that_asking_again_cannot_help_fails_at_once() -> None:
    story = Story()
    story.tell(started(), asked(), failed(again=False, outage=False))
    assert about(story) == Fail("overloaded", "busy", resumable=False)


def test_failures_are_counted_per_turn() -> None:
    story = Story()
    story.tell(started(), asked(), failed(), asked(ask=2), failed(), asked(ask=3))
    story.tell(replied(said("a"), stop_reason="pause_turn"), asked(2), failed(2))
    assert about(story) == AskClaude(2, 2)


def test_a_resumed_run_asks_as_often_as_a_new_one() -> None:
    story = Story()
    story.tell(started())
    for ask in range(1, ASKS_MAX + 1):
        story.tell(asked(ask=ask), failed())
    story.tell(RunFailed(code="overloaded", resumable=True, message="busy"))
    assert about(story) is None
    story.tell(RunResumed(by="ana", by_ref="r"))
    assert about(story) == AskClaude(1, ASKS_MAX + 1)
    story.tell(asked(ask=ASKS_MAX + 1), failed())
    assert about(story) == AskClaude(1, ASKS_MAX + 2)


def test_a_run_that_failed_between_turns_resumes_with_the_next_turn() -> None:
    story = a_story(use("read_note", name="a"))
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    story.tell(finished(story.call()))
    story.tell(RunFailed(code="deadline", resumable=True, message="late"))
    story.tell(RunResumed(by="ana", by_ref="r"))
    assert about(story) == AskClaude(2, 1)


# --- calls -----------------------------------------------------------------------------


def turn_of(*tools: str, verdicts: str = "") -> Story:
    """A turn of calls to `tools`, decided by the letters of `verdicts`: a, h or d."""
    words = {"a": "allow", "h": "hold", "d": "deny"}
    story = a_story(*(use(tool, id=f"t{index}") for index, tool in enumerate(tools)))
    for index, letter in enumerate(verdicts):
        if letter in words:
            story.tell(decided(story.call(index), words[letter]))
    return story


def test_calls_are_decided_in_the_order_of_their_blocks() -> None:
    story = turn_of("pay", "read_note", "pay")
    step = about(story)
    assert isinstance(step, Decide)
    assert [call.index for call in step.calls] == [0, 1, 2]


def test_reads_run_at_once_and_together() -> None:
    assert executes(turn_of("read_note", "read_note", "read_note", verdicts="aaa")) == [0, 1, 2]


def test_writes_run_in_order_one_at_a_time() -> None:
    story = turn_of("pay", "write_note", verdicts="aa")
    assert executes(story) == [0]
    story.tell(began(story.call(0)))
    story.tell(finished(story.call(0)))
    assert executes(story) == [1]


def test_a_write_waits_for_an_earlier_one_that_is_held_while_reads_go_on() -> None:
    story = turn_of("pay", "read_note", "write_note", verdicts="haa")
    assert executes(story) == [1]
    story.tell(began(story.call(1)))
    story.tell(finished(story.call(1)))
    assert about(story) is None
    story.tell(approved(story.call(0)))
    assert executes(story) == [0]


def test_a_write_waits_for_an_earlier_one_in_doubt() -> None:
    story = turn_of("pay", "write_note", verdicts="aa")
    story.tell(began(story.call(0)))
    story.tell(doubted(story.call(0)))
    assert about(story) is None
    assert story.run.status == "waiting"
    story.tell(settled(story.call(0), happened=True))
    assert executes(story) == [1]


def test_a_write_does_not_wait_for_a_later_call_or_for_a_held_read() -> None:
    story = turn_of("read_note", "write_note", "pay", verdicts="hah")
    assert executes(story) == [1]


@pytest.mark.parametrize("close", [rejected, expired])
def test_a_call_that_was_turned_down_holds_nobody_up(close: object) -> None:
    story = turn_of("pay", "write_note", verdicts="ha")
    story.tell(close(story.call(0)))  # type: ignore[operator]
    assert executes(story) == [1]


def test_a_held_call_waits() -> None:
    story = turn_of("pay", verdicts="h")
    assert about(story) is None
    assert story.run.status == "waiting"


def test_what_a_dead_process_left_behind_is_looked_at_before_anything_else() -> None:
    story = turn_of("pay", "read_note", "pay", verdicts="aa")
    story.tell(began(story.call(0)))
    step = about(story)
    assert isinstance(step, Recover)
    assert [call.index for call in step.calls] == [0]


def test_what_did_not_happen_is_decided_again() -> None:
    story = turn_of("pay", verdicts="a")
    story.tell(began(story.call()))
    story.tell(doubted(story.call()))
    story.tell(settled(story.call(), happened=False))
    assert isinstance(about(story), Decide)


def test_a_turn_whose_calls_are_all_answered_asks_claude() -> None:
    story = turn_of("pay", "pay", verdicts="dd")
    assert about(story) == AskClaude(2, 1)


@pytest.mark.parametrize(
    "end",
    [
        RunFinished(stop_reason="end_turn", output=""),
        RunFailed(code="x", message="y"),
        RunFailed(code="x", message="y", resumable=True),
        RunCancelled(by="a", by_ref="b", reason="c"),
    ],
)
def test_a_run_that_is_over_does_nothing_more(end: RunFinished | RunFailed | RunCancelled) -> None:
    story = turn_of("pay", "read_note", verdicts="aa")
    story.tell(end)
    assert about(story) is None


@given(CHOICES)
def test_nothing_runs_that_was_not_decided_and_nothing_with_an_effect_overtakes(
    choices: list[int],
) -> None:
    run = walk(choices).run
    step = next_step(run)
    if isinstance(step, Execute):
        assert all(call.status in ("allowed", "approved") for call in step.calls)
        effective = [call for call in step.calls if call.effect != "read"]
        assert len(effective) <= 1
        for call in effective:
            earlier = run.calls[: call.index]
            assert all(before.effect == "read" or before.resolved for before in earlier)


@given(CHOICES)
def test_a_run_has_a_next_step_or_waits_or_is_over(choices: list[int]) -> None:
    run = walk(choices).run
    if run.seq:
        assert (next_step(run) is None) == (run.over or run.status == "waiting")
