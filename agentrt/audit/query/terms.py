"""Terms: what one word of a query asks for, and the keys that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = [
    "ARGUMENT",
    "BUNDLE_SHOWN",
    "CALL",
    "CHOICES",
    "KEYS",
    "PEOPLE",
    "RUN",
    "Key",
    "Query",
    "Term",
    "Value",
    "path_of",
]

ARGUMENT = "args."
"""What an argument's path begins with: `args.amount_cents`."""

BUNDLE_SHOWN = 16
"""Characters of a bundle's digest that are enough to find it."""

CALL, RUN = "call", "run"
"""What a query finds: calls, unless it says `is:run`."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key: what it means, and the values that it can have when they are few."""

    meaning: str
    choices: tuple[str, ...] = ()


OUTCOMES = (
    "waiting",
    "running",
    "ok",
    "error",
    "denied",
    "rejected",
    "expired",
    "doubt",
    "cancelled",
    "finished",
    "failed",
)

KEYS: Mapping[str, Key] = {
    "tool": Key("the tool's name"),
    "agent": Key("the agent's name"),
    "user": Key("on whose behalf the run works; whole, or @ and the hash in headers"),
    "reviewer": Key("who approved, rejected, edited or settled; whole, or @ and the hash"),
    "decision": Key(
        "what policy decided (allow, hold, deny) and what people did",
        ("allow", "hold", "deny", "approved", "rejected", "expired", "edited", "settled"),
    ),
    "rule": Key("the id of a rule that matched"),
    "bundle": Key("the policy that decided: the beginning of its digest, with a *"),
    "effect": Key("what the tool does to the world", ("read", "write", "irreversible")),
    "label": Key("a label of the tool"),
    "outcome": Key("what became of the call or the run", OUTCOMES),
    "environment": Key("where it ran"),
    "model": Key("the model that was asked for"),
    "simulated": Key("whether a script answered for Claude", ("yes", "no")),
    "subject": Key("whom it is about, as tools declare it; whole, or @ and the hash"),
    "run": Key("the run's id, or its beginning with a *"),
    "call": Key("the call's id, or its beginning with a *"),
    "since": Key("requested at this time or later: 2h, 7d, 2026-11-23, 2026-11-23T09:00"),
    "until": Key("requested before this time"),
    "is": Key("what to find: calls unless this says otherwise", (CALL, RUN)),
    "text": Key("words in content that still exists; the same as a word without a key"),
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    name: key.choices for name, key in KEYS.items() if key.choices
}

PEOPLE = frozenset({"user", "reviewer", "subject"})
"""Keys whose values are names of people: the index holds keyed hashes of them."""


@dataclass(frozen=True, slots=True)
class Value:
    """One of the values of a term: equal to a text, like a pattern, or beside a number."""

    text: str
    operator: str = "="
    """`=`, `>`, `>=`, `<`, `<=`."""
    pattern: bool = False
    """Whether a `*` in it stands for anything."""

    @property
    def number(self) -> float | None:
        """The number that it is, if it is one."""
        try:
            return float(self.text)
        except ValueError:
            return None

    def matches(self, text: str) -> bool:
        """Whether a text is what this asks for, `*` standing for anything."""
        return fnmatchcase(text, self.text.replace("[", "[[]").replace("?", "[?]"))


@dataclass(frozen=True, slots=True)
class Term:
    """`key:value,value`, or words to look for; all terms of a query must hold."""

    key: str
    values: tuple[Value, ...]
    negated: bool = False
    at: int = 0
    """Where it stands in the query, from 0."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for."""

    terms: tuple[Term, ...] = ()
    since: int | None = None
    """Milliseconds since the epoch."""
    until: int | None = None
    kind: str = CALL


def path_of(key: str) -> str:
    """The argument's path of a key that begins with `args.`."""
    return key.removeprefix(ARGUMENT)
