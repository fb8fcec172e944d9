"""Rebuilding: the lists made anew from the records, run by run, while others go on working."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, select

from agentrt.audit.appends import put
from agentrt.audit.findings import Verification
from agentrt.audit.integrity import check_records
from agentrt.audit.projections import PROJECTIONS, Row, project, record_rows
from agentrt.audit.reads import read_records
from agentrt.audit.store import AuditStore
from agentrt.audit.tables import EventRow, RunRow, columns
from agentrt.run import Run, evolve

__all__ = ["Rebuilt", "rebuild_lists"]

_event, _run = columns(EventRow), columns(RunRow)

Rows = dict[type, dict[tuple[Any, ...], Row]]


@dataclass(slots=True)
class Rebuilt:
    """What was made anew, and what had been otherwise."""

    runs: int = 0
    rows: int = 0
    differences: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Runs whose records are not intact."""


async def rebuild_lists(
    store: AuditStore,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _count: None,
) -> Rebuilt:
    """Compare the lists with the records, and unless `dry_run` put right what differs."""
    found = Rebuilt()
    with store.reading() as connection:
        names = set(connection.execute(select(_event.run).distinct()).scalars())
        names |= set(connection.execute(select(_run.id)).scalars())
    for name in sorted(names):
        with store.reading() as connection:
            differs = _compare(connection, name, found)
        if differs and not dry_run:
            await store.within(partial(_put_right, run=name))
        found.runs += 1
        progress(found.rows)
    return found


def _compare(connection: Connection, run: str, found: Rebuilt) -> bool:
    """Whether the lists of a run differ from its records, noting how."""
    expected = _intact_rows(connection, run)
    if expected is None:
        found.broken.append(run)
        return False
    stored = _stored(connection, run)
    found.rows += sum(len(rows) for rows in expected.values())
    differences = list(_differences(run, stored, expected))
    found.differences += differences
    return bool(differences)


def _put_right(connection: Connection, *, run: str) -> None:
    """In one transaction with the look at the records: others append meanwhile."""
    expected = _intact_rows(connection, run)
    if expected is None:
        return
    for table, rows in _stored(connection, run).items():
        for key in rows.keys() - expected[table].keys():
            at = columns(table)
            matching = [at[name] == value for name, value in zip(_keys(table), key, strict=True)]
            connection.execute(delete(table).where(*matching))
        if expected[table]:
            put(connection, table, list(expected[table].values()))


def _intact_rows(connection: Connection, run: str) -> Rows | None:
    """The rows that the records of a run make; None when these are not as they were written."""
    records = read_records(connection, _event.run == run, order=_event.seq)
    if records and not _intact(connection, run):
        return None
    now = Run(run)
    rows: Rows = {table: {} for table in PROJECTIONS}
    for record in records:
        now = evolve(now, record)
        for table, row in record_rows(now, record):
            rows[table][_key(table, row)] = row
    for table, row in project(Run(run), now, ()) if records else ():
        rows[table][_key(table, row)] = row
    return rows


def _intact(connection: Connection, run: str) -> bool:
    """Whether records and content are as they were written; lists may say what they like."""
    result = Verification()
    check_records(connection, result, run=run)
    return result.ok


def _stored(connection: Connection, run: str) -> Rows:
    rows: Rows = {}
    for table in PROJECTIONS:
        at = columns(table)
        mine = at.id == run if table is RunRow else at.run == run
        found = connection.execute(select(at).where(mine))
        rows[table] = {_key(table, row): row for row in map(_plain, found)}
    return rows


def _plain(row: Any) -> Row:
    return dict(row._mapping)


def _differences(run: str, stored: Rows, expected: Rows) -> Iterator[str]:
    for table in PROJECTIONS:
        name = f"the list {table.__tablename__!r}"
        for key in stored[table].keys() - expected[table].keys():
            yield f"{run}: {name} has {_said(key)}, which no record speaks of"
        for key, row in expected[table].items():
            if key not in stored[table]:
                yield f"{run}: {name} lacks {_said(key)}"
                continue
            for field_, value in row.items():
                if (now := stored[table][key].get(field_)) != value:
                    yield f"{run}: {name} says {field_} of {_said(key)} is {now!r}, not {value!r}"


def _said(key: tuple[Any, ...]) -> str:
    return " ".join(str(part) for part in key)


def _keys(table: type) -> list[str]:
    return [column.name for column in table.__table__.primary_key]  # type: ignore[attr-defined]


def _key(table: type, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _keys(table))
