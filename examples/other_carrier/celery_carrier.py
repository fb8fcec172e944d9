"""Jobs carried by Celery: the same doorbell over the engine that a team already has.

Two methods are all of it. `wake` sends a task, `serve` runs a Celery worker in a thread of this
process and hands each task over. The task is answered when it was heard, so that Celery's retries,
acknowledgements and time limits never matter: what is true is in the audit store.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

from celery import Celery
from sqlalchemy import Connection

from agentrt.carriers import Advance

__all__ = ["CeleryCarrier"]

TASK = "agentrt.carry_on"


class CeleryCarrier:
    """Rings through a Celery broker, which knows nothing of our transactions."""

    in_transaction: ClassVar[bool] = False

    def __init__(self, app: Celery, *, queue: str = "agentrt") -> None:
        self._app = app
        self._queue = queue
        self._serving: tuple[asyncio.AbstractEventLoop, Advance] | None = None
        app.task(self._hear, name=TASK, shared=False)
        app.finalize()

    def wake(self, run: str, connection: Connection | None = None) -> None:
        """Send the run's task; its result is of no interest."""
        self._app.send_task(TASK, args=[run], queue=self._queue, ignore_result=True)

    async def serve(self, advance: Advance) -> None:
        """Run a Celery worker in a thread, until cancelled."""
        self._serving = asyncio.get_running_loop(), advance
        worker = self._app.WorkController(
            app=self._app,
            pool="solo",  # a task only rings
            queues=[self._queue],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        thread = threading.Thread(target=_work, args=(self._app, worker), daemon=True)
        thread.start()
        try:
            while thread.is_alive():  # noqa: ASYNC110 - a thread has no event to wait for
                await asyncio.sleep(0.2)
            raise RuntimeError("The Celery worker has stopped.")
        finally:
            worker.stop()
            await asyncio.to_thread(thread.join, 20)

    def _hear(self, run: str) -> None:
        if self._serving is not None:
            loop, advance = self._serving
            asyncio.run_coroutine_threadsafe(_call(advance, run), loop)


async def _call(advance: Advance, run: str) -> None:
    await advance(run)


def _work(app: Celery, worker: Any) -> None:
    app.set_current()  # Celery keeps one for each thread, and looks tasks up there
    worker.start()
