"""Values: those of one type that are meant, one by one or by bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ANYTHING",
    "EITHER",
    "Edge",
    "Few",
    "Span",
    "Values",
    "both",
    "few",
    "higher",
    "lower",
    "nothing",
    "within",
]


@dataclass(frozen=True, slots=True)
class Few:
    """These and no others."""

    values: frozenset[Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a span ends."""

    value: Any
    included: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """All from `low` to `high`, except some; a bound that is None is not there."""

    low: Edge | None = None
    high: Edge | None = None
    without: frozenset[Any] = frozenset()


Values = Few | Span

ANYTHING = Span()
EITHER = Few(frozenset([True, False]))


def few(values: Iterable[Any]) -> Few:
    """These values."""
    return Few(frozenset(values))


def both(one: Values, other: Values) -> Values:
    """What is in both."""
    if isinstance(one, Few):
        return few(value for value in one.values if _contains(other, value))
    if isinstance(other, Few):
        return both(other, one)
    low, high = higher(one.low, other.low), lower(one.high, other.high)
    without = one.without | other.without
    if low is not None and low == high and low.included:
        return Few(frozenset([low.value]) - without)
    return Span(low, high, without)


def nothing(values: Values) -> bool:
    """Whether there certainly is no such value; between two bounds there may be none either."""
    if isinstance(values, Few):
        return not values.values
    return _ends_before(values.high, values.low)


def within(inner: Values, outer: Values) -> bool:
    """Whether `outer` certainly has all of `inner`."""
    if isinstance(inner, Few):
        return all(_contains(outer, value) for value in inner.values)
    if isinstance(outer, Few):
        return False
    return (
        higher(inner.low, outer.low) == inner.low
        and lower(inner.high, outer.high) == inner.high
        and not any(_contains(inner, value) for value in outer.without)
    )


def higher(one: Edge | None, other: Edge | None) -> Edge | None:
    """The lower bound that lets less through."""
    if one is None or other is None:
        return one or other
    if one.value == other.value:
        return other if one.included else one
    return one if one.value > other.value else other


def lower(one: Edge | None, other: Edge | None) -> Edge | None:
    """The upper bound that lets less through."""
    if one is None or other is None:
        return one or other
    if one.value == other.value:
        return other if one.included else one
    return one if one.value < other.value else other


def _contains(values: Values, value: Any) -> bool:
    if isinstance(values, Few):
        return value in values.values
    is_excluded = value in values.without
    edge = Edge(value)
    return not (is_excluded or _ends_before(values.high, edge) or _ends_before(edge, values.low))


def _ends_before(high: Edge | None, low: Edge | None) -> bool:
    """Whether nothing is both below `high` and above `low`."""
    if high is None or low is None:
        return False
    if high.value == low.value:
        return not (high.included and low.included)
    return bool(high.value < low.value)
