"""Answers: what is told of each call or run that a question found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from agentrt.audit.index import Found, search
from agentrt.audit.query import Query
from agentrt.audit.query.terms import RUN
from agentrt.audit.store import AuditStore
from agentrt.audit.tables import ApprovalRow, CallRow, RunRow, columns

__all__ = ["CALL_FIELDS", "RUN_FIELDS", "Row", "answer"]

Row = Mapping[str, Any]

CALL_FIELDS = (
    "call",
    "run",
    "at",
    "tool",
    "effect",
    "verdict",
    "status",
    "user",
    "agent",
    "rule",
    "severity",
    "approved_by",
    "rejected_by",
    "attempt",
    "finished_at",
    "simulated",
    "summary",
)

RUN_FIELDS = (
    "run",
    "at",
    "status",
    "agent",
    "user",
    "model",
    "environment",
    "turn",
    "held",
    "in_doubt",
    "cost_usd",
    "cost_unknown",
    "error",
    "simulated",
    "prompt",
)

_call, _run, _approval = columns(CallRow), columns(RunRow), columns(ApprovalRow)


def answer(
    store: AuditStore, query: Query, *, limit: int, sort: str, cursor: str | None = None
) -> tuple[Found, Sequence[Row]]:
    """One page of what fits, each with its row of `CALL_FIELDS` or `RUN_FIELDS`."""
    with store.reading() as connection:
        found = search(connection, query, ref=store.ref, limit=limit, sort=sort, cursor=cursor)
    ids = [each.id for each in found.entries]
    known = _runs(store, ids) if query.kind == RUN else _calls(store, ids)
    return found, [known[each] for each in ids if each in known]


def _calls(store: AuditStore, ids: Sequence[str]) -> Mapping[str, Row]:
    with store.reading() as connection:
        calls = connection.execute(select(*_call).where(_call.id.in_(ids))).all()
        said = connection.execute(
            select(_approval.call, _approval.verdict, _approval.by)
            .where(_approval.call.in_(ids))
            .order_by(_approval.at, _approval.seq)
        ).all()
    people: dict[tuple[str, str], list[str]] = defaultdict(list)
    for call, verdict, by in said:
        people[call, verdict].append(by)
    return {
        row.id: {
            **row._mapping,
            "call": row.id,
            "at": row.requested_at,
            "approved_by": people[row.id, "approve"],
            "rejected_by": people[row.id, "reject"],
            "simulated": bool(row.simulated),
        }
        for row in calls
    }


def _runs(store: AuditStore, ids: Sequence[str]) -> Mapping[str, Row]:
    with store.reading() as connection:
        rows = connection.execute(select(*_run).where(_run.id.in_(ids))).all()
    return {
        row.id: {
            **row._mapping,
            "run": row.id,
            "at": row.started_at,
            "simulated": bool(row.simulated),
            "cost_unknown": bool(row.cost_unknown),
        }
        for row in rows
    }
