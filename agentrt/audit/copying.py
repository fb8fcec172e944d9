"""A copy of a store, in another file or database: every record, proof and key as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from agentrt.audit.database import Database, new_database, raw_database
from agentrt.audit.schema import FAILURES, check_revision, own_tables, store_row
from agentrt.audit.tables import (
    ChoreRow,
    EventRow,
    LeaseRow,
    ProcessRow,
    ServedRow,
    StoreRow,
    WorkerRow,
)
from agentrt.audit.verify import Verification, verify
from agentrt.errors import StoreCorrupt

__all__ = ["Copied", "copy_store"]

AT_ONCE = 1_000
"""Rows that are read and written together."""

OF_THE_PLACE = (LeaseRow, WorkerRow, ServedRow, ProcessRow, ChoreRow)
"""Who works on a store there and then, which says nothing of the copy."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What came over, and that it still proves itself."""

    store: str
    rows: Mapping[str, int]
    """By table."""
    verification: Verification


def copy_store(
    source: str | Path,
    target: str | Path,
    *,
    progress: Progress = lambda _table, _count: None,
) -> Copied:
    """Copy the store as it is at one moment to where there is none, and verify the copy.

    `progress` hears the table and how many of its rows were copied. Whoever writes to the source
    later is not heard here: end its workers first where the copy is to take its place. Raises
    StoreUnavailable, StoreTooOld or StoreTooNew, and StoreCorrupt when something is there already
    or the copy does not verify.
    """
    old = raw_database(source)
    try:
        with _one_moment(old) as reading:
            check_revision(reading, old.location)
            row = store_row(reading).model_dump()
            new = new_database(target, row)
            try:
                return _copied(reading, new, row["id"], progress)
            except FAILURES as error:
                raise new.problem(error) from error
            finally:
                new.close()
    except FAILURES as error:
        raise old.problem(error) from error
    finally:
        old.close()


@contextmanager
def _one_moment(database: Database) -> Iterator[Connection]:
    """A connection that sees the store as it is when it first looks."""
    with database.connect() as connection:
        yield connection


def _copied(reading: Connection, new: Database, store: str, progress: Progress) -> Copied:
    rows: dict[str, int] = {}
    with new.writing.begin() as writing:
        for table in _tables():
            rows[table.name] = 0
            for page in _pages(reading, table):
                writing.execute(insert(table), page)
                rows[table.name] += len(page)
                progress(table.name, rows[table.name])
        _count_on(writing)
    with new.connect() as connection:
        found = verify(connection, damage=new.damage(connection))
    if not found.ok:
        raise StoreCorrupt(
            f"The copy in {new.location} does not verify: {found.findings[0]}. `agentrt audit "
            "verify` says whether the source does."
        )
    return Copied(store, rows, found)


def _tables() -> list[Any]:
    left_out = {row.__tablename__ for row in (StoreRow, *OF_THE_PLACE)}
    return [table for table in own_tables() if table.name not in left_out]


def _pages(reading: Connection, table: Any) -> Iterator[list[dict[str, Any]]]:
    """The rows in the order of their keys: records so come in the order of their arrival."""
    wanted = [column for column in table.columns if column.computed is None]
    query = select(*wanted).order_by(*table.primary_key.columns)
    found = reading.execution_options(yield_per=AT_ONCE).execute(query)
    for page in found.partitions():
        yield [dict(row._mapping) for row in page]


def _count_on(writing: Connection) -> None:
    """The next record gets the place behind the last."""
    if writing.dialect.name != "postgresql":
        return  # SQLite goes on from the highest by itself
    newest = writing.execute(select(func.max(EventRow.__table__.c.pos))).scalar() or 0  # type: ignore[attr-defined]
    if newest:
        writing.execute(COUNT_ON, {"newest": newest})


COUNT_ON = text("SELECT setval(pg_get_serial_sequence('event', 'pos'), :newest)")
