"""Load: how much is done at once, and from where on more is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from agentrt.audit import AuditStore
from agentrt.errors import Overloaded

__all__ = ["Backlog", "Load"]

COUNT_S = 1.0
"""How long a count of the runs that wait is used for."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much at once. What would be too much is refused before anything is recorded."""

    runs_at_once: int = 100
    """Runs that this process carries; further ones wait. 0: it carries none, others do."""
    runs_waiting: int = 10_000
    """Runs in the store that could go on and that nobody carries yet."""
    appends_waiting: int = 10_000
    """Appends of this process that wait for their commit."""
    runs_per_user: int | None = None
    """Runs of one user that all processes together carry at once."""
    runs_per_agent: int | None = None

    @property
    def shared(self) -> bool:
        """Whether how much this process may do hangs on what others do."""
        return self.runs_per_user is not None or self.runs_per_agent is not None


class Backlog:
    """How much waits already. Counted once a second, so that asking costs nothing."""

    def __init__(
        self, store: AuditStore, load: Load, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._load = load
        self._clock = clock
        self._runs = 0
        self._counted_at = float("-inf")

    def check(self) -> None:
        """Raises Overloaded when there is no place for another run."""
        appends = self._store.appends_waiting
        if appends >= self._load.appends_waiting:
            raise Overloaded(
                f"{appends} appends wait for the audit store: nothing was recorded. Try again "
                "later; the disk or the database does not keep up."
            )
        if (runs := self._waiting()) >= self._load.runs_waiting:
            raise Overloaded(
                f"{runs} runs wait to be carried on, and {self._load.runs_waiting} may: nothing "
                "was recorded. Try again later, or start another `agentrt worker`."
            )

    def grew(self) -> None:
        """Another run was recorded."""
        self._runs += 1

    def _waiting(self) -> int:
        now = self._clock()
        if now - self._counted_at >= COUNT_S:
            self._runs = self._store.claims.ready(most=self._load.runs_waiting)
            self._counted_at = now
        return self._runs
