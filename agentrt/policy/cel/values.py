"""Numbers as CEL has them, and how they are written: 64-bit integers and IEEE doubles."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from agentrt.policy.cel.errors import Failed

__all__ = ["INT_MAX", "INT_MIN", "double_from", "double_text", "int_from", "int_from_double"]

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_DIGITS_MAX = 400
"""More digits than any number has that is not meant to keep us busy."""
_EXPONENTS_WRITTEN_OUT = range(-4, 6)


def int_from(text: str) -> int:
    """`int("12")`"""
    if len(text) <= _DIGITS_MAX and _WHOLE.match(text) and INT_MIN <= int(text) <= INT_MAX:
        return int(text)
    raise Failed(f"int() cannot read {_shown(text)}")


def int_from_double(value: float) -> int:
    """`int(2.9)` is 2; what is beyond the range of an int fails."""
    # As in CEL for C++, the least int itself counts as beyond: its double stands for more.
    if INT_MIN < value < 2.0**63:
        return int(value)
    raise Failed(f"int() cannot hold {double_text(value)}")


def double_from(text: str) -> float:
    """`double("1.5")`: a finite decimal number.

    Not "NaN" or "inf", though CEL reads them: an argument that says so would make every
    comparison with it false.
    """
    value = float(text) if len(text) <= _DIGITS_MAX and _DECIMAL.match(text) else math.inf
    if math.isinf(value):
        raise Failed(f"double() cannot read {_shown(text)}")
    return value


def double_text(value: float) -> str:
    """`string(0.5)`: the fewest digits that mean this double, written as C's %g does."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{value}"
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if exponent in _EXPONENTS_WRITTEN_OUT or not number:
        return f"{number:f}"
    digits = f"{number.scaleb(-exponent):f}"
    return f"{digits}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
