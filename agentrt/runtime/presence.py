"""Presence: a process says that it is there, from a thread that nothing else can starve."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterable

from agentrt.audit import BEAT_S, AuditStore
from agentrt.errors import AgentrtError

__all__ = ["Presence"]

logger = logging.getLogger("agentrt")


class Presence:
    """This process among those that carry runs, for `agentrt workers` and for the others.

    A function that blocks the event loop must not make its process look dead, so that the word
    goes out from a thread.
    """

    def __init__(self, store: AuditStore) -> None:
        self._claims = store.claims
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    async def begin(
        self, *, service: str, agents: Iterable[str], simulated: bool, room: int, version: str
    ) -> None:
        """Say that this process is there, and go on saying it."""
        await self._claims.attend(
            service=service,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version,
            agents=sorted(agents),
            simulated=simulated,
            room=room,
        )
        self._thread = threading.Thread(
            target=self._beat_for_ever, name="agentrt-beat", daemon=True
        )
        self._thread.start()

    async def drain(self) -> None:
        """Say that it takes no more runs."""
        await self._claims.drain()

    async def end(self) -> None:
        """Say that it is gone."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        try:
            await self._claims.leave()
        except AgentrtError as error:
            logger.warning("nobody was told that this process is gone: %s", error)

    def _beat_for_ever(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self._claims.beat().result(timeout=BEAT_S)
            except (AgentrtError, TimeoutError) as error:
                logger.warning("the store does not hear that this process is there: %s", error)
