"""`tools.yaml` of a bundle: what policy knows of tools beyond their own word, only upwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentrt.policy.checks import known_keys, validated
from agentrt.policy.problems import PolicyProblem
from agentrt.policy.rules import (
    EFFECTS,
    Effect,
    Text,
    ToolLike,
    effect_named,
    effect_of,
    is_name,
    nothing_selected,
    selects,
)
from agentrt.policy.yaml_source import Path, Source
from agentrt.tools.tool import UNSAID, UNTRUSTED, names_field

__all__ = ["TOOLS_FILE", "Raise", "RaisedTool", "as_seen", "read_tools_file"]

TOOLS_FILE = "tools.yaml"

_KEYS = ("tools", "effect", "labels", "untrusted")


def _field(pattern: str) -> str:
    # A pattern that no field has would leave trusted what it was meant for.
    if not names_field(pattern):
        raise ValueError(f'{pattern!r} is no field of a result: write body or "messages[].text"')
    return pattern


class Raise(BaseModel):
    """One entry: tools, and what is to be thought of them at least."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tools: tuple[Text, ...] = Field(min_length=1)
    effect: Effect | None = None
    labels: tuple[Text, ...] = ()
    untrusted: tuple[Annotated[Text, AfterValidator(_field)], ...] = ()
    """Fields of the result that outsiders write; `*` is all of it."""


@dataclass(frozen=True)
class RaisedTool:
    """A tool as policy sees it."""

    name: str
    effect: str
    labels: frozenset[str]
    input_schema: Mapping[str, Any] = field(repr=False, compare=False)
    untrusted: frozenset[str] = frozenset({UNSAID})


def as_seen(tool: ToolLike, raises: Iterable[Raise]) -> RaisedTool:
    """The tool with the strictest effect and all labels that itself or an entry gives it."""
    seen = RaisedTool(
        tool.name,
        effect_of(tool),
        frozenset(tool.labels),
        tool.input_schema,
        frozenset(getattr(tool, "untrusted", {UNSAID})),
    )
    # Selected by what the tool says of itself: entries must not depend on one another's order.
    speaking = [one for one in raises if any(selects(name, seen) for name in one.tools)]
    return _with_fields(reduce(_raised, speaking, seen))


def _with_fields(tool: RaisedTool) -> RaisedTool:
    """Fields and label say the same: without a word on fields, outsiders may write them all."""
    if tool.untrusted - {UNSAID}:
        return replace(tool, labels=tool.labels | {UNTRUSTED})
    return replace(tool, untrusted=frozenset({"*"})) if UNTRUSTED in tool.labels else tool


def _raised(tool: RaisedTool, by: Raise) -> RaisedTool:
    return RaisedTool(
        tool.name,
        max(tool.effect, by.effect or tool.effect, key=_strictness),
        tool.labels | set(by.labels),
        tool.input_schema,
        _all_untrusted(tool.untrusted, frozenset(by.untrusted)),
    )


_ALL = frozenset({"*"})


def _all_untrusted(own: frozenset[str], more: frozenset[str]) -> frozenset[str]:
    # With all of it, what the tool says to be facts are none.
    return _ALL if own == _ALL or "*" in more else own | more


def _strictness(effect: str) -> int:
    return EFFECTS.index(effect_named(effect))


def read_tools_file(
    source: Source, *, tools: Sequence[ToolLike] | None
) -> tuple[tuple[Raise, ...], list[PolicyProblem]]:
    """The entries of the file; tools None checks no tool names."""
    if not isinstance(source.data, dict):
        return (), list(source.problems or (source.at_value((), "write `tools:` and a list"),))
    data, problems = known_keys(source, (), source.data, known=("tools",))
    entries = data.get("tools", ())
    if not isinstance(entries, tuple):
        return (), [*problems, source.at_value(("tools",), "must be a list of entries")]
    raises: list[Raise] = []
    for index, entry in enumerate(entries):
        found, more = _entry(source, ("tools", index), entry, tools)
        raises += [found] if found else []
        problems += more
    return tuple(raises), problems


def _entry(
    source: Source, path: Path, entry: Any, tools: Sequence[ToolLike] | None
) -> tuple[Raise | None, list[PolicyProblem]]:
    if not isinstance(entry, dict):
        return None, [source.at_value(path, "an entry is a mapping of keys and values")]
    known, problems = known_keys(source, path, entry, known=_KEYS)
    found, more = validated(Raise, known, source, path)
    problems += more
    if found is not None and tools is not None:
        problems += _of_tools(source, path, found, tools)
    return found, problems


def _of_tools(
    source: Source, path: Path, found: Raise, tools: Sequence[ToolLike]
) -> Iterator[PolicyProblem]:
    for index, selector in enumerate(found.tools):
        selected = [tool for tool in tools if selects(selector, tool)]
        if not selected and (message := nothing_selected(selector, tools)):
            yield source.at_value((*path, "tools", index), message)
        if is_name(selector) and any(_lowers(found, tool) for tool in selected):
            message = (
                f"{found.effect!r} is less than {selector} says of itself: "
                "a policy raises an effect and never lowers it"
            )
            yield source.at_value((*path, "effect"), message)


def _lowers(found: Raise, tool: ToolLike) -> bool:
    return found.effect is not None and _strictness(found.effect) < _strictness(effect_of(tool))
