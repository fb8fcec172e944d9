"""Standing: how far the index has read, and how many records wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from agentrt.audit.index.tables import FORMAT, entry, has_index, mark, stale
from agentrt.audit.tables import EventRow, StoreRow, columns

__all__ = ["Standing", "standing"]

_event, _store = columns(EventRow), columns(StoreRow)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the index stands to the records."""

    exists: bool
    """Whether there is one, of this store and of this version of agentrt."""
    pos: int
    """The place of arrival up to which the records were read."""
    newest: int
    """The place of the newest record."""
    entries: int = 0
    stale: int = 0
    """Runs that have to be read again, since content of theirs was deleted."""

    @property
    def current(self) -> bool:
        """Whether nothing waits to be read."""
        return self.exists and self.pos == self.newest and not self.stale

    @property
    def behind(self) -> int:
        """Records that it does not know yet, at most."""
        return self.newest - self.pos


def standing(connection: Connection) -> Standing:
    """How the index of this store stands."""
    newest = connection.execute(select(func.max(_event.pos))).scalar() or 0
    if not has_index(connection):
        return Standing(False, 0, newest)
    row = connection.execute(select(mark.c.format, mark.c.store, mark.c.pos)).first()
    store = connection.execute(select(_store.id)).scalar()
    # Fewer records than were read: another file took this one's place.
    if row is None or (row.format, row.store) != (FORMAT, store) or row.pos > newest:
        return Standing(False, 0, newest)
    entries = connection.execute(select(func.max(entry.c.n))).scalar() or 0
    waiting = connection.execute(select(func.count()).select_from(stale)).scalar() or 0
    return Standing(True, row.pos, newest, entries, waiting)
