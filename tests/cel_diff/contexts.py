"""What an expression can speak of: typed roots with values, made up anew for each context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Duration,
    Enum,
    Field,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
)

from . import hostile
from .literals import quoted

__all__ = ["Context", "Place", "context", "has_times", "places_in"]

_KINDS = Enum(("refund", "credit", "über", ""))
_ROW = Record({"qty": Field(INT), "sku": Field(STRING), "note": Field(STRING, optional=True)})

_ARGS = {
    "amount": Field(INT),
    "count": Field(INT),
    "price": Field(DOUBLE),
    "rate": Field(DOUBLE),
    "name": Field(STRING),
    "text": Field(STRING),
    "sure": Field(BOOL),
    "kind": Field(_KINDS),
    "tags": Field(ListOf(STRING)),
    "sizes": Field(ListOf(INT)),
    "weights": Field(ListOf(DOUBLE)),
    "grid": Field(ListOf(ListOf(INT))),
    "rows": Field(ListOf(_ROW)),
    "stock": Field(MapOf(STRING, INT)),
    "labels": Field(MapOf(STRING, ListOf(STRING))),
    "flags": Field(ListOf(BOOL)),
    "kinds": Field(ListOf(_KINDS)),
    "note": Field(STRING, optional=True),
    "limit": Field(INT, optional=True),
    "parent": Field(Nullable(STRING)),
    "rank": Field(Nullable(INT)),
    "extra": Field(Nullable(DOUBLE), optional=True),
    "maybe": Field(Nullable(BOOL), optional=True),
    "gaps": Field(ListOf(Nullable(INT))),
    "odds": Field(MapOf(STRING, Nullable(STRING))),
    "mixed": Field(ListOf(ANY)),
    "meta": Field(MapOf(STRING, ANY)),
    "blob": Field(ANY),
    "loose": Field(ANY),
    "inner": Field(Record({"depth": Field(INT), "label": Field(STRING, optional=True)})),
    "maker": Field(Record({"id": Field(INT), "city": Field(STRING)}), optional=True),
    "has-dash": Field(INT),
}
_RUN = {
    "calls": Field(INT),
    "started": Field(TIMESTAMP),
    "ended": Field(TIMESTAMP, optional=True),
    "seen": Field(Nullable(TIMESTAMP)),
    "took": Field(DURATION),
    "days": Field(ListOf(TIMESTAMP)),
    "by_name": Field(MapOf(STRING, TIMESTAMP)),
}
_WORDS = ("a", "b", "c", "size", "é", "x y", "", "\U0001f600", "has-dash")


@dataclass(frozen=True)
class Place:
    """A path that can be read once what guards it is proven."""

    text: str
    type: Type
    value: Any
    """What is there, as JSON; None also when nothing is."""
    guards: tuple[str, ...] = ()
    """Tests that have to come before, from left to right."""
    variable: str | None = None
    """The variable of a macro that the path begins with."""


@dataclass(frozen=True, eq=False)
class Context:
    """Roots with their types, and what they are in this context: JSON, and Durations."""

    types: Mapping[str, Type]
    values: Mapping[str, Any]

    @cached_property
    def places(self) -> list[Place]:
        """Everything that can be read from the roots without an index."""
        return [
            place
            for name, of in self.types.items()
            for place in places_in(Place(name, of, self.values[name]))
        ]


def context(random: Random) -> Context:
    """A random choice of fields with random values."""
    args = Record(_some(random, _ARGS, 14))
    types: dict[str, Type] = {
        "args": args,
        "run": Record(_some(random, _RUN, 4)),
        "now": TIMESTAMP,
        "tags": ListOf(STRING),
        "caps": MapOf(STRING, DOUBLE),
    }
    return Context(types, {name: _value(random, types[name]) for name in types})


def has_times(type: Type) -> bool:
    """Whether a value of the type holds a moment or a duration."""
    match type:
        case Record():
            return any(has_times(field.type) for field in type.fields.values())
        case ListOf():
            return has_times(type.item)
        case MapOf():
            return has_times(type.value)
        case Nullable():
            return has_times(type.of)
    return type in (TIMESTAMP, DURATION)


def places_in(place: Place) -> Iterator[Place]:
    """The place, and the fields below it."""
    if isinstance(place.type, Nullable):
        yield place
        guards = (*place.guards, f"{place.text} != null")
        yield from places_in(Place(place.text, place.type.of, place.value, guards, place.variable))
    elif isinstance(place.type, Record):
        for name, field in place.type.fields.items():
            yield from places_in(_field(place, name, field))
    else:
        yield place
        for inner in _nullable_items(place):
            yield from places_in(inner)


def _nullable_items(place: Place) -> Iterator[Place]:
    """What has to be tested under its index: `args.gaps[0] != null && ...`."""
    match place.type, place.value:
        case ListOf(item=Nullable() as item), [first, *_]:
            yield replace(place, text=f"{place.text}[0]", type=item, value=first)
        case MapOf(value=Nullable() as item), dict() as entries if entries:
            key, value = next(iter(entries.items()))
            yield replace(place, text=f"{place.text}[{quoted(key)}]", type=item, value=value)


def _field(of: Place, name: str, field: Field) -> Place:
    text = f"{of.text}.{name}" if name.isidentifier() else f"{of.text}.`{name}`"
    guards = (*of.guards, f"has({text})") if field.optional else of.guards
    value = of.value.get(name) if isinstance(of.value, dict) else None
    return Place(text, field.type, value, guards, of.variable)


def _some(random: Random, fields: dict[str, Field], number: int) -> dict[str, Field]:
    names = random.sample(sorted(fields), number)
    return {name: fields[name] for name in fields if name in names}


# --- values ------------------------------------------------------------------------------


def _value(random: Random, type: Type) -> Any:
    match type:
        case Record():
            return {
                name: _value(random, field.type)
                for name, field in type.fields.items()
                if not field.optional or random.random() < 0.6
            }
        case ListOf():
            return [_value(random, type.item) for _ in range(random.choice((0, 1, 2, 2, 3, 5)))]
        case MapOf():
            keys = random.sample(_WORDS, random.choice((0, 1, 2, 3)))
            return {key: _value(random, type.value) for key in keys}
        case Nullable():
            return None if random.random() < 0.35 else _value(random, type.of)
        case Enum():
            return random.choice(type.values)
    return _scalar(random, type)


def _scalar(random: Random, type: Type) -> Any:
    match type:
        case _ if type == BOOL:
            return random.random() < 0.5
        case _ if type == INT:
            return hostile.integer(random)
        case _ if type == DOUBLE:
            return hostile.double(random)
        case _ if type == STRING:
            # cel-expr-python cuts a text from outside at its first NUL.
            return hostile.text(random).replace("\0", "")
        case _ if type == TIMESTAMP:
            return random.choice(hostile.MOMENTS)
        case _ if type == DURATION:
            return Duration.parsed(random.choice(hostile.DURATIONS))
    return _of_several_types(random)


def _of_several_types(random: Random) -> Any:
    inner = random.choice((BOOL, INT, DOUBLE, STRING, ListOf(INT), MapOf(STRING, INT), None))
    return None if inner is None else _value(random, inner)
