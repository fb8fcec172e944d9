"""Verification: does every record still say what it said when it was written?

It trusts no column but `header` and `hash`, and finds in a run any record that was edited,
removed from its middle, swapped or repeated, any content that was changed or that is gone,
any follow-up that does not go on from an end of its parent, and any projection that says
otherwise than its run. A run cut off at its end, or made anew from some record on, is held to the
heads that were sealed. What the tree itself was, only a signature or somebody's memory can tell.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, LargeBinary, cast, func, select
from sqlmodel import SQLModel

from agentrt.audit.claims import STORE_CHAIN
from agentrt.audit.erasures import erased_in, place_of
from agentrt.audit.findings import Finding, Verification
from agentrt.audit.integrity import Heads, check_records
from agentrt.audit.lineage import Lineage
from agentrt.audit.notes import Checkpoint, Note
from agentrt.audit.projections import project, record_rows
from agentrt.audit.reads import read_records
from agentrt.audit.records import commitment, read_record, record_hash
from agentrt.audit.schema import store_row
from agentrt.audit.sealing import late_places, origin_of, says_more
from agentrt.audit.tables import (
    ApprovalRow,
    CallRow,
    CheckpointRow,
    ContentRow,
    EventRow,
    ModelCallRow,
    RunRow,
    SharedRow,
    columns,
)
from agentrt.audit.tree import frontier_of, last_sealed, sealed_head
from agentrt.audit.tree_check import Trust, check_run_seals, check_tree
from agentrt.errors import NotFound, RecordTooNew, StoreCorrupt
from agentrt.events import Record
from agentrt.run import Run, evolve

__all__ = ["Finding", "Trust", "Verification", "verify", "verify_newer"]

_event = columns(EventRow)
_content = columns(ContentRow)
_shared = columns(SharedRow)
_run = columns(RunRow)
_call = columns(CallRow)
_checkpoint = columns(CheckpointRow)

PAGE = 1_000

UNREADABLE = (StoreCorrupt, RecordTooNew, ValueError, KeyError, TypeError, AttributeError)
"""What reading records raises that nobody can have written, or only a newer agentrt."""

Progress = Callable[[int], None]


@dataclass(slots=True)
class _Stored:
    pos: int
    header: bytes
    hash: bytes
    parts: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict)

    def data(self) -> dict[str, Any] | None:
        """The header, if it has the shape of one."""
        try:
            data = json.loads(self.header)
        except (ValueError, RecursionError):
            return None
        return data if isinstance(data, dict) and _has_shape(data) else None


def _has_shape(data: Mapping[str, Any]) -> bool:
    kinds = {"run": str, "seq": int, "parts": dict, "shared": dict}
    if not all(isinstance(data.get(name), kind) for name, kind in kinds.items()):
        return False
    digests = (*data["parts"].values(), *data["shared"].values())
    return data["seq"] > 0 and all(isinstance(digest, str) for digest in digests)


def verify(
    connection: Connection,
    *,
    run: str | None = None,
    lists: bool = True,
    trust: Trust | None = None,
    damage: Iterable[str] = (),
    progress: Progress = lambda _count: None,
) -> Verification:
    """Check every record of the store, or of one run, and what hangs on them.

    Without `lists` no run is folded and no list compared: that is many times as quick, and all
    that is proven is checked. `trust` is what is known from elsewhere, `damage` what the database
    found wrong with its own files.
    """
    if run is None and not lists:
        return _verify_proof(connection, trust or Trust(), progress)
    check = _Check(connection, run)
    for line in damage:
        check.damaged(line)
    check.walk(run, progress)
    if run is not None:
        check_run_seals(connection, check.result, run)
        return check.result
    heads = Heads({name.encode(): (now.seq, now.head) for name, now in check.runs.items()})
    _check_seals(connection, check.result, heads, trust or Trust(), progress)
    return check.result


def verify_newer(
    connection: Connection,
    verified: Note,
    *,
    trust: Trust | None = None,
    progress: Progress = lambda _count: None,
) -> Verification:
    """Check what came since a checkpoint up to which all was checked; see `verify`.

    That the tree grew out of that one is checked too. What was changed in records before it is
    not looked for. Raises NotFound when the store has no such checkpoint.
    """
    then = Checkpoint.parse(verified.text)
    row = connection.execute(select(_checkpoint.pos).where(_checkpoint.size == then.size))
    place = row.scalar()
    if place is None:
        raise NotFound(f"This store has no checkpoint over {then.size} heads: verify it whole.")
    result, heads = Verification(), Heads()
    for name in _runs_behind(connection, place):
        if (head := sealed_head(connection, name, below=then.size)) is not None:
            heads.of[name.encode()] = (head.seq, head.head)
        check_records(connection, result, run=name, heads=heads, progress=progress)
    trust = trust or Trust()
    trust = replace(trust, notes=(*trust.notes, verified))
    since = frontier_of(connection, then.size)
    origin = _origin(connection)
    check_tree(connection, result, origin=origin, trust=trust, since=since, progress=progress)
    result.runs = len(heads.of)
    _count_unsealed(connection, result, heads, last_sealed(connection, _names(heads)))
    return result


def _verify_proof(connection: Connection, trust: Trust, progress: Progress) -> Verification:
    result = Verification()
    heads = check_records(connection, result, progress=progress)
    result.runs = len(heads.of)
    _check_seals(connection, result, heads, trust, progress)
    return result


def _check_seals(
    connection: Connection, result: Verification, heads: Heads, trust: Trust, progress: Progress
) -> None:
    origin = _origin(connection)
    sealed = check_tree(connection, result, origin=origin, trust=trust, progress=progress)
    _count_unsealed(connection, result, heads, sealed)


def _origin(connection: Connection) -> str:
    return origin_of(store_row(connection).id)


def _runs_behind(connection: Connection, place: int) -> list[str]:
    """The runs with a record behind a place of arrival; some more on PostgreSQL."""
    after = max(0, place - late_places(connection))
    query = select(_event.run).distinct().where(_event.pos > after)
    return sorted(connection.execute(query).scalars())


def _count_unsealed(
    connection: Connection, result: Verification, heads: Heads, sealed: Mapping[str, int]
) -> None:
    seqs = [seq for seq, _ in heads.of.values()]
    names = zip(_names(heads), seqs, strict=True)
    open_ends = {name: seq - sealed.get(name, 0) for name, seq in names}
    if STORE_CHAIN in sealed and not says_more(connection, sealed[STORE_CHAIN]):
        open_ends.pop(STORE_CHAIN, None)  # the record of a checkpoint calls for no other
    result.unsealed = sum(max(0, count) for count in open_ends.values())


def _names(heads: Heads) -> list[str]:
    return [name.decode(errors="replace") for name in heads.of]


class _Check:
    """The walk over the records: per run, the head that the next record has to name."""

    def __init__(self, connection: Connection, run: str | None) -> None:
        """With a `run` it comes by the records of that one, and not by those of its parent."""
        self.result = Verification()
        self._connection = connection
        self._alone = run is not None
        self._lineage = Lineage()
        self.runs: dict[str, Run] = {}
        self._broken: set[str] = set()
        self._seen: Counter[type[SQLModel]] = Counter()
        """Rows that a record speaks of, by table."""
        self._shared_ok: dict[str, bool] = {}
        self._erased = erased_in(connection, run)

    def damaged(self, line: str) -> None:
        """Note what the database found wrong with its own files."""
        self._find("the store", None, f"the file is damaged: {line}")

    def walk(self, run: str | None, progress: Progress) -> None:
        """Check every record, or those of one run, and what hangs on them."""
        for page in _pages(self._connection, run):
            for stored in page:
                self.record(stored)
            progress(self.result.records)
        self.projections(run)
        if run is None:
            self.rows_without_record()
        self.result.lists = True

    def record(self, stored: _Stored) -> None:
        self.result.records += 1
        data = stored.data()
        if data is None:
            self._find("the store", None, f"the record at position {stored.pos} is not readable")
            return
        name, seq = data["run"], data["seq"]
        before = self.runs.get(name) or Run(name)
        for what in self._wrong_with(stored, data, before):
            self._find(name, seq, what)
        try:
            record = self._read(stored, data)
            self.runs[name] = after = evolve(before, record)
        except UNREADABLE as error:
            self._broken.add(name)
            self.runs[name] = Run(name, seq=seq, head=stored.hash)
            self._find(name, seq, f"what it says cannot be read ({type(error).__name__})")
        else:
            for what in (*self._wrong_rows(after, record), *self._wrong_parent(record)):
                self._find(name, seq, what)
            self._lineage.note(after, record)

    def _wrong_with(self, stored: _Stored, data: Mapping[str, Any], before: Run) -> Iterator[str]:
        if record_hash(stored.header) != stored.hash:
            yield "its header is not what its hash was made of"
        if data["seq"] != before.seq + 1:
            yield f"it stands after record {before.seq}: records are missing, swapped or repeated"
        elif data.get("prev") != before.head.hex():
            yield "it does not name the hash of the record before it"
        yield from self._wrong_content(stored, data)
        yield from self._wrong_shared(data["shared"])

    def _wrong_content(self, stored: _Stored, data: Mapping[str, Any]) -> Iterator[str]:
        promised = data["parts"]
        erased = self._erased.get(data["run"], {})
        self._seen[ContentRow] += len(stored.parts)
        for name, written in promised.items():
            part = stored.parts.get(name)
            expected = erased.get(place_of(data["seq"], name), written)
            if expected is None:
                self.result.erased += 1
            if part is None and expected is not None:
                yield f"its content {name!r} is gone and no record says that it was forgotten"
            elif part is not None and expected is None:
                yield f"its content {name!r} is there, and a record says that it was forgotten"
            elif part is not None and commitment(*part) != expected:
                yield f"its content {name!r} was changed"
        for name in stored.parts.keys() - promised.keys():
            yield f"it has a content {name!r} that it does not speak of"

    def _wrong_shared(self, promised: Mapping[str, str]) -> Iterator[str]:
        for name, digest in promised.items():
            if digest not in self._shared_ok:
                query = select(_shared.body).where(_shared.digest == digest)
                body = _bytes(self._connection.execute(query).scalar())
                self._shared_ok[digest] = hashlib.sha256(body).hexdigest() == digest
            if not self._shared_ok[digest]:
                yield f"its text {name!r} was changed or is gone"

    def _read(self, stored: _Stored, data: Mapping[str, Any]) -> Record:
        shared = self._bodies(data["shared"].values())
        bodies = {name: body for name, (_, body) in stored.parts.items()}
        return read_record(stored.header, stored.hash, bodies, shared)

    def _wrong_rows(self, run: Run, record: Record) -> Iterator[str]:
        """Compare the rows that this record made by itself."""
        for table, expected in record_rows(run, record):
            self._seen[table] += 1
            at = columns(table)
            where = f"the list {at.run.table.name!r}"
            query = select(at).where(at.run == record.run, at.seq == record.seq)
            stored = self._connection.execute(query).one_or_none()
            if stored is None:
                yield f"{where} does not have it"
            else:
                yield from _differences(where, stored._mapping, expected)

    def _wrong_parent(self, record: Record) -> Iterator[str]:
        """Hold a follow-up to the run that it follows, whose records stand before its own."""
        parent = getattr(record.event, "parent", None)
        if self._alone and parent is not None:
            with suppress(*UNREADABLE):
                where = _event.run == parent
                self._lineage.learn(read_records(self._connection, where, order=_event.seq))
        yield from self._lineage.wrong_with(record)

    def _bodies(self, digests: Any) -> dict[str, bytes]:
        wanted = list(digests)
        if not wanted:
            return {}
        query = select(_shared.digest, _shared.body).where(_shared.digest.in_(wanted))
        return {row.digest: row.body for row in self._connection.execute(query)}

    def projections(self, run: str | None) -> None:
        """Compare the projections of every run, also of those that have no record left."""
        self.result.runs = len(self.runs)
        query = select(_run.id) if run is None else select(_run.id).where(_run.id == run)
        for name in list(self._connection.execute(query).scalars()):
            if name not in self.runs:
                self._find(name, None, "it is listed, and all its records are gone")
        for name, now in self.runs.items():
            if name not in self._broken:
                self._compare(now)

    def _compare(self, now: Run) -> None:
        try:
            for what in self._wrong_projections(now):
                self._find(now.id, None, what)
        except (ValueError, TypeError) as error:  # of content that was changed, and is found
            self._find(now.id, None, f"it cannot be compared ({type(error).__name__})")

    def _wrong_projections(self, now: Run) -> Iterator[str]:
        stored = self._connection.execute(select(_run).where(_run.id == now.id)).one_or_none()
        if stored is None:
            yield "it is missing in the list of runs"
            return
        if isinstance(stored.head_seq, int) and stored.head_seq > now.seq:
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

    def rows_without_record(self) -> None:
        """Count what hangs on records, so that nothing hangs in the air."""
        for table in (ContentRow, ModelCallRow, ApprovalRow):
            total = self._connection.execute(select(func.count()).select_from(table)).scalar_one()
            if (extra := total - self._seen[table]) > 0:
                what = f"{extra} rows of {table.__tablename__!r} belong to no record"
                self._find("the store", None, what)

    def _find(self, run: str, seq: int | None, what: str) -> None:
        self.result.findings.append(Finding(run, seq, what))


def _differences(where: str, stored: Any, expected: Mapping[str, Any]) -> Iterator[str]:
    for name, value in expected.items():
        if stored[name] != value:
            yield f"{where} says {name} is {stored[name]!r}, its records say {value!r}"


def _bytes(value: Any) -> bytes:
    """What a damaged file gives where bytes were written may be anything."""
    return value if isinstance(value, bytes) else b""


def _pages(connection: Connection, run: str | None) -> Iterator[list[_Stored]]:
    """The records by arrival, which is chain order within a run, with their content."""
    # Read as bytes: a damaged text may not even be UTF-8.
    query = select(_event.pos, _as_bytes(connection), _event.hash).order_by(_event.pos)
    query = query if run is None else query.where(_event.run == run)
    last = 0
    while rows := connection.execute(query.where(_event.pos > last).limit(PAGE)).all():
        page = [_Stored(row[0], _bytes(row[1]), _bytes(row[2])) for row in rows]
        _add_content(connection, page)
        yield page
        if page[-1].pos <= last:
            raise StoreCorrupt("The table of records is damaged: it comes back to where it was.")
        last = page[-1].pos


def _as_bytes(connection: Connection) -> Any:
    if connection.dialect.name == "postgresql":
        return func.convert_to(_event.header, "UTF8")
    return cast(_event.header, LargeBinary)


def _add_content(connection: Connection, page: Sequence[_Stored]) -> None:
    places: dict[str, dict[int, _Stored]] = {}
    for stored in page:
        if (data := stored.data()) is not None:
            places.setdefault(data["run"], {})[data["seq"]] = stored
    for run, by_seq in places.items():
        query = select(_content.seq, _content.part, _content.salt, _content.body).where(
            _content.run == run, _content.seq.between(min(by_seq), max(by_seq))
        )
        for seq, part, salt, body in connection.execute(query):
            if seq in by_seq:
                found = by_seq[seq]
                found.parts = {**found.parts, part: (_bytes(salt), _bytes(body))}
