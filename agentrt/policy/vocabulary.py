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
    MapOf,
    Record,
    Type,
    schema_type,
)
from agentrt.policy.facts.fact import NAME, TOOL_NAME, Fact
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
    tools: tuple[str, ...] = ()

    @classmethod
    def of(cls, facts: Iterable[Fact], tools: Iterable[ToolLike]) -> Vocabulary:
        """The vocabulary of a project: its own facts beside the standard ones.

        Raises FactDefinitionError.
        """
        own, known = tuple(facts), tuple(tools)
        _check_names(own)
        labels = {*STANDARD_LABELS, *(label for tool in known for label in tool.labels)}
        names = sorted(tool.name for tool in known)
        return cls((*STANDARD_FACTS, *own), tuple(sorted(labels)), tuple(names))

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
        together = self._together(beside)
        args = Record({**together.arguments, **self._arguments(tool)})
        about = Record(
            {
                "name": Field(Enum(tuple(sorted({tool.name, *together.names})))),
                "effect": Field(Enum(EFFECTS)),
                "labels": Field(ListOf(Enum(self.labels))),
            }
        )
        return {**self._roots, "args": args, "tool": about}

    def _together(self, tools: Sequence[ToolLike]) -> _Together:
        """What tools have together, found once: a bundle asks for each rule and tool."""
        key = tuple(map(id, tools))
        if key not in self._groups:
            found = _together(tools, [self._arguments(tool) for tool in tools])
            self._groups[key] = found
        return self._groups[key]

    def _arguments(self, tool: ToolLike) -> Mapping[str, Field]:
        schema = tool.input_schema
        if id(schema) not in self._read:
            self._read[id(schema)] = schema, _fields_of(schema)
        return self._read[id(schema)][1]

    @cached_property
    def _groups(self) -> dict[tuple[int, ...], _Together]:
        return {}

    @cached_property
    def _read(self) -> dict[int, tuple[Any, Mapping[str, Field]]]:
        """The arguments of each schema, beside the schema itself, which so keeps its identity."""
        return {}

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
        return {
            fact.short_name: Field(self.type_of(fact)) for fact in self.facts if fact.scope == scope
        }

    def type_of(self, fact: Fact) -> Type:
        """The type of a fact's value, with the names of the tools where it speaks of tools."""
        return self._with_tools(fact.type)

    def _with_tools(self, kind: Type) -> Type:
        """The type with the names of the tools that there are, for whoever misspells one."""
        match kind:
            case ListOf():
                return ListOf(self._with_tools(kind.item))
            case MapOf():
                return MapOf(self._with_tools(kind.key), self._with_tools(kind.value))
            case _ if kind == TOOL_NAME:
                return Enum(self.tools) if self.tools else STRING
        return kind


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


@dataclass(frozen=True)
class _Together:
    """What the tools that a rule covers have together."""

    tools: tuple[ToolLike, ...]
    """The tools themselves, which so keep their identity."""
    arguments: Mapping[str, Field]
    """The arguments that any of them has: a rule on all may ask for each with has()."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)


def _together(tools: Sequence[ToolLike], arguments: Sequence[Mapping[str, Field]]) -> _Together:
    found: dict[str, Field] = {}
    for own in arguments:
        for name, field in own.items():
            same = name not in found or found[name].type == field.type
            found[name] = Field(field.type if same else ANY, optional=True)
    return _Together(tuple(tools), found)


def _fields_of(schema: Mapping[str, Any]) -> Mapping[str, Field]:
    kind = schema_type(schema)
    return kind.fields if isinstance(kind, Record) else {}
