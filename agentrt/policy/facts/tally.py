"""A tally: amounts, and what they add up to since a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import reduce
from operator import itemgetter

from agentrt.run.replacing import replace
from agentrt.run.state import Trail

__all__ = ["Amount", "Tally", "added"]

Amount = int | Decimal

_FIRST = itemgetter(0)

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
    """Of all that was added, taken back or not."""
    left: Amount = 0
    """Of all that was not taken back."""

    def plus(self, amount: Amount, *, at: int) -> Tally:
        """The tally with one more amount."""
        at, total = max(at, self.latest), added(self.total, amount)
        entries, left = self.entries.plus((at, total)), added(self.left, amount)
        return replace(self, entries=entries, latest=at, total=total, left=left)

    def minus(self, amount: Amount, *, added_at: int, at: int) -> Tally:
        """The tally as if an amount that was added at that time had not been."""
        entry = (max(at, self.latest), added_at, amount)
        left = _subtracted(self.left, amount)
        return replace(self, taken_back=self.taken_back.plus(entry), left=left)

    def since(self, moment: int | None, *, also: Iterable[Amount] = ()) -> Amount:
        """The sum of what was added after `moment` (milliseconds), None meaning ever."""
        if moment is None:
            return reduce(added, also, self.left)
        less = reduce(added, self._taken_back_since(moment), self._total_at(moment))
        return _subtracted(reduce(added, also, self.total), less)

    def _total_at(self, moment: int) -> Amount:
        index = bisect_right(self.entries, moment, key=_FIRST)
        return self.entries[index - 1][1] if index else 0

    def _taken_back_since(self, moment: int) -> Sequence[Amount]:
        """What is in the sum and was taken back: it was so after it had been added."""
        if not self.taken_back:
            return ()
        start = bisect_right(self.taken_back, moment, key=_FIRST)
        later = self.taken_back.since(start)
        return [amount for _, added_at, amount in later if added_at > moment]
