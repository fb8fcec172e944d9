"""The fence: the last look before a function is entered whose effect cannot be taken back."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from agentrt.audit import AuditStore

__all__ = ["FENCE_S", "Abandoned", "Fence", "seconds"]

FENCE_S = 10.0
"""How long after its start was recorded a function may be entered at the latest.

Whoever is silent for half a minute may lose its runs to another; a third of that leaves room for
the time that passed since it was heard of last.
"""

Why = Literal["not_carried", "too_late"]


class Abandoned(Exception):
    """The function was not entered, and never will be in this attempt."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why


def seconds() -> float:
    """Seconds that also pass while the machine is suspended, and never go back."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Fence:
    """Made when `call.started` has become durable; asked right before the function is entered.

    A process may stand still between the two for as long as it likes, and another go on with the
    run meanwhile. What the fence cannot see is a stop between its last look and the function's
    first statement: for that one, "it did not happen" is refused while the process may live.
    """

    def __init__(self, store: AuditStore, run: str) -> None:
        self._store = store
        self._run = run
        self._began = seconds()

    async def check(self) -> None:
        """Raises Abandoned when another may carry the run, or when it is over."""
        if not await asyncio.to_thread(self._store.still_carries, self._run):
            raise Abandoned("not_carried")
        self.check_time()

    def check_time(self) -> None:
        """Raises Abandoned when too much time has passed; costs nothing."""
        if seconds() - self._began > FENCE_S:
            raise Abandoned("too_late")
