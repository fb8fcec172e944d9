"""Where conditions differ from Google's CEL, one by one: on purpose, or by a quirk of theirs.

docs/cel.md says the same to people. A difference in values is recognised in the smallest
expression that shows it, so that nothing else can hide behind it; a refusal by what it says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agentrt.policy.cel import (
    ANY,
    INT,
    STRING,
    TIMESTAMP,
    Duration,
    Enum,
    Expr,
    Field,
    Malformed,
    Mistyped,
    Nullable,
    Record,
    Timestamp,
    Undetermined,
    parse,
    written,
)
from agentrt.policy.cel.syntax import Arithmetic, Collected, FunctionCall, Negative

from . import ours
from .answers import Asked
from .contexts import Context

__all__ = ["DIFFERENCES", "EXAMPLES", "Difference", "known"]

_NANOS_MAX = 2**63 - 1
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:[0-5]\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class Difference:
    """A way in which the two may differ."""

    name: str
    sentence: str
    """What docs/cel.md says."""
    example: str
    """A text that shows it in EXAMPLES."""
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


def _is_odd_number(asked: Asked) -> bool:
    call = _call(asked, "int|double")
    if call is None or asked.kinds != ("error", "value"):
        return False
    text = _value(call.arguments[0], asked)
    return isinstance(text, str) and not _is_plain(text)


def _is_plain(text: str) -> bool:
    with suppress(ValueError):
        return bool(_DECIMAL.fullmatch(text)) and math.isfinite(float(text))
    return False


def _is_signed_nan(asked: Asked) -> bool:
    return (asked.ours.content, asked.theirs.content) == ("nan", "-nan")


def _is_two_signs(asked: Asked) -> bool:
    expr = _tree(asked)
    is_twice = isinstance(expr, Negative) and "overflow" not in str(asked.theirs)
    return is_twice and bool(re.match(r"-\s*-", asked.text))


def _is_other_order(asked: Asked) -> bool:
    expr = _tree(asked)
    if not isinstance(expr, Collected) or asked.kinds != ("value", "value"):
        return False
    lists = [sorted(map(json.dumps, each.content)) for each in (asked.ours, asked.theirs)]
    return isinstance(_value(expr.of, asked), dict) and lists[0] == lists[1]


def _is_year_elsewhere(asked: Asked) -> bool:
    call = _call(asked, "get[A-Za-z]+")
    return bool(call and call.arguments) and "outside the years 1 to 9999" in str(asked.ours)


def _is_too_much(asked: Asked) -> bool:
    return "Iteration budget exceeded" in str(asked.theirs) or "100,000 steps" in str(asked.ours)


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

_HUNDRED = str(list(range(1, 103)))
EXAMPLES = Context(
    {
        "args": Record(
            {
                "count": Field(INT),
                "kind": Field(Enum(("a", "b"))),
                "note": Field(STRING, optional=True),
                "rank": Field(Nullable(INT)),
                "blob": Field(ANY),
            }
        ),
        "now": TIMESTAMP,
    },
    {
        "args": {"count": 2, "kind": "a", "note": "x", "rank": 1, "blob": True},
        "now": "9999-12-31T23:59:59Z",
    },
)
"""What the examples speak of."""

_TEXTS = (
    Difference(
        "unsigned",
        "Unsigned numbers are refused.",
        "1u == 1u",
        _refusal("^unsigned numbers are not accepted"),
    ),
    Difference(
        "bytes",
        "Bytes are refused.",
        "b'a' == b'a'",
        _refusal("^bytes are not accepted"),
    ),
    Difference(
        "leading dot",
        "Names with a leading dot are refused.",
        ".args.count == 2",
        _refusal("^a name does not begin with a dot"),
    ),
    Difference(
        "messages",
        "Messages are refused.",
        "google.protobuf.Duration{seconds: 1} == duration('1s')",
        _refusal("^messages cannot be made"),
    ),
    Difference(
        "dyn and type",
        "`dyn()` and `type()` are refused.",
        "dyn(1) == 1",
        _refusal(r"^(dyn|type)\(\) is not accepted"),
    ),
    Difference(
        "macros only",
        "`has`, `all`, `exists`, `exists_one`, `filter` and `map` are always the macros: with other"
        " arguments they are refused for their form, not for a function that nobody has defined.",
        "[1].all(x, true, false)",
        _refusal(r"\(\) takes the name of a variable and an expr", r"^has\(\) asks for a field"),
    ),
    Difference(
        "lone comma",
        "A list or a map of a comma alone is refused; a comma behind the last item is not.",
        "[,] == []",
        _refusal("^a value is missing before ','", "^a comma does not belong"),
    ),
    Difference(
        "sign behind !",
        "A sign behind `!` is refused for its form, not for its type.",
        "!-1",
        _refusal("^a value is missing before '-'"),
    ),
    Difference(
        "infinite literal",
        "A number that is too large for a double is refused; Google's package takes it for"
        " infinity.",
        "1e400 > 1.0",
        _refusal("is too large for a double$"),
    ),
    Difference(
        "our limits",
        "A condition has at most 4,000 characters and nests at most 50 levels deep.",
        "!" * 60 + "true",
        _refusal("^a condition has at most", "^nested deeper than"),
    ),
    Difference(
        "their limits",
        "Google's package allows 32 levels, counted in another way.",
        "1" + " + 1" * 40 + " == 41",
        _google_refuses("", "recursion (limit|depth)"),
    ),
    Difference(
        "backslash at the end",
        "A raw text may end with a backslash, as the specification has it.",
        r"""size(r"\") == 1""",
        _google_refuses(r"""[rR](["']).*\\\1""", "String must end with"),
    ),
    Difference(
        "least int",
        "Parentheses or a second sign may stand before the digits of the least int.",
        "-(9223372036854775808) < 0",
        _google_refuses(r"-[\s(-]+9223372036854775808", "invalid int literal"),
    ),
    Difference(
        "least int with an index",
        "The sign stands before the whole of `-9223372036854775808[0]`, so that the number is"
        " refused before its index.",
        "-9223372036854775808[0]",
        _refusal("^an int is from"),
    ),
    Difference(
        "reserved variable",
        "The variable of a macro may be called `__result__`.",
        "[1].all(__result__, __result__ == 1)",
        _google_refuses("__result__", "variable name cannot be __result__"),
    ),
)
_TYPES = (
    Difference(
        "read at load",
        "A literal time, duration, time zone or pattern that cannot be read is refused when the"
        " policy is loaded, not when a condition comes to it.",
        """false && timestamp("2026-02-30T00:00:00Z") < now""",
        _refusal(
            "^['\"].* is no (timestamp|duration|time zone|pattern of RE2)",
            "^the timestamp is outside the years 1 to 9999$",
            "^the duration is longer than 10,000 years$",
        ),
    ),
    Difference(
        "same key twice",
        "A map literal with the same literal key twice is refused when the policy is loaded.",
        "size({1: 2, 1: 3}) == 1",
        _refusal("^the key .* is here twice$"),
    ),
    Difference(
        "never this value",
        "A string of which all values are known is not compared with a literal that it never is.",
        "args.kind == 'c'",
        _refusal(": never ['\"]"),
    ),
    Difference(
        "types of arguments",
        "Arguments have the types of their schema, and operators take operands of one type; to"
        " Google's package arguments are `dyn`, so that it compares what it finds.",
        "args.count == 2.0",
        _refusal("is an? (int|double|bool|string|timestamp|duration|list|map).*: "),
    ),
    Difference(
        "optional and nullable",
        "An argument that may be missing or null is tested first.",
        "args.note == 'x'",
        _refusal("may be (missing|null): write "),
    ),
    Difference(
        "unknown fields",
        "A field that the schema does not have is refused, also in `has()`.",
        "has(args.nope)",
        _refusal("^[a-z.]+ has no "),
    ),
    Difference(
        "several types",
        "JSON of several possible types is only compared with a single value or converted.",
        "args.blob == true && args.blob",
        _refusal("can be of several types"),
    ),
    Difference(
        "objects",
        "An object is not compared as a whole.",
        "args == args",
        _refusal("does not look into it"),
    ),
    Difference(
        "one type in a list",
        "The items of a list are of one type, and so are the keys and the values of a map.",
        "size([1, 'a']) == 2",
        _refusal("are of one type: "),
    ),
    Difference(
        "empty literals",
        "An empty list or map has nothing to go through or to look up.",
        "[].all(x, true)",
        _refusal("is empty: there is nothing to look at$", "^there is nothing in it$"),
    ),
    Difference(
        "new names for variables",
        "The variable of a macro has a name that means nothing yet.",
        "[1].all(args, args == 1)",
        _refusal("has a meaning already"),
    ),
    Difference(
        "null beside anything",
        "Null may stand beside a value of any type, in a comparison and in `?:`; a value that is"
        " never null differs from it.",
        "1 != null",
        _google_refuses("null", "no matching overload for '_([!=]=|[?]_:)_' .*null_type"),
    ),
)
_VALUES = (
    Difference(
        "key that turns out twice",
        "A map whose keys turn out to be the same is an error like any other, so that `false &&`"
        " decides before it; Google's package gives up on the whole condition.",
        "size({args.count: 1, 2: 1}) == 1 && false",
        lambda asked: asked.theirs.content.startswith("ALREADY_EXISTS: duplicate key")
        if asked.theirs.kind == "error"
        else False,
    ),
    Difference(
        "order of keys",
        "`map()` and `filter()` go through a map in the order in which it was written; CEL leaves"
        " the order open.",
        "{'a': 1, 'b': 1, 'c': 1, 'd': 1, 'e': 1, 'f': 1, 'g': 1}.map(k, k)",
        _is_other_order,
    ),
    Difference(
        "steps",
        "A condition takes at most 100,000 steps; Google's package goes through 10,000 items.",
        f"{_HUNDRED}.all(x, {_HUNDRED}.all(y, x + y > 0))",
        _is_too_much,
    ),
    Difference(
        "plain decimal numbers",
        "`int()` and `double()` read plain decimal numbers that are finite; Google's package also"
        " reads spaces around them, `0x1p3`, `inf`, `nan` and `1e400`.",
        "double('inf')",
        _is_odd_number,
    ),
    Difference(
        "sign of NaN",
        "`string()` of NaN is `nan`; with Google's package the sign of that NaN stands before it.",
        "string(0.0 / 0.0)",
        _is_signed_nan,
    ),
    Difference(
        "two signs",
        "`--x` negates twice; with Google's package two signs cancel before it looks at x, so that"
        " the least int does not overflow.",
        "--(-9223372036854775808)",
        _is_two_signs,
    ),
    Difference(
        "RFC 3339 to the letter",
        "`timestamp()` reads what RFC 3339 describes, without leap seconds; Google's package also"
        " reads shorter numbers, offsets such as `+0100` and the 60th second.",
        "timestamp('2026-1-31T09:30:00' + 'Z')",
        _is_lenient_moment,
    ),
    Difference(
        "int of a bool",
        "`int()` reads no bool, also where JSON of several types holds one.",
        "int(args.blob)",
        _is_int_of_bool,
    ),
    Difference(
        "years elsewhere",
        "A moment whose date in a time zone lies outside the years 1 to 9999 has no parts there.",
        "now.getHours('Asia/Tokyo')",
        _is_year_elsewhere,
    ),
    Difference(
        "292 years",
        "With a duration of 292 years (the most that 64 bits of nanoseconds hold) or more,"
        " arithmetic is exact or fails; Google's package counts it as endless or cuts it off.",
        "now - duration('2562048h')",
        _is_length_at_the_edge,
    ),
)
DIFFERENCES = (*_TEXTS, *_TYPES, *_VALUES)
