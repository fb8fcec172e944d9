"""Random runs: what may plausibly be recorded next, wherever a run stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st
from worlds import (
    Story,
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

from agentrt.events import AnyEvent, RunCancelled, RunFailed, RunFinished, RunResumed, User
from agentrt.run import Run, ToolCall

CHOICES = st.lists(st.integers(0, 10_000), min_size=10, max_size=60)
"""What to take at each point of a walk."""


def walk(choices: Sequence[int], *, id: str = "r_0000000000000001") -> Story:
    """A run of which each fact is one of those that may come next."""
    story = Story(id)
    for choice in choices:
        possible = list(next_facts(story.run))
        if possible:
            story.tell(possible[choice % len(possible)])
    return story


def next_facts(run: Run) -> Iterator[AnyEvent]:
    """The facts that may come next."""
    if run.status == "new":
        yield started(user=User(name="mona"))
    elif run.over:
        yield from _after_the_end(run)
    else:
        yield from _of_calls(run) if run.calls else _of_claude(run)
        yield RunCancelled(by="ana", by_ref="ref", reason="enough")


def _after_the_end(run: Run) -> Iterator[AnyEvent]:
    for call in run.calls:
        if call.status in ("started", "in doubt"):
            yield from _of_call(call)
    if run.resumable:
        yield RunResumed(by="ana", by_ref="ref")


def _of_claude(run: Run) -> Iterator[AnyEvent]:
    if run.asked:
        turn = run.turn
        yield replied(said("I look."), use("pay", payee="bob", cents=turn), turn=turn)
        yield replied(
            use("pay"), use("read_note", id="toolu_2"), use("no_such", id="t3"), turn=turn
        )
        yield replied(use("read_note", name="a"), use("read_note", id="x", name="b"), turn=turn)
        yield replied(said("a moment"), turn=turn, stop_reason="pause_turn")
        yield replied(said("that is it"), turn=turn)
        yield replied(use("pay"), turn=turn, stop_reason="max_tokens")
        yield replied(turn=turn)
        yield failed(turn)
    elif run.stop_reason in ("end_turn", "max_tokens"):
        yield RunFinished(stop_reason=run.stop_reason, output=run.text)
    else:
        yield asked(run.turn + 1) if run.stop_reason else asked(run.turn or 1, run.ask + 1)
        yield RunFailed(code="deadline", resumable=True, message="too late")


def _of_calls(run: Run) -> Iterator[AnyEvent]:
    for call in run.calls:
        yield from _of_call(call)


def _of_call(call: ToolCall) -> Iterator[AnyEvent]:
    if call.status in ("requested", "allowed", "held", "approved"):
        for verdict in ("allow", "hold", "deny"):
            yield decided(call, verdict)
    if call.status in ("allowed", "approved", "started", "in doubt"):
        yield began(call)
    if call.status == "held":
        yield approved(call)
        yield rejected(call)
    if call.status in ("held", "approved"):
        yield expired(call)
    if call.status in ("started", "in doubt"):
        yield finished(call)
        yield finished(call, "no", outcome="error")
        yield doubted(call)
    if call.status == "in doubt":
        yield settled(call, happened=True)
        yield settled(call, happened=False)
