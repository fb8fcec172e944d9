"""Rounds: looking around many times a second, for what nobody told this process."""

from __future__ import annotations

import asyncio
import logging
import math
import time

from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore, Watch
from agentrt.errors import AgentrtError
from agentrt.runtime.carrying import Carrying
from agentrt.runtime.followers import Followers
from agentrt.runtime.policy_watch import PolicyWatch

__all__ = ["Rounds"]

logger = logging.getLogger("agentrt")

ROUND_S = 0.1
"""How often the store is looked at for what others wrote; a look costs microseconds."""

SWEEP_S = 0.5
"""How often ready runs are looked for though nothing was heard: the dead leave no word."""


class Rounds:
    """What is ready, what is due, what others ended or wrote: found without anybody's word."""

    def __init__(
        self,
        store: AuditStore,
        approvals: ApprovalQueue,
        carrying: Carrying,
        followers: Followers,
        policy_watch: PolicyWatch,
    ) -> None:
        self._store = store
        self._approvals = approvals
        self._carrying = carrying
        self._followers = followers
        self._policy_watch = policy_watch
        self._next_expiry = math.inf
        self._next_sweep = 0.0

    async def for_ever(self) -> None:
        """Go round until cancelled. A store that is away may come back."""
        watch = self._store.watch()
        try:
            await self._look_around(watch)
            while True:
                await asyncio.sleep(ROUND_S)
                try:
                    await self._round(watch)
                except AgentrtError as error:
                    logger.debug("a round was cut short: %s", error)
        finally:
            watch.close()

    async def _round(self, watch: Watch) -> None:
        await self._policy_watch.look()
        if self._next_expiry <= self._store.clock():
            await self._approvals.expire_due()
        if await asyncio.to_thread(watch.changed):
            await self._look_around(watch)
            self._carrying.notify()
        await self._sweep()

    async def _look_around(self, watch: Watch) -> None:
        """See what expires next, what was ended from outside, and what others wrote."""
        self._next_expiry = await asyncio.to_thread(watch.next_expiry)
        await self._carrying.see_what_ended()
        await self._followers.tell_past(but=self._carrying.__contains__)
        self._next_sweep = 0.0

    async def _sweep(self) -> None:
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            await self._carrying.sweep()
