"""The server of effects: what really happened, in a process that outlives every kill.

It answers one request after the other, in the order in which they came, so that nothing which a
dead process had sent is counted after the question whether it was. A request is one line of JSON,
and so is its answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self

from tests.crash.children import ended, fork

__all__ = ["Effect", "EffectServer", "Effects", "passing"]


@dataclass(frozen=True)
class Effect:
    """One thing that was done to a world."""

    world: str
    run: str
    call: str
    key: str
    tool: str
    arguments: str
    """As JSON with sorted keys."""
    pid: int
    clock: int
    """What time the process that did it believed it was, in milliseconds."""
    at: int = 0
    """When it came to the server, in milliseconds since the epoch."""


class _Passing:
    """Where a process stands that sends: told to whoever kills it there."""

    def __init__(self) -> None:
        self.by: Callable[[str], signal.Signals | None] = lambda _kind: None


passing = _Passing()


class Effects:
    """The client: tools do things through it, people and the verdict look."""

    def __init__(self, port: int) -> None:
        self._port = port

    def do(self, effect: Effect) -> int:
        """Do it; how often this key has been done now."""
        passing.by("before sending")
        strike = passing.by("after the effect")
        message = {"verb": "do", "effect": vars(effect), "strike": strike}
        answer = self._say(message, sent=lambda: passing.by("after sending"))
        passing.by("before returning")
        return int(answer)

    def count(self, key: str) -> int:
        """How often the key has been done."""
        return int(self._say({"verb": "count", "key": key}))

    def seen(self, world: str) -> list[Effect]:
        """What was done to a world, in the order in which it came."""
        return [Effect(**each) for each in self._say({"verb": "seen", "world": world})]

    def _say(self, message: dict[str, Any], *, sent: Callable[[], object] = lambda: None) -> Any:
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection,
            connection.makefile("rw") as lines,
        ):
            lines.write(json.dumps(message) + "\n")
            lines.flush()
            sent()
            return json.loads(lines.readline())


class EffectServer:
    """A child of this process that is the server, until the block is left."""

    def __enter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = listening.getsockname()[1]
        self._child = fork(lambda: _serve(listening), limit_s=None)
        listening.close()
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._child, signal.SIGKILL)
        ended(self._child)


def _serve(listening: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    parent = os.getppid()
    listening.settimeout(5)
    counted: dict[str, int] = {}
    seen: dict[str, list[Effect]] = {}
    while os.getppid() == parent:
        with suppress(OSError, ValueError):
            connection, _ = listening.accept()
            connection.settimeout(10)
            with connection, connection.makefile("rw") as lines:
                answer = _answer(json.loads(lines.readline()), counted, seen)
                lines.write(json.dumps(answer) + "\n")


def _answer(message: dict[str, Any], counted: dict[str, int], seen: dict[str, list[Effect]]) -> Any:
    match message["verb"]:
        case "do":
            told = {**message["effect"], "at": time.time_ns() // 1_000_000}
            effect = Effect(**{each.name: told[each.name] for each in fields(Effect)})
            counted[effect.key] = counted.get(effect.key, 0) + 1
            seen.setdefault(effect.world, []).append(effect)
            if message["strike"]:
                os.kill(effect.pid, message["strike"])
            return counted[effect.key]
        case "count":
            return counted.get(message["key"], 0)
        case _:
            return [vars(each) for each in seen.get(message["world"], ())]
