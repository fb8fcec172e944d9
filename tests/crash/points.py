"""The places where a process is killed: around every commit and every function of a tool."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentrt.audit import writer
from agentrt.loop import carry
from tests.crash.effects import passing

__all__ = ["Counter", "Point", "count_points", "kill_at"]


@dataclass(frozen=True)
class Point:
    """`kind` and which of its occurrences, from 1 on."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


class Counter:
    """Counts the places as the process comes by, and does at each what it was told."""

    def __init__(self, at: Callable[[Point], signal.Signals | None]) -> None:
        self._at = at
        self.seen: dict[str, int] = {}

    def pass_by(self, kind: str) -> signal.Signals | None:
        """Do what is to be done here; the signal that the server of effects is to send."""
        self.seen[kind] = self.seen.get(kind, 0) + 1
        return self._at(Point(kind, self.seen[kind]))


def kill_at(point: Point, *, by: signal.Signals = signal.SIGKILL) -> Counter:
    """Kill this process, as kill -9 does, when it comes to `point`, or stop it there."""

    def at(here: Point) -> signal.Signals | None:
        if here != point:
            return None
        if here.kind == "after the effect":
            return by  # only the server knows when that is
        os.kill(os.getpid(), by)
        return None

    return _installed(Counter(at))


def count_points() -> Counter:
    """Only count."""
    return _installed(Counter(lambda _point: None))


def _installed(counter: Counter) -> Counter:
    _around_commits(counter)
    _around_functions(counter)
    passing.by = counter.pass_by
    return counter


def _around_commits(counter: Counter) -> None:
    """Before a commit all of its work is done and nothing durable; after it, nobody was told."""
    from sqlalchemy import Engine, event

    event.listen(Engine, "commit", lambda _connection: counter.pass_by("before commit"))
    together = writer.Writer._together

    def and_then(self: Any, *group: Any) -> Any:
        outcomes = together(self, *group)
        counter.pass_by("after commit")
        return outcomes

    writer.Writer._together = and_then  # type: ignore[method-assign]


def _around_functions(counter: Counter) -> None:
    enter = carry.enter

    async def around(*arguments: Any, **options: Any) -> Any:
        counter.pass_by("before function")
        outcome = await enter(*arguments, **options)
        counter.pass_by("after function")
        return outcome

    carry.enter = around  # type: ignore[attr-defined]
