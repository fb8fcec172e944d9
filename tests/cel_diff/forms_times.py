"""Forms that come to moments and durations."""

from __future__ import annotations

from agentrt.policy.cel import DURATION, INT, TIMESTAMP

from . import hostile
from .literals import int_text, text_literal
from .made import CONDITIONAL, MEMBER, PRODUCT, SUM, Made, Part, form
from .maker import Maker, Want

__all__ = ["DURATION_FORMS", "MOMENT_FORMS"]


def later(maker: Maker, want: Want) -> Made:
    if maker.random.random() < 0.3:
        left, right = maker.part(want.of(DURATION), SUM), maker.part(want.of(TIMESTAMP), PRODUCT)
        return form(TIMESTAMP, SUM, left, " + ", right)
    left, right = maker.part(want.of(TIMESTAMP), SUM), maker.part(want.of(DURATION), PRODUCT)
    return form(TIMESTAMP, SUM, left, maker.random.choice((" + ", " - ")), right)


def moment_of_int(maker: Maker, want: Want) -> Made:
    seconds = maker.part(want.of(INT))
    if maker.random.random() < 0.5:
        seconds = Part(int_text(str(maker.random.randint(-(10**10), 10**10))), CONDITIONAL)
    return form(TIMESTAMP, MEMBER, "timestamp(", seconds, ")")


def moment_of_text(maker: Maker, want: Want) -> Made:
    """The text is computed, so that it is read when it is evaluated."""
    if maker.random.random() < 0.5:
        return form(TIMESTAMP, MEMBER, "timestamp(string(", maker.part(want.of(TIMESTAMP)), "))")
    text = Part(text_literal(maker.random, hostile.moment(maker.random, 0.2)), SUM)
    return form(TIMESTAMP, MEMBER, "timestamp(", text, ' + "")')


def same_moment(maker: Maker, want: Want) -> Made:
    return form(TIMESTAMP, MEMBER, "timestamp(", maker.part(want.of(TIMESTAMP)), ")")


def between(maker: Maker, want: Want) -> Made:
    left, right = maker.part(want.of(TIMESTAMP), SUM), maker.part(want.of(TIMESTAMP), PRODUCT)
    return form(DURATION, SUM, left, " - ", right)


def sum_(maker: Maker, want: Want) -> Made:
    left, right = maker.part(want.of(DURATION), SUM), maker.part(want.of(DURATION), PRODUCT)
    return form(DURATION, SUM, left, maker.random.choice((" + ", " - ")), right)


def duration_of_text(maker: Maker, want: Want) -> Made:
    if maker.random.random() < 0.5:
        return form(DURATION, MEMBER, "duration(string(", maker.part(want.of(DURATION)), "))")
    text = Part(text_literal(maker.random, hostile.duration(maker.random, 0.2)), SUM)
    return form(DURATION, MEMBER, "duration(", text, ' + "")')


def same_duration(maker: Maker, want: Want) -> Made:
    return form(DURATION, MEMBER, "duration(", maker.part(want.of(DURATION)), ")")


MOMENT_FORMS = [(4, later), (1, moment_of_int), (1, moment_of_text), (0.3, same_moment)]
DURATION_FORMS = [(3, between), (3, sum_), (1, duration_of_text), (0.3, same_duration)]
