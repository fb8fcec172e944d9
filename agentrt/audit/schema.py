"""The schema: the tables that a store has, at which revision, and the one row that describes it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Table, Text, insert, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from agentrt.audit.tables import (
    CheckpointRow,
    CosignatureRow,
    EventRow,
    LeafRow,
    NodeRow,
    SharedRow,
    StoreRow,
    columns,
)
from agentrt.errors import StoreCorrupt, StoreTooNew, StoreTooOld

__all__ = [
    "APPEND_ONLY",
    "FAILURES",
    "FIRST_REVISION",
    "FORMAT",
    "REVISIONS",
    "check_revision",
    "make_tables",
    "no_store",
    "own_tables",
    "revision_of",
    "revisions",
    "store_row",
    "table_name",
]

FORMAT = 1
"""The format of the records. A store with newer ones is refused."""

FIRST_REVISION = "0001"
"""The tables of stores that do not say which they have: those of agentrt 0.1 and 0.2."""

REVISIONS = (FIRST_REVISION, "0002")
"""The revisions of the tables, oldest first; `migrations/versions` leads from each to the next."""

APPEND_ONLY = (EventRow, SharedRow, StoreRow, LeafRow, NodeRow, CheckpointRow, CosignatureRow)
"""Tables of which no row is ever changed or taken away."""

FAILURES = (DBAPIError, UnicodeDecodeError)
"""What a failing database raises: the latter when SQLite's own words quote a damaged text."""

# Alembic's own table, under its own name, so that its command line works on a store too.
revisions = Table(
    "alembic_version", MetaData(), Column("version_num", Text, primary_key=True, nullable=False)
)


def make_tables(
    connection: Connection,
    *,
    protect: Callable[[Connection], None],
    row: Mapping[str, Any] | None = None,
) -> None:
    """Make all tables at the newest revision, protected, and the row that describes the store.

    That is `row` where it is to be the copy of another.
    """
    SQLModel.metadata.create_all(connection, tables=own_tables())
    revisions.create(connection)
    connection.execute(insert(revisions).values(version_num=REVISIONS[-1]))
    protect(connection)
    connection.execute(insert(StoreRow).values(**(row or _new_row())))


def _new_row() -> dict[str, Any]:
    return {
        "id": f"s_{secrets.token_hex(8)}",
        "format": FORMAT,
        "ref_key": secrets.token_bytes(32),
        "created_at": time.time_ns() // 1_000_000,
    }


def own_tables() -> list[Any]:
    """The tables of the store: a user's own SQLModel tables share the metadata."""
    from agentrt.audit import tables

    rows = (getattr(tables, name) for name in tables.__all__ if name.endswith("Row"))
    return [row.__table__ for row in rows]


def table_name(row: type[SQLModel]) -> str:
    """What the table is called in the database."""
    return str(row.__tablename__)


def revision_of(connection: Connection) -> str:
    """The revision of the tables of a store."""
    if not inspect(connection).has_table(revisions.name):
        return FIRST_REVISION
    return str(connection.execute(select(revisions.c.version_num)).scalar_one())


def check_revision(connection: Connection, location: str) -> None:
    """Raises StoreTooOld or StoreTooNew unless this agentrt knows the tables as they are."""
    found, records = revision_of(connection), store_row(connection).format
    if found not in REVISIONS or records > FORMAT:
        raise StoreTooNew(
            f"{location} has format {records}, tables {found}, and this agentrt knows {FORMAT}, "
            f"{REVISIONS[-1]}. Upgrade agentrt."
        )
    if found != REVISIONS[-1]:
        raise StoreTooOld(
            f"{location} was made by an older agentrt: its tables have the revision {found}, not "
            f"{REVISIONS[-1]}. `agentrt db backup FILE` keeps a copy, `agentrt db migrate` brings "
            "it up to date; no record is changed."
        )


def no_store(location: str) -> StoreCorrupt:
    """What is there belongs to somebody else."""
    return StoreCorrupt(f"{location} is not an audit store of agentrt. Choose another place.")


def store_row(connection: Connection) -> StoreRow:
    """The row that describes the store. Raises StoreCorrupt."""
    rows = connection.execute(select(*columns(StoreRow))).all()
    if len(rows) != 1 or not isinstance(rows[0].format, int):
        raise StoreCorrupt("The row that describes the store is gone. Restore it from a backup.")
    return StoreRow(**rows[0]._mapping)
