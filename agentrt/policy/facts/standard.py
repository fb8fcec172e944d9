"""The facts that every project has."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from agentrt.events import (
    CallDecided,
    CallRejected,
    CallStarted,
    ClaudeAsked,
    ClaudeReplied,
    Record,
)
from agentrt.policy.cel import BOOL, DOUBLE, INT, Failed, ListOf, MapOf
from agentrt.policy.facts.counted import Counted
from agentrt.policy.facts.fact import CALL_EVENTS, TOOL_NAME, Fact, counting, over_calls
from agentrt.policy.facts.tallies import Tallies
from agentrt.policy.facts.tally import Tally
from agentrt.run.replacing import replace
from agentrt.tools.tool import UNSAID, UNTRUSTED

__all__ = ["PRIVATE", "STANDARD_FACTS"]

PRIVATE = "reads_private"
"""The label of tools whose results hold what outsiders must not get."""

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DAY_MS = int(DAY.total_seconds() * 1000)


# --- calls of each tool ------------------------------------------------------------------


def _by_tool(state: Counted, record: Record) -> Counted:
    return counting(state, record, lambda call: (call.tool, 1))


# --- what was spent ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Spent:
    tally: Tally = field(default_factory=Tally)
    unknown_at: int | None = None
    """When a reply without a known price came last."""


def _spent(state: _Spent, record: Record) -> _Spent:
    event = record.event
    if not isinstance(event, ClaudeReplied):
        return state
    if event.cost_usd is None:
        return replace(state, unknown_at=record.at)
    return replace(state, tally=state.tally.plus(Decimal(event.cost_usd), at=record.at))


def _spend_since(state: _Spent, since: int | None) -> float:
    # Unknown is never zero: a rule that asks for the spend cannot be answered.
    if state.unknown_at is not None and (since is None or state.unknown_at > since):
        raise Failed("a reply came from a model whose price is not known")
    return float(state.tally.since(since))


# --- what was read -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    decided: frozenset[str] = frozenset()
    """Calls of tools with the label that were decided and have not started."""
    happened: bool = False


def _read(label: str) -> Any:
    """Whether a call of a tool with the label was started: from then on its result may be read."""

    def evolve(state: _Read, record: Record) -> _Read:
        match record.event:
            case CallDecided() as event if _has(event, label):
                return replace(state, decided=state.decided | {event.call})
            case CallStarted() as event if event.call in state.decided:
                return replace(state, decided=state.decided - {event.call}, happened=True)
            case _:
                return state

    return evolve


def _has(event: CallDecided, label: str) -> bool:
    return label in event.labels or (label == UNTRUSTED and bool({*event.untrusted} - {UNSAID}))


# --- people's answers --------------------------------------------------------------------


def _rejections(tally: Tally, record: Record) -> Tally:
    return tally.plus(1, at=record.at) if isinstance(record.event, CallRejected) else tally


def _turns(turn: int, record: Record) -> int:
    return record.event.turn if isinstance(record.event, ClaudeAsked) else turn


STANDARD_FACTS: tuple[Fact, ...] = (
    over_calls(
        "run.calls",
        lambda _call: 1,
        collect="count",
        about="Calls of this run that were allowed or held and not refused since.",
    ),
    Fact(
        "run.calls_of",
        MapOf(TOOL_NAME, INT),
        'The same for each tool: `run.calls_of["send_mail"]`; a tool without a call counts 0.',
        CALL_EVENTS,
        Counted(Tallies()),
        _by_tool,
        lambda state, _now: _Counts(state.since(None)),
        before=Counted.before,
    ),
    Fact(
        "run.tools_used",
        ListOf(TOOL_NAME),
        "The names of the tools that `run.calls` counts, sorted.",
        CALL_EVENTS,
        Counted(Tallies()),
        _by_tool,
        lambda state, _now: list(state.since(None)),
        before=Counted.before,
    ),
    Fact(
        "run.turn",
        INT,
        "The turn the run is in, 1 for the first.",
        (ClaudeAsked,),
        0,
        _turns,
        lambda turn, _now: turn,
    ),
    Fact(
        "run.spend_usd",
        DOUBLE,
        "What Claude's replies in this run cost, in dollars at the recorded prices; it cannot be "
        "evaluated once a price was unknown.",
        (ClaudeReplied,),
        _Spent(),
        _spent,
        lambda state, _now: _spend_since(state, None),
    ),
    Fact(
        "run.read_untrusted",
        BOOL,
        f"Whether a tool labelled `{UNTRUSTED}`, or with untrusted fields, was started.",
        (CallDecided, CallStarted),
        _Read(),
        _read(UNTRUSTED),
        lambda state, _now: state.happened,
    ),
    Fact(
        "run.read_private",
        BOOL,
        f"Whether a tool labelled `{PRIVATE}` was started.",
        (CallDecided, CallStarted),
        _Read(),
        _read(PRIVATE),
        lambda state, _now: state.happened,
    ),
    over_calls(
        "user.calls_1h",
        lambda _call: 1,
        collect="count",
        within=HOUR,
        about="Calls in all runs of this user that started in the last hour, or were decided in it "
        "and were not refused since.",
    ),
    Fact(
        "user.spend_24h_usd",
        DOUBLE,
        "What Claude's replies in all runs of this user cost in the last 24 hours, in dollars.",
        (ClaudeReplied,),
        _Spent(),
        _spent,
        lambda state, now: _spend_since(state, now - DAY_MS),
        span_ms=DAY_MS,
    ),
    Fact(
        "user.holds_rejected_24h",
        INT,
        "Calls in all runs of this user that reviewers rejected in the last 24 hours.",
        (CallRejected,),
        Tally(),
        _rejections,
        lambda tally, now: int(tally.since(now - DAY_MS)),
        span_ms=DAY_MS,
    ),
)


class _Counts(dict[str, Any]):
    """Counts by name, zero for a name that is not there."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> int:
        return 0
