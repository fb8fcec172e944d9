"""What is wrong with a policy, where, and how it is told: as a compiler does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from agentrt.errors import PolicyError

__all__ = ["PolicyProblem", "refusal", "suggestion"]


@dataclass(frozen=True, order=True)
class PolicyProblem:
    """One mistake at one place. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str
    text: str = ""
    """The line of the file the mistake is in."""
    level: Literal["error", "warning"] = "error"
    """With an error nothing runs."""

    def __str__(self) -> str:
        kind = "" if self.level == "error" else "warning: "
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.message}"

    def shown(self) -> str:
        """The problem with its line and a mark below the place."""
        if not self.text.strip():
            return str(self)
        return f"{self}\n    {_safe(self.text)}\n    {' ' * (self.column - 1)}^"


def refusal(problems: Iterable[PolicyProblem]) -> PolicyError:
    """The error that says all of them, in the order of files and lines."""
    told = [problem.shown() for problem in sorted(set(problems))]
    count = "1 problem" if len(told) == 1 else f"{len(told)} problems"
    end = f"{count} in the policy: it is not used until it is put right."
    return PolicyError("\n".join([*told, end]))


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when something known is near, else nothing."""
    near = get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _safe(text: str) -> str:
    # A policy file is somebody's text: its control characters must not reach a terminal.
    return "".join(char if char.isprintable() else " " for char in text)
