"""How a value from outside becomes one of the type that a condition was checked with.

Whatever the value is, it fits or Failed is raised: no condition works on what it was not
checked for. Reading what was read already changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, assert_never

from agentrt.policy.cel.errors import Failed
from agentrt.policy.cel.times import Duration, Timestamp
from agentrt.policy.cel.types import Enum, ListOf, MapOf, Nullable, Plain, Record, Type
from agentrt.policy.cel.values import INT_MAX, INT_MIN

__all__ = ["Reader", "adapted", "as_list", "as_mapping", "as_record", "exact_class", "reader"]

Reader = Callable[[Any, str], Any]
"""Takes a value and what to call it in a message."""

_NO_RECORDS = (str, bytes, list, tuple, set, frozenset)


def adapted(type: Type, value: Any, *, name: str = "the value") -> Any:
    """The value as a condition has it; raises Failed when it is not of the type."""
    return reader(type)(value, name)


def reader(of: Type) -> Reader:
    """What reads values of this type."""
    match of:
        case Plain():
            return _PLAIN[of.name]
        case Enum():
            return _one_of(of.values)
        case ListOf():
            return _list_of(of.item)
        case MapOf():
            return _map_of(of)
        case Nullable():
            return _nullable(reader(of.of))
        case Record():
            return as_record
        case _:
            assert_never(of)


def exact_class(of: Type) -> type | None:
    """The class of which every value is of this type, if there is one."""
    return {"string": str, "bool": bool}.get(of.name) if isinstance(of, Plain) else None


# --- plain values ------------------------------------------------------------------------


def _bool(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _unfit(value, name, "a bool")


def _int(value: Any, name: str) -> int:
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    # JSON has one kind of number, and JSON Schema calls 2.0 an integer.
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if is_whole and not isinstance(value, bool) and INT_MIN <= value <= INT_MAX:
        return int(value)
    raise _unfit(value, name, "an int")


def _double(value: Any, name: str) -> float:
    number = value if type(value) is float else _as_float(value)
    if number is not None and math.isfinite(number):
        return float(number)
    raise _unfit(value, name, "a double")


def _as_float(value: Any) -> float | None:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        with suppress(OverflowError, ValueError):
            return float(value)
    return None


def _string(value: Any, name: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise _unfit(value, name, "a string")


def _timestamp(value: Any, name: str) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if not isinstance(value, str):
        raise _unfit(value, name, "a timestamp")
    try:
        return Timestamp.from_json(value)
    except Failed as error:
        raise Failed(f"{name}: {error}") from None


def _duration(value: Any, name: str) -> Duration:
    if isinstance(value, Duration):
        return value
    raise _unfit(value, name, "a duration")


def _null(value: Any, name: str) -> None:
    if value is not None:
        raise _unfit(value, name, "null")


def _any(value: Any, name: str) -> Any:
    return value


_PLAIN: dict[str, Reader] = {
    "bool": _bool,
    "int": _int,
    "double": _double,
    "string": _string,
    "timestamp": _timestamp,
    "duration": _duration,
    "null": _null,
    "any": _any,
    "nothing": _any,
}


# --- values with parts -------------------------------------------------------------------


def as_list(value: Any, name: str) -> list[Any]:
    """The value, which has to be a list; its items are not looked at."""
    if type(value) is list:
        return value
    if isinstance(value, (list, tuple)):
        return list(value)
    raise _unfit(value, name, "a list")


def as_mapping(value: Any, name: str) -> Mapping[Any, Any]:
    """The value, which has to be a map; nothing in it is looked at."""
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise _unfit(value, name, "a map")


def as_record(value: Any, name: str) -> Any:
    """The value, which has to have named fields; they are read when they are asked for."""
    if type(value) is dict:
        return value
    named = hasattr(value, "__getitem__") and hasattr(value, "__contains__")
    if named and not isinstance(value, _NO_RECORDS):
        return value
    raise _unfit(value, name, "an object")


def _one_of(values: tuple[str, ...]) -> Reader:
    allowed = frozenset(values)

    def read(value: Any, name: str) -> str:
        text = _string(value, name)
        if text in allowed:
            return text
        raise _unfit(value, name, f"one of {', '.join(map(repr, values))}")

    return read


def _nullable(inner: Reader) -> Reader:
    def read(value: Any, name: str) -> Any:
        return None if value is None else inner(value, name)

    return read


def _list_of(item: Type) -> Reader:
    exact, inner = exact_class(item), reader(item)

    def read(value: Any, name: str) -> list[Any]:
        items = as_list(value, name)
        for each in items:
            if type(each) is not exact:
                return [inner(item, f"{name}[{index}]") for index, item in enumerate(items)]
        return items

    return read


def _map_of(of: MapOf) -> Reader:
    key_of, value_of = reader(of.key), reader(of.value)

    def read(value: Any, name: str) -> dict[Any, Any]:
        entries = as_mapping(value, name)
        return {
            key_of(key, f"a key of {name}"): value_of(entries[key], f"{name}[{key!r}]")
            for key in entries
        }

    return read


def _unfit(value: Any, name: str, wanted: str) -> Failed:
    return Failed(f"{name} is {_kind(value)}, not {wanted}")


def _kind(value: Any) -> str:
    """What the value is, in words: the value itself may be long, or private."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() if not INT_MIN <= value <= INT_MAX:
            return "a number beyond 64 bits"
        case int() | float():
            return repr(value)
        case str() if len(value) <= _SHOWN_CHARACTERS_MAX:
            return repr(value)
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


_SHOWN_CHARACTERS_MAX = 40
_KINDS: dict[type, str] = {str: "a text", list: "a list", tuple: "a list", dict: "an object"}
