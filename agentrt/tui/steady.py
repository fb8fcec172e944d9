"""A list that never moves under its cursor: newer rows wait above until they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

__all__ = ["Row", "Steady"]


class Row(Protocol):
    """What has an id of its own."""

    id: str


R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Steady(Generic[R]):
    """Rows as they are on the screen. The cursor is bound to an id, never to a place."""

    rows: tuple[R, ...] = ()
    newer: tuple[R, ...] = ()
    """What has come and belongs above the cursor, or cannot be placed below it."""
    gone: frozenset[str] = frozenset()
    """Rows that are still drawn though they left the list: they say what became of them."""
    selected: str | None = None

    @property
    def row(self) -> R | None:
        """The row under the cursor."""
        return next((row for row in self.rows if row.id == self.selected), None)

    def updated(self, current: Sequence[R]) -> Steady[R]:
        """The same with what the list holds now, in the list's order."""
        place = self._place()
        if place is None:
            first = current[0].id if current else None
            return Steady(rows=tuple(current), selected=first)
        now = {row.id: row for row in current}
        above = tuple(now.get(row.id, row) for row in self.rows[: place + 1])
        below, newer = _parted(
            current,
            above={row.id for row in above},
            below={row.id for row in self.rows[place + 1 :]},
            selected=self.selected,
        )
        gone = frozenset(row.id for row in above if row.id not in now)
        return replace(self, rows=(*above, *below), newer=newer, gone=gone)

    def merged(self, current: Sequence[R]) -> Steady[R]:
        """All that the list holds now in its own order; the cursor stays with its row."""
        kept = next((row.id for row in current if row.id == self.selected), None)
        first = current[0].id if current else None
        return Steady(rows=tuple(current), selected=kept or first)

    def moved(self, to: str) -> Steady[R]:
        """With the cursor on another row; what is gone is dropped, the cursor apart."""
        rows = tuple(row for row in self.rows if row.id not in self.gone or row.id == to)
        return replace(self, rows=rows, gone=self.gone & {to}, selected=to)

    def _place(self) -> int | None:
        return next((at for at, row in enumerate(self.rows) if row.id == self.selected), None)


def _parted(
    current: Sequence[R], *, above: set[str], below: set[str], selected: str | None
) -> tuple[tuple[R, ...], tuple[R, ...]]:
    """What is drawn below the cursor, and what waits: new rows before anything drawn there."""
    under: list[R] = []
    waiting: list[R] = []
    passed = False
    for row in current:
        passed = passed or row.id == selected or row.id in below
        if row.id not in above:
            (under if passed else waiting).append(row)
    return tuple(under), tuple(waiting)
