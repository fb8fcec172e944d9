"""Content taken out of the store, with a record of it; chains and proofs stay as they are.

An erasure is a transaction: its record, the rows that go, and the lists made anew from what is
left. What may not be erased yet, because somebody holds it, is refused before anything is done.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, bindparam, delete, select

from agentrt.audit.appends import Draft, insert, insert_parts, put
from agentrt.audit.erasures import place_of
from agentrt.audit.projections import project, record_rows
from agentrt.audit.reads import read_records
from agentrt.audit.records import SALT_BYTES, Part, commitment
from agentrt.audit.statements import Prepared
from agentrt.audit.tables import ContentRow, EventRow, columns
from agentrt.events import AnyEvent, ContentForgotten, ContentReduced, ErasureSuspended, Record
from agentrt.run import Run, evolve, fold

__all__ = ["KIND_OF", "Erasure", "Ground", "erase", "kind_of", "settle_content"]

Ref = Callable[[str], str]

KIND_OF: Mapping[str, str] = {
    "prompt": "prompts",
    "history": "prompts",
    "value": "prompts",
    "blocks": "replies",
    "output": "replies",
    "message": "replies",
    "arguments": "arguments",
    "asked": "arguments",
    "facts": "arguments",
    "preview": "arguments",
    "result": "results",
    "user": "people",
    "by": "people",
    "reason": "people",
    "editor": "people",
    "statement": "people",
    "signature": "people",
}
"""The kind of content that a field is of; `shown` is of that of its event."""

SHOWN_IN = {"run.started": "prompts", "claude.replied": "replies", "call.decided": "arguments"}

_event, _content = columns(EventRow), columns(ContentRow)

DELETE = Prepared(
    delete(ContentRow).where(
        _content.run == bindparam("run"),
        _content.seq == bindparam("seq"),
        _content.part == bindparam("part"),
    )
)


@dataclass(frozen=True)
class Ground:
    """Why something is erased, by whom, and which erasures belong together."""

    ground: Any
    by: str
    reason: str
    request: str

    @classmethod
    def of(cls, ground: str, *, by: str, reason: str) -> Ground:
        """A ground of its own."""
        return cls(ground, by, reason, f"f_{secrets.token_hex(8)}")


@dataclass(frozen=True)
class Erasure:
    """What was erased of a run: how many fields of each kind."""

    run: str
    kinds: Mapping[str, int]


def kind_of(type: str, part: str) -> str:
    """The kind of content that a field of an event is of."""
    if part == "shown":
        return SHOWN_IN.get(type, "replies")
    if part == "reason" and type in ("call.decided", "call.doubted"):
        return "arguments"
    return KIND_OF.get(part, "people")


def settle_content(connection: Connection, run: Run, *, at: int, by: str, ref: Ref) -> Run:
    """Leave of a run that is over what may stay of it, in the transaction that ends it.

    What Claude wrote is replaced by the form that it is shown in; of a run without retention, or
    one that was forgotten before, everything goes.
    """
    if run.reducible and not run.zero_retention:
        run = _reduce(connection, run, at)
    if run.forgotten or (run.zero_retention and not is_suspended(connection, run)):
        ground = "zero_retention" if run.zero_retention else "request"
        reason = "No content of it is kept."
        run, _ = erase(connection, run, Ground.of(ground, by=by, reason=reason), at=at, ref=ref)
    return run


def erase(
    connection: Connection,
    run: Run,
    why: Ground,
    *,
    at: int,
    ref: Ref,
    kinds: frozenset[str] | None = None,
) -> tuple[Run, Erasure | None]:
    """Erase the content of a run, or that of some kinds; None when there is none left.

    `run` is as it stands in the store. What the records of erasures themselves say stays: who
    forgot what on which ground has to be answered for.
    """
    records = read_records(connection, _event.run == run.id, order=_event.seq)
    places = [
        (record, part)
        for record in records
        for part in _parts_of(record)
        if kinds is None or kind_of(record.event.type, part) in kinds
    ]
    if not places:
        return run, None
    counted = Counter(kind_of(record.event.type, part) for record, part in places)
    event = ContentForgotten(
        cause=run.seq,
        request=why.request,
        ground=why.ground,
        erased=tuple(place_of(record.seq, part) for record, part in places),
        kinds=dict(sorted(counted.items())),
        by_ref=ref(why.by),
        by=why.by,
        reason=why.reason,
    )
    _append(connection, run, event, at)
    gone = [{"run": run.id, "seq": record.seq, "part": part} for record, part in places]
    DELETE.write(connection, gone)
    return _project_anew(connection, run.id), Erasure(run.id, event.kinds)


def _parts_of(record: Record) -> Iterator[str]:
    """Fields of a record that are content and still there."""
    event = record.event
    if isinstance(event, ContentForgotten | ContentReduced):
        return
    for name, stored in event.storage.items():
        if stored.erasable and name not in record.forgotten and getattr(event, name) is not None:
            yield name


def _reduce(connection: Connection, run: Run, at: int) -> Run:
    """Store what Claude wrote as it is shown."""
    records = read_records(connection, _event.run == run.id, order=_event.seq)
    shown = [record for record in records if getattr(record.event, "shown", None) is not None]
    new = [(record.seq, part) for record in shown for part in _as_shown(record)]
    if not new:
        return run
    event = ContentReduced(
        cause=run.seq,
        replaced={place_of(s, part.name): commitment(part.salt, part.body) for s, part in new},
        erased=tuple(place_of(record.seq, "shown") for record in shown),
    )
    _append(connection, run, event, at)
    gone = [{"run": run.id, "seq": seq, "part": part.name} for seq, part in new]
    gone += [{"run": run.id, "seq": record.seq, "part": "shown"} for record in shown]
    DELETE.write(connection, gone)
    insert_parts(connection, run.id, new)
    return _project_anew(connection, run.id)


def _as_shown(record: Record) -> Iterator[Part]:
    forms = from_json(getattr(record.event, "shown"))  # noqa: B009 - of some kinds of event only
    for name, form in forms.items():
        if name not in record.forgotten and getattr(record.event, name, None) is not None:
            yield Part(name, secrets.token_bytes(SALT_BYTES), to_json(form))


def _append(connection: Connection, run: Run, event: AnyEvent, at: int) -> None:
    insert(connection, Draft.of(run).plus([event], at=at))


def _project_anew(connection: Connection, run: str) -> Run:
    """The run as it reads now, and every list made from it."""
    records = read_records(connection, _event.run == run, order=_event.seq)
    now = fold(records)
    rows: dict[type, list[dict[str, Any]]] = {}
    for table, row in (*project(Run(run), now, ()), *_own_rows(records)):
        rows.setdefault(table, []).append(row)
    for table, changed in rows.items():
        put(connection, table, changed)
    return now


def _own_rows(records: Sequence[Record]) -> Iterator[tuple[type, dict[str, Any]]]:
    run = Run(records[0].run)
    for record in records:
        run = evolve(run, record)
        yield from record_rows(run, record)


def is_suspended(connection: Connection, run: Run) -> bool:
    """Whether somebody holds the run, or a subject of it."""
    holds = suspended(connection).values()
    about = {run.user_ref, *run.subjects} - {None}
    return any(hold.run_held == run.id or hold.subject_ref in about for hold in holds)


def suspended(connection: Connection) -> dict[str, ErasureSuspended]:
    """The holds that are in force, by id."""
    types = ("erasure.suspended", "erasure.resumed")
    found: dict[str, ErasureSuspended] = {}
    for event in _events(read_records(connection, _event.type.in_(types), order=_event.pos)):
        if isinstance(event, ErasureSuspended):
            found[event.hold] = event
        else:
            found.pop(getattr(event, "hold", ""), None)
    return found


def _events(records: Iterable[Record]) -> Iterator[AnyEvent]:
    return (record.event for record in records)


def runs_about(connection: Connection, ref: str) -> list[str]:
    """The runs of a subject, and those that go on with what was said in them; oldest first.

    Headers are searched, not lists: nothing that was recorded is passed over.
    """
    query = select(_event.run, _event.header).where(_event.header.contains(ref))
    own = {run for run, header in connection.execute(query) if _is_about(header, ref)}
    parents = _parents(connection)
    return [run for run in parents if _descends(run, own, parents)]


def _is_about(header: str, ref: str) -> bool:
    data = from_json(header)
    return data.get("user_ref") == ref or ref in data.get("subjects", ())


def _parents(connection: Connection) -> dict[str, str | None]:
    """Every run with the one that it follows, in the order of arrival."""
    query = select(_event.run, _event.header).where(_event.seq == 1, _event.type == "run.started")
    rows = connection.execute(query.order_by(_event.pos))
    return {run: from_json(header).get("parent") for run, header in rows}


def _descends(run: str | None, own: set[str], parents: Mapping[str, str | None]) -> bool:
    seen: set[str] = set()
    while run is not None and run not in seen:
        if run in own:
            return True
        seen.add(run)
        run = parents.get(run)
    return False
