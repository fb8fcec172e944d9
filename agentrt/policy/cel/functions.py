"""The functions that every condition can call.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentrt.policy.cel.errors import Failed
from agentrt.policy.cel.operators import Overload
from agentrt.policy.cel.times import Duration, Timestamp, zone_of
from agentrt.policy.cel.types import (
    ANY,
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    ListOf,
    MapOf,
    Type,
    accepts,
)
from agentrt.policy.cel.values import (
    INT_MAX,
    INT_MIN,
    double_from,
    double_text,
    int_from,
    int_from_double,
)

__all__ = ["STANDARD", "Function", "Standard", "overload_for"]


@dataclass(frozen=True)
class Function:
    """A function of the host, called as `call(host, *values)`."""

    name: str
    parameters: tuple[Type, ...]
    returns: Type
    call: Callable[..., Any]

    def __post_init__(self) -> None:
        if self.name in STANDARD:
            raise ValueError(f"{self.name} is a function of CEL: choose another name")


@dataclass(frozen=True)
class Standard:
    """A function of CEL."""

    overloads: tuple[Overload, ...]
    plain: bool = False
    """Is written `size(x)`."""
    method: bool = False
    """Is written `x.size()`."""


def overload_for(standard: Standard, given: tuple[Type, ...]) -> Overload | None:
    """What the function does with values of these types."""
    return next((each for each in standard.overloads if _fits(each.parameters, given)), None)


def _fits(parameters: tuple[Type, ...], given: tuple[Type, ...]) -> bool:
    return len(parameters) == len(given) and all(map(_takes, parameters, given))


def _takes(parameter: Type, given: Type) -> bool:
    # A value of any type goes only where that is asked for by name.
    return given == ANY if parameter == ANY else accepts(parameter, given)


# --- texts -------------------------------------------------------------------------------


def _pattern(text: str) -> Callable[[bytes], Any]:
    """The search for a regular expression, in time linear to the text: RE2 never backtracks."""
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _PATTERN_BYTES_MAX
    try:
        return re2.compile(text.encode(), options).search  # type: ignore[no-any-return]
    except re2.error as error:
        raise Failed(f"{text[:40]!r} is no pattern of RE2: {error.args[0].decode()}") from None
    except UnicodeEncodeError:
        raise Failed("the pattern holds half of a surrogate pair") from None


def _matches(text: str, search: Callable[[bytes], Any]) -> bool:
    try:
        return search(text.encode()) is not None
    except UnicodeEncodeError:
        raise Failed("the text holds half of a surrogate pair") from None


_PATTERN_BYTES_MAX = 1 << 20
"""Keeps the making of a pattern from outside to milliseconds."""

_TEXT_TESTS = {
    "contains": lambda text, part: part in text,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
}


# --- conversions -------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


_TRUE = ("true", "True", "TRUE", "t", "1")
_FALSE = ("false", "False", "FALSE", "f", "0")


def _bool_from(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise Failed(f"bool() cannot read {text[:40]!r}")


def _any_to(target: str, *ways: tuple[type, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """The conversion of JSON whose type is only known when it is there."""
    by_class = dict(ways)

    def convert(value: Any) -> Any:
        way = by_class.get(type(value))
        if way is None:
            raise Failed(f"{target}() cannot read a value of type {type(value).__name__}")
        return way(value)

    return convert


def _json_int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Failed("the number is beyond the range of an int")


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise Failed("the number is not finite")


_ANY_TO_STRING = _any_to(
    "string",
    (str, _same),
    (bool, _bool_text),
    (int, lambda value: str(_json_int(value))),
    (float, lambda value: double_text(_finite(value))),
)
_ANY_TO_INT = _any_to("int", (int, _json_int), (float, int_from_double), (str, int_from))
_ANY_TO_DOUBLE = _any_to(
    "double", (float, _finite), (int, lambda value: float(_json_int(value))), (str, double_from)
)
_ANY_TO_BOOL = _any_to("bool", (bool, _same), (str, _bool_from))


def _conversion(target: Type, *forms: tuple[Type, Callable[[Any], Any]]) -> Standard:
    ways = tuple(Overload((source,), target, call) for source, call in forms)
    return Standard((Overload((target,), target, _same), *ways), plain=True)


def _read_as(target: Type, read: Callable[[str], Any]) -> Overload:
    return Overload((STRING,), target, _same, prepare=read, preparing_steps=10)


_CONVERSIONS = {
    "int": _conversion(
        INT,
        (DOUBLE, int_from_double),
        (STRING, int_from),
        (TIMESTAMP, Timestamp.seconds),
        (ANY, _ANY_TO_INT),
    ),
    "double": _conversion(DOUBLE, (INT, float), (STRING, double_from), (ANY, _ANY_TO_DOUBLE)),
    "string": _conversion(
        STRING,
        (BOOL, _bool_text),
        (INT, str),
        (DOUBLE, double_text),
        (TIMESTAMP, str),
        (DURATION, str),
        (ANY, _ANY_TO_STRING),
    ),
    "bool": _conversion(BOOL, (STRING, _bool_from), (ANY, _ANY_TO_BOOL)),
    "timestamp": Standard(
        (
            _read_as(TIMESTAMP, Timestamp.parsed),
            Overload((INT,), TIMESTAMP, Timestamp.at_seconds),
            Overload((TIMESTAMP,), TIMESTAMP, _same),
        ),
        plain=True,
    ),
    "duration": Standard(
        (_read_as(DURATION, Duration.parsed), Overload((DURATION,), DURATION, _same)), plain=True
    ),
}


# --- parts of moments and durations ------------------------------------------------------

_CALENDAR: dict[str, Callable[[Any], int]] = {
    "getFullYear": lambda local: local.year,
    "getMonth": lambda local: local.month - 1,
    "getDate": lambda local: local.day,
    "getDayOfMonth": lambda local: local.day - 1,
    "getDayOfWeek": lambda local: local.isoweekday() % 7,
    "getDayOfYear": lambda local: local.timetuple().tm_yday - 1,
    "getHours": lambda local: local.hour,
    "getMinutes": lambda local: local.minute,
    "getSeconds": lambda local: local.second,
    "getMilliseconds": lambda local: local.microsecond // 1000,
}
"""Months, days of the month and of the year count from 0 (`getDate` from 1), Sunday is 0."""

_OF_DURATION: dict[str, Callable[[Duration], int]] = {
    "getHours": lambda duration: duration.whole("h"),
    "getMinutes": lambda duration: duration.whole("m"),
    "getSeconds": lambda duration: duration.whole("s"),
    "getMilliseconds": Duration.milliseconds,
}


def _part(name: str) -> Standard:
    shown = _CALENDAR[name]
    overloads = [
        Overload((TIMESTAMP,), INT, lambda moment: shown(moment.datetime())),
        Overload(
            (TIMESTAMP, STRING),
            INT,
            lambda moment, zone: shown(moment.local(zone)),
            prepare=zone_of,
        ),
    ]
    if name in _OF_DURATION:
        overloads.append(Overload((DURATION,), INT, _OF_DURATION[name]))
    return Standard(tuple(overloads), method=True)


STANDARD: Mapping[str, Standard] = {
    "size": Standard(
        tuple(Overload((of,), INT, len) for of in (STRING, ListOf(ANY), MapOf(ANY, ANY))),
        plain=True,
        method=True,
    ),
    "matches": Standard(
        (Overload((STRING, STRING), BOOL, _matches, True, _pattern, preparing_steps=1_000),),
        plain=True,
        method=True,
    ),
    **{
        name: Standard((Overload((STRING, STRING), BOOL, test, counted=True),), method=True)
        for name, test in _TEXT_TESTS.items()
    },
    **_CONVERSIONS,
    **{name: _part(name) for name in _CALENDAR},
}
