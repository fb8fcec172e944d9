"""Texts that are found by their keys, whatever their number."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Generic, TypeVar

from agentrt.policy.provenance.probe import Keyed, Probe

__all__ = ["Index"]

Form = TypeVar("Form")

# So many of the rarest keys say which texts are looked at.
_RAREST = 4


class Index(Generic[Form]):
    """Which of the texts have which keys. They only grow, and each is read when first needed."""

    def __init__(self, texts: Sequence[str], read: Callable[[str], Keyed[Form]]) -> None:
        self._texts = texts
        self._read = read
        self._forms: list[Form] = []
        self._having: dict[str, list[int]] = {}
        """For each key the numbers of the texts that have it, in rising order."""
        self._lock = Lock()

    def find(self, probes: Iterable[Probe[Form]], *, count: int) -> Iterator[int]:
        """The numbers of those of the first `count` texts that a probe fits, first to last."""
        self._grow(count)
        asked = [(probe, self._candidates(probe.keys, count)) for probe in probes]
        for number in sorted(set().union(*(numbers for _, numbers in asked))):
            form = self._forms[number]
            if any(number in numbers and probe.holds(form) for probe, numbers in asked):
                yield number

    def _grow(self, count: int) -> None:
        with self._lock:
            for number in range(len(self._forms), count):
                form, keys = self._read(self._texts[number])
                self._forms.append(form)
                for key in keys:
                    self._having.setdefault(key, []).append(number)

    def _candidates(self, keys: Iterable[str], count: int) -> set[int]:
        rarest, *others = sorted((self._having.get(key, []) for key in keys), key=len)[:_RAREST]
        return {
            number
            for number in rarest
            if number < count and all(_contains(other, number) for other in others)
        }


def _contains(rising: Sequence[int], number: int) -> bool:
    at = bisect_left(rising, number)
    return at < len(rising) and rising[at] == number
