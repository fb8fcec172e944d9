"""A tally: amounts, and what they add up to since a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import reduce

from agentrt.run.replacing import replace
from agentrt.run.state import Trail

__all__ = ["Amount", "Tally", "added"]

Amount = int | Decimal

# As many digits as lie between the largest and the smallest double: rounded, a huge amount that
# is taken back again would take the small ones with it.
_EXACT = Context(prec=1_000, traps=[Inexact, InvalidOperation, Overflow])


def added(one: Amount, other: Amount) -> Amount:
    """The exact sum."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _EXACT.add(one, other)


def _subtracted(one: Amount, other: Amount) -> Amount:
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    return _EXACT.subtract(one, other)


@dataclass(frozen=True)
class Tally:
    """Amounts in the order in which they came, summed over any time up to now.

    Each entry keeps the sum of all before it, so that the sum since a moment is one
    subtraction, however many there are. What is taken back is rare (people find that it did not
    happen) and is looked through.
    """

    entries: Trail[tuple[int, Amount]] = field(default_factory=Trail)
    """Time of each, never going back, and the sum up to and with it."""
    taken_back: Trail[tuple[int, int, Amount]] = field(default_factory=Trail)
    """When something was taken back, when it had been added, and how much it was."""
    latest: int = 0
    total: Amount = 0

    def plus(self, amount: Amount, *, at: int) -> Tally:
        """The tally with one more amount."""
        at, total = max(at, self.latest), added(self.total, amount)
        return replace(self, entries=self.entries.plus((at, total)), latest=at, total=total)

    def minus(self, amount: Amount, *, added_at: int, at: int) -> Tally:
        """The tally as if an amount that was added at that time had not been."""
        entry = (max(at, self.latest), added_at, amount)
        return replace(self, taken_back=self.taken_back.plus(entry))

    def since(self, moment: int | None, *, also: Iterable[Amount] = ()) -> Amount:
        """The sum of what was added after `moment` (milliseconds), None meaning ever."""
        less = self._total_at(moment) if moment is not None else 0
        taken_back = (amount for _, _, amount in self._taken_back_since(moment))
        return _subtracted(reduce(added, also, self.total), reduce(added, taken_back, less))

    def _total_at(self, moment: int) -> Amount:
        index = bisect_right(self.entries, moment, key=lambda entry: entry[0])
        return self.entries[index - 1][1] if index else 0

    def _taken_back_since(self, moment: int | None) -> list[tuple[int, int, Amount]]:
        """What is in the sum and was taken back: it was so after it had been added."""
        if moment is None:
            return self.taken_back.since(0)
        start = bisect_right(self.taken_back, moment, key=lambda entry: entry[0])
        return [entry for entry in self.taken_back.since(start) if entry[1] > moment]
