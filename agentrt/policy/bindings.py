"""The rules of a bundle by the tool they speak of, each bound to it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agentrt.policy.bound import Bound, Mistake, bind
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.rules import Rule, ToolLike
from agentrt.policy.rules_file import Entry, RulesFile
from agentrt.policy.vocabulary import Vocabulary

__all__ = ["Bindings", "mistakes_in"]


class Bindings:
    """Which rules cover a tool, found without looking at the others.

    A rule is bound to a tool when the tool is first asked for; loading a bundle asks for all.
    """

    def __init__(
        self, rules: Sequence[Rule], vocabulary: Vocabulary, tools: Sequence[ToolLike] = ()
    ) -> None:
        self._rules = rules
        self._vocabulary = vocabulary
        self._tools = tuple(tools)
        self._bound: dict[Any, tuple[Bound, ...]] = {}
        self._beside: dict[str, tuple[ToolLike, ...]] = {}

    @property
    def tools(self) -> tuple[ToolLike, ...]:
        """The tools that the bundle was loaded with, as it sees them."""
        return self._tools

    def of(self, tool: ToolLike) -> tuple[Bound, ...]:
        """The rules that cover the tool, those that decide first at the front."""
        key = (tool.name, tool.effect, tool.labels)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._bind(tool)
        return bound

    def _bind(self, tool: ToolLike) -> tuple[Bound, ...]:
        covering = (rule for rule in self._rules if rule.covers(tool))
        bound = (
            bind(rule, tool, self._vocabulary, beside=self._covered_by(rule)) for rule in covering
        )
        return tuple(sorted(bound, key=lambda one: one.rank))

    def _covered_by(self, rule: Rule) -> tuple[ToolLike, ...]:
        if rule.id not in self._beside:
            self._beside[rule.id] = tuple(tool for tool in self._tools if rule.covers(tool))
        return self._beside[rule.id]


def mistakes_in(
    files: Sequence[RulesFile], bindings: Bindings, tools: Sequence[ToolLike]
) -> Iterator[PolicyProblem]:
    """What the types of the tools say against the rules, each mistake once."""
    found: dict[tuple[str, Mistake], list[str]] = {}
    covered: dict[str, int] = {}
    for tool in tools:
        for bound in bindings.of(tool):
            covered[bound.rule.id] = covered.get(bound.rule.id, 0) + 1
            for mistake in bound.mistakes:
                found.setdefault((bound.rule.id, mistake), []).append(tool.name)
    entries = {entry.data.get("id"): entry for file in files for entry in file.entries}
    for (rule, mistake), names in found.items():
        everywhere = len(names) == covered[rule]
        yield _problem(entries[rule], mistake, () if everywhere else names)


def _problem(entry: Entry, mistake: Mistake, tools: Sequence[str]) -> PolicyProblem:
    if not tools:
        return entry.problem(mistake)
    message = f"{mistake.message} (of {', '.join(tools)})"
    return entry.problem(Mistake(mistake.path, message, mistake.start, mistake.end))
