"""What the rules read when they decided, to be recorded with the decision."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from agentrt.policy.bound import Bound
from agentrt.policy.cel import Undetermined
from agentrt.policy.decide import Decision
from agentrt.policy.judge import Judgement
from agentrt.policy.known import Known

__all__ = ["facts_read"]


def facts_read(decision: Decision, known: Known) -> bytes | None:
    """The values that conditions read, the errors and the places found; None when there are none.

    As JSON: `values` by expression, `limits`, `errors` and `waits` by rule, and `found`.
    """
    judgement = decision.judgement
    bounds = (*judgement.matched, *judgement.considered, *judgement.shadow, *judgement.stuck)
    bounds += judgement.waiting
    values: dict[str, Any] = {}
    for bound in bounds:
        asked_with = judgement.values_for(bound)
        for program in bound.programs:
            values |= program.explain(asked_with, known)
    limits = {
        bound.rule.id: _spent(bound, judgement, known) for bound in bounds if bound.rule.limit
    }
    read = {
        "values": values,
        "limits": limits,
        "errors": dict(decision.failed),
        "waits": dict(judgement.awaiting),
        "found": {str(found): str(found.place) for found in known.found},
    }
    said = {name: part for name, part in read.items() if part}
    return to_json(said) if said else None


def _spent(bound: Bound, judgement: Judgement, known: Known) -> str:
    """How much of a limit was used up, and what the call would add."""
    limit = bound.rule.limit
    values = judgement.values_for(bound)
    try:
        spent = known.spent(bound.rule.id, limit.per if limit else (), values["tool"]["name"])
        weight = bound.weight(values, known)
    except Undetermined as error:
        return f"[{error}]"
    return f"{spent} and {weight} more, of at most {limit.cap if limit else 0}"
