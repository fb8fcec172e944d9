"""Closures that read what comes from outside: roots, fields, entries, items.

Someone else's code may answer here (facts that are folded when they are asked for), so
whatever it raises becomes Failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from agentrt.policy.cel.errors import Failed, Undetermined
from agentrt.policy.cel.reading import as_list, as_mapping, as_record, exact_class, reader
from agentrt.policy.cel.steps import Frame, weight
from agentrt.policy.cel.types import INT, ListOf, MapOf, Record, Type
from agentrt.policy.cel.values import INT_MAX, INT_MIN

__all__ = [
    "Evaluate",
    "as_read",
    "entry",
    "field",
    "field_of_root",
    "has",
    "item",
    "items",
    "key_in",
    "read_field_of_root",
    "root",
    "variable",
]

Evaluate = Callable[[Frame], Any]


def root(name: str) -> Evaluate:
    """What a root stands for."""

    def evaluate(frame: Frame) -> Any:
        try:
            return frame.values[name]
        except Undetermined:
            raise
        except Exception as error:  # someone else's mapping
            raise _unreadable(name, error) from error

    return evaluate


def field(of: Evaluate, key: str, name: str) -> Evaluate:
    """A named part of a record."""

    def evaluate(frame: Frame) -> Any:
        try:
            return of(frame)[key]
        except Undetermined:
            raise
        except Exception as error:  # someone else's record
            raise _unreadable(name, error) from error

    return evaluate


def field_of_root(root: str, key: str, name: str) -> Evaluate:
    """The same in one step, since most of what conditions read is like this."""

    def evaluate(frame: Frame) -> Any:
        try:
            return frame.values[root][key]
        except Undetermined:
            raise
        except Exception as error:  # someone else's record
            raise _unreadable(name, error) from error

    return evaluate


def has(of: Evaluate, key: str, whole: Type, name: str) -> Evaluate:
    """Whether a record has a field, or a map a key."""
    holder_of = as_record if isinstance(whole, Record) else as_mapping

    def evaluate(frame: Frame) -> bool:
        holder = holder_of(of(frame), name)
        try:
            return bool(key in holder)
        except Undetermined:
            raise
        except Exception as error:  # someone else's record
            raise _unreadable(f"{name}.{key}", error) from error

    return evaluate


def variable(name: str) -> Evaluate:
    """What the variable of a macro stands for at the moment."""
    return lambda frame: frame.variables[name]


def key_in(of: Evaluate, key: Evaluate, name: str) -> Evaluate:
    """Whether a map has a key."""

    def evaluate(frame: Frame) -> bool:
        entries, wanted = as_mapping(of(frame), name), key(frame)
        try:
            return bool(wanted in entries)
        except Undetermined:
            raise
        except Exception as error:  # someone else's mapping
            raise _unreadable(name, error) from error

    return evaluate


def entry(of: Evaluate, key: Evaluate, name: str) -> Evaluate:
    """The value of a map for a key."""

    def evaluate(frame: Frame) -> Any:
        entries, wanted = as_mapping(of(frame), name), key(frame)
        try:
            return entries[wanted]
        except KeyError:
            raise Failed(f"{name} has no key {str(wanted)[:40]!r}") from None
        except Undetermined:
            raise
        except Exception as error:  # someone else's mapping
            raise _unreadable(f"an entry of {name}", error) from error

    return evaluate


def item(of: Evaluate, index: Evaluate, name: str) -> Evaluate:
    """An item of a list."""

    def evaluate(frame: Frame) -> Any:
        items, wanted = as_list(of(frame), name), index(frame)
        if 0 <= wanted < len(items):
            return items[wanted]
        raise Failed(f"{name} has {len(items)} items: there is no [{wanted}]")

    return evaluate


def items(of: Evaluate, whole: Type, name: str) -> Evaluate:
    """What a macro goes through: the items of a list, or the keys of a map."""
    if isinstance(whole, ListOf):
        return lambda frame: as_list(of(frame), name)

    def evaluate(frame: Frame) -> list[Any]:
        entries = as_mapping(of(frame), name)
        try:
            return list(entries)
        except Undetermined:
            raise
        except Exception as error:  # someone else's mapping
            raise _unreadable(name, error) from error

    return evaluate


def as_read(get: Evaluate, of: Type, name: str) -> Evaluate:
    """What `get` finds, as a value of the type."""
    if isinstance(of, (ListOf, MapOf)):
        return _counted(get, of, name)
    if of == INT:
        return _int(get, name)
    exact = exact_class(of)
    return _exact(get, exact, of, name) if exact else _converted(get, of, name)


@lru_cache(maxsize=4096)
def read_field_of_root(root: str, key: str, of: Type, name: str) -> Evaluate:
    """A field of a root as a value of the type: the same closure for all conditions.

    A thousand rules then take less of the processor's cache, and are asked in less time.
    """
    return as_read(field_of_root(root, key, name), of, name)


def _int(get: Evaluate, name: str) -> Evaluate:
    read = reader(INT)

    def evaluate(frame: Frame) -> Any:
        value = get(frame)
        if type(value) is int and INT_MIN <= value <= INT_MAX:
            return value
        return read(value, name)

    return evaluate


def _exact(get: Evaluate, exact: type, of: Type, name: str) -> Evaluate:
    read = reader(of)

    def evaluate(frame: Frame) -> Any:
        value = get(frame)
        return value if type(value) is exact else read(value, name)

    return evaluate


def _converted(get: Evaluate, of: Type, name: str) -> Evaluate:
    read = reader(of)
    return lambda frame: read(get(frame), name)


def _counted(get: Evaluate, of: ListOf | MapOf, name: str) -> Evaluate:
    read = reader(of)
    opened = as_list if isinstance(of, ListOf) else as_mapping
    inner = of.item if isinstance(of, ListOf) else of.value
    is_deep = isinstance(inner, (ListOf, MapOf))

    def evaluate(frame: Frame) -> Any:
        found: Sequence[Any] | Mapping[Any, Any] = opened(get(frame), name)
        frame.spend(len(found))
        value = read(found, name)
        if is_deep:
            frame.spend(weight(value))
        return value

    return evaluate


def _unreadable(name: str, error: Exception) -> Failed:
    match error:
        case KeyError():
            return Failed(f"{name} is missing")
        case TypeError():
            return Failed(f"{name} is missing: what should hold it has no fields")
    return Failed(f"{name} cannot be read: {type(error).__name__}: {error}"[:200])
