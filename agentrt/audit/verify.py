"""Verification: does every record still say what it said when it was written?

It trusts no column but `header` and `hash`, and finds in a run any record that was edited,
removed from its middle, swapped or repeated, any content that was changed or that is gone,
and any projection that says otherwise than its run. A run cut off at its end shows in its
projection only, since a chain cannot know what followed; signed checkpoints are for that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, LargeBinary, cast, func, select

from agentrt.audit.projections import project
from agentrt.audit.records import commitment, read_record, record_hash
from agentrt.audit.tables import CallRow, ContentRow, EventRow, RunRow, SharedRow, columns
from agentrt.errors import StoreCorrupt
from agentrt.run import Run, evolve

__all__ = ["Finding", "Verification", "verify"]

_event = columns(EventRow)
_content = columns(ContentRow)
_shared = columns(SharedRow)
_run = columns(RunRow)
_call = columns(CallRow)

PAGE = 1_000

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the store that cannot have been written so."""

    run: str
    seq: int | None
    what: str

    def __str__(self) -> str:
        place = f"record {self.seq} of {self.run}" if self.seq is not None else self.run
        return f"{place}: {self.what}"


@dataclass(slots=True)
class Verification:
    """What was looked at, and what was found."""

    runs: int = 0
    records: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is as it was written."""
        return not self.findings


@dataclass(slots=True)
class _Stored:
    pos: int
    header: bytes
    hash: bytes
    parts: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict)

    def data(self) -> dict[str, Any] | None:
        try:
            data = json.loads(self.header)
        except ValueError:
            return None
        return data if isinstance(data, dict) and "run" in data and "seq" in data else None


def verify(
    connection: Connection, *, run: str | None = None, progress: Progress = lambda _count: None
) -> Verification:
    """Check every record of the store, or of one run, and what hangs on them."""
    check = _Check(connection)
    for page in _pages(connection, run):
        for stored in page:
            check.record(stored)
        progress(check.result.records)
    check.projections(run)
    if run is None:
        check.content_without_record()
    return check.result


class _Check:
    """The walk over the records: per run, the head that the next record has to name."""

    def __init__(self, connection: Connection) -> None:
        self.result = Verification()
        self._connection = connection
        self._runs: dict[str, Run] = {}
        self._broken: set[str] = set()
        self._parts_seen = 0
        self._shared_ok: dict[str, bool] = {}

    def record(self, stored: _Stored) -> None:
        self.result.records += 1
        data = stored.data()
        if data is None:
            self._find("the store", None, f"the record at position {stored.pos} is not readable")
            return
        name, seq = str(data["run"]), data["seq"]
        before = self._runs.get(name) or Run(name)
        for what in self._wrong_with(stored, data, before):
            self._find(name, seq, what)
        self._runs[name] = self._after(before, stored, data)

    def _wrong_with(self, stored: _Stored, data: Mapping[str, Any], before: Run) -> Iterator[str]:
        if record_hash(stored.header) != stored.hash:
            yield "its header is not what its hash was made of"
        if data["seq"] != before.seq + 1:
            yield f"it stands after record {before.seq}: records are missing, swapped or repeated"
        elif data.get("prev") != before.head.hex():
            yield "it does not name the hash of the record before it"
        yield from self._wrong_content(stored, data.get("parts", {}))
        yield from self._wrong_shared(data.get("shared", {}))

    def _wrong_content(self, stored: _Stored, promised: Mapping[str, str]) -> Iterator[str]:
        self._parts_seen += len(stored.parts)
        for name, expected in promised.items():
            part = stored.parts.get(name)
            if part is None:
                yield f"its content {name!r} is gone and no record says that it was forgotten"
            elif commitment(*part) != expected:
                yield f"its content {name!r} was changed"
        for name in stored.parts.keys() - promised.keys():
            yield f"it has a content {name!r} that it does not speak of"

    def _wrong_shared(self, promised: Mapping[str, str]) -> Iterator[str]:
        for name, digest in promised.items():
            if digest not in self._shared_ok:
                query = select(_shared.body).where(_shared.digest == digest)
                body = self._connection.execute(query).scalar()
                intact = body is not None and hashlib.sha256(body).hexdigest() == digest
                self._shared_ok[digest] = intact
            if not self._shared_ok[digest]:
                yield f"its text {name!r} was changed or is gone"

    def _after(self, before: Run, stored: _Stored, data: Mapping[str, Any]) -> Run:
        """The run with this record, so that the next one and the projections can be compared."""
        try:
            shared = self._bodies(data["shared"].values())
            bodies = {name: body for name, (_, body) in stored.parts.items()}
            return evolve(before, read_record(stored.header, stored.hash, bodies, shared))
        except (StoreCorrupt, ValueError, KeyError, TypeError, AttributeError):
            self._broken.add(before.id)
            seq = data["seq"] if isinstance(data["seq"], int) else before.seq + 1
            return Run(before.id, seq=seq, head=stored.hash)

    def _bodies(self, digests: Any) -> dict[str, bytes]:
        wanted = list(digests)
        if not wanted:
            return {}
        query = select(_shared.digest, _shared.body).where(_shared.digest.in_(wanted))
        return {row.digest: row.body for row in self._connection.execute(query)}

    def projections(self, run: str | None) -> None:
        """Compare the projections of every run, also of those that have no record left."""
        self.result.runs = len(self._runs)
        query = select(_run.id) if run is None else select(_run.id).where(_run.id == run)
        for name in list(self._connection.execute(query).scalars()):
            if name not in self._runs:
                self._find(name, None, "it is listed, and all its records are gone")
        for name, now in self._runs.items():
            if name not in self._broken:
                for what in self._wrong_projections(now):
                    self._find(name, None, what)

    def _wrong_projections(self, now: Run) -> Iterator[str]:
        stored = self._connection.execute(select(_run).where(_run.id == now.id)).one_or_none()
        if stored is None:
            yield "it is missing in the list of runs"
            return
        if stored.head_seq > now.seq:
            yield f"records after {now.seq} are gone: the list of runs knows {stored.head_seq}"
        expected = dict(project(Run(now.id), now, ()))[RunRow]
        yield from _differences("the list of runs", stored._mapping, expected)
        yield from self._wrong_calls(now)

    def _wrong_calls(self, now: Run) -> Iterator[str]:
        query = select(_call).where(_call.run == now.id)
        stored = {row.id: row._mapping for row in self._connection.execute(query)}
        rows = [row for table, row in project(Run(now.id), now, ()) if table is CallRow]
        for row in rows:
            if row["id"] not in stored:
                yield f"the call {row['id']} is missing in the list of calls"
            else:
                where = f"the list of calls, {row['id']},"
                yield from _differences(where, stored[row["id"]], row)
        for extra in stored.keys() - {row["id"] for row in rows}:
            yield f"the list of calls has a call {extra} that no record speaks of"

    def content_without_record(self) -> None:
        total = self._connection.execute(select(func.count()).select_from(ContentRow)).scalar_one()
        if total != self._parts_seen:
            extra = total - self._parts_seen
            self._find("the store", None, f"{extra} contents belong to no record")

    def _find(self, run: str, seq: int | None, what: str) -> None:
        self.result.findings.append(Finding(run, seq, what))


def _differences(where: str, stored: Any, expected: Mapping[str, Any]) -> Iterator[str]:
    for name, value in expected.items():
        if stored[name] != value:
            yield f"{where} says {name} is {stored[name]!r}, its records say {value!r}"


def _pages(connection: Connection, run: str | None) -> Iterator[list[_Stored]]:
    """The records by arrival, which is chain order within a run, with their content."""
    # Read as bytes: a damaged text may not even be UTF-8.
    query = select(_event.pos, cast(_event.header, LargeBinary), _event.hash).order_by(_event.pos)
    query = query if run is None else query.where(_event.run == run)
    last = 0
    while rows := connection.execute(query.where(_event.pos > last).limit(PAGE)).all():
        page = [_Stored(row[0], bytes(row[1]), bytes(row[2])) for row in rows]
        _add_content(connection, page)
        yield page
        last = page[-1].pos


def _add_content(connection: Connection, page: Sequence[_Stored]) -> None:
    places: dict[str, dict[int, _Stored]] = {}
    for stored in page:
        if (data := stored.data()) is not None:
            places.setdefault(str(data["run"]), {})[data["seq"]] = stored
    for run, by_seq in places.items():
        query = select(_content.seq, _content.part, _content.salt, _content.body).where(
            _content.run == run, _content.seq.between(min(by_seq), max(by_seq))
        )
        for seq, part, salt, body in connection.execute(query):
            if seq in by_seq:
                found = by_seq[seq]
                found.parts = {**found.parts, part: (salt, body)}
