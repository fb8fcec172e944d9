"""A collection: what calls gave, without what was taken back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentrt.run.replacing import replace
from agentrt.run.state import Trail

__all__ = ["Collected"]


@dataclass(frozen=True)
class Collected:
    """Items in the order in which they came, each with its time."""

    entries: Trail[tuple[int, Any]] = field(default_factory=Trail)
    """Times never go back."""
    taken_back: Mapping[tuple[int, Any], int] = field(default_factory=dict)
    """How many of an item that was added at a time were taken back."""

    def plus(self, item: Any, *, at: int) -> Collected:
        """The collection with one more item."""
        return replace(self, entries=self.entries.plus((at, item)))

    def minus(self, item: Any, *, added_at: int, at: int) -> Collected:
        """The collection without an item that was added at that time."""
        entry = (added_at, item)
        count = self.taken_back.get(entry, 0) + 1
        return replace(self, taken_back={**self.taken_back, entry: count})

    def since(self, moment: int | None, *, also: Iterable[Any] = ()) -> list[Any]:
        """The distinct items that came after `moment` (milliseconds), None meaning ever."""
        return list(dict.fromkeys([*self._kept(moment), *also]))

    def _kept(self, moment: int | None) -> Iterable[Any]:
        start = 0
        if moment is not None:
            start = bisect_right(self.entries, moment, key=lambda entry: entry[0])
        gone = dict(self.taken_back)
        for entry in self.entries.since(start):
            if gone.get(entry):
                gone[entry] -= 1
            else:
                yield entry[1]
