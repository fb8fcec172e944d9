"""Cases, run: what a policy says to each, and what is otherwise than expected.

A case needs no store and no Claude, so that a policy can be tested like code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from agentrt.errors import PolicyError
from agentrt.policy.bundle import Policy
from agentrt.policy.case import Case, Earlier, Expected
from agentrt.policy.case_world import known_in, mistakes
from agentrt.policy.cases_file import case_schema, load_cases, read_cases
from agentrt.policy.decide import Decision, Question
from agentrt.policy.readings import facts_read
from agentrt.policy.rules import Rule
from agentrt.tools import Tool

__all__ = [
    "Case",
    "Difference",
    "Earlier",
    "Expected",
    "Outcome",
    "case_schema",
    "load_cases",
    "read_cases",
    "run_case",
    "unreached",
]


@dataclass(frozen=True)
class Difference:
    """Something that was expected and is otherwise."""

    what: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.what}: expected {_told(self.expected)}, got {_told(self.got)}"


def _told(value: Any) -> str:
    if isinstance(value, str):
        return value
    return to_json(value).decode()


@dataclass(frozen=True)
class Outcome:
    """What the policy said to a case."""

    case: Case
    decision: Decision
    differences: tuple[Difference, ...]
    facts: bytes | None = None
    """What the rules read, as it would be recorded."""

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.differences

    @property
    def reached(self) -> frozenset[str]:
        """The ids of the rules that matched, those in shadow too."""
        return frozenset(rule.id for rule in (*self.decision.rules, *self.decision.shadow))

    def __str__(self) -> str:
        told = "".join(f"\n    {difference}" for difference in self.differences)
        return f"{self.case.file}:{self.case.line}: {self.case.name}{told}"


def run_case(case: Case, policy: Policy, tools: Mapping[str, Tool]) -> Outcome:
    """What the policy says to the case. Raises PolicyError when it says what cannot be."""
    for _, message in mistakes(case, policy, tools):
        raise PolicyError(f"{case.name}: {message}")
    tool = tools[case.tool]
    known = known_in(case, policy, tools)
    question = Question(policy.seen(tool), tool.complete(case.args), known, tool.complete)
    decision = policy.decide(question)
    differences = tuple(_differences(case.expect, decision))
    return Outcome(case, decision, differences, facts_read(decision, known))


def unreached(policy: Policy, outcomes: Iterable[Outcome]) -> tuple[Rule, ...]:
    """The rules that none of the cases reaches."""
    reached = {rule for outcome in outcomes for rule in outcome.reached}
    return tuple(rule for rule in policy.rules if rule.id not in reached)


# --- what is otherwise ------------------------------------------------------------------


def _differences(expect: Expected, decision: Decision) -> Iterator[Difference]:
    got = {
        "decide": decision.verdict,
        "rules": sorted(rule.id for rule in decision.rules),
        "shadow": sorted(rule.id for rule in decision.shadow),
        "set": dict(decision.settings),
        "awaiting": sorted(decision.awaiting),
    }
    for what, value in got.items():
        expected = getattr(expect, what)
        wanted = sorted(expected) if isinstance(expected, tuple) else expected
        if wanted is not None and wanted != value:
            yield Difference(what, wanted, value)
    if set(expect.failed) != set(decision.failed):
        yield Difference("failed", sorted(expect.failed), dict(decision.failed))
    if expect.reason is not None and expect.reason not in decision.reason:
        yield Difference("reason", expect.reason, decision.reason)
