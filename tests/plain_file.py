"""A database of one's own: a SQLite file with a rollback journal, as a third kind of store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect

from agentrt.audit.processes import LocalProcesses
from agentrt.audit.schema import make_tables
from agentrt.audit.sqlite import protect, sqlite_module
from agentrt.errors import Conflict, StoreError, StoreUnavailable

__all__ = ["PlainFile"]


class PlainFile:
    """Readers and the writer take turns, which SQLite sees to by itself."""

    def __init__(self, path: Path) -> None:
        self.location = f"plain:{path}"
        self.engine = create_engine(
            f"sqlite:///{path}", module=sqlite_module(), connect_args={"timeout": 60}
        )
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)
        self.writing = self.engine.execution_options(immediate=True)
        self.processes = LocalProcesses(path.with_name("processes"))
        with self.writing.begin() as connection:
            if not inspect(connection).get_table_names():
                make_tables(connection, protect=protect)

    def close(self) -> None:
        self.processes.close()
        self.engine.dispose()

    def connect(self) -> Connection:
        return self.engine.connect()

    @contextmanager
    def turn(self) -> Iterator[None]:
        yield

    def begin(self, connection: Connection, *, runs: Collection[str], alone: bool) -> None:
        """BEGIN IMMEDIATE lets one writer in."""

    def settled(self, connection: Connection) -> int | None:
        return None

    def is_passing(self, error: Exception) -> bool:
        return "locked" in str(error)

    def problem(self, error: Exception) -> StoreError:
        if "UNIQUE constraint failed: event.run, event.seq" in str(error):
            return Conflict()
        return StoreUnavailable(f"{self.location} cannot be used: {error}")

    def pulse(self) -> _Pulse:
        return _Pulse(self.engine.connect())

    def damage(self, connection: Connection) -> Iterator[str]:
        yield from ()


class _Pulse:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._seen = self._version()

    def changed(self) -> bool:
        before, self._seen = self._seen, self._version()
        return before != self._seen

    def close(self) -> None:
        self.connection.close()

    def _version(self) -> int:
        version = int(self.connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        self.connection.rollback()
        return version


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours
    for pragma in ("journal_mode=DELETE", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
