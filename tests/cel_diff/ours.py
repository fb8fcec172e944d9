"""Our side: a text parsed, checked, compiled and asked, as a policy does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from agentrt.policy.cel import (
    ANY,
    ListOf,
    Malformed,
    MapOf,
    Mistyped,
    Problem,
    Program,
    Record,
    Type,
    Undetermined,
    check,
    parse,
    walk,
)
from agentrt.policy.cel import compile as compiled

from .answers import Answer, encoded
from .contexts import Context

__all__ = ["evaluated", "parsed", "parts", "value"]


def evaluated(text: str, context: Context) -> Answer:
    """The value of the text, or why it has none; `broken` when one of our promises is."""
    try:
        program = _program(text, context)
    except (Malformed, Mistyped) as error:
        return Answer("refused", str(error))
    except Exception as error:  # noqa: BLE001 - what no text may raise
        return Answer("broken", f"{type(error).__name__}: {error}")
    try:
        return Answer("value", encoded(program(context.values)))
    except Undetermined as error:
        return Answer("broken" if "condition broke" in str(error) else "error", str(error))
    except Exception as error:  # noqa: BLE001 - what no condition may raise
        return Answer("broken", f"{type(error).__name__}: {error}")


def value(text: str, context: Context) -> Any:
    """The value itself; raises Malformed, Mistyped or Undetermined."""
    return _program(text, context)(context.values)


def _program(text: str, context: Context) -> Program:
    checked = check(parse(text), context.types, {}, ANY)
    if _holds_record(checked.type):
        problem = Problem("a record is no value: its fields are", start=0, end=len(text))
        raise Mistyped([problem])
    return compiled(checked)


def _holds_record(type: Type) -> bool:
    match type:
        case ListOf():
            return _holds_record(type.item)
        case MapOf():
            return _holds_record(type.value)
    return isinstance(type, Record)


def parts(text: str) -> Iterator[str]:
    """The texts of the parts of a text, if it is one of ours."""
    with suppress(Malformed):
        yield from (text[part.start : part.end] for part in walk(parse(text)))


def parsed(text: str) -> Answer:
    """Whether the text is a condition at all."""
    try:
        parse(text)
    except Malformed as error:
        return Answer("refused", str(error))
    except Exception as error:  # noqa: BLE001 - what no text may raise
        return Answer("broken", f"{type(error).__name__}: {error}")
    return Answer("value", None)
