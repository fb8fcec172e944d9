"""What counts towards a rule's limit: a fold like a fact, which no condition can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from agentrt.policy.bound import Bound
from agentrt.policy.cel import DOUBLE, STRING, Failed, MapOf, Undetermined
from agentrt.policy.facts.counted import Counted
from agentrt.policy.facts.fact import CALL_EVENTS, DecidedCall, Fact, counting
from agentrt.policy.facts.tallies import Named, Tallies
from agentrt.policy.known import Known, limit_name
from agentrt.policy.rules import Rule

__all__ = ["limit_fact"]

BoundFor = Callable[[DecidedCall], Bound | None]
"""The rule as it speaks of a recorded call's tool; None when it does not cover it."""

UNTOLD = "(untold)"
"""The name under which calls are counted whose amount nobody can tell."""


def limit_fact(rule: Rule, bound_for: BoundFor) -> Fact:
    """The fold for a rule with a limit: what its calls add up to, by tool where it says so.

    A recorded call counts when the rule covers it and its condition is met by its arguments.
    While one of which that cannot be told counts, the limit cannot be evaluated.
    """
    limit = rule.limit
    if limit is None:
        raise ValueError(f"{rule.id} has no limit")
    per_tool, span_ms = "tool" in limit.per, limit.within_s and limit.within_s * 1000

    def each(call: DecidedCall) -> Named | None:
        bound = bound_for(call)
        if bound is None:
            return None
        values = Known().values(call.arguments, _tool_of(call))
        try:
            weight = bound.weight(values, None) if bound.met(values, None) else None
        except Undetermined:
            return UNTOLD, 1
        return None if weight is None else (call.tool if per_tool else "", weight)

    def value(state: Counted, now: int) -> Mapping[str, int | Decimal]:
        spent: Mapping[str, int | Decimal] = state.since(None if span_ms is None else now - span_ms)
        if UNTOLD in spent:
            raise Failed("what an earlier call counts for cannot be told")
        return spent

    return Fact(
        limit_name(rule.id),
        MapOf(STRING, DOUBLE),
        f"What counts towards the limit of {rule.id}.",
        CALL_EVENTS,
        Counted(Tallies()),
        lambda state, record: counting(state, record, each),
        value,
        span_ms=span_ms,
        before=Counted.before,
    )


def _tool_of(call: DecidedCall) -> dict[str, Any]:
    return {"name": call.tool, "effect": call.effect, "labels": list(call.labels)}
