"""What repeated measurements say together: a median, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Spread", "ratio"]


@dataclass(frozen=True)
class Spread:
    """The median, and the quartiles on both sides of it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def shown(self, digits: int = 1) -> str:
        """As in `3.1 (2.9 to 3.4)`."""
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        return f"{self.median:.{digits}f} ({low} to {high})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Each measurement over the one that was taken just before it: load comes and goes."""
    return Spread.of(a / b for a, b in zip(ours, theirs, strict=True))
