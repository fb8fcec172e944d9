"""Workers: many machines carry runs on, each as much as it can, until it is told to stop."""

from __future__ import annotations

import asyncio

from agentrt.runtime import Runtime

__all__ = ["GRACE_S", "Worker"]

GRACE_S = 30.0
"""How long runs under way may go on when a worker is told to stop."""


class Worker:
    """A process that carries runs on, whoever started them.

    It holds nothing that is not in the store: killed at any moment, its runs are found by the
    others, within seconds.
    """

    def __init__(self, runtime: Runtime, *, grace_s: float = GRACE_S) -> None:
        """`runtime` is one that nobody has entered yet; its `load` says how many at once."""
        self._runtime = runtime
        self._grace_s = grace_s
        self._told = asyncio.Event()

    async def serve(self) -> None:
        """Carry runs until `stop`, then let those under way come to an end, or leave them.

        Raises what keeps it from looking for runs, such as StoreUnavailable.
        """
        async with self._runtime as runtime:
            told = asyncio.ensure_future(self._told.wait())
            broken = asyncio.ensure_future(runtime.until_broken())
            try:
                await asyncio.wait({told, broken}, return_when=asyncio.FIRST_COMPLETED)
                if broken.done():
                    broken.result()
            finally:
                told.cancel()
                broken.cancel()
            await runtime.drain(within_s=self._grace_s)

    def stop(self) -> None:
        """Begin nothing new. Call it in the loop that serves."""
        self._told.set()
