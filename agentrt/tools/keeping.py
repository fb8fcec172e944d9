"""What annotations say a value leaves behind: `Annotated[str, keep("hash")]`, at any depth."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from agentrt.privacy.keep import Keep, Marked

__all__ = ["argument_fields", "result_fields"]

_DEPTH_MAX = 12
"""Models may contain themselves."""


def argument_fields(function: Callable[..., Any]) -> dict[str, Keep]:
    """How much is kept of the parameters, as far as their annotations say."""
    hints = _hints(function)
    return dict(
        found for name, hint in hints.items() if name != "return" for found in _marked(hint, name)
    )


def result_fields(function: Callable[..., Any]) -> dict[str, Keep]:
    """How much is kept of what it returns; `*` is all of it."""
    return {path or "*": how for path, how in _marked(_hints(function).get("return"), "")}


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception:  # noqa: BLE001 - what cannot be resolved is told with the schema
        return {}


def _marked(hint: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Keep]]:
    if depth > _DEPTH_MAX:
        return
    if get_origin(hint) is Annotated:
        inner, *said = get_args(hint)
        yield from ((path, mark.keep) for mark in said if isinstance(mark, Marked))
        yield from _marked(inner, path, depth + 1)
    elif isinstance(origin := get_origin(hint) or hint, type) and not get_args(hint):
        for name, field, marks in _fields(origin):
            below = f"{path}.{name}" if path else name
            yield from ((below, mark.keep) for mark in marks if isinstance(mark, Marked))
            yield from _marked(field, below, depth + 1)
    else:
        yield from _inside(hint, path, depth)


def _inside(hint: Any, path: str, depth: int) -> Iterator[tuple[str, Keep]]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _marked(part, path, depth + 1)
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        for part in get_args(hint):
            yield from _marked(part, f"{path}[]", depth + 1)


_Field = tuple[str, Any, Sequence[Any]]


def _fields(kind: type) -> Iterator[_Field]:
    """Name, type and marks of each field of a model, a dataclass or a typed dictionary."""
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield field.serialization_alias or field.alias or name, field.annotation, field.metadata
    elif dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        for name, hint in _hints_of(kind).items():
            yield name, hint, []


def _hints_of(kind: type) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - someone else's class
        return {}
