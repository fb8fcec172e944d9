"""Lines: one exported record, event or trace each, with the cursor behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from agentrt.audit import AuditStore
from agentrt.audit.reads import stored_records
from agentrt.audit.tables import EventRow, RunRow, columns
from agentrt.exports.cursor import Cursor

__all__ = ["Exported", "Line", "Reader", "Source"]

BATCH = 500

_event, _run = columns(EventRow), columns(RunRow)


@dataclass(frozen=True, slots=True)
class Line:
    """What is written, without its end, and where to go on after it."""

    text: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Source:
    """What formats may look up: the store, and whether content is wanted too."""

    store: AuditStore
    content: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """A record as formats see it: its header, and what is known of its call and its run."""

    source: Source
    cursor: Cursor
    header: Mapping[str, Any]
    hash: str
    run: Mapping[str, Any] = field(default_factory=dict)
    decided: Mapping[str, Any] = field(default_factory=dict)
    """The header of the last decision on its call."""

    @property
    def id(self) -> str:
        """What names the record everywhere: `run:seq`."""
        return f"{self.header['run']}:{self.header['seq']}"

    def content(self) -> Mapping[str, Any] | None:
        """The record with its content as data, where that was asked for."""
        if not self.source.content:
            return None
        run, seq = self.header["run"], self.header["seq"]
        record = self.source.store.records(run, after=seq - 1)[0]
        return record.event.data()


class Reader:
    """Reads on behind a cursor, and remembers how far it looked."""

    def __init__(self, source: Source, cursor: Cursor, lines: Callable[[Exported], Iterable[str]]):
        self._source = source
        self._place = cursor
        self._lines = lines

    def read(self) -> Sequence[Line] | None:
        """The lines of the next records; None when there are no records now."""
        batch = _batch(self._source, self._place)
        if not batch:
            return None
        made = [Line(text, record.cursor) for record in batch for text in self._lines(record)]
        self._place = batch[-1].cursor
        return made


def _batch(source: Source, cursor: Cursor) -> Sequence[Exported]:
    settled = source.store.settled()
    upper = [_event.pos <= settled] if settled is not None else []
    with source.store.reading() as connection:
        new = (_event.pos > cursor.pos, *upper)
        rows = stored_records(connection, *new, order=_event.pos, limit=BATCH)
        headers = [json.loads(row.header) for row in rows]
        runs = _runs(connection, {header["run"] for header in headers})
        decided = _decided(connection, {h["call"] for h in headers if "call" in h})
    return [
        Exported(
            source,
            Cursor(cursor.store, row.pos),
            header,
            row.hash.hex(),
            runs.get(header["run"], {}),
            decided.get(header.get("call", ""), {}),
        )
        for row, header in zip(rows, headers, strict=True)
    ]


def _runs(connection: Connection, names: set[str]) -> Mapping[str, Mapping[str, Any]]:
    query = select(*_run).where(_run.id.in_(names))
    return {row.id: dict(row._mapping) for row in connection.execute(query)}


def _decided(connection: Connection, calls: set[str]) -> Mapping[str, Mapping[str, Any]]:
    query = (
        select(_event.call, _event.header)
        .where(_event.call.in_(calls), _event.type == "call.decided")
        .order_by(_event.revision)
    )
    return {row.call: json.loads(row.header) for row in connection.execute(query)}
