"""Google's side: questions to a process that holds cel-expr-python and may die of one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

from agentrt.policy.cel import (
    DURATION,
    TIMESTAMP,
    Enum,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
)

from .answers import Answer
from .contexts import Context, has_times
from .literals import quoted

__all__ = ["Question", "Reference", "is_installed", "parse_question", "question"]

Question = dict[str, Any]

_WORKER = Path(__file__).with_name("worker.py")
_PATIENCE_S = 60.0
"""How long a batch may take; a process that takes longer is ended and counts as broken."""


def is_installed() -> bool:
    """Whether there is a cel-expr-python for this platform."""
    return find_spec("cel_expr_python") is not None


class Reference:
    """The process, started anew whenever it has died."""

    def __init__(self) -> None:
        self._process = _started()
        self._asked: deque[Question] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def send(self, questions: Sequence[Question]) -> None:
        """Ask; the answers are had with `receive`, so that both sides can work at once."""
        self._asked = deque(questions)
        self._write()

    def receive(self) -> list[Answer]:
        """The answers, in the order of the questions."""
        answers: list[Answer] = []
        while self._asked:
            answers += self._read()
            if self._asked:
                answers.append(self._lost())
        return answers

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        self.send(questions)
        return self.receive()

    def _write(self) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # then there is no answer to the first question
            self._process.stdin.write(json.dumps(list(self._asked)) + "\n")
            self._process.stdin.flush()

    def _read(self) -> Iterator[Answer]:
        """The answers that come before the process ends, or is ended."""
        assert self._process.stdout
        watch = Timer(_PATIENCE_S, self._process.kill)
        watch.start()
        try:
            while self._asked and (line := self._process.stdout.readline()):
                self._asked.popleft()
                yield Answer(*json.loads(line))
        finally:
            watch.cancel()

    def _lost(self) -> Answer:
        """The process died of the question it was at; go on with the next."""
        self._end()
        code = self._process.returncode
        self._asked.popleft()
        self._process = _started()
        self._write()
        return Answer("broken", f"cel-expr-python died with {code}")

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _started() -> subprocess.Popen[str]:
    # Isolated (-I), so that the files beside the worker shadow nobody's modules.
    return subprocess.Popen(
        [sys.executable, "-I", str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


# --- questions ---------------------------------------------------------------------------


def parse_question(text: str) -> Question:
    """Is this a text of CEL?"""
    return {"parse": text}


def question(text: str, context: Context) -> Question:
    """What does this come to in the context?

    Most roots go along as values. Those with times are written into the text, for a moment
    in Python has no nanoseconds and cannot stand in a map there: `[{...}].map(run, text)`.
    """
    asked, depth, variables = f"[{text}\n]", 1, {}
    for name, of in context.types.items():
        if not re.search(rf"\b{name}\b", text):
            continue
        if has_times(of):
            asked = f"[{_written(of, context.values[name])}].map({name}, {asked})"
            depth += 1
        else:
            variables[name] = (_signature(of), context.values[name])
    return {"text": asked, "depth": depth, "variables": variables}


def _signature(type: Type) -> str:
    match type:
        case Record():
            return "map(string,dyn)"
        case ListOf():
            return f"list({_signature(type.item)})"
        case MapOf():
            return f"map({_signature(type.key)},{_signature(type.value)})"
        case Nullable():
            return "dyn"
        case Enum():
            return "string"
    return str(type)


def _written(type: Type, value: Any) -> str:
    match type, value:
        case _, None:
            return "null"
        case (Nullable(), _):
            return _written(type.of, value)
        case (Record(), dict()):
            fields = {name: type.fields[name].type for name in value}
            return _entries({name: f"dyn({_written(fields[name], value[name])})" for name in value})
        case (MapOf(), dict()):
            return _entries({name: _written(type.value, value[name]) for name in value})
        case (ListOf(), list()):
            return f"[{', '.join(_written(type.item, item) for item in value)}]"
    if type in (TIMESTAMP, DURATION):
        return f"{type}({quoted(str(value))})"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def _entries(entries: dict[str, str]) -> str:
    return "{" + ", ".join(f"{quoted(name)}: {text}" for name, text in entries.items()) + "}"
