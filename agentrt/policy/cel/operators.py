"""The operators: for which types there are, and what they do."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentrt.policy.cel.errors import Failed
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
    ListOf,
    MapOf,
    Type,
    comparable,
    joined,
    widened,
)
from agentrt.policy.cel.values import INT_MAX, INT_MIN

__all__ = ["Overload", "arithmetic", "equality", "membership", "negation", "ordering"]


@dataclass(frozen=True, slots=True)
class Overload:
    """What an operator or a function does with values of certain types."""

    parameters: tuple[Type, ...]
    returns: Type
    call: Callable[..., Any]
    counted: bool = False
    """The work grows with the size of the values."""
    prepare: Callable[[str], Any] | None = None
    """Reads the last argument; a literal is read beforehand."""
    preparing_steps: int = 0
    """What reading it costs when it is no literal."""


# --- arithmetic --------------------------------------------------------------------------


def _in_range(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Failed("the result is beyond the range of an int")


def _plus(left: int, right: int) -> int:
    return _in_range(left + right)


def _minus(left: int, right: int) -> int:
    return _in_range(left - right)


def _times(left: int, right: int) -> int:
    return _in_range(left * right)


def _quotient(left: int, right: int) -> int:
    """Towards zero, where Python rounds down."""
    if right == 0:
        raise Failed("division by zero")
    quotient = abs(left) // abs(right)
    return _in_range(quotient if (left < 0) == (right < 0) else -quotient)


def _remainder(left: int, right: int) -> int:
    """With the sign of the left side, where Python has that of the right."""
    if right == 0:
        raise Failed("remainder of a division by zero")
    if right == -1:  # the least int has no quotient, so CEL gives it no remainder either
        _in_range(-left)
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def _double_quotient(left: float, right: float) -> float:
    """As IEEE 754 has it: dividing by zero is no error."""
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _moment_plus(moment: Timestamp, duration: Duration) -> Timestamp:
    return Timestamp.at(moment.nanos + duration.nanos)


def _plus_moment(duration: Duration, moment: Timestamp) -> Timestamp:
    return Timestamp.at(moment.nanos + duration.nanos)


def _moment_minus(moment: Timestamp, duration: Duration) -> Timestamp:
    return Timestamp.at(moment.nanos - duration.nanos)


def _between(later: Timestamp, earlier: Timestamp) -> Duration:
    return Duration.sum_of(later.nanos - earlier.nanos)


def _duration_plus(left: Duration, right: Duration) -> Duration:
    return Duration.sum_of(left.nanos + right.nanos)


def _duration_minus(left: Duration, right: Duration) -> Duration:
    return Duration.sum_of(left.nanos - right.nanos)


_ARITHMETIC: dict[tuple[str, Type, Type], tuple[Type, Callable[[Any, Any], Any]]] = {
    ("+", INT, INT): (INT, _plus),
    ("-", INT, INT): (INT, _minus),
    ("*", INT, INT): (INT, _times),
    ("/", INT, INT): (INT, _quotient),
    ("%", INT, INT): (INT, _remainder),
    ("+", DOUBLE, DOUBLE): (DOUBLE, operator.add),
    ("-", DOUBLE, DOUBLE): (DOUBLE, operator.sub),
    ("*", DOUBLE, DOUBLE): (DOUBLE, operator.mul),
    ("/", DOUBLE, DOUBLE): (DOUBLE, _double_quotient),
    ("+", STRING, STRING): (STRING, operator.add),
    ("+", TIMESTAMP, DURATION): (TIMESTAMP, _moment_plus),
    ("+", DURATION, TIMESTAMP): (TIMESTAMP, _plus_moment),
    ("-", TIMESTAMP, DURATION): (TIMESTAMP, _moment_minus),
    ("-", TIMESTAMP, TIMESTAMP): (DURATION, _between),
    ("+", DURATION, DURATION): (DURATION, _duration_plus),
    ("-", DURATION, DURATION): (DURATION, _duration_minus),
}


def arithmetic(op: str, left: Type, right: Type) -> Overload | None:
    """`left op right`"""
    if op == "+" and isinstance(left, ListOf) and isinstance(right, ListOf):
        both = joined(left, right)
        return Overload((left, right), both, operator.add, counted=True) if both else None
    found = _ARITHMETIC.get((op, widened(left), widened(right)))
    if found is None:
        return None
    returns, call = found
    return Overload((left, right), returns, call, counted=returns == STRING)


def negation(of: Type) -> Overload | None:
    """`-of`"""
    if of == INT:
        return Overload((of,), INT, lambda value: _in_range(-value))
    return Overload((of,), DOUBLE, operator.neg) if of == DOUBLE else None


# --- comparisons -------------------------------------------------------------------------

_ORDERED = (BOOL, INT, DOUBLE, STRING, TIMESTAMP, DURATION)
_ORDERINGS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
JSON_SCALARS = (BOOL, INT, DOUBLE, STRING, NULL)


def ordering(op: str, left: Type, right: Type) -> Overload | None:
    """`left < right`, and its sisters."""
    both = joined(left, right)
    if both is None or widened(both) not in _ORDERED:
        return None
    return Overload((left, right), BOOL, _ORDERINGS[op])


def equality(op: str, left: Type, right: Type) -> Overload | None:
    """`left == right` and `left != right`"""
    same = _sameness(left, right)
    if same is None:
        return None
    call, counted = same
    if op == "!=":
        call = operator.ne if call is operator.eq else _opposite(call)
    return Overload((left, right), BOOL, call, counted)


def _sameness(left: Type, right: Type) -> tuple[Callable[[Any, Any], bool], bool] | None:
    if ANY in (left, right):
        other = right if left == ANY else left
        return (_same_json, False) if widened(other) in JSON_SCALARS else None
    both = joined(left, right)
    if both is None or not comparable(both):
        return None
    return (_same, True) if isinstance(both, (ListOf, MapOf)) else (operator.eq, False)


def _opposite(call: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: not call(left, right)


def _same_json(left: Any, right: Any) -> bool:
    """CEL compares numbers across their types; Python would also call True a 1."""
    return (type(left) is bool) is (type(right) is bool) and bool(left == right)


def _same(left: Any, right: Any) -> bool:
    """Part by part, since Python's lists call a NaN equal to itself."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def membership(item: Type, of: Type) -> Overload | None:
    """`item in of`"""
    match of:
        case ListOf():
            found = _sameness(item, of.item)
            return Overload((item, of), BOOL, _among(found[0], item), True) if found else None
        case MapOf() if joined(item, of.key) is not None:
            return Overload((item, of), BOOL, lambda key, entries: key in entries)
    return None


def _among(same: Callable[[Any, Any], bool], item: Type) -> Callable[[Any, list[Any]], bool]:
    if same is operator.eq and item != DOUBLE:
        return lambda item, items: item in items
    return lambda item, items: any(same(item, other) for other in items)
