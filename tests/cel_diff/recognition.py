"""What tells a known difference: on our side, on Google's, or in the values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agentrt.policy.cel import (
    Duration,
    Expr,
    Malformed,
    Mistyped,
    Timestamp,
    Undetermined,
    parse,
    written,
)
from agentrt.policy.cel.syntax import Arithmetic, Collected, FunctionCall, Negative

from . import ours
from .answers import Asked

__all__ = [
    "google_fails",
    "google_refuses",
    "is_int_of_bool",
    "is_kept_line_end",
    "is_length_at_the_edge",
    "is_lenient_moment",
    "is_long_offset",
    "is_odd_number",
    "is_other_order",
    "is_signed_nan",
    "is_too_much",
    "is_two_signs",
    "is_year_elsewhere",
    "refusal",
]

_NANOS_MAX = 2**63 - 1 - 10**9
"""Google's package counts seconds first, and rounds them up."""
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_RAW_LINE_END = re.compile(r"""[rR](\"{3}|'{3})[^\r]*\\\r[\s\S]*\1""")
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:[0-5]\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)

# --- refusals ----------------------------------------------------------------------------


def refusal(*messages: str) -> Callable[[Asked], bool]:
    """Every problem of a refusal is one of these."""
    pattern = re.compile("|".join(messages))

    def shows_in(asked: Asked) -> bool:
        lines = asked.ours.content.splitlines() if asked.ours.kind == "refused" else []
        return bool(lines) and all(pattern.search(line) for line in lines)

    return shows_in


def google_refuses(text: str, *messages: str) -> Callable[[Asked], bool]:
    """Google's side refuses with one of these a text that holds something like this."""
    holding, pattern = re.compile(text), re.compile("|".join(messages))

    def shows_in(asked: Asked) -> bool:
        is_refused = asked.theirs.kind == "refused" and asked.ours.kind in ("value", "error")
        return is_refused and bool(
            pattern.search(asked.theirs.content) and holding.search(asked.text)
        )

    return shows_in


def google_fails(message: str) -> Callable[[Asked], bool]:
    """Google's side fails with this."""
    pattern = re.compile(message)
    return lambda asked: asked.theirs.kind == "error" and bool(pattern.search(asked.theirs.content))


# --- values ------------------------------------------------------------------------------


def _tree(asked: Asked) -> Expr | None:
    try:
        return parse(asked.text)
    except Malformed:
        return None


def _call(asked: Asked, name: str) -> FunctionCall | None:
    """The whole text, when it is a call of this function."""
    match _tree(asked):
        case FunctionCall() as call if re.fullmatch(name, call.name):
            return call
    return None


def _value(expr: Expr, asked: Asked) -> Any:
    """What a part of the text comes to; None when it has no value."""
    try:
        return ours.value(written(expr), asked.context)
    except (Mistyped, Undetermined):
        return None


def is_int_of_bool(asked: Asked) -> bool:
    call = _call(asked, "int")
    return call is not None and isinstance(_value(call.arguments[0], asked), bool)


def is_lenient_moment(asked: Asked) -> bool:
    call = _call(asked, "timestamp")
    if call is None or asked.kinds != ("error", "value"):
        return False
    text = _value(call.arguments[0], asked)
    return isinstance(text, str) and not _RFC_3339.fullmatch(text)


def is_long_offset(asked: Asked) -> bool:
    call = _call(asked, "get[A-Za-z]+")
    if call is None or not call.arguments or asked.kinds != ("error", "value"):
        return False
    zone = _value(call.arguments[0], asked)
    return isinstance(zone, str) and bool(re.fullmatch("[+-]?(2[4-9]|[3-9]\\d):\\d\\d", zone))


def is_kept_line_end(asked: Asked) -> bool:
    return asked.kinds == ("value", "value") and bool(re.fullmatch(_RAW_LINE_END, asked.text))


def is_odd_number(asked: Asked) -> bool:
    call = _call(asked, "int|double")
    if call is None or asked.kinds != ("error", "value"):
        return False
    text = _value(call.arguments[0], asked)
    return isinstance(text, str) and not _is_plain(text)


def _is_plain(text: str) -> bool:
    with suppress(ValueError):
        return bool(_DECIMAL.fullmatch(text)) and math.isfinite(float(text))
    return False


def is_signed_nan(asked: Asked) -> bool:
    return (asked.ours.content, asked.theirs.content) == ("nan", "-nan")


def is_two_signs(asked: Asked) -> bool:
    expr = _tree(asked)
    is_twice = isinstance(expr, Negative) and "overflow" not in str(asked.theirs)
    return is_twice and bool(re.match(r"-\s*-", asked.text))


def is_other_order(asked: Asked) -> bool:
    expr = _tree(asked)
    if not isinstance(expr, Collected) or asked.kinds != ("value", "value"):
        return False
    lists = [sorted(map(json.dumps, each.content)) for each in (asked.ours, asked.theirs)]
    return isinstance(_value(expr.of, asked), dict) and lists[0] == lists[1]


def is_year_elsewhere(asked: Asked) -> bool:
    call = _call(asked, "get[A-Za-z]+")
    return bool(call and call.arguments) and "outside the years 1 to 9999" in str(asked.ours)


def is_too_much(asked: Asked) -> bool:
    return "Iteration budget exceeded" in str(asked.theirs) or "100,000 steps" in str(asked.ours)


def is_length_at_the_edge(asked: Asked) -> bool:
    expr = _tree(asked)
    if not isinstance(expr, Arithmetic):
        return False
    left, right = _value(expr.left, asked), _value(expr.right, asked)
    match left, right:
        case Timestamp(), Timestamp():
            return abs(left.nanos - right.nanos) >= _NANOS_MAX
        case (Timestamp(), Duration() as length) | (Duration() as length, Timestamp()):
            return abs(length.nanos) >= _NANOS_MAX
        case Duration(), Duration():
            return max(abs(left.nanos), abs(right.nanos)) >= _NANOS_MAX
    return False
