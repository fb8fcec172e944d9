"""The places where a process is killed: around every commit and every function of a tool."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentrt.audit import writer
from agentrt.loop import carry

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

    def __init__(self, at: Callable[[Point], None]) -> None:
        self._at = at
        self.seen: dict[str, int] = {}

    def pass_by(self, kind: str) -> None:
        self.seen[kind] = self.seen.get(kind, 0) + 1
        self._at(Point(kind, self.seen[kind]))


def kill_at(point: Point) -> Counter:
    """Kill this process, as kill -9 does, when it comes to `point`."""

    def at(here: Point) -> None:
        if here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return _installed(Counter(at))


def count_points() -> Counter:
    """Only count."""
    return _installed(Counter(lambda _point: None))


def _installed(counter: Counter) -> Counter:
    _around_commits(counter)
    _around_functions(counter)
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

    async def around(call: Any, tool: Any, asked: Any, *more: Any) -> Any:
        counter.pass_by("before function")
        outcome = await enter(call, tool, asked, *more)
        counter.pass_by("after function")
        return outcome

    carry.enter = around  # type: ignore[attr-defined]
