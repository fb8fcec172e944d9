"""Forms that come to numbers."""

from __future__ import annotations

from agentrt.policy.cel import DOUBLE, DURATION, INT, STRING, TIMESTAMP, ListOf, Type

from . import hostile
from .forms_any import converted_any
from .literals import int_text, text_literal
from .made import CONDITIONAL, MEMBER, PRODUCT, SUM, UNARY, Made, Part, form
from .maker import Maker, Want

__all__ = ["DOUBLES", "INTS"]


def sum_(maker: Maker, want: Want) -> Made:
    left, right = maker.part(want.of(want.type), SUM), maker.part(want.of(want.type), PRODUCT)
    return form(want.type, SUM, left, maker.random.choice((" + ", " - ", "+", "-")), right)


def product(maker: Maker, want: Want) -> Made:
    signs = ("*", "/", "%") if want.type == INT else ("*", "/")
    sign = maker.random.choice(signs)
    left, right = maker.part(want.of(want.type), PRODUCT), maker.part(want.of(want.type), UNARY)
    if want.type == INT and sign != "*" and maker.random.random() < 0.6:
        right = Part(int_text(str(maker.random.choice((0, 1, 2, 3, 7, 10, -1, -3)))), UNARY)
    return form(want.type, PRODUCT, left, maker.random.choice((f" {sign} ", sign)), right)


def negative(maker: Maker, want: Want) -> Made:
    sign = maker.random.choice(("-", "-", "- "))
    return form(want.type, UNARY, sign, maker.part(want.of(want.type), MEMBER))


def size(maker: Maker, want: Want) -> Made:
    of = maker.random.choice((STRING, STRING, ListOf(maker.item_type()), maker.map_type()))
    if maker.random.random() < 0.5:
        return form(INT, MEMBER, "size(", maker.part(want.of(of)), ")")
    return form(INT, MEMBER, maker.part(want.of(of), MEMBER), ".size()")


def not_finite(maker: Maker, want: Want) -> Made:
    ways = ("0.0 / 0.0", "1.0 / 0.0", "-1.0 / 0.0", "1.0 / -0.0")
    return form(DOUBLE, PRODUCT, maker.random.choice(ways))


def converted(maker: Maker, want: Want) -> Made:
    """`int(2.5)`, `double(1)`"""
    source = maker.random.choice((DOUBLE, INT, TIMESTAMP) if want.type == INT else (INT, DOUBLE))
    return form(want.type, MEMBER, f"{want.type}(", maker.part(want.of(source)), ")")


def converted_text(maker: Maker, want: Want) -> Made:
    """`int("42")`"""
    source = maker.part(want.of(STRING))
    if maker.random.random() < 0.8:
        source = Part(text_literal(maker.random, _number(maker, want.type)), CONDITIONAL)
    return form(want.type, MEMBER, f"{want.type}(", source, ")")


def _number(maker: Maker, type: Type) -> str:
    random = maker.random
    if random.random() < 0.25:
        return hostile.number_text(random)
    return str(hostile.integer(random) if type == INT else hostile.double(random))


def part_of_moment(maker: Maker, want: Want) -> Made:
    name = maker.random.choice(_PARTS)
    moment = maker.part(want.of(TIMESTAMP), MEMBER)
    if maker.random.random() < 0.4:
        return form(INT, MEMBER, moment, f".{name}()")
    zone: Part | str = f'"{hostile.zone(maker.random)}"'
    if maker.random.random() < 0.06:
        zone = Part(form(STRING, SUM, f'"{hostile.zone(maker.random, 0.3)}" + ""'), CONDITIONAL)
    return form(INT, MEMBER, moment, f".{name}(", zone, ")")


def part_of_duration(maker: Maker, want: Want) -> Made:
    name = maker.random.choice(_PARTS[-4:])
    return form(INT, MEMBER, maker.part(want.of(DURATION), MEMBER), f".{name}()")


_PARTS = (
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
)

INTS = [
    (3, sum_),
    (2.5, product),
    (0.7, negative),
    (2, size),
    (1, converted),
    (0.5, converted_text),
    (0.3, converted_any),
    (1.5, part_of_moment),
    (0.8, part_of_duration),
]
DOUBLES = [
    (0.5, not_finite),
    (3, sum_),
    (3, product),
    (0.7, negative),
    (1.5, converted),
    (1, converted_text),
    (0.3, converted_any),
]
