"""Our side: a text parsed, checked, compiled and asked, as a policy does it."""

from __future__ import annotations

from agentrt.policy.cel import (
    ANY,
    Checked,
    Malformed,
    Mistyped,
    Type,
    Undetermined,
    check,
    compile,
    parse,
)

from .answers import Answer, encoded
from .contexts import Context

__all__ = ["checked", "evaluated", "parsed"]


def evaluated(text: str, context: Context) -> Answer:
    """The value of the text, or why it has none; `broken` when one of our promises is."""
    try:
        program = compile(checked(text, context))
        return Answer("value", encoded(program(context.values)))
    except (Malformed, Mistyped) as error:
        return Answer("refused", str(error))
    except Undetermined as error:
        return Answer("broken" if "condition broke" in str(error) else "error", str(error))
    except Exception as error:  # noqa: BLE001 - what no condition may raise
        return Answer("broken", f"{type(error).__name__}: {error}")


def checked(text: str, context: Context, wanted: Type = ANY) -> Checked:
    """The text with its types; raises Malformed or Mistyped."""
    return check(parse(text), context.types, {}, wanted)


def parsed(text: str) -> Answer:
    """Whether the text is a condition at all."""
    try:
        parse(text)
    except Malformed as error:
        return Answer("refused", str(error))
    except Exception as error:  # noqa: BLE001 - what no text may raise
        return Answer("broken", f"{type(error).__name__}: {error}")
    return Answer("value", None)
