"""Our side: a text parsed, checked, compiled and asked, as a policy does it."""

from __future__ import annotations

from typing import Any

from agentrt.policy.cel import (
    ANY,
    Malformed,
    Mistyped,
    Undetermined,
    check,
    compile,
    parse,
)

from .answers import Answer, encoded
from .contexts import Context

__all__ = ["evaluated", "parsed", "value"]


def evaluated(text: str, context: Context) -> Answer:
    """The value of the text, or why it has none; `broken` when one of our promises is."""
    try:
        return Answer("value", encoded(value(text, context)))
    except (Malformed, Mistyped) as error:
        return Answer("refused", str(error))
    except Undetermined as error:
        return Answer("broken" if "condition broke" in str(error) else "error", str(error))
    except Exception as error:  # noqa: BLE001 - what no condition may raise
        return Answer("broken", f"{type(error).__name__}: {error}")


def value(text: str, context: Context) -> Any:
    """The value itself; raises Malformed, Mistyped or Undetermined."""
    return compile(check(parse(text), context.types, {}, ANY))(context.values)


def parsed(text: str) -> Answer:
    """Whether the text is a condition at all."""
    try:
        parse(text)
    except Malformed as error:
        return Answer("refused", str(error))
    except Exception as error:  # noqa: BLE001 - what no text may raise
        return Answer("broken", f"{type(error).__name__}: {error}")
    return Answer("value", None)
