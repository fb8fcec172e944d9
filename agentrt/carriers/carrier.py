"""A carrier of jobs: a doorbell that is heard in other processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from agentrt.audit import Bell

__all__ = ["Advance", "Carrier"]

Advance = Callable[[str], Awaitable[None]]
"""Called with a run that could go on. It looks what is to be done and returns at once.

Which run is carried on is chosen where runs are claimed, so a job does not last as long as its
run. It may be called twice, late, or for a run that is over, and raises nothing.
"""


class Carrier(Bell, Protocol):
    """What takes *carry run X on* from whoever appended to whoever can carry.

    A job is delivered at least once while somebody serves. It may be delivered twice, late, or
    in another order, and all of them may be lost: workers look for themselves as well.
    `agentrt.testing.check_carrier` holds an implementation to it.
    """

    async def serve(self, advance: Advance) -> None:
        """Call `advance` for each job until cancelled; what goes wrong between is tried again."""
