"""The embedded carrier: jobs within one process, in memory."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar

from sqlalchemy import Connection

from agentrt.carriers.carrier import Advance

__all__ = ["Embedded"]


class Embedded:
    """Takes jobs from any thread to whoever serves in this process.

    Other processes on the same store hear nothing of them: they look at the store several times
    a second anyway, and so does this one when it starts again.
    """

    in_transaction: ClassVar[bool] = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}
        """Runs to say: each once, however often it was rung."""
        self._heard: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self, run: str, connection: Connection | None = None) -> None:
        """Say that the run can go on."""
        with self._lock:
            self._waiting[run] = None
            if self._loop is not None and self._heard is not None:
                self._loop.call_soon_threadsafe(self._heard.set)

    async def serve(self, advance: Advance) -> None:
        """Call `advance` for each run that was woken, until cancelled."""
        heard = asyncio.Event()
        with self._lock:
            self._loop, self._heard = asyncio.get_running_loop(), heard
        try:
            while True:
                heard.clear()
                for run in self._take():
                    await advance(run)
                await heard.wait()
        finally:
            with self._lock:
                self._loop = self._heard = None

    def _take(self) -> list[str]:
        with self._lock:
            runs, self._waiting = list(self._waiting), {}
        return runs
