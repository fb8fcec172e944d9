"""The rulebook: one policy of any size, in the words of each engine that is asked with it.

Nothing here imports an engine, so that each is measured without the others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "COUNTRIES",
    "CURRENCIES",
    "ROLES",
    "SCHEMA",
    "Comparison",
    "Rule",
    "Rulebook",
    "Spoken",
]

COUNTRIES = (
    "AT",
    "BE",
    "BG",
    "CH",
    "CZ",
    "DE",
    "DK",
    "EE",
    "ES",
    "FI",
    "FR",
    "GB",
    "GR",
    "IE",
    "IT",
    "NL",
    "NO",
    "PL",
    "PT",
    "SE",
)
CURRENCIES = ("CHF", "EUR", "GBP", "USD")
ROLES = ("agent", "auditor", "lead")

_VERBS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "get": ("read", ()),
    "list": ("read", ()),
    "export": ("read", ("egress",)),
    "update": ("write", ()),
    "create": ("write", ()),
    "book": ("write", ("moves_money",)),
    "send": ("irreversible", ("egress",)),
    "cancel": ("irreversible", ()),
    "pay": ("irreversible", ("moves_money",)),
    "refund": ("irreversible", ("moves_money",)),
}
_NOUNS = [
    "order",
    "invoice",
    "payment",
    "parcel",
    "contract",
    "voucher",
    "account",
    "claim",
    "ticket",
    "fee",
]
_DECISIONS = ("allow", "hold", "allow", "deny", "hold")
_WINDOW = 9

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "amount_cents": {"type": "integer", "minimum": 0},
        "country": {"type": "string"},
        "currency": {"type": "string", "enum": list(CURRENCIES)},
        "reference": {"type": "string"},
    },
    "required": ["amount_cents", "country", "currency", "reference"],
    "additionalProperties": False,
}
"""The arguments of every tool."""


@dataclass(frozen=True)
class Spoken:
    """A tool that rules speak of."""

    name: str
    effect: str
    labels: tuple[str, ...]

    @property
    def selectors(self) -> tuple[str, ...]:
        """What an entry of `tools:` may call it."""
        return (self.name, f"effect:{self.effect}", *(f"label:{label}" for label in self.labels))


@dataclass(frozen=True)
class Comparison:
    """A part of a condition. `op` is an operator of both languages, `in` or `not in`."""

    left: str
    op: str
    right: str

    @property
    def cel(self) -> str:
        """As agentrt and CEL read it."""
        if self.op == "not in":
            return f"!({self.left} in {self.right})"
        return f"{self.left} {self.op} {self.right}"

    @property
    def cedar(self) -> str:
        """As Cedar reads it: everything that is not a literal is in the context."""
        left, right = (_in_context(side) for side in (self.left, self.right))
        match self.op:
            case "in":
                return f"{right}.contains({left})"
            case "not in":
                return f"!({right}.contains({left}))"
        return f"{left} {self.op} {right}"


def _in_context(side: str) -> str:
    return f"context.{side}" if side[0].isalpha() else side


@dataclass(frozen=True)
class Rule:
    """One rule, on the tools that its selector means."""

    id: str
    decide: str
    selector: str
    when: tuple[Comparison, ...]

    @property
    def cel(self) -> str:
        """Its condition."""
        return " && ".join(part.cel for part in self.when)

    @property
    def yaml(self) -> str:
        """As it stands in a bundle."""
        return (
            f"  - id: {self.id}\n    decide: {self.decide}\n    tools: [{self.selector}]\n"
            f"    when: '{self.cel}'\n    why: Rule {self.id} says so.\n"
        )

    @property
    def cedar(self) -> str:
        """A policy: Cedar has no hold, so that is a `forbid` which is told by its id."""
        word = "permit" if self.decide == "allow" else "forbid"
        op = "in" if ":" in self.selector else "=="
        scope = f'principal, action {op} Action::"{self.selector}", resource'
        condition = " && ".join(part.cedar for part in self.when)
        return f'@id("{self.id}")\n{word} ({scope}) when {{ {condition} }};\n'


class Rulebook:
    """So many rules over so many tools, the same ones every time.

    Each tool has its own rules; a few more are over effects and labels, and so over all tools.
    No rule makes another superfluous: the countries of none are all among those of another.
    """

    def __init__(self, rules: int, tools: int) -> None:
        self.tools = tuple(_tool(number) for number in range(tools))
        own = rules - len(_EVERYWHERE)
        self.rules = (*_EVERYWHERE, *_rules(self.tools, own, random.Random(rules)))

    def of(self, tool: Spoken) -> Iterator[Rule]:
        """The rules that speak of a tool."""
        return (rule for rule in self.rules if rule.selector in tool.selectors)

    @property
    def yaml(self) -> str:
        """The rules file of a bundle."""
        return "default: {read: hold}\nrules:\n" + "".join(rule.yaml for rule in self.rules)

    @property
    def cedar(self) -> str:
        """Cedar's policies."""
        return "".join(rule.cedar for rule in self.rules)


def _tool(number: int) -> Spoken:
    noun, verb = divmod(number, len(_VERBS))
    effect, labels = list(_VERBS.values())[verb]
    return Spoken(f"{list(_VERBS)[verb]}_{_NOUNS[noun]}", effect, labels)


def _rules(tools: Sequence[Spoken], count: int, chance: random.Random) -> Iterator[Rule]:
    countries = {tool: chance.sample(COUNTRIES, len(COUNTRIES)) for tool in tools}
    for number in range(count):
        nth, tool = number // len(tools), tools[number % len(tools)]
        decide = _DECISIONS[nth % len(_DECISIONS)]
        turned = countries[tool][2 * nth :] + countries[tool][: 2 * nth]
        yield Rule(
            f"{tool.name}-{nth}", decide, tool.name, _when(decide, turned[:_WINDOW], tools, chance)
        )


def _when(
    decide: str, countries: Sequence[str], tools: Sequence[Spoken], chance: random.Random
) -> tuple[Comparison, ...]:
    """Two or three comparisons, at least one of them of a fact, and an `in`."""
    parts = [
        Comparison("args.country", "in", json.dumps(sorted(countries))),
        _amount(decide, chance),
        _fact(decide, tools, chance),
    ]
    if chance.random() < 0.5:
        parts.append(Comparison("args.currency", "!=", json.dumps(chance.choice(CURRENCIES))))
    return tuple(chance.sample(parts, len(parts)))


def _amount(decide: str, chance: random.Random) -> Comparison:
    if decide == "allow":
        return Comparison("args.amount_cents", "<=", str(chance.randrange(8, 20) * 10_000))
    return Comparison("args.amount_cents", ">", str(chance.randrange(1, 12) * 10_000))


def _fact(decide: str, tools: Sequence[Spoken], chance: random.Random) -> Comparison:
    allows = decide == "allow"
    op = "<" if allows else ">="
    choice = [
        Comparison("run.calls", op, str(chance.randrange(3, 12))),
        Comparison("user.calls_1h", op, str(chance.randrange(10, 40))),
        Comparison(f'"{chance.choice(ROLES)}"', "in" if allows else "not in", "user.roles"),
        Comparison(
            f'"{chance.choice(tools).name}"', "not in" if allows else "in", "run.tools_used"
        ),
    ]
    return chance.choice(choice)


_EVERYWHERE = (
    Rule(
        "much-at-once",
        "deny",
        "effect:irreversible",
        (Comparison("run.calls", ">=", "11"), Comparison("args.amount_cents", ">", "150000")),
    ),
    Rule(
        "large",
        "hold",
        "effect:irreversible",
        (
            Comparison("args.amount_cents", ">", "180000"),
            Comparison("environment", "==", '"production"'),
        ),
    ),
    Rule(
        "busy-user",
        "hold",
        "effect:write",
        (Comparison("user.calls_1h", ">=", "38"), Comparison("run.calls", ">=", "9")),
    ),
    Rule(
        "many-reads",
        "hold",
        "effect:read",
        (Comparison("run.calls", ">=", "10"), Comparison('"auditor"', "not in", "user.roles")),
    ),
    Rule(
        "out-of-the-house",
        "deny",
        "label:egress",
        (
            Comparison("args.country", "in", '["KP", "RU"]'),
            Comparison('"lead"', "not in", "user.roles"),
        ),
    ),
    Rule(
        "money-in-dollars",
        "hold",
        "label:moves_money",
        (
            Comparison("args.currency", "==", '"USD"'),
            Comparison("args.amount_cents", ">", "160000"),
            Comparison("user.calls_1h", ">=", "30"),
        ),
    ),
)
"""Rules that speak of a tool by its effect or its labels."""
