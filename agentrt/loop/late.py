"""Late results: what a function says after its run has stopped waiting for it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from agentrt.audit import AuditStore
from agentrt.errors import AgentrtError, Conflict
from agentrt.events import CallDoubted, CallFinished
from agentrt.run import ToolCall

__all__ = ["Late"]

logger = logging.getLogger("agentrt")


class Late:
    """Records what comes back late, whoever carries the run by then: it is the truth."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, run: str, event: CallFinished | CallDoubted) -> None:
        """Record it soon; call it in the loop of the run."""
        task = asyncio.ensure_future(self._record(run, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _record(self, run: str, event: CallFinished | CallDoubted) -> None:
        try:
            while True:
                now = await asyncio.to_thread(self._store.load, run)
                call = now.call(event.call)
                if call is None or not _says_something(call, event):
                    return
                with suppress(Conflict):
                    await self._store.append(now, [event])
                    return
        except AgentrtError as error:
            logger.warning("%s came back late, and that could not be recorded: %s", run, error)


def _says_something(call: ToolCall, event: CallFinished | CallDoubted) -> bool:
    """Whether it is news of this attempt: not when a later one, which is harmless, answered."""
    if isinstance(event, CallDoubted):
        return call.status == "in doubt" and call.attempt == event.attempt
    settled = any(settlement.attempt == event.attempt for settlement in call.settlements)
    return settled or (call.attempt == event.attempt and call.status in ("started", "in doubt"))
