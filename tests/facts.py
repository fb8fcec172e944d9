"""Every event there can be, for laws that must hold of all of them."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import to_json

from agentrt.events import AnyEvent, Event, event_types

# Beyond 2**53 a number of RFC 8785 is no longer exact.
WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: WHOLE,
    bool: st.booleans(),
    bytes: JSON.map(to_json),
    type(None): st.none(),
}

SPECIAL = {"cost_usd": st.none() | st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,9})?", fullmatch=True)}
"""Fields of which the type alone says too little."""


def any_event() -> st.SearchStrategy[AnyEvent]:
    return st.one_of(*(_model(cls) for cls in event_types().values()))


def events_of(cls: type[Event]) -> st.SearchStrategy[Any]:
    return _model(cls)


def _model(cls: type[BaseModel]) -> st.SearchStrategy[Any]:
    return st.builds(
        cls,
        **{
            name: SPECIAL[name] if name in SPECIAL else _values(field.annotation)
            for name, field in cls.model_fields.items()
        },
    )


def _values(kind: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*(_values(argument) for argument in arguments))
    if origin is tuple:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(NAMES, _values(arguments[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _model(kind)
    return PLAIN[kind]
