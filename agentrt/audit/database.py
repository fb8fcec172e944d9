"""The database file: opened with a SQLite that is safe for two processes, or not at all."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from agentrt.audit.tables import (
    CheckpointRow,
    ContentRow,
    CosignatureRow,
    EventRow,
    LeafRow,
    NodeRow,
    RunRow,
    ServedRow,
    SharedRow,
    StoreRow,
    WorkerRow,
    columns,
)
from agentrt.errors import SQLiteTooOld, StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable

__all__ = ["FAILURES", "FORMAT", "open_database", "sqlite_module", "store_row", "unavailable"]

FORMAT = 1
"""The version of the tables. A store of a newer one is refused."""

APPLICATION_ID = 0x61677274
"""Marks the file as an audit store: `agrt`, in the place that SQLite keeps for this."""

SAFE_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL file that two connections write and checkpoint."""

BUSY_TIMEOUT_S = 30

FAILURES = (DBAPIError, UnicodeDecodeError)
"""What a failing database raises: the latter when SQLite's own words quote a damaged text."""

DAMAGE = ("not a database", "malformed", "decode", "no such table", "no such column")
"""Words of failures that only a damaged file has."""

APPEND_ONLY = (
    EventRow,
    SharedRow,
    StoreRow,
    LeafRow,
    NodeRow,
    CheckpointRow,
    CosignatureRow,
)
"""Tables of which no row is ever changed or taken away."""

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


def open_database(path: Path, *, create: bool, read_only: bool = False) -> Engine:
    """An engine on the store at `path`, its tables made when `create` and there are none.

    Raises StoreUnavailable, StoreTooNew, StoreCorrupt or SQLiteTooOld, each saying what to do.
    """
    module = sqlite_module()
    if not path.exists() and (read_only or not create):
        raise StoreUnavailable(f"There is no audit store at {path}. Run an agent first.")
    engine = create_engine(
        URL.create("sqlite", database=str(path)),  # a path may hold what means more in a URL
        module=module,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _set_pragmas_read_only if read_only else _set_pragmas)
    event.listen(engine, "begin", _begin)
    try:
        if create and not read_only:
            _make_tables(engine, path)
        _check_format(engine, path)
        if not read_only:
            _use_wal(engine)
            _add_what_is_missing(engine)
    except FAILURES as error:
        engine.dispose()
        raise unavailable(path, error) from error
    except StoreError:
        engine.dispose()
        raise
    return engine


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


def _make_tables(engine: Engine, path: Path) -> None:
    with engine.execution_options(immediate=True).begin() as connection:
        if _is_store(connection):
            return
        if inspect(connection).get_table_names():
            raise _no_store(path)  # somebody else's database: nothing of it is touched
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        SQLModel.metadata.create_all(connection, tables=_own_tables())
        for table in APPEND_ONLY:
            _refuse(connection, str(table.__tablename__), "update", "delete")
        _refuse(connection, str(ContentRow.__tablename__), "update")
        for trigger in (REFUSE_REPLACE, REFUSE_GAP, *REFUSE_OVERWRITE):
            connection.exec_driver_sql(trigger)
        connection.execute(
            insert(StoreRow).values(
                id=f"s_{secrets.token_hex(8)}",
                format=FORMAT,
                ref_key=secrets.token_bytes(32),
                created_at=time.time_ns() // 1_000_000,
            )
        )


def _add_what_is_missing(engine: Engine) -> None:
    """Make what stores of earlier versions lack, none of which holds anything of the records."""
    with engine.connect() as connection:
        if inspect(connection).has_table(str(WorkerRow.__tablename__)):
            return
    later: tuple[Any, ...] = (RunRow, WorkerRow, ServedRow)
    run, *tables = (row.__table__ for row in later)
    with engine.execution_options(immediate=True).begin() as connection:
        SQLModel.metadata.create_all(connection, tables=tables)
        for index in run.indexes:
            index.create(connection, checkfirst=True)


def _own_tables() -> list[Any]:
    """The tables of the store: a user's own SQLModel tables share the metadata."""
    from agentrt.audit import tables

    rows = (getattr(tables, name) for name in tables.__all__ if name.endswith("Row"))
    return [row.__table__ for row in rows]


def _refuse(connection: Connection, table: str, *verbs: str) -> None:
    for verb in verbs:
        connection.exec_driver_sql(REFUSE_CHANGE.format(table=table, verb=verb, VERB=verb.upper()))


def _check_format(engine: Engine, path: Path) -> None:
    with engine.connect() as connection:
        if not _is_store(connection):
            raise _no_store(path)
        found = store_row(connection).format
    if found > FORMAT:
        raise StoreTooNew(
            f"{path} has format {found}, and this agentrt knows {FORMAT}. Upgrade agentrt."
        )


def _is_store(connection: Connection) -> bool:
    found = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    return bool(found == APPLICATION_ID)


def _no_store(path: Path) -> StoreCorrupt:
    return StoreCorrupt(f"{path} is not an audit store of agentrt. Choose another file.")


def _use_wal(engine: Engine) -> None:
    """Readers and the writer of a file in WAL mode do not wait for one another."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def store_row(connection: Connection) -> StoreRow:
    """The row that describes the store. Raises StoreCorrupt."""
    rows = connection.execute(select(*columns(StoreRow))).all()
    if len(rows) != 1 or not isinstance(rows[0].format, int):
        raise StoreCorrupt("The row that describes the store is gone. Restore it from a backup.")
    return StoreRow(**rows[0]._mapping)


def unavailable(path: Path, error: DBAPIError | UnicodeDecodeError) -> StoreError:
    """What a failing database means for the store, with what to do: see `FAILURES`."""
    reason = str(error.orig if isinstance(error, DBAPIError) else error)
    if any(word in reason for word in DAMAGE):
        return StoreCorrupt(f"{path} is damaged ({reason}). Restore it from a backup.")
    hints = {
        "full": "Make room on the disk; nothing ran that is not recorded.",
        "readonly": "Make the file and its folder writable for this user.",
        "unable to open": "Make the folder, and make it writable for this user.",
        "locked": "Another program holds the file; close it and try again.",
        "I/O": "The disk does not answer as it should.",
    }
    hint = next((text for word, text in hints.items() if word in reason), "Nothing was written.")
    return StoreUnavailable(f"The audit store {path} cannot be used: {reason}. {hint}")
