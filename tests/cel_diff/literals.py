"""Literals: the many ways to write down a value."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from agentrt.policy.cel import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Duration,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Timestamp,
    Type,
)

from .made import CONDITIONAL, MEMBER, PRODUCT, UNARY, Frame, Made, Part, form, series

__all__ = [
    "LIST",
    "MAP",
    "int_text",
    "plain_literal",
    "quoted",
    "text_literal",
    "varied_double",
    "varied_int",
]

LIST = Frame("[", ", ", "]", 0)
MAP = Frame("{", ", ", "}", 0)

_SIGNS = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}
_QUOTES = ('"', '"', "'", '"""', "'''")


# --- one way for every value -------------------------------------------------------------


def plain_literal(type: Type, value: Any) -> Made | None:
    """The plainest expression that comes to the value; None when there is none of this type."""
    match type, value:
        case (ListOf(), list()):
            return _series(type, LIST, [(type.item, item) for item in value], 1)
        case (MapOf(), dict()):
            pairs = [
                pair
                for entry in value.items()
                for pair in zip((type.key, type.value), entry, strict=True)
            ]
            return _series(type, MAP, pairs, 2)
        case (Nullable(), None):
            return form(type, MEMBER, "null")
        case (Nullable(), _):
            return plain_literal(type.of, value)
        case ((Record() | ListOf() | MapOf()), _):
            return None
    return _scalar(type, value)


def _series(type: Type, frame: Frame, parts: list[tuple[Type, Any]], size: int) -> Made | None:
    made = [plain_literal(of, value) for of, value in parts]
    if None in made:
        return None
    pieces = [Part(each, CONDITIONAL) for each in made if each]
    if size == 1:
        return series(type, MEMBER, frame, [(piece,) for piece in pieces])
    entries = zip(pieces[::2], pieces[1::2], strict=True)
    return series(type, MEMBER, frame, [(key, ": ", value) for key, value in entries])


def _scalar(type: Type, value: Any) -> Made | None:
    match value:
        case None:
            return form(NULL, MEMBER, "null")
        case bool():
            return form(BOOL, MEMBER, str(value).lower())
        case int():
            return int_text(str(value))
        case float():
            return _double(value)
        case str():
            return form(STRING, MEMBER, quoted(value))
        case Timestamp():
            return form(TIMESTAMP, MEMBER, f'timestamp("{value}")')
        case Duration():
            return form(DURATION, MEMBER, f'duration("{value}")')
    return None


def int_text(text: str) -> Made:
    return form(INT, UNARY if text.startswith("-") else MEMBER, text)


def _double(value: float) -> Made:
    if math.isnan(value):
        return form(DOUBLE, PRODUCT, "0.0 / 0.0")
    if math.isinf(value):
        return form(DOUBLE, PRODUCT, "1.0 / 0.0" if value > 0 else "-1.0 / 0.0")
    text = repr(value)
    return form(DOUBLE, UNARY if text.startswith("-") else MEMBER, text)


def quoted(value: str) -> str:
    """In double quotes, with an escape for all that is not plain."""
    return '"' + "".join(_escaped(sign) for sign in value) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    if sign.isprintable():
        return sign
    return _SIGNS_ESCAPED.get(sign) or (
        f"\\u{ord(sign):04x}" if ord(sign) <= 0xFFFF else f"\\U{ord(sign):08x}"
    )


_SIGNS_ESCAPED = {sign: f"\\{letter}" for sign, letter in _SIGNS.items()}


# --- many ways ---------------------------------------------------------------------------


def varied_int(random: Random, value: int) -> Made:
    chance = random.random()
    if chance < 0.1:
        return int_text(f"{'-' if value < 0 else ''}0x{abs(value):{random.choice('xX')}}")
    if chance < 0.13:
        return int_text(f"{'-' if value < 0 else ''}00{abs(value)}")
    return int_text(str(value))


def varied_double(random: Random, value: float) -> Made:
    chance = random.random()
    text = repr(value)
    if chance < 0.1 and abs(value) < 1e300:
        text = f"{value:.{random.randint(1, 30)}e}"
    elif chance < 0.15:
        text = text.replace("e", "E")
    elif chance < 0.2 and text.startswith("0."):
        text = text[1:]
    return form(DOUBLE, UNARY if text.startswith("-") else MEMBER, text)


def text_literal(random: Random, value: str) -> Made:
    """The text in any quotes, raw or with escapes that it needs or not."""
    quotes = random.choice(_QUOTES)
    if random.random() < 0.15 and _fits_raw(value, quotes):
        return form(STRING, MEMBER, f"{random.choice('rR')}{quotes}{value}{quotes}")
    inner = "".join(_varied_sign(random, sign, quotes) for sign in value)
    return form(STRING, MEMBER, f"{quotes}{inner}{quotes}")


def _fits_raw(value: str, quotes: str) -> bool:
    ends_well = not value.endswith(("\\", quotes[0]))
    return ends_well and quotes not in value and not (len(quotes) == 1 and set("\r\n") & set(value))


def _varied_sign(random: Random, sign: str, quotes: str) -> str:
    must = sign in "\\\r" or sign == quotes[0] or (sign == "\n" and len(quotes) == 1)
    if not must and random.random() < 0.9:
        return sign
    ways = [f"\\U{ord(sign):08x}"]
    if ord(sign) <= 0xFFFF:
        ways.append(f"\\u{ord(sign):04X}")
    if ord(sign) <= 0xFF:
        ways += [f"\\x{ord(sign):02x}", f"\\X{ord(sign):02X}", f"\\{ord(sign):03o}"]
    if sign in _SIGNS:
        ways.append(f"\\{_SIGNS[sign]}")
    if sign in "\\\"'`?":
        ways.append(f"\\{sign}")
    return random.choice(ways)
