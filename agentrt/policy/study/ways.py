"""The ways to meet a condition: each is atoms that must all be met.

A condition comes to true, false or nothing (it fails, or is not known yet). `&&` is the least
of its parts and `||` the greatest, with nothing between false and true; for these the laws of
De Morgan and of distribution hold, so the ways come to exactly what the condition comes to.
`?:` is no such thing (it fails with its test, whatever the sides are), so it stays one atom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

from agentrt.policy.cel import Checked, Expr
from agentrt.policy.cel.syntax import And, Not, Or
from agentrt.policy.study.atoms import Atom, Reading
from agentrt.policy.study.terms import Term, Terms
from agentrt.policy.study.values import Values, both, nothing

__all__ = ["ALWAYS", "Condition", "Way", "read_condition"]

_WAYS_MAX = 32
"""What would make more ways than that is not looked into."""


@dataclass(frozen=True)
class Way:
    """One way to meet a condition."""

    atoms: tuple[Atom, ...] = ()

    @cached_property
    def values(self) -> Mapping[Term, Values]:
        """What each term can be where all atoms are met."""
        return _values(self.atoms)

    @cached_property
    def free_values(self) -> Mapping[Term, Values]:
        """The same, going only by atoms that no other can keep from being evaluated."""
        return _values(atom for atom in self.atoms if atom.is_free)

    @cached_property
    def is_open(self) -> bool:
        """Whether it may be met: no term is without a value."""
        return not any(map(nothing, self.values.values()))


def _values(atoms: Iterable[Atom]) -> dict[Term, Values]:
    found: dict[Term, Values] = {}
    for atom in atoms:
        term = atom.term
        found[term] = both(found.get(term, term.domain.values), atom.values)
    return found


@dataclass(frozen=True)
class Condition:
    """All ways to meet it, and the atoms as they stand in the text."""

    ways: tuple[Way, ...]
    atoms: tuple[Atom, ...] = ()

    @cached_property
    def can_be_met(self) -> bool:
        """False: certainly no values meet it."""
        return any(way.is_open for way in self.ways)

    @cached_property
    def may_tire(self) -> bool:
        """Whether a part may use up the steps that another part needs."""
        return sum(not atom.is_free for atom in self.atoms) > 1


ALWAYS = Condition((Way(),))
"""The condition of a rule without one."""


def read_condition(checked: Checked, terms: Terms) -> Condition:
    """The ways to meet a condition that was typed for the tool of these terms."""
    unfolding = _Unfolding(Reading(checked, terms))
    ways = unfolding.ways(checked.expr, positive=True)
    return Condition(tuple(Way(atoms) for atoms in ways), tuple(unfolding.atoms))


_Ways = Sequence[tuple[Atom, ...]]


class _Unfolding:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.atoms: list[Atom] = []

    def ways(self, expr: Expr, *, positive: bool) -> _Ways:
        """The ways in which the part is true, or false."""
        match expr:
            case Not():
                return self.ways(expr.of, positive=not positive)
            case And() | Or():
                each = [self.ways(part, positive=positive) for part in expr.parts]
                together = isinstance(expr, And) is positive
                ways = self._all(expr.parts, each, positive) if together else _any(each)
                return ways if len(ways) <= _WAYS_MAX else self._whole(expr, positive)
        atom = self._reading.atom(expr, positive=positive)
        self.atoms.append(atom)
        return [(atom,)]

    def _all(self, parts: Sequence[Expr], each: Iterable[_Ways], positive: bool) -> _Ways:
        ways: _Ways = [()]
        for part, found in zip(parts, each, strict=True):
            fits = len(ways) * len(found) <= _WAYS_MAX
            more = found if fits else self._whole(part, positive)
            ways = [one + other for one in ways for other in more]
        return ways

    def _whole(self, expr: Expr, positive: bool) -> _Ways:
        atom = self._reading.whole(expr, positive=positive)
        self.atoms.append(atom)
        return [(atom,)]


def _any(each: Iterable[_Ways]) -> _Ways:
    return reduce(lambda one, other: [*one, *other], each)
