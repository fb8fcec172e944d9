"""What a bundle's rules need to know: the folds that have to be kept for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agentrt.policy.bindings import Bindings
from agentrt.policy.bound import Bound, expressions
from agentrt.policy.facts import DecidedCall, Fact, Facts
from agentrt.policy.known import RESULTS, SAID, TRUSTED
from agentrt.policy.limits import limit_fact
from agentrt.policy.origins import origin_facts
from agentrt.policy.rules import Rule
from agentrt.policy.tools_file import RaisedTool
from agentrt.policy.vocabulary import Vocabulary

__all__ = ["Needs", "needs_of"]


WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Needs:
    """The folds over one run, over all runs of one user, and over everything."""

    run: Facts
    user: Facts
    everyone: Facts

    @property
    def origins(self) -> bool:
        """Whether values are looked up in texts, which may be long."""
        return any(name in self.run for name in (SAID, RESULTS, TRUSTED))

    @property
    def across_runs(self) -> bool:
        """Whether a decision depends on what happens in other runs."""
        return bool(self.user.all or self.everyone.all)


def needs_of(rules: Sequence[Rule], bindings: Bindings, vocabulary: Vocabulary) -> Needs:
    """The folds that `rules` may read.

    Judged by the words of their expressions, so that nothing has to be bound for it; a fold too
    many costs a little, and one too few would make a rule fail.
    """
    words = {word for rule in rules for _, text in expressions(rule) for word in WORD.findall(text)}
    facts = [fact for fact in vocabulary.facts if fact.short_name in words]
    limits = [rule for rule in rules if rule.limit is not None]
    return Needs(
        run=Facts(
            [
                *_of_scope(facts, "run"),
                *origin_facts(words),
                *_limits(limits, bindings, "run"),
            ]
        ),
        user=Facts([*_of_scope(facts, "user"), *_limits(limits, bindings, "user")]),
        everyone=Facts(_limits(limits, bindings, "everyone")),
    )


def _of_scope(facts: Iterable[Fact], scope: str) -> Iterator[Fact]:
    return (fact for fact in facts if fact.scope == scope)


def _limits(rules: Iterable[Rule], bindings: Bindings, scope: str) -> Iterator[Fact]:
    return (_limit(rule, bindings) for rule in rules if _scope(rule) == scope)


def _scope(rule: Rule) -> str:
    per = rule.limit.per if rule.limit else ()
    return "run" if "run" in per else "user" if "user" in per else "everyone"


def _limit(rule: Rule, bindings: Bindings) -> Fact:
    schemas = {tool.name: tool.input_schema for tool in bindings.tools}

    def bound_for(call: DecidedCall) -> Bound | None:
        schema = schemas.get(call.tool, {})
        tool = RaisedTool(call.tool, call.effect, frozenset(call.labels), schema)
        return next((bound for bound in bindings.of(tool) if bound.rule.id == rule.id), None)

    return limit_fact(rule, bound_for)
