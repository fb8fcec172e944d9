"""Where conditions differ from Google's CEL, one by one: on purpose, or by a quirk of theirs.

docs/cel.md says the same to people. A difference in values is recognised in the smallest
expression that shows it, so that nothing else can hide behind it; a refusal by what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
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
from agentrt.policy.cel.syntax import Arithmetic, FunctionCall, Negative

from . import ours
from .answers import Asked

__all__ = ["DIFFERENCES", "Difference", "known"]

_NANOS_MAX = 2**63 - 1
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:[0-5]\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class Difference:
    """A way in which the two may differ."""

    name: str
    sentence: str
    """What docs/cel.md says."""
    shows_in: Callable[[Asked], bool]


def known(asked: Asked) -> str | None:
    """The name of the difference that the answers show, if it is one of the list."""
    return next((each.name for each in DIFFERENCES if each.shows_in(asked)), None)


# --- refusals ----------------------------------------------------------------------------


def _refusal(*messages: str) -> Callable[[Asked], bool]:
    """Every problem of a refusal is one of these."""
    pattern = re.compile("|".join(messages))

    def shows_in(asked: Asked) -> bool:
        lines = asked.ours.content.splitlines() if asked.ours.kind == "refused" else []
        return bool(lines) and all(pattern.search(line) for line in lines)

    return shows_in


def _all_of(shows_in: Callable[[Asked], bool], text: str) -> Callable[[Asked], bool]:
    holding = re.compile(text)
    return lambda asked: shows_in(asked) and bool(holding.search(asked.text))


def _google_refuses(text: str, *messages: str) -> Callable[[Asked], bool]:
    """Google's side refuses with one of these a text that holds something like this."""
    holding, pattern = re.compile(text), re.compile("|".join(messages))

    def shows_in(asked: Asked) -> bool:
        is_refused = asked.theirs.kind == "refused" and asked.ours.kind == "value"
        return is_refused and bool(
            pattern.search(asked.theirs.content) and holding.search(asked.text)
        )

    return shows_in


# --- values ------------------------------------------------------------------------------


def _tree(asked: Asked) -> Expr | None:
    try:
        return parse(asked.text)
    except Malformed:
        return None


def _call(asked: Asked, name: str) -> FunctionCall | None:
    """The whole text, when it is a call of this function."""
    expr = _tree(asked)
    is_call = isinstance(expr, FunctionCall) and re.fullmatch(name, expr.name)
    return expr if is_call else None  # type: ignore[return-value]


def _value(expr: Expr, asked: Asked) -> Any:
    """What a part of the text comes to; None when it has no value."""
    try:
        return ours.value(written(expr), asked.context)
    except (Mistyped, Undetermined):
        return None


def _is_int_of_bool(asked: Asked) -> bool:
    call = _call(asked, "int")
    return bool(call) and isinstance(_value(call.arguments[0], asked), bool)


def _is_lenient_moment(asked: Asked) -> bool:
    call = _call(asked, "timestamp")
    if call is None or asked.kinds != ("error", "value"):
        return False
    text = _value(call.arguments[0], asked)
    return isinstance(text, str) and not _RFC_3339.fullmatch(text)


def _is_odd_double(asked: Asked) -> bool:
    call = _call(asked, "double")
    if call is None or asked.kinds != ("error", "value"):
        return False
    text = _value(call.arguments[0], asked)
    return isinstance(text, str) and bool(re.fullmatch(r"\s*[+-]?(0x.*|inf.*|nan.*)", text, re.I))


def _is_signed_nan(asked: Asked) -> bool:
    return (asked.ours.content, asked.theirs.content) == ("nan", "-nan")


def _is_two_signs(asked: Asked) -> bool:
    expr = _tree(asked)
    is_twice = isinstance(expr, Negative) and "overflow" not in str(asked.theirs)
    return is_twice and bool(re.match(r"-\s*-", asked.text))


def _is_year_elsewhere(asked: Asked) -> bool:
    call = _call(asked, "get[A-Za-z]+")
    return bool(call and call.arguments) and "outside the years 1 to 9999" in str(asked.ours)


def _is_length_at_the_edge(asked: Asked) -> bool:
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


# --- the list ----------------------------------------------------------------------------

_TEXTS = (
    Difference(
        "unsigned",
        "Unsigned numbers (`1u`) are refused.",
        _refusal("^unsigned numbers are not accepted"),
    ),
    Difference("bytes", "Bytes (`b'a'`) are refused.", _refusal("^bytes are not accepted")),
    Difference("leading dot", "Names with a leading dot are refused.", _refusal("with a dot")),
    Difference("messages", "Messages (`Name{...}`) are refused.", _refusal("^messages cannot be")),
    Difference(
        "dyn and type", "`dyn()` and `type()` are refused.", _refusal(r"^(dyn|type)\(\) is not")
    ),
    Difference(
        "macros only",
        "`has`, `all`, `exists`, `exists_one`, `filter` and `map` are always the macros: with other"
        " arguments they are refused, not taken for functions of somebody else.",
        _refusal(r"\(\) takes the name of a variable and an expression", r"^has\(\) asks for a field"),
    ),
    Difference(
        "lone comma",
        "`[,]` and `{,}` are refused; a comma behind the last item is not.",
        _refusal("^a value is missing before ','"),
    ),
    Difference(
        "sign behind !",
        "`!-1`, which has no meaning, is refused for its form, not for its types.",
        _refusal("^a value is missing before '-'"),
    ),
    Difference(
        "too large for a double",
        "`1e400` is refused; Google's package takes it for infinity.",
        _refusal("is too large for a double$"),
    ),
    Difference(
        "our limits",
        "A condition has at most 4,000 characters and nests at most 50 levels deep.",
        _refusal("^a condition has at most", "^nested deeper than"),
    ),
    Difference(
        "their limits",
        "Google's package takes 32 levels, counted in another way.",
        _google_refuses("", "recursion (limit|depth)"),
    ),
    Difference(
        "backslash at the end",
        """A raw text may end with a backslash (`r"\\"`), as the specification has it.""",
        _google_refuses(r"""[rR](["']).*\\\1""", "String must end with"),
    ),
    Difference(
        "two signs before the least int",
        "`--9223372036854775808` overflows when it is evaluated; Google's package refuses it.",
        _google_refuses("-\\s*-\\s*9223372036854775808", "invalid int literal"),
    ),
    Difference(
        "the least int with an index",
        "`-9223372036854775808[0]`, which has no meaning, is refused for the number already: the"
        " sign stands before the whole.",
        _all_of(_refusal("^an int is from"), r"-\s*9223372036854775808\s*[.\[]"),
    ),
    Difference(
        "reserved variable",
        "A macro's variable may be called `__result__`.",
        _google_refuses("__result__", "variable name cannot be __result__"),
    ),
)
_VALUES: tuple[Difference, ...] = (
    Difference(
        "read at load",
        "A literal time, duration, time zone or pattern that cannot be read is refused when the"
        " policy is loaded, not when the condition comes to it.",
        _refusal(
            "is no (timestamp|duration|time zone|pattern of RE2)",
            "outside the years 1 to 9999",
            "longer than 10,000 years",
        ),
    ),
    Difference(
        "never this value",
        "A string of which all values are known is not compared with a literal that it never is.",
        _refusal(": never ['\"]"),
    ),
    Difference(
        "the same key twice",
        "A map literal with the same literal key twice is refused when the policy is loaded.",
        _refusal("^the key .* is here twice$"),
    ),
    Difference(
        "a key that turns out twice",
        "A map whose keys turn out to be the same is an error like any other, so that `false &&`"
        " decides before it; Google's package gives up on the whole condition.",
        lambda asked: asked.theirs.content == "ALREADY_EXISTS: duplicate key in map [ALREADY_EXISTS]",
    ),
    Difference(
        "plain decimal numbers",
        "`double()` reads finite decimal numbers only; Google's package also reads `0x1p3`, `inf`"
        " and `nan`.",
        _is_odd_double,
    ),
    Difference(
        "the sign of NaN",
        "`string()` of NaN is `nan`; with Google's package the sign of that NaN stands before it.",
        _is_signed_nan,
    ),
    Difference(
        "two signs",
        "`--x` negates twice; with Google's package two signs cancel before it looks at x, so that"
        " the least int does not overflow.",
        _is_two_signs,
    ),
    Difference(
        "RFC 3339 to the letter",
        "`timestamp()` reads what RFC 3339 describes, without leap seconds; Google's package also"
        " reads shorter numbers, offsets such as `+0100` and the 60th second.",
        _is_lenient_moment,
    ),
    Difference(
        "int of a bool",
        "`int()` reads no bool, also where JSON of several types holds one.",
        _is_int_of_bool,
    ),
    Difference(
        "years elsewhere",
        "A moment whose date in a time zone lies outside the years 1 to 9999 has no parts there.",
        _is_year_elsewhere,
    ),
    Difference(
        "292 years",
        "With a duration of 292 years, the most that fits into 64 bits of nanoseconds, or more,"
        " arithmetic is exact or fails; Google's package counts it as endless or cuts it off.",
        _is_length_at_the_edge,
    ),
)
DIFFERENCES = (*_TEXTS, *_VALUES)
