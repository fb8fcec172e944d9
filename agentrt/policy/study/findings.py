"""A finding: what is to be told of a rule, and where in its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agentrt.policy.bound import Mistake
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.rules_file import Entry

__all__ = ["Finding", "Level", "some"]

Level = Literal["error", "warning"]

_NAMED_MAX = 3


@dataclass(frozen=True)
class Finding:
    """A message about a rule."""

    message: str
    path: tuple[str, ...] = ("id",)
    """The key it is about."""
    start: int | None = None
    """Where in an expression, in characters; None: it is about the whole value."""
    level: Level = "error"

    def problem(self, entry: Entry) -> PolicyProblem:
        """The problem at its place in the rule's file."""
        return replace(self._at_its_place(entry), level=self.level)

    def _at_its_place(self, entry: Entry) -> PolicyProblem:
        if self.start is None:
            return entry.source.at_value((*entry.path, *self.path), self.message)
        return entry.problem(Mistake(self.path, self.message, self.start, self.start))


def some(words: Sequence[str], *, between: str = ", ") -> str:
    """The first few, and how many there are beside them."""
    more = len(words) - _NAMED_MAX
    return between.join([*words[:_NAMED_MAX], *([f"and {more} more"] if more > 0 else [])])
