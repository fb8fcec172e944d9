"""The writer: one thread that gathers what waits and commits it once.

A piece of work is told of its success only after the commit is on disk. Work that is refused
(an `AgentrtError`, raised before it wrote anything) does not disturb the rest of its group.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from agentrt.audit.database import FAILURES, unavailable
from agentrt.errors import AgentrtError, StoreUnavailable

__all__ = ["Writer"]

T = TypeVar("T")

GROUP_MAX = 128

Work = Callable[[Connection], Any]


@dataclass(slots=True)
class _Waiting:
    work: Work
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Commits work in groups, in the order it was given."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine.execution_options(immediate=True)
        self._path = path
        # SQLite's busy handler starves a writer for seconds; an flock is fair.
        self._turn = os.open(f"{path}-turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._connection: Connection | None = None
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        """Nothing is put into the queue behind the sign to stop, where nobody would see it."""
        self._thread = threading.Thread(target=self._serve, name="agentrt-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Do `work` in a transaction; the future is done when that is durable or refused."""
        waiting = _Waiting(work)
        with self._closing:
            if self._closed:
                raise StoreUnavailable("The audit store was closed.")
            self._queue.put(waiting)
        return waiting.future

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for their turn."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what was given, then stop."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        os.close(self._turn)

    def _serve(self) -> None:
        while (group := self._gather()) is not None:
            self._commit(group)
        self._disconnect()

    def _gather(self) -> list[_Waiting] | None:
        """What waits now, at least one piece; None when the writer was closed."""
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        with suppress(queue.Empty):
            while len(group) < GROUP_MAX:
                following = self._queue.get_nowait()
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            outcomes = self._together(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, each waiter must hear of it
            self._one_by_one(group, error)
            return
        for waiting, (result, refusal) in zip(group, outcomes, strict=True):
            _tell(waiting, result, refusal)

    def _one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        """One failing piece must not fail the others of its group."""
        if len(group) == 1:
            failure = unavailable(self._path, error) if isinstance(error, FAILURES) else error
            _tell(group[0], None, failure)
            return
        for waiting in group:
            self._commit([waiting])

    def _together(self, group: list[_Waiting]) -> list[tuple[Any, AgentrtError | None]]:
        with self._my_turn(), self._connected() as connection, connection.begin():
            return [_attempt(waiting.work, connection) for waiting in group]

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The writer's own connection: made when there is none, given up when it failed."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            yield self._connection
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)


def _attempt(work: Work, connection: Connection) -> tuple[Any, AgentrtError | None]:
    try:
        return work(connection), None
    except AgentrtError as refusal:
        return None, refusal


def _tell(waiting: _Waiting, result: Any, failure: BaseException | None) -> None:
    if not waiting.future.set_running_or_notify_cancel():
        return  # nobody waits any more; the work is done all the same
    if failure is None:
        waiting.future.set_result(result)
    else:
        waiting.future.set_exception(failure)
