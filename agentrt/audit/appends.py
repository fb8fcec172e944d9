"""An append: records made in advance, then in one transaction checked, inserted, projected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from agentrt.audit.projections import PROJECTIONS, project
from agentrt.audit.records import Part, Written, write_record
from agentrt.audit.statements import Prepared
from agentrt.audit.tables import (
    ContentRow,
    EventRow,
    LeaseRow,
    RunRow,
    ServedRow,
    SharedRow,
    WorkerRow,
    columns,
)
from agentrt.errors import CarriedElsewhere, Conflict
from agentrt.events import AnyEvent, Record
from agentrt.run import Run, evolve

__all__ = [
    "HEAD",
    "Draft",
    "check_head",
    "check_lease",
    "insert",
    "insert_parts",
    "is_written",
    "put",
]


@dataclass(frozen=True, slots=True)
class Draft:
    """Records that are made and not durable yet: from where the run stood to where they lead.

    What does not have to be durable before the next thing happens can share its commit.
    """

    before: Run
    after: Run
    written: tuple[Written, ...] = ()

    @classmethod
    def of(cls, run: Run) -> Draft:
        """A draft without records."""
        return cls(run, run)

    def plus(self, events: Iterable[AnyEvent], *, at: int) -> Draft:
        """This draft with `events` at its end, written at `at` (milliseconds since the epoch)."""
        written, after = list(self.written), self.after
        for event in events:
            # Time never goes back within a run, whatever the clock does.
            new = write_record(
                event,
                run=after.id,
                seq=after.seq + 1,
                at=max(at, after.at),
                prev=after.head,
                user_ref=after.user_ref,
            )
            written.append(new)
            after = evolve(after, new.record)
        return Draft(self.before, after, tuple(written))

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, oldest first."""
        return tuple(new.record for new in self.written)


def _inserting(table: Any, *columns: str) -> Prepared:
    """An insert of the named columns: the others have defaults or are generated."""
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return Prepared.inserting(lambda insert: insert(table).values(values))


def _upserting(table: Any) -> Prepared:
    names = [column.name for column in table.__table__.columns]
    keys = [column.name for column in table.__table__.primary_key]

    def make(insert: Any) -> Any:
        statement = insert(table).values({name: bindparam(name) for name in names})
        changed = {name: statement.excluded[name] for name in names if name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    return Prepared.inserting(make)


_event, _run, _lease = columns(EventRow), columns(RunRow), columns(LeaseRow)
# Whoever appends holds the run until the commit; SQLite has one writer anyway.
HEAD = Prepared(
    select(_run.head_seq, _run.head_hash).where(_run.id == bindparam("run")).with_for_update()
)
RECORD = Prepared(
    select(_event.hash).where(_event.run == bindparam("run"), _event.seq == bindparam("seq"))
)
LEASE = Prepared(select(_lease.process).where(_lease.run == bindparam("run")))
INSERT_EVENT = _inserting(EventRow, "header", "hash")
INSERT_CONTENT = _inserting(ContentRow, "run", "seq", "part", "salt", "body")
INSERT_SHARED = Prepared.inserting(
    lambda insert: (
        insert(SharedRow)
        .values(digest=bindparam("digest"), body=bindparam("body"))
        .on_conflict_do_nothing()
    )
)
UPSERT: dict[type, Prepared] = {
    table: _upserting(table) for table in (*PROJECTIONS, LeaseRow, WorkerRow, ServedRow)
}


def is_written(connection: Connection, draft: Draft) -> bool:
    """Whether just these records are in the store already.

    To be asked only after a commit that was never answered: somebody else's records may be the
    same to the byte.
    """
    last = draft.after
    row = RECORD.row(connection, run=last.id, seq=last.seq) if draft.written else None
    return row is not None and bytes(row[0]) == last.head


def check_head(connection: Connection, run: Run) -> None:
    """Raises Conflict unless the stored run stands where the caller's fold of it does."""
    seq, head = HEAD.row(connection, run=run.id) or (0, b"")
    if (seq, bytes(head)) != (run.seq, run.head):
        raise Conflict(f"{run.id} has moved on since it was read: read it again.")


def check_lease(connection: Connection, run: str, process: str) -> None:
    """Raises CarriedElsewhere unless `process` carries the run."""
    (holder,) = LEASE.row(connection, run=run) or ("nobody",)
    if holder != process:
        raise CarriedElsewhere(f"{run} is carried by {holder}, not by this process.")


def insert(connection: Connection, draft: Draft) -> None:
    """Write the records of a draft and the projections that they change."""
    _insert_records(connection, draft.written)
    rows: dict[type, list[dict[str, Any]]] = {}
    for table, row in project(draft.before, draft.after, draft.records):
        rows.setdefault(table, []).append(row)
    for table, changed in rows.items():
        put(connection, table, changed)


def put(connection: Connection, table: type, rows: list[dict[str, Any]]) -> None:
    """Write rows of a projection in place of those with their keys."""
    UPSERT[table].write(connection, rows)


def insert_parts(connection: Connection, run: str, parts: Sequence[tuple[int, Part]]) -> None:
    """Write content of a run, each part at the `seq` of its record."""
    content = [
        {"run": run, "seq": seq, "part": part.name, "salt": part.salt, "body": part.body}
        for seq, part in parts
    ]
    if content:
        INSERT_CONTENT.write(connection, content)


def _insert_records(connection: Connection, written: Sequence[Written]) -> None:
    records = [{"header": new.record.header.decode(), "hash": new.record.hash} for new in written]
    INSERT_EVENT.write(connection, records)
    for run in dict.fromkeys(new.record.run for new in written):
        own = [new for new in written if new.record.run == run]
        insert_parts(connection, run, [(n.record.seq, part) for n in own for part in n.parts])
    shared = {digest: body for new in written for digest, body in new.shared.items()}
    if shared:
        bodies = [{"digest": digest, "body": body} for digest, body in shared.items()]
        INSERT_SHARED.write(connection, bodies)
