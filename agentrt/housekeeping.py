"""Housekeeping: what is due for the store again and again, done by any process that serves.

Held calls whose time is over are closed by every runtime as soon as they are due; it does not
matter how many try. What stands here is done by one process at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agentrt.audit import AuditStore
from agentrt.errors import AgentrtError

__all__ = ["Chore", "Housekeeping"]

logger = logging.getLogger("agentrt")

HELD_FOR_S = 60.0
"""How long a chore belongs to a process that stands still, before another takes it."""

END_S = 5.0
"""How long chores may hold up the end of a process."""


@dataclass(frozen=True)
class Chore:
    """Something to do every so often: notifications, retention, checkpoints.

    `do` is told when it was done last (milliseconds since the epoch, 0: never), and must bear to
    be done twice at once: a process that stood still may wake up in the middle of it.
    """

    name: str
    every_s: float
    do: Callable[[int], Awaitable[None]]
    at_end: bool = False
    """Whether it is done once more when the process ends: it may have been there for a moment."""


class Housekeeping:
    """The chores of a store, as far as this process has them."""

    def __init__(self, store: AuditStore, chores: Sequence[Chore]) -> None:
        self._store = store
        self._chores = tuple(chores)

    def begin(self) -> list[asyncio.Task[None]]:
        """Do the chores in a task, if there are any."""
        if not self._chores:
            return []
        return [asyncio.create_task(self.for_ever(), name="agentrt-housekeeping")]

    async def for_ever(self) -> None:
        """Do each chore in its time until cancelled; one that fails holds up no other."""
        try:
            await asyncio.gather(*(self._again_and_again(chore) for chore in self._chores))
        finally:
            await self._let_go()

    async def _again_and_again(self, chore: Chore) -> None:
        while True:
            try:
                await self.once(chore)
            except Exception as error:  # noqa: BLE001 - the next time it may go well
                said = str(error) if isinstance(error, AgentrtError) else type(error).__name__
                logger.warning("%s was not done: %s", chore.name, said)
            await asyncio.sleep(chore.every_s)

    async def once(self, chore: Chore) -> bool:
        """Do the chore if no other process has it; whether it was done here."""
        held_for_s = max(HELD_FOR_S, 3 * chore.every_s)
        done_at = await self._store.chores.take(chore.name, for_s=held_for_s)
        if done_at is None:
            return False
        at = self._store.clock()
        await chore.do(done_at)
        await self._store.chores.done(chore.name, at=at)
        return True

    async def end(self) -> None:
        """Do once more what is to be done at the end, for a few seconds at most."""
        for chore in self._chores:
            if not chore.at_end:
                continue
            try:
                async with asyncio.timeout(END_S):
                    await self.once(chore)
            except Exception as error:  # noqa: BLE001 - another process does it
                logger.debug("%s was not done at the end: %s", chore.name, type(error).__name__)

    async def _let_go(self) -> None:
        if not self._chores:
            return
        try:
            await asyncio.shield(self._store.chores.let_go())
        except AgentrtError as error:
            logger.debug("the chores are left to run out: %s", error)
