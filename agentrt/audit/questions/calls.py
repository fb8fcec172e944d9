"""Questions about calls, answered from the index and from the records of their runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agentrt.audit.answers import Row, answer
from agentrt.audit.own_sql import Table
from agentrt.audit.query import Query, Term, Value
from agentrt.audit.questions.question import Asked
from agentrt.audit.store import AuditStore
from agentrt.events import CallDoubted, CallSettled, Record
from agentrt.run import explain
from agentrt.run.state import moment

__all__ = ["denied", "doubts", "egress", "found", "irreversible", "iso"]

REFUSED = ("denied", "rejected", "expired")

SHOWN = ("call", "tool", "status", "user", "agent", "rule", "approved_by", "summary")


def irreversible(store: AuditStore, asked: Asked) -> Table:
    """Calls whose effect cannot be undone, with who approved them."""
    return _listed(found(store, asked, Term("effect", (Value("irreversible"),))))


def egress(store: AuditStore, asked: Asked) -> Table:
    """Calls of tools by which data leaves that were let run, with what they were given."""
    rows = found(
        store,
        asked,
        Term("label", (Value("egress"),)),
        Term("outcome", tuple(map(Value, ("ok", "error", "doubt", "running")))),
    )
    shown = [
        (iso(row["at"]), row["call"], row["tool"], row["status"], _arguments(store, row))
        for row in rows
    ]
    return Table(("time", "call", "tool", "status", "given"), shown)


def denied(store: AuditStore, asked: Asked) -> Table:
    """Calls that were refused, with the reason, and what Claude did next."""
    rows = found(store, asked, Term("outcome", tuple(map(Value, REFUSED))))
    columns = ("time", "call", "tool", "status", "rule", "next")
    return Table(columns, [_refused(store, row) for row in rows])


def _refused(store: AuditStore, row: Row) -> tuple[Any, ...]:
    why = explain(store.records(row["run"]), row["call"])
    following = [line for fact in why.followed[:1] for line in (fact.text, *fact.details)]
    ended = [fact.text for fact in why.followed[1:]]
    said = "; ".join((*following, *ended)) or "nothing yet"
    return iso(row["at"]), row["call"], row["tool"], row["status"], row["rule"], said


def doubts(store: AuditStore, asked: Asked) -> Table:
    """Calls of which nobody knew whether they happened, and how each was settled."""
    columns = ("time", "call", "why", "settled", "happened", "by", "reason")
    records = store.search(
        types=("call.doubted",),
        since=asked.period.since,
        until=asked.period.until,
        limit=asked.limit + 1,
    )
    return Table(columns, [_doubt(store, record) for record in records])


def _doubt(store: AuditStore, record: Record) -> tuple[Any, ...]:
    event = record.event
    if not isinstance(event, CallDoubted):
        raise TypeError(event.type)
    later = (
        (each.at, each.event)
        for each in store.records(record.run, after=record.seq)
        if isinstance(each.event, CallSettled) and each.event.call == event.call
    )
    at, settled = next(later, (None, None))
    if at is None or settled is None:
        return iso(record.at), event.call, event.reason, None, None, None, None
    by = settled.by or settled.method
    return (
        iso(record.at), event.call, event.reason, iso(at), settled.happened, by, settled.reason,
    )  # fmt: skip


def found(store: AuditStore, asked: Asked, *terms: Term) -> Sequence[Row]:
    """Calls that fit, newest first, one more than asked for if there are more."""
    query = Query(terms, since=asked.period.since, until=asked.period.until)
    return answer(store, query, limit=asked.limit + 1, sort="newest")[1]


def _listed(rows: Sequence[Row]) -> Table:
    return Table(
        ("time", *SHOWN), [(iso(row["at"]), *(_told(row[name]) for name in SHOWN)) for row in rows]
    )


def _told(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def _arguments(store: AuditStore, row: Row) -> str:
    """The arguments that it was given last, as they were decided on and as people may see them."""
    records = store.search(call=row["call"], types=("call.decided",), limit=1)
    said = (record.event.data().get("arguments") for record in records)
    return json.dumps(next(said, None), ensure_ascii=False)


def iso(at: int) -> str:
    """A moment as the views write it."""
    return moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")
