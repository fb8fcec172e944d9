"""A question: its name, what it asks, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentrt.audit.index.views import in_dialect
from agentrt.audit.own_sql import Table, ask_sql
from agentrt.audit.store import AuditStore

__all__ = ["Asked", "Period", "Question", "by_sql"]


@dataclass(frozen=True, slots=True)
class Period:
    """From when and until when, in milliseconds since the epoch; None: from or to the end."""

    since: int | None = None
    until: int | None = None

    def values(self) -> dict[str, Any]:
        """As the `:since` and `:until` of a statement."""
        return {
            "since": self.since or 0,
            "until": self.until if self.until is not None else 1 << 60,
        }

    def holds(self, at: int) -> bool:
        """Whether a moment is in it."""
        values = self.values()
        return bool(values["since"] <= at < values["until"])


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for in particular."""

    period: Period = Period()
    by: str = ""
    """Which of the question's groups."""
    limit: int = 30
    """Rows that are wanted; an answer may have one more, to say that there are others."""


Answer = Callable[[AuditStore, Asked], Table]


@dataclass(frozen=True, slots=True)
class Question:
    """A question that auditors ask again and again."""

    name: str
    asks: str
    answer: Answer
    groups: tuple[str, ...] = ()
    """What `--by` can say; the first is taken when nothing is said."""


def by_sql(statement: str) -> Answer:
    """An answer from the views: `{by}` stands for the group, `:since` and `:until` for the time."""

    def answer(store: AuditStore, asked: Asked) -> Table:
        with store.reading() as connection:
            dialect = connection.dialect.name
        text = in_dialect(statement.replace("{by}", asked.by), dialect)
        return ask_sql(store, text, asked.period.values(), limit=asked.limit + 1)

    return answer
