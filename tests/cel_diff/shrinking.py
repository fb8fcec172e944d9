"""From an expression on which two sides differ to the smallest that still shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from agentrt.policy.cel import (
    BOOL,
    DOUBLE,
    INT,
    STRING,
    Malformed,
    Mistyped,
    Type,
    Undetermined,
    adapted,
)

from . import ours
from .contexts import Context
from .literals import int_text, plain_literal
from .made import MEMBER, Made, form, read

__all__ = ["smallest"]

_ROUNDS_MAX = 30
_CANDIDATES_MAX = 400

Differs = Callable[[Sequence[Made]], Sequence[bool]]
Put = Callable[[Made], Made | None]
"""What stands in place of a variable that is read."""


def smallest(made: Made, context: Context, differs: Differs, done: Callable[[Made], bool]) -> Made:
    """The expression made smaller as long as both sides differ on it and it is not `done`."""
    for _ in range(_ROUNDS_MAX):
        if done(made):
            return made
        smaller = _first(_parts(made), differs) or _first(_variants(made, context), differs, made)
        if smaller is None:
            return made
        made = smaller
    return made


def _first(candidates: Iterator[Made], differs: Differs, below: Made | None = None) -> Made | None:
    """The least of those that still differ."""
    found = {made.text: made for made in candidates if below is None or _cost(made) < _cost(below)}
    least = sorted(found.values(), key=_cost)[:_CANDIDATES_MAX]
    return next((made for made, yes in zip(least, differs(least), strict=True) if yes), None)


def _cost(made: Made) -> int:
    """How much there is to understand: places and macros more than literals."""
    inside = list(made.inside())
    places = sum(each.is_place for each in inside)
    macros = sum(each.binds is not None for each in inside)
    return len(made.text) + 40 * places + 40 * macros


def _parts(made: Made) -> Iterator[Made]:
    return (each for each in made.inside() if each is not made and not each.free)


def _variants(made: Made, context: Context) -> Iterator[Made]:
    yield from _unrolled(made, context)
    yield from _replaced(made, context)


def _unrolled(made: Made, context: Context) -> Iterator[Made]:
    """What a macro asks about each item, for one of the items."""
    for each in made.inside():
        if each.binds and not each.parts[0].made.free:
            for put in _items(each.parts[0].made, each.binds, context):
                bodies = (_substituted(part.made, each.binds, put) for part in each.parts[1:])
                yield from (body for body in bodies if body and not body.free)


def _items(of: Made, variable: str, context: Context) -> Iterator[Put]:
    """What can stand for the variable of a macro: literals, or the items under their index."""
    items = _value(of, context)
    for number, item in enumerate(items if isinstance(items, list | dict) else ()):
        yield partial(_as_literal, variable, item)
        if of.is_place and isinstance(items, list):
            yield partial(_as_path, variable, f"{of.text}[{number}]")


def _as_literal(variable: str, item: Any, made: Made) -> Made | None:
    return plain_literal(made.type, item) if made.text == variable else None


def _as_path(variable: str, path: str, made: Made) -> Made:
    return read(made.type, re.sub(rf"\b{variable}\b", path, made.text), None)


def _substituted(made: Made, variable: str, put: Put) -> Made | None:
    if made.names == variable:
        return put(made)
    parts = [_substituted(part.made, variable, put) for part in made.parts]
    whole = [part for part in parts if part]
    return made.with_parts(whole) if len(whole) == len(parts) else None


def _replaced(made: Made, context: Context) -> Iterator[Made]:
    """The same with one part in it replaced by something simpler of its type."""
    yield from _instead(made, context)
    for number, part in enumerate(made.parts):
        for smaller in _replaced(part.made, context):
            yield made.with_part(number, smaller)


def _instead(made: Made, context: Context) -> Iterator[Made]:
    yield from made.shortened()
    yield from (
        each
        for each in made.inside()
        if each is not made and each.type == made.type and each.free <= made.free
    )
    yield from _SIMPLE.get(made.type, ())
    if not made.free:
        yield from _simpler_values(made.type, _value(made, context))


def _simpler_values(type: Type, value: Any) -> Iterator[Made]:
    values = [value]
    match value:
        case str():
            half = len(value) // 2
            values += [value[:half], value[half:], value[1:], value[:-1]]
        case list() if value:
            values += [value[:1], value[1:]]
        case dict() if value:
            values += [dict(list(value.items())[:1]), dict(list(value.items())[1:])]
    for each in values:
        if literal := plain_literal(type, each):
            yield literal


_SIMPLE: dict[Type, tuple[Made, ...]] = {
    BOOL: (form(BOOL, MEMBER, "true"), form(BOOL, MEMBER, "false")),
    INT: (int_text("0"), int_text("1"), int_text("2")),
    DOUBLE: (form(DOUBLE, MEMBER, "0.0"), form(DOUBLE, MEMBER, "1.0")),
    STRING: (form(STRING, MEMBER, '""'), form(STRING, MEMBER, '"a"')),
}


class _Nothing:
    """Not even null."""


def _value(made: Made, context: Context) -> Any:
    """What a part comes to, also when it is a place that a test would have to come before."""
    try:
        return ours.value(made.text, context)
    except (Malformed, Undetermined):
        return _Nothing
    except Mistyped:
        found = [place for place in context.places if place.text == made.text]
        return adapted(made.type, found[0].value) if found and found[0].value else _Nothing
