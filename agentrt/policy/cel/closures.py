"""Closures made of closures: how the parts of a condition are evaluated together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from agentrt.policy.cel.errors import Failed, Undetermined, Unknown
from agentrt.policy.cel.places import Evaluate
from agentrt.policy.cel.steps import Frame, weight

__all__ = [
    "Constant",
    "applied",
    "collected",
    "conditional",
    "counted",
    "exactly_one",
    "host_call",
    "list_of",
    "logic",
    "map_of",
    "prepared",
    "quantified",
]


class Constant:
    """A closure whose value is known beforehand."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, frame: Frame) -> Any:
        """The value, whatever the frame."""
        return self.value


def applied(call: Callable[..., Any], parts: Sequence[Evaluate]) -> Evaluate:
    """`call` of the values of the parts; what is known beforehand is worked out beforehand."""
    constants = [part.value for part in parts if isinstance(part, Constant)]
    if len(constants) == len(parts):
        with suppress(Failed):  # then it fails whenever it is asked for
            return Constant(call(*constants))
    match parts:
        case [of]:
            return lambda frame: call(of(frame))
        case [left, Constant(value=value)]:
            return lambda frame: call(left(frame), value)
        case [left, right]:
            return lambda frame: call(left(frame), right(frame))
    return lambda frame: call(*[part(frame) for part in parts])


def counted(call: Callable[..., Any], parts: Sequence[Evaluate]) -> Evaluate:
    """The same, where the work grows with the values."""

    def evaluate(frame: Frame) -> Any:
        values = [part(frame) for part in parts]
        frame.spend(sum(map(weight, values)))
        return call(*values)

    return evaluate


def prepared(prepare: Callable[[str], Any], part: Evaluate, steps: int) -> Evaluate:
    """The part's value, read; what is known beforehand is read beforehand."""
    if isinstance(part, Constant):
        with suppress(Failed):
            return Constant(prepare(part.value))

    def evaluate(frame: Frame) -> Any:
        frame.spend(steps)
        return prepare(part(frame))

    return evaluate


# --- logic -------------------------------------------------------------------------------


def logic(parts: Sequence[Evaluate], *, decisive: bool) -> Evaluate:
    """`&&` (where false decides) and `||` (where true does).

    What decides wins over what cannot be evaluated, on whichever side it is.
    """
    if len(parts) == 2:
        return _both(*parts) if decisive is False else _either(*parts)

    def evaluate(frame: Frame) -> Any:
        trouble: Undetermined | None = None
        for part in parts:
            try:
                if part(frame) is decisive:
                    return decisive
            except Undetermined as error:
                trouble = _graver(trouble, error)
        if trouble is not None:
            raise trouble
        return not decisive

    return evaluate


def _both(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(frame: Frame) -> Any:
        try:
            if not left(frame):
                return False
        except Undetermined as trouble:
            return _rescued(trouble, right, frame, decisive=False)
        return right(frame)

    return evaluate


def _either(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(frame: Frame) -> Any:
        try:
            if left(frame):
                return True
        except Undetermined as trouble:
            return _rescued(trouble, right, frame, decisive=True)
        return right(frame)

    return evaluate


def _rescued(trouble: Undetermined, right: Evaluate, frame: Frame, *, decisive: bool) -> Any:
    try:
        if right(frame) is decisive:
            return decisive
    except Undetermined as error:
        raise _graver(trouble, error) from None
    raise trouble


def _graver(one: Undetermined | None, other: Undetermined) -> Undetermined:
    """What is unknown may still decide, so it is told before what has failed."""
    if one is None or (isinstance(other, Unknown) and not isinstance(one, Unknown)):
        return other
    return one


def conditional(test: Evaluate, then: Evaluate, otherwise: Evaluate) -> Evaluate:
    """`test ? then : otherwise`"""
    return lambda frame: then(frame) if test(frame) else otherwise(frame)


# --- macros ------------------------------------------------------------------------------


def quantified(of: Evaluate, variable: str, condition: Evaluate, *, decisive: bool) -> Evaluate:
    """`all` (where one false decides) and `exists` (where one true does)."""

    def evaluate(frame: Frame) -> Any:
        trouble: Undetermined | None = None
        for item in of(frame):
            frame.spend(1)
            frame.variables[variable] = item
            try:
                if condition(frame) is decisive:
                    return decisive
            except Undetermined as error:
                trouble = _graver(trouble, error)
        if trouble is not None:
            raise trouble
        return not decisive

    return evaluate


def exactly_one(of: Evaluate, variable: str, condition: Evaluate) -> Evaluate:
    """`exists_one`: every item counts, so that none may be undetermined."""
    found = collected(of, variable, condition, None)
    return lambda frame: len(found(frame)) == 1


def collected(
    of: Evaluate, variable: str, condition: Evaluate | None, result: Evaluate | None
) -> Evaluate:
    """`filter` and `map`"""

    def evaluate(frame: Frame) -> list[Any]:
        found = []
        for item in of(frame):
            frame.spend(1)
            frame.variables[variable] = item
            if condition is None or condition(frame):
                found.append(item if result is None else result(frame))
        return found

    return evaluate


# --- literals with parts -----------------------------------------------------------------


def list_of(items: Sequence[Evaluate]) -> Evaluate:
    """`[a, b]`: a new list each time, since it may be handed out."""
    return lambda frame: [item(frame) for item in items]


def map_of(entries: Sequence[tuple[Evaluate, Evaluate]]) -> Evaluate:
    """`{a: b}`: no key may be there twice."""

    def evaluate(frame: Frame) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_of, value_of in entries:
            key = key_of(frame)
            if key in found:
                raise Failed(f"the key {str(key)[:40]!r} is in the map twice")
            found[key] = value_of(frame)
        return found

    return evaluate


# --- the host ----------------------------------------------------------------------------


def host_call(name: str, call: Callable[..., Any], parts: Sequence[Evaluate]) -> Evaluate:
    """A call of the host's function: what it raises is somebody else's doing, so it is Failed."""

    def evaluate(frame: Frame) -> Any:
        values = [part(frame) for part in parts]
        try:
            return call(frame.host, *values)
        except Undetermined:
            raise
        except Exception as error:  # someone else's function
            message = f"{name}() failed: {type(error).__name__}: {error}"
            raise Failed(message[:200]) from error

    return evaluate
