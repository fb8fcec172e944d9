"""A fact: a name, a type, and a fold over records that gives its value.

The name says what it is about: `run.x` is folded over the records of one run and its ancestors,
`user.x` over those of every run of one user. A project makes its own with `@fact`, or with
`Fact` for a fold of any kind.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from pydantic_core import from_json

from agentrt.errors import FactDefinitionError
from agentrt.events import (
    CallDecided,
    CallExpired,
    CallFinished,
    CallRejected,
    CallSettled,
    CallStarted,
    Event,
    Record,
    RunCancelled,
    RunFailed,
)
from agentrt.policy.cel import BOOL, DOUBLE, INT, STRING, Enum, ListOf, Type
from agentrt.policy.facts.collected import Collected
from agentrt.policy.facts.counted import Counted
from agentrt.policy.facts.tally import Tally

__all__ = [
    "CALL_EVENTS",
    "NAME",
    "TOOL_NAME",
    "DecidedCall",
    "Fact",
    "counting",
    "fact",
    "over_calls",
]

NAME = re.compile(r"(run|user)\.[a-z][a-z0-9_]*")
"""How a fact can be called."""

TOOL_NAME = Enum(())
"""The type of a tool's name: the vocabulary says which tools there are."""

Heard = tuple[type[Event], ...]
"""Kinds of events."""

CALL_EVENTS: Heard = (
    CallDecided,
    CallRejected,
    CallExpired,
    CallStarted,
    CallFinished,
    CallSettled,
    RunCancelled,
    RunFailed,
)
"""What decides whether a call counts: it does while it is allowed or held, and once it ran."""

Collect = Literal["list", "count", "sum", "any"]
_SCALARS: Mapping[type, Type] = {bool: BOOL, int: INT, float: DOUBLE, str: STRING}


@dataclass(frozen=True)
class Fact:
    """A typed fold. `evolve` sees the records of the scope in order, those it `hears` only.

    `value` gets the state and the time of the decision in milliseconds. It may raise Unknown
    from `agentrt.policy.cel`: the call then waits until the fact is known.
    """

    name: str
    type: Type
    about: str
    hears: Heard
    start: Any
    evolve: Callable[[Any, Record], Any]
    value: Callable[[Any, int], Any]
    span_ms: int | None = None
    """How far back it looks; None: to the beginning."""
    refuses: Callable[[bytes], str | None] | None = None
    """Of a fact that is stated from outside: why it cannot be this JSON value, or None."""
    source: str = ""
    """The text of the code of a project's own fact: it is part of the bundle."""
    before: Callable[[Any, str], Any] | None = None
    """The state by which a call is judged when it starts, where that is not the whole of it."""

    @property
    def scope(self) -> str:
        """`run` or `user`."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """The name below its scope."""
        return self.name.partition(".")[2]


@dataclass(frozen=True)
class DecidedCall:
    """A call that policy allowed or held, as a fact may look at it."""

    record: Record
    event: CallDecided = field(repr=False)

    @property
    def tool(self) -> str:
        """The name of the tool."""
        return self.event.tool

    @property
    def effect(self) -> str:
        """The effect that policy went by."""
        return self.event.effect

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that policy went by."""
        return self.event.labels

    @property
    def at(self) -> int:
        """When it was decided, in milliseconds since the epoch."""
        return self.record.at

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The completed arguments."""
        arguments: dict[str, Any] = from_json(self.event.arguments)
        return arguments


Each = Callable[[DecidedCall], Any]
"""What a call adds; None: nothing."""


def counting(state: Counted, record: Record, each: Each) -> Counted:
    """The calls that count, one record further: they do unless they are refused."""
    event = record.event
    match event:
        case CallDecided():
            item = None if event.verdict == "deny" else each(DecidedCall(record, event))
            if item is None:
                return state.take_back(event.call, at=record.at)
            return state.reserve(event.call, item, run=record.run, at=record.at)
        case CallRejected() | CallExpired():
            return state.take_back(event.call, at=record.at)
        case CallStarted():
            return state.start(event.call, at=record.at)
        case CallFinished():
            return state.settle(event.call)
        case CallSettled() if event.happened:
            return state.settle(event.call)
        case RunCancelled() | RunFailed():
            return state.end(record.run)
        case _:
            return state


def over_calls(
    name: str,
    each: Each,
    *,
    about: str,
    collect: Collect,
    item: Type = INT,
    within: timedelta | None = None,
    source: str = "",
) -> Fact:
    """A fact that adds up, lists or looks for calls, those of the last `within` only.

    A call counts from its decision on, as of that time, and once it has started as of then.
    """
    span_ms = int(within.total_seconds() * 1000) if within else None
    if collect == "list":
        return Fact(
            name, ListOf(item), about, CALL_EVENTS, Counted(Collected()),
            lambda state, record: counting(state, record, each),
            lambda state, now: state.since(_since(now, span_ms)),
            span_ms=span_ms, source=source, before=Counted.before,
        )  # fmt: skip
    types: Mapping[str, Type] = {"count": INT, "sum": item, "any": BOOL}
    weigh = each if collect == "sum" else (lambda call: 1 if each(call) else None)
    return Fact(
        name, types[collect], about, CALL_EVENTS, Counted(Tally()),
        lambda state, record: counting(state, record, lambda call: _amount(weigh(call))),
        lambda state, now: _as(types[collect], state.since(_since(now, span_ms))),
        span_ms=span_ms, source=source, before=Counted.before,
    )  # fmt: skip


def _since(now: int, span_ms: int | None) -> int | None:
    return None if span_ms is None else now - span_ms


def _amount(value: Any) -> Any:
    # Sums of decimals are exact; a float is what it is written as.
    return Decimal(str(value)) if isinstance(value, float) else value


def _as(kind: Type, total: Any) -> Any:
    if kind is BOOL:
        return total > 0
    return int(total) if kind is INT else float(total)


def fact(
    name: str, *, collect: Collect = "list", within: timedelta | None = None
) -> Callable[[Each], Fact]:
    """Make a function of a decided call a fact: what it returns is collected, None is not.

    `list` gives the distinct values, `sum` their sum, `count` how many calls gave something
    true and `any` whether one did. Calls count while they are allowed or held, and once they
    ran; refused ones do not. Raises FactDefinitionError.
    """

    def make(each: Each) -> Fact:
        item = _item_type(name, each, collect)
        about = inspect.getdoc(each)
        if not about:
            raise FactDefinitionError(f"{name} has no docstring: say what it means.")
        source = _source(name, each)
        return over_calls(
            name, each, about=about, collect=collect, item=item, within=within, source=source
        )

    return make


def _item_type(name: str, each: Each, collect: Collect) -> Type:
    """The type of one item, from the return annotation without its None."""
    if collect in ("count", "any"):
        return BOOL
    returns = typing.get_type_hints(each).get("return")
    kinds = [kind for kind in typing.get_args(returns) or (returns,) if kind is not type(None)]
    allowed = (int, float) if collect == "sum" else tuple(_SCALARS)
    if len(kinds) != 1 or kinds[0] not in allowed:
        words = ", ".join(kind.__name__ for kind in allowed)
        raise FactDefinitionError(
            f"{name} collects a {collect}: annotate what it returns as one of {words}, or that "
            "and None."
        )
    return _SCALARS[kinds[0]]


def _source(name: str, each: Each) -> str:
    try:
        return inspect.getsource(each)
    except (OSError, TypeError) as error:
        raise FactDefinitionError(
            f"The code of {name} cannot be read, and a policy records the code of its facts: "
            "define it in a file."
        ) from error
