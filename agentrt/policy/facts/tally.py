"""A tally: the calls that count, and what they add up to since a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from agentrt.run.replacing import replace
from agentrt.run.state import Trail

__all__ = ["Amount", "Tally"]

Amount = int | Decimal


@dataclass(frozen=True)
class Tally:
    """Amounts in the order in which they came, summed over any time up to now.

    Each entry keeps the sum of all before it, so that the sum since a moment is one
    subtraction, however many there are. What is taken back is rare (people reject it) and is
    looked through. Amounts are whole numbers or decimals: sums of them are exact.
    """

    added: Trail[tuple[int, Amount]] = field(default_factory=Trail)
    """Time of each entry, never going back, and the sum up to and with it."""
    taken_back: Trail[tuple[int, int, Amount]] = field(default_factory=Trail)
    """When something was taken back, when it had been added, and how much it was."""
    open: Mapping[str, tuple[int, Amount]] = field(default_factory=dict)
    """What may still be taken back, by call."""
    latest: int = 0
    total: Amount = 0

    def plus(self, call: str, amount: Amount, *, at: int) -> Tally:
        """The tally with the call in it, instead of what it counted for before."""
        before = self.minus(call, at=at)
        at = max(at, before.latest)
        total = before.total + amount
        return replace(
            before,
            added=before.added.plus((at, total)),
            open={**before.open, call: (at, amount)},
            latest=at,
            total=total,
        )

    def minus(self, call: str, *, at: int) -> Tally:
        """The tally as if the call had not been counted."""
        if call not in self.open:
            return self
        added_at, amount = self.open[call]
        return replace(
            self,
            taken_back=self.taken_back.plus((max(at, self.latest), added_at, amount)),
            open={other: entry for other, entry in self.open.items() if other != call},
        )

    def settled(self, call: str) -> Tally:
        """The tally in which the call counts for good."""
        if call not in self.open:
            return self
        left = {other: entry for other, entry in self.open.items() if other != call}
        return replace(self, open=left)

    def since(self, moment: int | None) -> Amount:
        """The sum of what was added after `moment` (milliseconds), None meaning ever."""
        before = self._total_at(moment) if moment is not None else 0
        back = sum(
            amount
            for _, added_at, amount in self._taken_back_since(moment)
            if moment is None or added_at > moment
        )
        return self.total - before - back

    def _total_at(self, moment: int) -> Amount:
        index = bisect_right(self.added, moment, key=lambda entry: entry[0])
        return self.added[index - 1][1] if index else 0

    def _taken_back_since(self, moment: int | None) -> list[tuple[int, int, Amount]]:
        if moment is None:
            return self.taken_back.since(0)
        start = bisect_right(self.taken_back, moment, key=lambda entry: entry[0])
        return self.taken_back.since(start)
