"""The vocabulary: what conditions can speak of, with its types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentrt.errors import FactDefinitionError
from agentrt.policy.cel import (
    ANY,
    BOOL,
    INT,
    STRING,
    TIMESTAMP,
    Enum,
    Field,
    Function,
    ListOf,
    Record,
    Type,
    schema_type,
)
from agentrt.policy.facts.fact import NAME, Fact
from agentrt.policy.facts.standard import STANDARD_FACTS
from agentrt.policy.known import Known
from agentrt.policy.rules import EFFECTS, STANDARD_LABELS, ToolLike

__all__ = ["PROVENANCE", "Vocabulary", "about_tool"]

PROVENANCE = ("user_named", "from_trusted", "from_tool")
"""The functions that conditions can call."""

_ABOUT_RUN = {"agent": Field(STRING), "model": Field(STRING), "simulated": Field(BOOL)}
_ABOUT_USER = {
    "name": Field(STRING, optional=True),
    "verified": Field(STRING, optional=True),
    "roles": Field(ListOf(STRING)),
}
_CALL = Record({"attempt": Field(INT), "turn": Field(INT)})


@dataclass(frozen=True)
class Vocabulary:
    """Facts, and the names of tools and labels that there are."""

    facts: tuple[Fact, ...] = STANDARD_FACTS
    labels: tuple[str, ...] = tuple(sorted(STANDARD_LABELS))

    @classmethod
    def of(cls, facts: Iterable[Fact], tools: Iterable[ToolLike]) -> Vocabulary:
        """The vocabulary of a project: its own facts beside the standard ones.

        Raises FactDefinitionError.
        """
        labels = {*STANDARD_LABELS, *(label for tool in tools for label in tool.labels)}
        own = tuple(facts)
        _check_names(own)
        return cls((*STANDARD_FACTS, *own), tuple(sorted(labels)))

    @cached_property
    def by_name(self) -> Mapping[str, Fact]:
        """Every fact by its name."""
        return {fact.name: fact for fact in self.facts}

    @cached_property
    def stated(self) -> Mapping[str, Fact]:
        """The facts that somebody states, by name."""
        return {fact.name: fact for fact in self.facts if fact.refuses is not None}

    @cached_property
    def functions(self) -> Mapping[str, Function]:
        """The functions of provenance."""
        label = Enum(self.labels)
        return {
            "user_named": Function("user_named", (ANY,), BOOL, Known.user_named),
            "from_trusted": Function("from_trusted", (ANY,), BOOL, Known.from_trusted),
            "from_tool": Function("from_tool", (ANY, label), BOOL, Known.from_tool),
        }

    def roots(self, tool: ToolLike, beside: Sequence[ToolLike]) -> dict[str, Type]:
        """The types of everything for a rule on `tool` that covers the tools `beside` too."""
        return {**self._roots, "args": _arguments(tool, beside), "tool": self._tool(tool, beside)}

    def _tool(self, tool: ToolLike, beside: Sequence[ToolLike]) -> Type:
        names = tuple(sorted({tool.name, *(other.name for other in beside)}))
        label = Enum(self.labels)
        return Record(
            {
                "name": Field(Enum(names)),
                "effect": Field(Enum(EFFECTS)),
                "labels": Field(ListOf(label)),
            }
        )

    @cached_property
    def _roots(self) -> dict[str, Type]:
        return {
            "run": Record({**_ABOUT_RUN, **self._fields("run")}),
            "user": Record({**_ABOUT_USER, **self._fields("user")}),
            "call": _CALL,
            "now": TIMESTAMP,
            "environment": STRING,
        }

    def _fields(self, scope: str) -> dict[str, Field]:
        return {fact.short_name: Field(fact.type) for fact in self.facts if fact.scope == scope}


def _check_names(facts: Iterable[Fact]) -> None:
    taken = {f"run.{name}" for name in _ABOUT_RUN} | {f"user.{name}" for name in _ABOUT_USER}
    taken |= {fact.name for fact in STANDARD_FACTS}
    for fact in facts:
        if not NAME.fullmatch(fact.name):
            raise FactDefinitionError(
                f"{fact.name!r} is not the name of a fact: write run.name or user.name, in "
                "small letters, digits and _."
            )
        if fact.name in taken:
            raise FactDefinitionError(f"There is a fact {fact.name} already: choose another name.")
        taken.add(fact.name)


def about_tool(tool: ToolLike) -> dict[str, Any]:
    """What `tool` stands for in a condition."""
    return {"name": tool.name, "effect": tool.effect, "labels": sorted(tool.labels)}


def _arguments(tool: ToolLike, beside: Sequence[ToolLike]) -> Type:
    """The arguments of a tool; what only others have may be asked for with has()."""
    own = _fields_of(tool)
    others: dict[str, Field] = {}
    for other in beside:
        for name, found in _fields_of(other).items():
            same = name not in others or others[name].type == found.type
            others[name] = Field(found.type if same else ANY, optional=True)
    return Record({**others, **own})


def _fields_of(tool: ToolLike) -> Mapping[str, Field]:
    kind = schema_type(tool.input_schema)
    return kind.fields if isinstance(kind, Record) else {}
