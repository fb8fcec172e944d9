"""The question what was forgotten: the store's own records of it."""

from __future__ import annotations

from typing import Any

from agentrt.audit.own_sql import Table
from agentrt.audit.questions.calls import iso
from agentrt.audit.questions.question import Asked
from agentrt.audit.store import STORE_CHAIN, AuditStore
from agentrt.events import event_types

__all__ = ["forgotten"]

TYPE = "content.forgotten"

COLUMNS = ("time", "request", "ground", "runs", "kinds", "by", "reason")


def forgotten(store: AuditStore, asked: Asked) -> Table:
    """What was erased: when, on what ground, by whom, why, and how much in how many runs."""
    if TYPE not in event_types():
        return Table(COLUMNS, [])
    records = store.search(
        run=STORE_CHAIN,
        types=(TYPE,),
        since=asked.period.since,
        until=asked.period.until,
        limit=asked.limit + 1,
    )
    return Table(COLUMNS, [_row(record.at, record.event.data()) for record in records])


def _row(at: int, said: dict[str, Any]) -> tuple[Any, ...]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in said.get("kinds", {}).items())
    fields = (said.get("request"), said.get("ground"), said.get("runs"), kinds)
    return iso(at), *fields, said.get("by"), said.get("reason")
