"""A constant: the value of a part of a condition that reads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agentrt.policy.cel import Expr, Failed, Function
from agentrt.policy.cel.operators import Overload
from agentrt.policy.cel.syntax import Arithmetic, FunctionCall, Literal, Negative, children

__all__ = ["constant"]

_CONVERSIONS = ("timestamp", "duration", "int", "double", "string")


def constant(part: Expr, meant: Mapping[Expr, Overload | Function]) -> Any | None:
    """What `-5`, `60 * 60` or `timestamp("2026-01-01T00:00:00Z")` comes to.

    None for what reads something, fails, is null or is no finite number.
    """
    match part:
        case Literal():
            value = part.value
        case Negative() | Arithmetic():
            value = _computed(part, meant)
        case FunctionCall() if part.name in _CONVERSIONS:
            value = _computed(part, meant)
        case _:
            return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _computed(part: Expr, meant: Mapping[Expr, Overload | Function]) -> Any | None:
    overload = meant[part]
    *others, last = [constant(child, meant) for child in children(part)]
    if not isinstance(overload, Overload) or last is None or None in others:
        return None
    try:
        if overload.prepare:
            last = overload.prepare(last)
        return overload.call(*others, last)
    except Failed:
        return None
