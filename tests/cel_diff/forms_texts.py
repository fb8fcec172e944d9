"""Forms that come to texts."""

from __future__ import annotations

from agentrt.policy.cel import BOOL, DOUBLE, DURATION, INT, STRING, TIMESTAMP

from .forms_any import converted_any
from .made import MEMBER, PRODUCT, SUM, Made, form
from .maker import Maker, Want

__all__ = ["TEXTS"]


def joined(maker: Maker, want: Want) -> Made:
    left, right = maker.part(want.of(STRING), SUM), maker.part(want.of(STRING), PRODUCT)
    return form(STRING, SUM, left, " + ", right)


def converted(maker: Maker, want: Want) -> Made:
    source = maker.random.choice((BOOL, INT, DOUBLE, DOUBLE, STRING, TIMESTAMP, DURATION))
    return form(STRING, MEMBER, "string(", maker.part(want.of(source)), ")")


TEXTS = [(3, joined), (3, converted), (0.3, converted_any)]
