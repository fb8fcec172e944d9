"""The database that a store stands on: a SQLite file, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from agentrt.audit.processes import Processes
from agentrt.audit.schema import FAILURES
from agentrt.errors import StoreError

__all__ = [
    "Database",
    "Pulse",
    "is_url",
    "new_database",
    "open_database",
    "opening",
    "raw_database",
]

_SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")


class Pulse(Protocol):
    """A cheap look at a database, for whoever looks many times a second."""

    @property
    def connection(self) -> Connection:
        """Its own, to look with."""

    def changed(self) -> bool:
        """Whether another connection, of any process, has written since the last time."""

    def close(self) -> None:
        """Let the connection go."""


class Database(Protocol):
    """What the two databases do each in its own way."""

    @property
    def engine(self) -> Engine:
        """Connections."""

    @property
    def writing(self) -> Engine:
        """The same for transactions that write."""

    @property
    def location(self) -> str:
        """Where it is, in words that hold no password."""

    @property
    def processes(self) -> Processes:
        """Who works on it."""

    def close(self) -> None:
        """Let it go."""

    def connect(self) -> Connection:
        """A connection to read with, which sees the store as it was when it first looked.

        A server that is away for a moment is waited for.
        """

    def turn(self) -> AbstractContextManager[None]:
        """The turn to write, for as long as a transaction takes."""

    def begin(self, connection: Connection, *, runs: Collection[str], alone: bool) -> None:
        """Take the locks of a transaction that appends to `runs`, in one order for all.

        With `alone` it sees everything that was committed, and nobody else appends until it ends.
        """

    def settled(self, connection: Connection) -> int | None:
        """The last place of arrival before which no record can appear any more; None: each is."""

    def is_passing(self, error: Exception) -> bool:
        """Whether the same may work again in a moment, on a new connection."""

    def problem(self, error: Exception) -> StoreError:
        """What a failure means for the store, with what to do."""

    def pulse(self) -> Pulse:
        """Something that says when others have written."""

    def purge(self) -> str:
        """Let nothing of what was deleted stay behind, as far as it can; what it reached."""

    def damage(self, connection: Connection) -> Iterator[str]:
        """What the database finds wrong with its own files."""


@contextmanager
def opening(database: Database) -> Iterator[None]:
    """Let the database go when it cannot be opened, and say what that means."""
    try:
        yield
    except FAILURES as error:
        database.close()
        raise database.problem(error) from error
    except StoreError:
        database.close()
        raise


def is_url(location: str | Path) -> bool:
    """Whether this is the URL of a PostgreSQL database, and not the path of a file."""
    return isinstance(location, str) and location.startswith(_SCHEMES)


def open_database(location: str | Path, *, create: bool, read_only: bool = False) -> Database:
    """The database, its tables made when `create` and there are none.

    Raises StoreUnavailable, StoreTooOld, StoreTooNew, StoreCorrupt or SQLiteTooOld, each saying
    what to do.
    """
    if is_url(location):
        from agentrt.audit.postgres import open_postgres

        return open_postgres(str(location), create=create, read_only=read_only)
    from agentrt.audit.sqlite import open_sqlite

    return open_sqlite(Path(location), create=create, read_only=read_only)


def raw_database(location: str | Path) -> Database:
    """The database of a store whatever its revision: for whoever migrates or copies it.

    Raises StoreUnavailable or StoreCorrupt when there is none.
    """
    if is_url(location):
        from agentrt.audit.postgres import existing_postgres

        return existing_postgres(str(location))
    from agentrt.audit.sqlite import existing_sqlite

    return existing_sqlite(Path(location))


def new_database(location: str | Path, row: Mapping[str, Any]) -> Database:
    """An empty store that is to become the copy of the one that `row` describes.

    Raises StoreUnavailable, or StoreCorrupt when there is something already.
    """
    if is_url(location):
        from agentrt.audit.postgres import new_postgres

        return new_postgres(str(location), row)
    from agentrt.audit.sqlite import new_sqlite

    return new_sqlite(Path(location), row)
