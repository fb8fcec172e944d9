"""Finding: what there is to be told, read from how the store stands now.

What was held and decided again before anybody looked is told to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore, CallRow
from agentrt.errors import AgentrtError
from agentrt.notifications.notice import Kind, Notice

__all__ = ["EXPIRING_SHARE", "STUCK_MS", "Stuck", "notices", "stuck_runs"]

STUCK_MS = 600_000
"""How long a run may be ready and carried by nobody before it counts as stuck."""

EXPIRING_SHARE = 0.25
"""The part of a held call's time that is left when it is told of again."""

LOOK_BACK_MS = 3_600_000
"""How much further back than the last look it is looked for what expired."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A run that should go on and does not."""

    run: str
    agent: str
    since_at: int
    why: str
    simulated: bool


def notices(
    store: AuditStore, queue: ApprovalQueue, *, since: int, environment: str = ""
) -> Iterator[Notice]:
    """All that is to be told as things stand; `since` is when it was looked last."""
    now = store.clock()
    for row in queue.held():
        yield _of_call("held", row, at=row.decided_at or row.requested_at, where=environment)
        if _expires_soon(row, now):
            yield _of_call("expiring", row, at=now, where=environment)
    for row in queue.in_doubt():
        yield _of_call("in_doubt", row, at=now, where=environment)
    for row in store.calls(status=("expired",), due_by=now, due_after=since - LOOK_BACK_MS):
        yield _of_call("expired", row, at=row.expires_at or now, where=environment)
    for stuck in stuck_runs(store):
        yield Notice(
            id=f"stuck:{stuck.run}:{stuck.since_at}",
            kind="stuck",
            at=now,
            run=stuck.run,
            agent=stuck.agent,
            environment=environment,
            simulated=stuck.simulated,
            why=stuck.why,
        )


def stuck_runs(store: AuditStore, *, for_ms: int = STUCK_MS) -> list[Stuck]:
    """The runs that should go on and have not for so long, the longest first."""
    found = [*_carried_by_nobody(store, for_ms), *_waiting_in_vain(store, for_ms)]
    return sorted(found, key=lambda stuck: stuck.since_at)


def _carried_by_nobody(store: AuditStore, for_ms: int) -> Iterator[Stuck]:
    before = store.clock() - for_ms
    for row in store.runs(status=("running",)):
        if row.head_at <= before and store.carrier(row.id) is None:
            why = "it is ready, and no living process carries it on"
            yield Stuck(row.id, row.agent, row.head_at, why, row.simulated)


def _waiting_in_vain(store: AuditStore, for_ms: int) -> Iterator[Stuck]:
    before = store.clock() - for_ms
    for row in store.calls(status=("deferred",)):
        try:
            call = store.load(row.run).call(row.id)
        except AgentrtError:
            continue  # a record that cannot be read is told of elsewhere
        if call is not None and call.status == "held" and (call.until or 0) <= before:
            facts = ", ".join(call.awaiting)
            why = f"{call.id} waited for {facts}, and the time for that is over"
            yield Stuck(row.run, row.agent, call.until or call.decided_at, why, row.simulated)


def _expires_soon(row: CallRow, now: int) -> bool:
    if row.expires_at is None:
        return False
    began = row.decided_at or row.requested_at
    return (row.expires_at - now) <= EXPIRING_SHARE * (row.expires_at - began)


def _of_call(kind: Kind, row: CallRow, *, at: int, where: str) -> Notice:
    number = row.attempt if kind == "in_doubt" else row.revision
    return Notice(
        id=f"{kind}:{row.id}:{number}",
        kind=kind,
        at=at,
        run=row.run,
        call=row.id,
        tool=row.tool,
        agent=row.agent,
        rule=row.rule or "",
        severity=row.severity or "",
        environment=where,
        simulated=row.simulated,
        expires_at=row.expires_at if kind in ("held", "expiring") else None,
    )
