"""The store in a SQLite file: opened with a SQLite that is safe for two processes, or not."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError

from agentrt.audit.database import opening
from agentrt.audit.processes import LocalProcesses
from agentrt.audit.schema import (
    APPEND_ONLY,
    check_revision,
    make_tables,
    no_store,
    table_name,
)
from agentrt.audit.tables import ContentRow
from agentrt.errors import SQLiteTooOld, StoreCorrupt, StoreError, StoreUnavailable

__all__ = ["SQLite", "open_sqlite", "sqlite_module"]

APPLICATION_ID = 0x61677274
"""Marks the file as an audit store: `agrt`, in the place that SQLite keeps for this."""

SAFE_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL file that two connections write and checkpoint."""

BUSY_TIMEOUT_S = 30

DAMAGE = ("not a database", "malformed", "decode", "no such table", "no such column")
"""Words of failures that only a damaged file has."""

REFUSE_CHANGE = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {VERB} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
"""Stops accidents and injected SQL; who owns the file can drop it, and the chain tells."""

REFUSE_REPLACE = """
CREATE TRIGGER IF NOT EXISTS event_replace BEFORE INSERT ON event
WHEN EXISTS (SELECT 1 FROM event WHERE pos = NEW.pos)
  OR EXISTS (
    SELECT 1 FROM event
    WHERE run = NEW.header ->> '$.run' AND seq = NEW.header ->> '$.seq')
BEGIN SELECT RAISE(ABORT, 'event is append-only'); END
"""
"""INSERT OR REPLACE deletes without firing delete triggers: it has to be stopped before."""

REFUSE_GAP = """
CREATE TRIGGER IF NOT EXISTS event_chain BEFORE INSERT ON event
WHEN NEW.header ->> '$.run' IS NULL
  OR json_type(NEW.header, '$.seq') IS NOT 'integer'
  OR NOT coalesce(NEW.header ->> '$.seq' = 1 AND NEW.header ->> '$.prev' = '', FALSE)
  AND NOT EXISTS (
    SELECT 1 FROM event
    WHERE run = NEW.header ->> '$.run' AND seq = (NEW.header ->> '$.seq') - 1
      AND lower(hex(hash)) = NEW.header ->> '$.prev')
BEGIN SELECT RAISE(ABORT, 'a record must name the hash of the one before it'); END
"""

REFUSE_OVERWRITE = (
    """
CREATE TRIGGER IF NOT EXISTS content_replace BEFORE INSERT ON content
WHEN EXISTS (
  SELECT 1 FROM content WHERE run = NEW.run AND seq = NEW.seq AND part = NEW.part)
BEGIN SELECT RAISE(ABORT, 'content is written once'); END
""",
    """
CREATE TRIGGER IF NOT EXISTS shared_replace BEFORE INSERT ON shared
WHEN EXISTS (SELECT 1 FROM shared WHERE digest = NEW.digest AND body IS NOT NEW.body)
BEGIN SELECT RAISE(ABORT, 'shared is append-only'); END
""",
    """
CREATE TRIGGER IF NOT EXISTS store_one BEFORE INSERT ON store
WHEN EXISTS (SELECT 1 FROM store)
BEGIN SELECT RAISE(ABORT, 'a store has one row'); END
""",
)


class SQLite:
    """A file, written by one connection at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.location = str(path)
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)),  # a path may hold what means more in a URL
            module=sqlite_module(),
            connect_args={"timeout": BUSY_TIMEOUT_S},
        )
        event.listen(self.engine, "connect", _set_pragmas_read_only if read_only else _set_pragmas)
        event.listen(self.engine, "begin", _begin)
        self.writing = self.engine.execution_options(immediate=True)
        self.processes = LocalProcesses(path.with_name(f"{path.name}-processes"))
        # SQLite's busy handler starves a writer for seconds; an flock is fair.
        self._turn: int | None = None

    def close(self) -> None:
        """Let the file go."""
        self.processes.close()
        self.engine.dispose()
        if self._turn is not None:
            os.close(self._turn)
            self._turn = None

    def connect(self) -> Connection:
        """A connection to read with."""
        return self.engine.connect()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The turn to write, which comes to everybody who waits for it."""
        if self._turn is None:
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
            self._turn = os.open(f"{self.path}-turn", flags, 0o600)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def begin(self, connection: Connection, *, runs: Collection[str], alone: bool) -> None:
        """The transaction holds the only write lock already."""

    def settled(self, _connection: Connection) -> int | None:
        """Places are given out in the order of the commits: every one that is seen is settled."""
        return None

    def is_passing(self, _error: Exception) -> bool:
        """A file does not go away for a moment."""
        return False

    def problem(self, error: Exception) -> StoreError:
        """What a failure (see FAILURES) means for the store, with what to do."""
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        if any(word in reason for word in DAMAGE):
            return StoreCorrupt(f"{self.path} is damaged ({reason}). Restore it from a backup.")
        hint = next(
            (text for word, text in HINTS.items() if word in reason), "Nothing was written."
        )
        return StoreUnavailable(f"The audit store {self.path} cannot be used: {reason}. {hint}")

    def pulse(self) -> FilePulse:
        """Something that says when another connection has written."""
        return FilePulse(self)

    def purge(self) -> str:
        """Write the file anew and empty its log: what was deleted is in neither.

        Raises StoreUnavailable when a reader holds on to the log for too long.
        """
        connection = self.engine.raw_connection()
        try:
            with self.turn():
                cursor = connection.cursor()
                cursor.execute("PRAGMA temp_store=MEMORY")  # no copy of it in a folder for all
                cursor.execute("VACUUM")
                busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.close()
        if busy:
            raise StoreUnavailable(
                f"The log of {self.path} could not be emptied: something reads the store all the "
                "time. What was erased is gone from the records and may still be in that log. End "
                "the reader, then repeat the command."
            )
        return "the file and its log hold nothing of it; copies and backups made before still do"

    def damage(self, connection: Connection) -> Iterator[str]:
        """Let SQLite compare its indexes with its tables: reads go through them."""
        for line in connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars():
            if line != "ok":
                yield line


HINTS = {
    "full": "Make room on the disk; nothing ran that is not recorded.",
    "readonly": "Make the file and its folder writable for this user.",
    "unable to open": "Make the folder, and make it writable for this user.",
    "locked": "Another program holds the file; close it and try again.",
    "I/O": "The disk does not answer as it should.",
}


class FilePulse:
    """Whether another connection, of any process, has written to the file."""

    def __init__(self, database: SQLite) -> None:
        self._path = database.path
        self._file = self._identity()
        self.connection = database.engine.connect()
        self._seen = self._version()

    def changed(self) -> bool:
        """Whether anything was written since the last time.

        Raises StoreUnavailable when the file is gone or another took its place: an open
        database goes on answering from what nobody else can see.
        """
        if self._identity() != self._file:
            raise StoreUnavailable(f"{self._path} was replaced by another file. Open it again.")
        version = self._version()
        changed, self._seen = version != self._seen, version
        return changed

    def close(self) -> None:
        """Let the connection go."""
        self.connection.close()

    def _identity(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise StoreUnavailable(
                f"There is no audit store at {self._path} any more: {error.strerror}."
            ) from error
        return found.st_dev, found.st_ino

    def _version(self) -> int:
        version: int = self.connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        self.connection.rollback()
        return version


def existing_sqlite(path: Path) -> SQLite:
    """The store at `path`, whatever its revision. Raises StoreUnavailable or StoreCorrupt."""
    if not path.exists():
        raise StoreUnavailable(f"There is no audit store at {path}. Run an agent first.")
    database = SQLite(path)
    with opening(database), database.connect() as connection:
        if not _is_store(connection):
            raise no_store(database.location)
    return database


def new_sqlite(path: Path, row: Mapping[str, Any]) -> SQLite:
    """An empty store at `path` for the copy of another. Raises StoreError when a file is there."""
    if path.exists():
        raise StoreCorrupt(f"{path} is there already: a copy is made where nothing is.")
    database = SQLite(path)
    with opening(database):
        _make(database, row)
        _use_wal(database)
    return database


def open_sqlite(path: Path, *, create: bool, read_only: bool) -> SQLite:
    """The store at `path`, its tables made when `create` and there are none.

    Raises StoreUnavailable, StoreTooOld, StoreTooNew, StoreCorrupt or SQLiteTooOld.
    """
    if not path.exists() and (read_only or not create):
        raise StoreUnavailable(f"There is no audit store at {path}. Run an agent first.")
    database = SQLite(path, read_only=read_only)
    with opening(database):
        if create and not read_only:
            _make(database)
        _check(database)
        if not read_only:
            _use_wal(database)
    return database


def sqlite_module() -> Any:
    """`pysqlite3` brings its own, current SQLite; the one of the interpreter is often too old.

    Raises SQLiteTooOld.
    """
    from pysqlite3 import dbapi2

    version = tuple(int(part) for part in dbapi2.sqlite_version.split("."))
    if version < SAFE_SQLITE:
        raise SQLiteTooOld(
            f"This is SQLite {dbapi2.sqlite_version}; before 3.51.3 it can corrupt a store that "
            "two processes write. Install a wheel of pysqlite3 0.6.1 or newer, which carries its "
            "own SQLite: pip install --only-binary :all: --upgrade pysqlite3"
        )
    return dbapi2


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "synchronous=FULL",  # NORMAL loses the last commits when the power fails
        "wal_autocheckpoint=4000",  # pages: hot ones are copied back once for many commits
        "secure_delete=ON",
        "recursive_triggers=ON",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _set_pragmas_read_only(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _make(database: SQLite, row: Mapping[str, Any] | None = None) -> None:
    with database.writing.begin() as connection:
        if _is_store(connection):
            return
        if inspect(connection).get_table_names():
            raise no_store(database.location)  # somebody else's: nothing of it is touched
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        make_tables(connection, protect=protect, row=row)


def protect(connection: Connection) -> None:
    """The triggers that keep what is recorded as it is."""
    for table in APPEND_ONLY:
        _refuse(connection, table_name(table), "update", "delete")
    _refuse(connection, table_name(ContentRow), "update")
    for trigger in (REFUSE_REPLACE, REFUSE_GAP, *REFUSE_OVERWRITE):
        connection.exec_driver_sql(trigger)


def _refuse(connection: Connection, table: str, *verbs: str) -> None:
    for verb in verbs:
        connection.exec_driver_sql(REFUSE_CHANGE.format(table=table, verb=verb, VERB=verb.upper()))


def _check(database: SQLite) -> None:
    with database.engine.connect() as connection:
        if not _is_store(connection):
            raise no_store(database.location)
        check_revision(connection, database.location)


def _is_store(connection: Connection) -> bool:
    found = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    return bool(found == APPLICATION_ID)


def _use_wal(database: SQLite) -> None:
    """Readers and the writer of a file in WAL mode do not wait for one another."""
    connection = database.engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
