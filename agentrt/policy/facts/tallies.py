"""Tallies: one for each name that is counted apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentrt.policy.facts.tally import Amount, Tally

__all__ = ["Tallies"]


@dataclass(frozen=True)
class Tallies:
    """A tally for each name that is counted apart."""

    tallies: Mapping[str, Tally] = field(default_factory=dict)
    name_of: Mapping[str, str] = field(default_factory=dict)
    """Of the calls that may still be refused."""

    def plus(self, call: str, item: tuple[str, Amount], *, at: int) -> Tallies:
        """With a call that counts for `item`: a name and an amount."""
        before = self.minus(call, at=at)
        name, amount = item
        tally = before.tallies.get(name, Tally()).plus(call, amount, at=at)
        return Tallies({**before.tallies, name: tally}, {**before.name_of, call: name})

    def minus(self, call: str, *, at: int) -> Tallies:
        """As if the call had not been counted."""
        return self._changed(call, lambda tally: tally.minus(call, at=at))

    def settled(self, call: str) -> Tallies:
        """With the call counted for good."""
        return self._changed(call, lambda tally: tally.settled(call))

    def _changed(self, call: str, change: Callable[[Tally], Tally]) -> Tallies:
        if call not in self.name_of:
            return self
        name = self.name_of[call]
        left = {other: kept for other, kept in self.name_of.items() if other != call}
        return Tallies({**self.tallies, name: change(self.tallies[name])}, left)

    def since(self, moment: int | None) -> dict[str, Amount]:
        """What each name adds up to after `moment` (milliseconds), None meaning ever."""
        sums = {name: tally.since(moment) for name, tally in self.tallies.items()}
        return {name: total for name, total in sorted(sums.items()) if total}
