"""An evaluation under way: what it is of, and how much longer it may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrt.policy.cel.errors import Failed

__all__ = ["STEPS_MAX", "Frame", "weight"]

STEPS_MAX = 100_000
"""How many steps an evaluation may take: an item looked at, or 16 characters of a text."""


class Frame:
    """The values of one evaluation, with the variables of the macros it is inside of."""

    __slots__ = ("host", "seen", "steps", "values", "variables")

    variables: dict[str, Any]
    seen: dict[str, Any]

    def __init__(self, values: Mapping[str, Any], host: Any) -> None:
        self.values = values
        self.host = host
        self.steps = STEPS_MAX
        self.variables = {}

    def spend(self, steps: int) -> None:
        """Go on for as many steps; raises Failed when there are no more."""
        self.steps -= steps
        if self.steps < 0:
            raise Failed(f"the condition takes more than {STEPS_MAX:,} steps")


def weight(value: Any) -> int:
    """How many steps it takes to look at the whole value, however deeply it nests."""
    steps = 0
    waiting = [value]
    while waiting:
        part = waiting.pop()
        steps += 1
        if isinstance(part, str):
            steps += len(part) >> 4
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part)
            waiting.extend(part.values())
    return steps
