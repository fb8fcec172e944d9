"""Tallies: one for each name that is counted apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentrt.policy.facts.tally import Amount, Tally, added

__all__ = ["Named", "Tallies"]

Named = tuple[str, Amount]
"""An amount, and the name that it counts for."""


@dataclass(frozen=True)
class Tallies:
    """A tally for each name that is counted apart."""

    tallies: Mapping[str, Tally] = field(default_factory=dict)

    def plus(self, item: Named, *, at: int) -> Tallies:
        """With one more amount for a name."""
        name, amount = item
        return self._with(name, self.tallies.get(name, Tally()).plus(amount, at=at))

    def minus(self, item: Named, *, added_at: int, at: int) -> Tallies:
        """Without an amount that was added."""
        name, amount = item
        return self._with(name, self.tallies[name].minus(amount, added_at=added_at, at=at))

    def _with(self, name: str, tally: Tally) -> Tallies:
        return Tallies({**self.tallies, name: tally})

    def since(self, moment: int | None, *, also: Iterable[Named] = ()) -> dict[str, Amount]:
        """What each name adds up to after `moment` (milliseconds), None meaning ever."""
        sums = {name: tally.since(moment) for name, tally in self.tallies.items()}
        for name, amount in also:
            sums[name] = added(sums.get(name, 0), amount)
        return {name: sums[name] for name in sorted(sums) if sums[name]}
