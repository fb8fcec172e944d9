"""A collection: what calls gave, without what was taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentrt.run.replacing import replace
from agentrt.run.state import Trail

__all__ = ["Collected"]


@dataclass(frozen=True)
class Collected:
    """Items in the order in which they came, each with its call and time."""

    added: Trail[tuple[int, str, int, Any]] = field(default_factory=Trail)
    """Number, call, time and item of each."""
    gone: frozenset[int] = frozenset()
    """The numbers of what was taken back."""
    open: Mapping[str, int] = field(default_factory=dict)
    """The number of what may still be taken back, by call."""

    def plus(self, call: str, item: Any, *, at: int) -> Collected:
        """The collection with the call's item in it, instead of what it gave before."""
        before = self.minus(call, at=at)
        number = len(before.added)
        added = before.added.plus((number, call, at, item))
        return replace(before, added=added, open={**before.open, call: number})

    def minus(self, call: str, *, at: int) -> Collected:
        """The collection as if the call had given nothing."""
        if call not in self.open:
            return self
        return replace(self.settled(call), gone=self.gone | {self.open[call]})

    def settled(self, call: str) -> Collected:
        """The collection in which the call's item stays for good."""
        left = {other: number for other, number in self.open.items() if other != call}
        return replace(self, open=left)

    def items_since(self, moment: int | None) -> list[Any]:
        """The distinct items that came after `moment` (milliseconds), None meaning ever."""
        kept = (
            item
            for number, _, at, item in self.added
            if number not in self.gone and (moment is None or at > moment)
        )
        return list(dict.fromkeys(kept))
