"""Who follows runs: each is told every fact once and in order, whoever carries the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from agentrt.audit import AuditStore
from agentrt.loop import Item

__all__ = ["Followers"]


@dataclass(slots=True)
class _Listener:
    """Who follows a run, and how far it was told."""

    queue: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    seq: int = 0
    early: dict[int, Item] = field(default_factory=dict)
    """Facts that were heard of while those before them were still being read."""

    def tell(self, seq: int, item: Item) -> None:
        """Facts are told once each and in order, whichever way they are heard of first."""
        if not hasattr(item, "type"):
            self.queue.put_nowait(item)
            return
        if seq > self.seq:
            self.early[seq] = item
        while (following := self.early.pop(self.seq + 1, None)) is not None:
            self.seq += 1
            self.queue.put_nowait(following)


class Followers:
    """Those who follow runs in this process."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._listeners: dict[str, list[_Listener]] = {}

    def __contains__(self, run: object) -> bool:
        """Whether somebody follows the run."""
        return run in self._listeners

    def __len__(self) -> int:
        """How many runs are followed."""
        return len(self._listeners)

    def show(self, run: str, seq: int, item: Item) -> None:
        """Tell those who follow the run."""
        for listener in self._listeners.get(run, ()):
            listener.tell(seq, item)

    async def tell_past(self, *, but: Callable[[str], bool]) -> None:
        """Tell what others have written to the runs, but those that tell it as it happens."""
        for run, listeners in list(self._listeners.items()):
            if not but(run):
                for listener in listeners:
                    await self._tell_past(run, listener)

    async def follow(
        self, run: str, *, until: Coroutine[Any, Any, Any], begin: Callable[[], None]
    ) -> AsyncGenerator[Item, None]:
        """The run's items from its first on, until `until` is done. `begin` once listened to."""
        listener = _Listener()
        self._listeners.setdefault(run, []).append(listener)
        try:
            await self._tell_past(run, listener)
            begin()
            async with aclosing(_until_done(listener.queue, until)) as items:
                async for item in items:
                    yield item
            await self._tell_past(run, listener)
            while not listener.queue.empty():
                yield listener.queue.get_nowait()
        finally:
            until.close()
            self._forget(run, listener)

    def _forget(self, run: str, listener: _Listener) -> None:
        self._listeners[run].remove(listener)
        if not self._listeners[run]:
            del self._listeners[run]

    async def _tell_past(self, run: str, listener: _Listener) -> None:
        for record in await asyncio.to_thread(self._store.records, run, after=listener.seq):
            listener.tell(record.seq, record.event)


async def _until_done(
    queue: asyncio.Queue[Item], work: Coroutine[Any, Any, Any]
) -> AsyncGenerator[Item, None]:
    """What the queue holds, until `work` is done and the queue is empty. Raises what it raises."""
    done = asyncio.ensure_future(work)
    try:
        while not (done.done() and queue.empty()):
            getting = asyncio.ensure_future(queue.get())
            try:
                await asyncio.wait({getting, done}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    yield getting.result()
            finally:
                getting.cancel()
        await done
    finally:
        done.cancel()  # who stops listening leaves no task behind
