"""The questions: random calls, each with what happened before it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.rulebook import COUNTRIES, CURRENCIES, ROLES, Rulebook, Spoken

__all__ = ["Past", "Question", "questions"]


@dataclass(frozen=True)
class Past:
    """What happened before a call, and who asks for it."""

    tools: tuple[str, ...]
    """Of each call of the run so far."""
    elsewhere: int
    """Calls in other runs of the user, within the hour."""
    roles: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """The same as a program that keeps no records would hand it over."""
        calls = len(self.tools)
        return {
            "run": {"calls": calls, "tools_used": sorted(set(self.tools))},
            "user": {"calls_1h": calls + self.elsewhere, "roles": list(self.roles)},
            "environment": "production",
        }


@dataclass(frozen=True)
class Question:
    """A call that is about to be decided."""

    tool: Spoken
    arguments: Mapping[str, Any]
    past: Past


def questions(rulebook: Rulebook, count: int) -> list[Question]:
    """The same ones every time."""
    chance = random.Random(count)
    return [_question(rulebook, chance) for _ in range(count)]


def _question(rulebook: Rulebook, chance: random.Random) -> Question:
    arguments = {
        "amount_cents": chance.randrange(200_000),
        "country": chance.choice([*COUNTRIES, "KP"]),
        "currency": chance.choice(CURRENCIES),
        "reference": f"ord_{chance.randrange(10**6):06d}",
    }
    return Question(chance.choice(rulebook.tools), arguments, _past(rulebook, chance))


def _past(rulebook: Rulebook, chance: random.Random) -> Past:
    names = [tool.name for tool in rulebook.tools]
    used = chance.choices(names, k=chance.randrange(13))
    return Past(tuple(used), chance.randrange(31), (chance.choice(ROLES),))
