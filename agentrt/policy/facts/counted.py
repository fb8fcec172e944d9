"""The calls that count: each reserves when policy lets it pass, and has spent once it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Protocol, Self, TypeVar

from agentrt.run.replacing import replace

__all__ = ["Counted", "Total"]

T = TypeVar("T")


class Total(Protocol):
    """What items come to that were added at different times. A value."""

    def plus(self, item: Any, *, at: int) -> Self:
        """The total with one more item; times never go back."""

    def minus(self, item: Any, *, added_at: int, at: int) -> Self:
        """The total without an item that was added."""

    def since(self, moment: int | None, *, also: Iterable[Any]) -> Any:
        """What came after `moment` (milliseconds, None meaning ever), and the items `also`."""


@dataclass(frozen=True, slots=True)
class _Reserved:
    run: str
    at: int
    item: Any


@dataclass(frozen=True)
class Counted:
    """Calls and what each counts for.

    A call reserves from its decision on, so that those that are decided after it count it. When
    it starts it has spent, as of then: what was asked for hours ago and approved just now is done
    now.
    """

    total: Any
    """What was spent, a Total."""
    reserved: Mapping[str, _Reserved] = field(default_factory=dict)
    """Calls that have not started, in the order of their decisions."""
    begun: Mapping[str, tuple[int, Any]] = field(default_factory=dict)
    """Calls that have started and may yet turn out not to have happened: time and item."""
    latest: int = 0
    """The time never goes back here: what a clock that is behind writes counts longer."""

    def reserve(self, call: str, item: Any, *, run: str, at: int) -> Counted:
        """With a call that may run, instead of what it counted for before."""
        before = self.take_back(call, at=at)
        at = max(at, before.latest)
        reserved = {**before.reserved, call: _Reserved(run, at, item)}
        return replace(before, reserved=reserved, latest=at)

    def start(self, call: str, *, at: int) -> Counted:
        """With what the call reserved spent at this time."""
        if call not in self.reserved:
            return self
        item, at = self.reserved[call].item, max(at, self.latest)
        return replace(
            self,
            total=self.total.plus(item, at=at),
            reserved=_without(self.reserved, call),
            begun={**self.begun, call: (at, item)},
            latest=at,
        )

    def settle(self, call: str) -> Counted:
        """With the call counted for good: it happened."""
        started = self.start(call, at=self.latest)
        return replace(started, begun=_without(started.begun, call))

    def take_back(self, call: str, *, at: int) -> Counted:
        """As if the call had been refused."""
        if call in self.reserved:
            return replace(self, reserved=_without(self.reserved, call))
        if call not in self.begun:
            return self
        begun_at, item = self.begun[call]
        at = max(at, self.latest)
        total = self.total.minus(item, added_at=begun_at, at=at)
        return replace(self, total=total, begun=_without(self.begun, call), latest=at)

    def end(self, run: str) -> Counted:
        """Without the calls of a run that is over: what has not started never will."""
        left = {call: held for call, held in self.reserved.items() if held.run != run}
        return replace(self, reserved=left)

    def before(self, call: str) -> Counted:
        """As the call is judged by when it starts: without it, and what was reserved after it.

        Those that came later were judged by this one. Would it be judged by them as well, of two
        calls that do not both fit neither could run.
        """
        if call not in self.reserved:
            return self.take_back(call, at=self.latest)
        earlier = takewhile(lambda entry: entry[0] != call, self.reserved.items())
        return replace(self, reserved=dict(earlier))

    def since(self, moment: int | None) -> Any:
        """What was spent or reserved after `moment` (milliseconds), None meaning ever."""
        reserved = self.reserved.values()
        also = [held.item for held in reserved if moment is None or held.at > moment]
        return self.total.since(moment, also=also)


def _without(entries: Mapping[str, T], call: str) -> Mapping[str, T]:
    if call not in entries:
        return entries
    return {other: entry for other, entry in entries.items() if other != call}
