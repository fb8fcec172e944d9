"""Records out of the tables, each with its content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from agentrt.audit.erasures import erased_in, place_of
from agentrt.audit.records import commitment, read_record, record_hash
from agentrt.audit.tables import ContentRow, EventRow, SharedRow, columns
from agentrt.errors import StoreCorrupt
from agentrt.events import Record

__all__ = [
    "StoredRecord",
    "place_at",
    "read_after",
    "read_decisions",
    "read_records",
    "read_since",
    "stored_records",
]

StoredRecord = Any
"""A row of `event` with `header`, `hash`, `run` and `seq`."""

_event = columns(EventRow)
_content = columns(ContentRow)
_shared = columns(SharedRow)

Bodies = Mapping[tuple[str, int], Mapping[str, bytes]]


def read_records(
    connection: Connection, *where: Any, order: Any, limit: int | None = None
) -> list[Record]:
    """The records that fit, with all their content that still exists."""
    return _records(connection, stored_records(connection, *where, order=order, limit=limit))


def _records(connection: Connection, rows: Sequence[StoredRecord]) -> list[Record]:
    parts = _parts(connection, rows)
    shared = _shared_bodies(connection, rows)
    return [
        read_record(row.header.encode(), row.hash, parts.get((row.run, row.seq), {}), shared)
        for row in rows
    ]


def read_since(
    connection: Connection,
    *,
    after: int,
    types: Sequence[str],
    user_ref: str | None = None,
    up_to: int | None = None,
) -> tuple[int, list[Record]]:
    """The records of these types behind place `after`, in order of arrival, and the last place.

    Those of one user only when `user_ref` is given, and none behind `up_to`. Raises StoreCorrupt.
    """
    own = [_event.user_ref == user_ref] if user_ref is not None else []
    own += [_event.pos <= up_to] if up_to is not None else []
    rows = stored_records(
        connection, *own, _event.type.in_(types), _event.pos > after, order=_event.pos
    )
    _check_intact(connection, rows)
    return (rows[-1].pos if rows else after), _records(connection, rows)


def _check_intact(connection: Connection, rows: Sequence[StoredRecord]) -> None:
    """Raises StoreCorrupt unless headers and content are those that were written.

    What decides a call must not be what somebody has put into the file since.
    """
    salts = _salts(connection, rows)
    bodies = _parts(connection, rows)
    for row in rows:
        place, promised = (row.run, row.seq), json.loads(row.header)["parts"]
        changed = [
            name
            for name, body in bodies.get(place, {}).items()
            if commitment(salts[place][name], body) != promised.get(name)
        ]
        if changed:  # seldom, and then a record of the run says what is there now
            erased = erased_in(connection, row.run).get(row.run, {})
            now = {name: erased.get(place_of(row.seq, name)) for name in changed}
            changed = [
                n for n in changed if commitment(salts[place][n], bodies[place][n]) != now[n]
            ]
        if changed or record_hash(row.header.encode()) != row.hash:
            raise StoreCorrupt(
                f"Record {row.seq} of {row.run} is not what was written, and a decision depends on "
                f"it. `agentrt audit verify {row.run}` tells all."
            )


def _salts(connection: Connection, rows: Sequence[StoredRecord]) -> Bodies:
    found: dict[tuple[str, int], dict[str, bytes]] = {}
    for run, seqs in _by_run(rows).items():
        query = select(_content.seq, _content.part, _content.salt).where(
            _content.run == run, _content.seq.between(min(seqs), max(seqs))
        )
        for seq, part, salt in connection.execute(query):
            found.setdefault((run, seq), {})[part] = salt
    return found


def place_at(connection: Connection, moment: int, *, user_ref: str | None = None) -> int:
    """The place of the last record that was written up to `moment` (milliseconds); 0 if none.

    Of one user only when `user_ref` is given.
    """
    own = [_event.user_ref == user_ref] if user_ref is not None else []
    found = select(_event.pos).where(*own, _event.at <= moment).order_by(_event.pos.desc())
    return connection.execute(found.limit(1)).scalar() or 0


def read_decisions(
    connection: Connection, calls: Sequence[str], *, up_to: int
) -> Mapping[str, Record]:
    """The last decision on each of these calls that arrived up to a place."""
    decided = (_event.type == "call.decided", _event.call.in_(calls), _event.pos <= up_to)
    records = read_records(connection, *decided, order=_event.pos)
    return {record.event.call: record for record in records if record.event.type == "call.decided"}


def read_after(connection: Connection, after: int, *, limit: int) -> tuple[int, list[Record]]:
    """The next records behind place `after`, in order of arrival, and the last place."""
    rows = stored_records(connection, _event.pos > after, order=_event.pos, limit=limit)
    return (rows[-1].pos if rows else after), _records(connection, rows)


def stored_records(
    connection: Connection, *where: Any, order: Any, limit: int | None = None
) -> Sequence[StoredRecord]:
    """The rows that fit, as they are stored."""
    query = select(_event.pos, _event.header, _event.hash, _event.run, _event.seq)
    return connection.execute(query.where(*where).order_by(order).limit(limit)).all()


def _parts(connection: Connection, rows: Sequence[StoredRecord]) -> Bodies:
    found: dict[tuple[str, int], dict[str, bytes]] = {}
    for run, seqs in _by_run(rows).items():
        query = select(_content.seq, _content.part, _content.body).where(
            _content.run == run, _content.seq.between(min(seqs), max(seqs))
        )
        for seq, part, body in connection.execute(query):
            found.setdefault((run, seq), {})[part] = body
    return found


def _by_run(rows: Iterable[StoredRecord]) -> Mapping[str, list[int]]:
    seqs: dict[str, list[int]] = {}
    for row in rows:
        seqs.setdefault(row.run, []).append(row.seq)
    return seqs


def _shared_bodies(connection: Connection, rows: Iterable[StoredRecord]) -> Mapping[str, bytes]:
    digests = set(_shared_digests(rows))
    if not digests:
        return {}
    query = select(_shared.digest, _shared.body).where(_shared.digest.in_(digests))
    return {row.digest: row.body for row in connection.execute(query)}


def _shared_digests(rows: Iterable[StoredRecord]) -> Iterator[str]:
    for row in rows:
        if '"shared":{}' not in row.header:  # most records share nothing, and need no parsing
            yield from json.loads(row.header).get("shared", {}).values()
