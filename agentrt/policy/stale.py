"""Stale rules: those that nobody looks after, and those that nothing needs any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from typing import Literal

from agentrt.policy.bundle import Policy
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.rules import Rule

__all__ = ["stale"]

Level = Literal["error", "warning"]

_CARE = ("owner", "review_by")


def stale(
    policy: Policy, *, today: date, unmatched: Collection[str] = (), days: int = 0
) -> Iterator[PolicyProblem]:
    """A problem for each sign that a rule is stale; that its review is overdue is an error.

    `unmatched` are the ids of the rules that matched no call in the last `days`.
    """
    for rule in policy.rules:
        if rule.review_by is not None and rule.review_by < today:
            message = f"{rule.id} was to be reviewed by {rule.review_by}: look at it and set a day"
            yield _at(rule, policy, message, level="error")
        if left_out := [key for key in _CARE if getattr(rule, key) is None]:
            yield _at(rule, policy, f"{rule.id} has no {' and no '.join(left_out)}")
        if rule.id in unmatched:
            yield _at(rule, policy, f"{rule.id} matched no call in the last {days} days")


def _at(rule: Rule, policy: Policy, message: str, *, level: Level = "warning") -> PolicyProblem:
    text = policy.files[rule.file].splitlines()[rule.line - 1]
    column = len(text) - len(text.lstrip(" -")) + 1
    return PolicyProblem(rule.file, rule.line, column, message, text, level)
