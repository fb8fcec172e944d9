"""The writer: one thread that gathers what waits and commits it once.

A piece of work is told of its success only after the commit is on disk. Work that is refused
(an `AgentrtError`, raised before it wrote anything) does not disturb the rest of its group.
A server that went away is looked for again, for a while. If it went while it committed, nobody
knows whether it did: before work is done again, it is asked whether it is done already.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from agentrt.audit.database import Database
from agentrt.audit.patience import patiently
from agentrt.audit.schema import FAILURES
from agentrt.errors import AgentrtError, StoreUnavailable

__all__ = ["Writer"]

T = TypeVar("T")

GROUP_MAX = 128

Work = Callable[[Connection], Any]


@dataclass(slots=True)
class _Waiting:
    work: Work
    run: str | None = None
    """The run that it appends to."""
    alone: bool = False
    """Whether it relies on what other runs have come to."""
    done: Work | None = None
    """What it came to, if it is done already; else None."""
    unclear: bool = False
    """Whether it may be: its commit was sent and never answered."""
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Commits work in groups, in the order it was given."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        """Nothing is put into the queue behind the sign to stop, where nobody would see it."""
        self._thread = threading.Thread(target=self._serve, name="agentrt-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        work: Callable[[Connection], T],
        *,
        run: str | None = None,
        alone: bool = False,
        done: Callable[[Connection], T | None] | None = None,
    ) -> Future[T]:
        """Do `work` in a transaction; the future is done when that is durable or refused.

        `run` is the run that it appends to; `alone` says that it relies on what others are doing.
        `done` finds out whether it is done already, and need not be said where work does no harm
        when it is done twice.
        """
        waiting = _Waiting(work, run, alone, done)
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
            outcomes = patiently(lambda: self._together(group), is_passing=self._is_passing)
        except Exception as error:  # noqa: BLE001 - whatever it is, each waiter must hear of it
            self._one_by_one(group, error)
            return
        for waiting, (result, refusal) in zip(group, outcomes, strict=True):
            _tell(waiting, result, refusal)

    def _one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        """One failing piece must not fail the others of its group."""
        if len(group) == 1 or self._is_passing(error):
            failure = self._database.problem(error) if isinstance(error, FAILURES) else error
            for waiting in group:
                _tell(waiting, None, failure)
            return
        for waiting in group:
            self._commit([waiting])

    def _is_passing(self, error: Exception) -> bool:
        return isinstance(error, FAILURES) and self._database.is_passing(error)

    def _together(self, group: list[_Waiting]) -> list[tuple[Any, AgentrtError | None]]:
        runs = {waiting.run for waiting in group if waiting.run is not None}
        alone = any(waiting.alone for waiting in group)
        with self._database.turn(), self._connected() as connection:
            connection.begin()
            try:
                self._database.begin(connection, runs=runs, alone=alone)
                outcomes = [_attempt(waiting, connection) for waiting in group]
                for waiting in group:
                    waiting.unclear = True
                connection.commit()
            except BaseException:
                with suppress(*FAILURES):  # on a connection that broke there is nothing left
                    connection.rollback()
                raise
            return outcomes

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The writer's own connection: made when there is none, given up when it failed."""
        if self._connection is None:
            self._connection = self._database.writing.connect()
        try:
            yield self._connection
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAILURES):  # what is gone cannot even be let go
                connection.close()


def _attempt(waiting: _Waiting, connection: Connection) -> tuple[Any, AgentrtError | None]:
    try:
        if waiting.unclear and waiting.done is not None:
            found = waiting.done(connection)
            if found is not None:
                return found, None
        return waiting.work(connection), None
    except AgentrtError as refusal:
        return None, refusal


def _tell(waiting: _Waiting, result: Any, failure: BaseException | None) -> None:
    if not waiting.future.set_running_or_notify_cancel():
        return  # nobody waits any more; the work is done all the same
    if failure is None:
        waiting.future.set_result(result)
    else:
        waiting.future.set_exception(failure)
