"""What the store claims beside what the world saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentrt.audit import AuditStore
from agentrt.events import CallApproved, CallDecided, CallDoubted, CallStarted, Record
from examples.support_desk.world import World

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """What is wrong, and how many doubts a person or a check had to resolve."""

    wrong: tuple[str, ...]
    doubts: int
    killed: bool = False
    """False when the run never came by the point: commits group by chance."""


def judge(world: World, store: AuditStore) -> Verdict:
    (row,) = store.runs()
    records = store.records(row.id)
    return Verdict(
        wrong=tuple(_wrong(world, store, row.status, records)),
        doubts=sum(isinstance(record.event, CallDoubted) for record in records),
    )


def _wrong(
    world: World, store: AuditStore, status: str, records: Sequence[Record]
) -> Iterator[str]:
    if status != "finished":
        yield f"the run is {status}"
    if (refunds := len(world.refunds())) != 1:
        yield f"{refunds} refunds"
    if (mails := len(world.mails())) != 1:
        yield f"{mails} mails"
    yield from (str(finding) for finding in store.verify().findings)
    yield from _undecided(records)


def _undecided(records: Sequence[Record]) -> Iterator[str]:
    """Starts without a decision before them, or without the approvals that it asked for."""
    decided: dict[str, CallDecided] = {}
    approved: dict[str, set[str]] = {}
    for record in records:
        match record.event:
            case CallDecided() as event:
                decided[event.call] = event
            case CallApproved() as event:
                approved.setdefault(event.call, set()).add(event.by)
            case CallStarted() as event:
                decision = decided.get(event.call)
                if decision is None or decision.verdict == "deny":
                    yield f"{event.call} ran undecided"
                elif decision.verdict == "hold" and not approved.get(event.call):
                    yield f"{event.call} ran unapproved"
