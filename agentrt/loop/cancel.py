"""Cancelling a run, from whichever process: it takes the store and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agentrt.audit import AuditStore
from agentrt.errors import Conflict, RunOver
from agentrt.events import RunCancelled
from agentrt.run import Run

__all__ = ["cancel"]


async def cancel(store: AuditStore, run: str, *, by: str, reason: str) -> Run:
    """Stop a run, whoever carries it: calls that have not started never will.

    Raises NotFound or RunOver.
    """
    while True:
        now = await asyncio.to_thread(store.load, run)
        if now.over:
            raise RunOver(f"{run} is over: {now.status}.")
        cancelled = RunCancelled(cause=now.seq, by=by, by_ref=store.ref(by), reason=reason)
        with suppress(Conflict):
            return await store.append(now, [cancelled])
