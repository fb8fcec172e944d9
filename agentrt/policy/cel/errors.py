"""What can go wrong with a condition: in its text, in its types, with its values.

Malformed               the text is no condition
Mistyped                the condition does not fit the types it speaks of
Undetermined            these values give no answer
├── Failed              and never will
└── Unknown             not yet
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Failed", "Malformed", "Mistyped", "Problem", "Undetermined", "Unknown"]


@dataclass(frozen=True)
class Problem:
    """One mistake, and where in the text: offsets in characters, `end` is behind the last."""

    message: str
    start: int
    end: int

    def __str__(self) -> str:
        return self.message


class Malformed(Exception):
    """The text is no condition; `start` and `end` are offsets in it, in characters."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end


class Mistyped(Exception):
    """The condition does not fit the types it speaks of; all its problems, in text order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=_place))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _place(problem: Problem) -> tuple[int, int, str]:
    return problem.start, problem.end, problem.message


class Undetermined(Exception):
    """These values give no answer."""


class Failed(Undetermined):
    """The condition cannot be evaluated on these values."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unknown(Undetermined):
    """The value of `name` is not known yet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not known yet")
        self.name = name
