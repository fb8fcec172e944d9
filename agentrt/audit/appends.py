"""An append: records made in advance, then in one transaction checked, inserted, projected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from agentrt.audit.projections import PROJECTIONS, project
from agentrt.audit.records import Written, write_record
from agentrt.audit.tables import ContentRow, EventRow, LeaseRow, RunRow, SharedRow, columns
from agentrt.errors import CarriedElsewhere, Conflict
from agentrt.events import AnyEvent, Record
from agentrt.run import Run, evolve

__all__ = ["Draft", "check_head", "check_lease", "insert", "put"]


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
                event, run=after.id, seq=after.seq + 1, at=max(at, after.at), prev=after.head
            )
            written.append(new)
            after = evolve(after, new.record)
        return Draft(self.before, after, tuple(written))

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, oldest first."""
        return tuple(new.record for new in self.written)


def _upsert(table: Any) -> Any:
    statement = insert_or_update(table.__table__)
    keys = [column.name for column in table.__table__.primary_key]
    changed = {
        column.name: statement.excluded[column.name]
        for column in table.__table__.columns
        if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


# Made once: SQLAlchemy then compiles each of them once.
_run, _lease = columns(RunRow), columns(LeaseRow)
HEAD = select(_run.head_seq, _run.head_hash).where(_run.id == bindparam("run"))
LEASE = select(_lease.process).where(_lease.run == bindparam("run"))
INSERT_EVENT = insert_into(EventRow).inline()
INSERT_CONTENT = insert_into(ContentRow).inline()
INSERT_SHARED = insert_or_update(SharedRow).on_conflict_do_nothing()
UPSERT: dict[type, Any] = {table: _upsert(table) for table in (*PROJECTIONS, LeaseRow)}


def check_head(connection: Connection, run: Run) -> None:
    """Raises Conflict unless the stored run stands where the caller's fold of it does."""
    row = connection.execute(HEAD, {"run": run.id}).one_or_none()
    if (tuple(row) if row else (0, b"")) != (run.seq, run.head):
        raise Conflict(f"{run.id} has moved on since it was read: read it again.")


def check_lease(connection: Connection, run: str, process: str) -> None:
    """Raises CarriedElsewhere unless `process` carries the run."""
    holder = connection.execute(LEASE, {"run": run}).scalar()
    if holder != process:
        raise CarriedElsewhere(f"{run} is carried by {holder or 'nobody'}, not by this process.")


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
    connection.execute(UPSERT[table], rows)


def _insert_records(connection: Connection, written: Sequence[Written]) -> None:
    records = [{"header": new.record.header.decode(), "hash": new.record.hash} for new in written]
    connection.execute(INSERT_EVENT, records)
    content = [
        {
            "run": new.record.run,
            "seq": new.record.seq,
            "part": part.name,
            "salt": part.salt,
            "body": part.body,
        }
        for new in written
        for part in new.parts
    ]
    if content:
        connection.execute(INSERT_CONTENT, content)
    shared = {digest: body for new in written for digest, body in new.shared.items()}
    if shared:
        bodies = [{"digest": digest, "body": body} for digest, body in shared.items()]
        connection.execute(INSERT_SHARED, bodies)
