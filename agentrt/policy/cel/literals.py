"""Literals: from what is written to the value that is meant.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values.
"""

from __future__ import annotations

import math
import re

__all__ = ["double_of", "int_of", "text_of"]

_ESCAPE = re.compile(
    r"\\(?:[xX](?P<byte>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<sign>[abfnrtv\\?\"'`])|(?P<bad>[\s\S]?))"
)
_DIGITS_MAX = 100
_NEWLINE = re.compile(r"\r\n?")
"""Lines end alike, on whatever machine the policy was written; an escape says what it says."""
_SIGNS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def int_of(digits: str) -> int:
    """`12` or `0x1f`; raises ValueError for more digits than an int has."""
    if len(digits) > _DIGITS_MAX:
        raise ValueError("an int has at most 64 bits")
    return int(digits, 16) if digits.startswith("0x") else int(digits)


def double_of(digits: str) -> float:
    """`1.5`, `.5` or `1e3`; raises ValueError when no double is as large."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits} is too large for a double")
    return value


def text_of(quoted: str) -> str:
    """The text that a string literal stands for; raises ValueError for a wrong escape."""
    raw = quoted[0] in "rR"
    body = quoted[1:] if raw else quoted
    quotes = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body = _NEWLINE.sub("\n", body[quotes:-quotes])
    return body if raw else _ESCAPE.sub(_unescaped, body)


def _unescaped(escape: re.Match[str]) -> str:
    kind = escape.lastgroup or "bad"
    written = escape[kind]
    match kind:
        case "byte" | "short" | "long":
            return _character(int(written, 16), escape[0])
        case "octal":
            return chr(int(written, 8))
        case "sign":
            return _SIGNS.get(written, written)
        case _:
            raise ValueError(f"{escape[0]} is no escape: write \\\\ for a backslash")


def _character(code: int, escape: str) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"{escape} is no character")
    return chr(code)
