"""A domain: the values that a part of a condition can have at all, and who says so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    NULL,
    STRING,
    Enum,
    Expr,
    ListOf,
    MapOf,
    Nullable,
    Type,
    written,
)
from agentrt.policy.cel.narrowing import path_of
from agentrt.policy.cel.syntax import Has
from agentrt.policy.cel.types import widened
from agentrt.policy.cel.values import INT_MAX, INT_MIN
from agentrt.policy.rules import ToolLike
from agentrt.policy.study.schemas import (
    always_has,
    edges,
    listed,
    never_has,
    number,
    schema_at,
)
from agentrt.policy.study.values import ANYTHING, EITHER, Edge, Span, Values, both, few

__all__ = [
    "TRUE_OR_FALSE",
    "Domain",
    "domain_of",
    "domain_of_has",
    "domain_of_label",
    "domain_of_null_test",
    "domain_of_size",
    "only",
]

_EXACT_MAX = 2**53
"""Up to here every whole number is a double."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Which values, and the sentence that says so."""

    values: Values
    said: str = ""
    of_tool: bool = False
    """Says which tool it is, rather than what a value can be."""


TRUE_OR_FALSE = Domain(EITHER)


def only(value: Any, said: str = "", *, of_tool: bool = False) -> Domain:
    """The one value of what is always the same."""
    return Domain(few([value]), said, of_tool)


def domain_of(part: Expr, type: Type, tool: ToolLike) -> Domain:
    """What a part of the condition can come to, for one tool."""
    path = path_of(part)
    if path in (("tool", "name"), ("tool", "effect")):
        value = getattr(tool, str(path[1]))
        return only(value, f"{written(part)} is {value!r}", of_tool=True)
    if isinstance(type, Enum):
        return _among(part, type.values)
    if type == BOOL:
        return TRUE_OR_FALSE
    schema = schema_at(path, tool) or {}
    if type == INT:
        values = listed(schema)
        if values and all(value.__class__ is int for value in values):
            return _among(part, values)
        return _whole_numbers(part, *edges(schema))
    return _doubles(part, *edges(schema)) if type == DOUBLE else Domain(ANYTHING)


def domain_of_size(of: Expr, type: Type, tool: ToolLike) -> Domain:
    """What `size(of)` can be."""
    schema = schema_at(path_of(of), tool) or {}
    noun = _SIZED.get(type.__class__) or ("Length" if widened(type) == STRING else "?")
    least, most = number(schema, f"min{noun}"), number(schema, f"max{noun}")
    low = Edge(max(0, math.ceil(least or 0)))
    high = None if most is None else Edge(math.floor(most))
    return Domain(Span(low, high), _spanned(f"size({written(of)})", low, high))


_SIZED: dict[type, str] = {ListOf: "Items", MapOf: "Properties"}


def domain_of_has(test: Has, tool: ToolLike) -> Domain:
    """Whether the field can be there, and whether it can be missing."""
    schema = schema_at(path_of(test.field.of), tool) or {}
    field = test.field.field
    if always_has(schema, field):
        return only(True, f"{tool.name} always has {written(test.field)}", of_tool=True)
    if never_has(schema, field):
        return only(False, f"{tool.name} has no {written(test.field)}", of_tool=True)
    return TRUE_OR_FALSE


def domain_of_label(label: str, tool: ToolLike) -> Domain:
    """Whether the tool has the label."""
    has_it = label in tool.labels
    said = f"{tool.name} has {'the' if has_it else 'no'} label {label!r}"
    return only(has_it, said, of_tool=True)


def domain_of_null_test(tested: Expr, type: Type) -> Domain:
    """Whether the value can be null."""
    if isinstance(type, Nullable) or type in (ANY, NULL):
        return TRUE_OR_FALSE
    return only(False, f"{written(tested)} is never null")


def _whole_numbers(part: Expr, low: Edge | None, high: Edge | None) -> Domain:
    least, most = low and _first_whole(low), high and _last_whole(high)
    said = _spanned(written(part), least, most) or f"an int is from {INT_MIN} to {INT_MAX}"
    return Domain(both(Span(least, most), Span(Edge(INT_MIN), Edge(INT_MAX))), said)


def _first_whole(low: Edge) -> Edge:
    whole = math.ceil(low.value)
    return Edge(whole if low.included or whole != low.value else whole + 1)


def _last_whole(high: Edge) -> Edge:
    whole = math.floor(high.value)
    return Edge(whole if high.included or whole != high.value else whole - 1)


def _doubles(part: Expr, low: Edge | None, high: Edge | None) -> Domain:
    least, most = low and _as_double(low), high and _as_double(high)
    return Domain(Span(least, most), _spanned(written(part), least, most))


def _as_double(edge: Edge) -> Edge:
    # Beyond the exact ones, a number may be rounded onto the bound that excludes it.
    return Edge(float(edge.value), edge.included or abs(edge.value) > _EXACT_MAX)


# --- how it is said ----------------------------------------------------------------------


def _among(part: Expr, values: Iterable[Any]) -> Domain:
    known = tuple(values)
    return Domain(few(known), f"{written(part)} is {' or '.join(map(repr, known))}")


def _spanned(name: str, low: Edge | None, high: Edge | None) -> str:
    bounds = []
    if low is not None:
        bounds.append(f"{'at least' if low.included else 'more than'} {low.value}")
    if high is not None:
        bounds.append(f"{'at most' if high.included else 'less than'} {high.value}")
    return f"{name} is {' and '.join(bounds)}" if bounds else ""
