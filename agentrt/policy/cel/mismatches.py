"""What does not fit together, told with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agentrt.policy.cel.errors import Failed
from agentrt.policy.cel.syntax import Expr, ListLiteral, Literal
from agentrt.policy.cel.times import Duration, Timestamp
from agentrt.policy.cel.types import (
    ANY,
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Enum,
    ListOf,
    MapOf,
    Record,
    Type,
    comparable,
    widened,
)
from agentrt.policy.cel.writing import written
from agentrt.policy.problems import suggestion

__all__ = [
    "Operand",
    "a",
    "may_be_missing",
    "may_be_null",
    "never",
    "not_among",
    "several_types",
    "shown",
    "unlike",
]

_SHOWN_CHARACTERS_MAX = 60
_SHOWN_VALUES_MAX = 8
_BARE_DAY = re.compile(r"(\d{4}) - (\d{1,2}) - (\d{1,2})")
"""How a day is read that has no quotes."""


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of an operator, with its type."""

    expr: Expr
    type: Type
    name: str = ""
    """What messages call it, if not by its text."""

    def __str__(self) -> str:
        return self.name or shown(self.expr)


def a(type: Type) -> str:
    """The type with its article: `an int`."""
    match type:
        case Enum():
            return f"one of {_listed(map(repr, type.values))}"
        case ListOf() | MapOf():
            return f"a {type}"
    if type == NULL:
        return "null"
    if type == ANY:
        return "of several possible types"
    return f"an {type}" if type == INT else f"a {type}"


def shown(expr: Expr) -> str:
    """The expression as messages call it."""
    text = written(expr)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}..."


def may_be_missing(expr: Expr) -> str:
    """An optional field is used as if it were always there."""
    return f"{shown(expr)} may be missing: write has({shown(expr)}) && ..."


def may_be_null(expr: Expr) -> str:
    """A nullable value is used as if it were never null."""
    return f"{shown(expr)} may be null: write {shown(expr)} != null && ..."


def several_types(expr: Expr) -> str:
    """JSON of several possible types is used as if it had one."""
    return (
        f"{shown(expr)} can be of several types: compare it with a single value, "
        f"or say which type is meant, as in string({shown(expr)})"
    )


def never(subject: str, known: Enum, value: str) -> str:
    """A string is compared with one that it cannot be."""
    return f"{subject} is {a(known)}: never {value!r}{suggestion(value, known.values)}"


def not_among(item: Operand, of: Operand) -> str:
    """Why `item in of` has no meaning."""
    match of.expr, of.type:
        case ListLiteral(items=(first, *_)), ListOf(item=found):
            return unlike("in", item, Operand(first, found))
        case _, ListOf(item=found) if comparable(found):
            return unlike("in", item, Operand(of.expr, found, f"each of {of}"))
        case _, ListOf() | Record():
            return f"{of} is {a(of.type)}: write {of}.exists(x, ...) or name its fields"
        case _, MapOf(key=key):
            return f"the keys of {of} are {key}, and {item} is {a(item.type)}"
    if widened(of.type) == STRING:
        return f"{of} is a string: write {of}.contains({item})"
    return f"{of} is {a(of.type)}: `in` looks into a list or a map"


def unlike(op: str, left: Operand, right: Operand) -> str:
    """Why `left op right` has no meaning."""
    for told in (_literal_number, _number, _text, _list, _time, _bare_time):
        for given, wanted in ((right, left), (left, right)):
            if message := told(given, wanted):
                return message
    for side in (left, right):
        if not comparable(side.type):
            return _not_comparable(op, side)
    return _no_meaning(op, left, right)


def _literal_number(given: Operand, wanted: Operand) -> str:
    value = given.expr.value if isinstance(given.expr, Literal) else None
    match value, wanted.type:
        case bool(), _:
            return ""
        case int(), _ if wanted.type == DOUBLE:
            return f"{wanted} is a double: write {float(value)!r}, not {given}"
        case float(), _ if wanted.type == INT and value.is_integer():
            return f"{wanted} is an int: write {int(value)}, not {given}"
    return ""


def _number(given: Operand, wanted: Operand) -> str:
    if (given.type, wanted.type) != (INT, DOUBLE):
        return ""
    return f"{wanted} is a double and {given} an int: write double({given})"


def _text(given: Operand, wanted: Operand) -> str:
    value = given.expr.value if isinstance(given.expr, Literal) else None
    if widened(wanted.type) == STRING and given.type in (INT, DOUBLE, BOOL):
        remedy = f'"{given}"' if value is not None else f"string({given})"
        return f"{wanted} is a string: write {remedy}, not {given}"
    if wanted.type == BOOL and value in ("true", "false"):
        return f"{wanted} is a bool: write {value}, not {given}"
    if wanted.type in (INT, DOUBLE) and isinstance(value, str):
        return f"{wanted} is {a(wanted.type)}, not a string: write a number without quotes"
    return ""


def _list(given: Operand, wanted: Operand) -> str:
    if not isinstance(wanted.type, ListOf) or widened(wanted.type.item) != widened(given.type):
        return ""
    return f"{wanted} is a list: write {given} in {wanted}"


def _bare_time(given: Operand, wanted: Operand) -> str:
    """A day without quotes is a subtraction, and a number has no unit."""
    if given.type != INT:
        return ""
    day = _BARE_DAY.fullmatch(str(given))
    if wanted.type == TIMESTAMP and day:
        moment = "{}-{:0>2}-{:0>2}T00:00:00Z".format(*day.groups())
        return f'{wanted} is a timestamp, and {given} a number: write timestamp("{moment}")'
    if wanted.type == DURATION and isinstance(given.expr, Literal):
        return f'{wanted} is a duration: write duration("{given}s"), or h or m instead of s'
    return ""


def _time(given: Operand, wanted: Operand) -> str:
    if wanted.type not in (TIMESTAMP, DURATION) or widened(given.type) != STRING:
        return ""
    inner = str(given)
    if isinstance(given.expr, Literal):
        meant = _moment if wanted.type == TIMESTAMP else _length
        inner = f'"{meant(str(given.expr.value))}"'
    return f"{wanted} is {a(wanted.type)}, not a string: write {wanted.type}({inner})"


def _moment(text: str) -> str:
    """The text as timestamp() reads it, if it is a day or a moment."""
    try:
        return str(Timestamp.from_json(text))
    except Failed:
        return "2026-01-01T00:00:00Z"


def _length(text: str) -> str:
    try:
        Duration.parsed(text)
    except Failed:
        return "1h30m"
    return text


def _not_comparable(op: str, side: Operand) -> str:
    if side.type == ANY:
        return several_types(side.expr)
    return f"{side} is {a(side.type)}: {op} does not look into it, so name what is meant"


def _no_meaning(op: str, left: Operand, right: Operand) -> str:
    if widened(left.type) == widened(right.type):
        return f"{left} is {a(left.type)}: there is no {op} for it"
    return f"{left} is {a(left.type)} and {right} is {a(right.type)}: {op} needs two of one type"


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    more = f", and {len(found) - _SHOWN_VALUES_MAX} more" if len(found) > _SHOWN_VALUES_MAX else ""
    return ", ".join(found[:_SHOWN_VALUES_MAX]) + more
