"""A meaning: a rule as it speaks of one tool, and the ways to meet its condition there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from agentrt.policy.bindings import Bindings
from agentrt.policy.bound import Bound
from agentrt.policy.cel import Checked
from agentrt.policy.rules import Rule, ToolLike
from agentrt.policy.study.atoms import Atom
from agentrt.policy.study.terms import Terms, types_in
from agentrt.policy.study.ways import ALWAYS, Condition, Way, read_condition

__all__ = ["Meaning", "meanings_of"]


@dataclass(frozen=True, eq=False)
class Meaning:
    """A rule and a tool that it covers."""

    bound: Bound
    tool: ToolLike
    condition: Condition

    @property
    def rule(self) -> Rule:
        """The rule."""
        return self.bound.rule

    @cached_property
    def open_ways(self) -> tuple[Way, ...]:
        """The ways in which it may speak: a deny or hold rule does where a closed one fails."""
        ways = self.condition.ways
        if self.rule.decide != "allow":
            return ways
        return tuple(way for way in ways if way.is_open)

    @cached_property
    def needs(self) -> tuple[tuple[Atom, ...], ...]:
        """For each way, the atoms that must be met for it to speak.

        A deny or hold rule speaks where an atom fails that is never false. An allow rule has to
        be true, so where it may run out of steps a way counts only when it takes none.
        """
        ways = [way.atoms for way in self.condition.ways]
        if self.rule.decide != "allow":
            return tuple(tuple(atom for atom in way if not atom.is_always_met) for way in ways)
        tires = self.condition.may_tire
        return tuple(way for way in ways if not tires or all(atom.is_free for atom in way))

    @cached_property
    def wording(self) -> tuple[str, str] | None:
        """The condition and the types in it: with the same wording, the same always happens."""
        checked = _checked(self.bound)
        if checked is None or self.rule.when is None:
            return None
        return self.rule.when, types_in(checked.expr, checked)


def meanings_of(tool: ToolLike, bindings: Bindings) -> tuple[Meaning, ...]:
    """What the rules that cover the tool mean for it."""
    terms = Terms(tool)
    return tuple(Meaning(bound, tool, _condition(bound, terms)) for bound in bindings.of(tool))


def _condition(bound: Bound, terms: Terms) -> Condition:
    checked = _checked(bound)
    return ALWAYS if checked is None else read_condition(checked, terms)


def _checked(bound: Bound) -> Checked | None:
    return bound.checked.get(("when",))
