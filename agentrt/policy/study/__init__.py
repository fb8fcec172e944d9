"""What rules say beyond their types: rules that cannot matter, or cannot be right.

Everything that is told is certain, for the tools as they are. It is found by bounds and sets of
single values, not by a solver: that nothing is told of a rule does not mean that it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from agentrt.policy.bindings import Bindings
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.rules import Rule, ToolLike
from agentrt.policy.rules_file import RulesFile
from agentrt.policy.study.findings import Finding
from agentrt.policy.study.idle import Covering, idle
from agentrt.policy.study.impossible import impossible, settled
from agentrt.policy.study.meanings import Meaning, meanings_of
from agentrt.policy.study.trust import misplaced_trust

__all__ = ["study"]


def study(
    files: Sequence[RulesFile],
    bindings: Bindings,
    tools: Sequence[ToolLike],
    *,
    today: date | None = None,
) -> Iterator[PolicyProblem]:
    """Problems of rules that fit their tools. `today` is what `review_by` is held against."""
    of_tools = {tool.name: meanings_of(tool, bindings) for tool in tools}
    covering = {name: Covering(meanings) for name, meanings in of_tools.items()}
    entries = {entry.data.get("id"): entry for file in files for entry in file.entries}
    places = {
        str(rule): f"{entry.source.file}:{entry.source.line_of(entry.path)}"
        for rule, entry in entries.items()
    }
    by_rule = _by_rule(of_tools)
    for rule in (rule for file in files for rule in file.rules):
        findings = [*_overdue(rule, today or date.today()), *misplaced_trust(rule)]
        if meanings := by_rule.get(rule.id):
            findings += _of_meanings(meanings, covering, places)
        yield from (finding.problem(entries[rule.id]) for finding in findings)


def _by_rule(of_tools: Mapping[str, Sequence[Meaning]]) -> dict[str, list[Meaning]]:
    found: dict[str, list[Meaning]] = {}
    for meanings in of_tools.values():
        for meaning in meanings:
            found.setdefault(meaning.rule.id, []).append(meaning)
    return found


def _of_meanings(
    meanings: Sequence[Meaning], covering: Mapping[str, Covering], places: Mapping[str, str]
) -> list[Finding]:
    """What is first wrong with the rule; the rest would follow from it."""
    return [*impossible(meanings)] or [*settled(meanings), *idle(meanings, covering, places)]


def _overdue(rule: Rule, today: date) -> Iterator[Finding]:
    # A warning: what runs must not stop at midnight.
    if rule.review_by is not None and rule.review_by < today:
        message = f"{rule.review_by} is past: review the rule, and set the day of the next review"
        yield Finding(message, ("review_by",), level="warning")
