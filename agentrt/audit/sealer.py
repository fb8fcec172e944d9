"""The sealer: makes checkpoints while a runtime lives, beside its work and never in its way."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from agentrt.audit.keys import SigningKey
from agentrt.audit.notes import Note
from agentrt.audit.sealing import Seal
from agentrt.audit.store import AuditStore
from agentrt.errors import AgentrtError
from agentrt.events import (
    CallDecided,
    CallDoubted,
    CallSettled,
    RunCancelled,
    RunFailed,
    RunFinished,
)

__all__ = ["AT_ONCE", "Sealer"]

logger = logging.getLogger("agentrt")

EVERY_S = 60.0
"""How long a record waits for a checkpoint at most, while a runtime lives."""

APART_S = 0.25
"""What happens within this time shares a checkpoint."""

AT_ONCE = (RunFinished, RunFailed, RunCancelled, CallDoubted, CallSettled)
"""After these, and after a call that is held, a cut must leave a trace at once."""


class Sealer:
    """Seals on a schedule, at once after what matters, and when it ends."""

    def __init__(
        self,
        store: AuditStore,
        key: SigningKey,
        *,
        every_s: float = EVERY_S,
        apart_s: float = APART_S,
    ) -> None:
        self._store = store
        self._seal = Seal(store.id, key)
        self._every_s = every_s
        self._apart_s = apart_s
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Seal from now on, in a task of its own."""
        self._task = asyncio.create_task(self._for_ever(), name="agentrt-sealer")

    async def end(self) -> None:
        """Seal what is left, and stop. A store that cannot be written keeps nobody from ending."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        try:
            await self.seal()
        except AgentrtError as error:
            logger.warning("no checkpoint was made at the end: %s", error)

    def hear(self, event: object) -> None:
        """Something happened: seal at once if it is of the kind that must not be cut off."""
        held = isinstance(event, CallDecided) and event.verdict == "hold"
        if held or isinstance(event, AT_ONCE):
            self._due.set()

    def wake(self) -> None:
        """Seal at once, for instance when content was forgotten."""
        self._due.set()

    async def seal(self, *, asked: bool = False) -> tuple[Note, bool]:
        """Seal now: the newest checkpoint, and whether it is new. Raises StoreError.

        `asked`: by a person or for a reason that is worth a record in the store's own chain.
        """
        return await self._store.within(
            lambda connection: self._seal(connection, at=self._store.clock(), asked=asked)
        )

    async def _for_ever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._due.wait()
            self._due.clear()
            try:
                await self.seal()
            except AgentrtError as error:  # the next one seals all the more
                logger.warning("no checkpoint was made: %s", error)
            await asyncio.sleep(self._apart_s)
