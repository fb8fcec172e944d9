"""Where conditions differ from Google's CEL, one by one: on purpose, or by a quirk of theirs.

docs/cel.md says the same to people. A difference in values is recognised in the smallest
expression that shows it, so that nothing else can hide behind it; a refusal by what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentrt.policy.cel import ANY, INT, STRING, TIMESTAMP, Enum, Field, Nullable, Record

from .answers import Asked
from .contexts import Context
from .recognition import (
    google_fails,
    google_refuses,
    is_int_of_bool,
    is_kept_line_end,
    is_length_at_the_edge,
    is_lenient_moment,
    is_long_offset,
    is_odd_number,
    is_other_order,
    is_signed_nan,
    is_too_much,
    is_two_signs,
    is_year_elsewhere,
    refusal,
)

__all__ = ["DIFFERENCES", "EXAMPLES", "Difference", "known"]


@dataclass(frozen=True)
class Difference:
    """A way in which the two may differ."""

    name: str
    sentence: str
    """What docs/cel.md says."""
    example: str
    """A text that shows it in EXAMPLES."""
    shows_in: Callable[[Asked], bool] | None = None
    """None: it is a refusal by our types, and what is generated fits its types."""

    def covers(self, asked: Asked) -> bool:
        return self.shows_in(asked) if self.shows_in else asked.text == self.example


def known(asked: Asked) -> str | None:
    """The name of the difference that the answers show, if it is one of the list."""
    return next((each.name for each in DIFFERENCES if each.covers(asked)), None)


# --- the list ----------------------------------------------------------------------------

_HUNDRED = str(list(range(1, 103)))
_TWENTY_KEYS = str({f"key {number}": number for number in range(20)})
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
        refusal("^unsigned numbers are not accepted"),
    ),
    Difference(
        "bytes",
        "Bytes are refused.",
        "b'a' == b'a'",
        refusal("^bytes are not accepted"),
    ),
    Difference(
        "leading dot",
        "Names with a leading dot are refused.",
        ".args.count == 2",
        refusal("^a name does not begin with a dot"),
    ),
    Difference(
        "messages",
        "Messages are refused.",
        "google.protobuf.Duration{seconds: 1} == duration('1s')",
        refusal("^messages cannot be made"),
    ),
    Difference(
        "dyn and type",
        "`dyn()` and `type()` are refused.",
        "dyn(1) == 1",
        refusal(r"^(dyn|type)\(\) is not accepted"),
    ),
    Difference(
        "macros only",
        "`has`, `all`, `exists`, `exists_one`, `filter` and `map` are always the macros: with other"
        " arguments they are refused for their form, not for a function that nobody has defined.",
        "[1].all(x, true, false)",
        refusal(r"\(\) takes the name of a variable and an expr", r"^has\(\) asks for a field"),
    ),
    Difference(
        "lone comma",
        "A list or a map of a comma alone is refused; a comma behind the last item is not.",
        "[,] == []",
        refusal("^a value is missing before ','", "^a comma does not belong"),
    ),
    Difference(
        "sign behind !",
        "A sign behind `!` is refused for its form, not for its type.",
        "!-1",
        refusal("^a value is missing before '-'"),
    ),
    Difference(
        "infinite literal",
        "A number that is too large for a double is refused; Google's package takes it for"
        " infinity.",
        "1e400 > 1.0",
        refusal("is too large for a double$"),
    ),
    Difference(
        "our limits",
        "A condition has at most 4,000 characters and nests at most 50 levels deep.",
        "!" * 60 + "true",
        refusal("^a condition has at most", "^nested deeper than"),
    ),
    Difference(
        "their limits",
        "Google's package allows 32 levels, counted in another way.",
        "1" + " + 1" * 40 + " == 41",
        google_refuses("", "recursion (limit|depth)"),
    ),
    Difference(
        "backslash at the end",
        "A raw text may end with a backslash, as the specification has it.",
        r"""size(r"\") == 1""",
        google_refuses(r"""[rR](["']).*\\\1""", "String must end with"),
    ),
    Difference(
        "line end behind a backslash",
        "Every line of a text ends with one newline, however the file ends its lines; behind a"
        " backslash in a raw text Google's package leaves them as they are.",
        "r'''\\\r\n'''",
        is_kept_line_end,
    ),
    Difference(
        "least int",
        "Parentheses or a second sign may stand before the digits of the least int.",
        "-(9223372036854775808) < 0",
        google_refuses(r"-[\s(-]+9223372036854775808", "invalid int literal"),
    ),
    Difference(
        "least int with an index",
        "The sign stands before the whole of `-9223372036854775808[0]`, so that the number is"
        " refused before its index.",
        "-9223372036854775808[0]",
        refusal("^an int is from"),
    ),
    Difference(
        "reserved variable",
        "The variable of a macro may be called `__result__`.",
        "[1].all(__result__, __result__ == 1)",
        google_refuses("__result__", "variable name cannot be __result__"),
    ),
)
_TYPES = (
    Difference(
        "read at load",
        "A literal time, duration, time zone or pattern that cannot be read is refused when the"
        " policy is loaded, not when a condition comes to it.",
        """false && timestamp("2026-02-30T00:00:00Z") < now""",
        refusal(
            "^['\"].* is no (timestamp|duration|time zone|pattern of RE2)",
            "^the timestamp is outside the years 1 to 9999$",
            "^the duration is longer than 10,000 years$",
        ),
    ),
    Difference(
        "same key twice",
        "A map literal with the same literal key twice is refused when the policy is loaded.",
        "size({1: 2, 1: 3}) == 1",
        refusal("^the key .* is here twice$"),
    ),
    Difference(
        "never this value",
        "A string of which all values are known is not compared with a literal that it never is.",
        "args.kind == 'c'",
        refusal(": never ['\"]"),
    ),
    Difference(
        "types of arguments",
        "Arguments have the types of their schema, and operators take operands of one type; to"
        " Google's package arguments are `dyn`, so that it compares what it finds.",
        "args.count == 2.0",
    ),
    Difference(
        "optional and nullable",
        "An argument that may be missing or null is tested first.",
        "args.note == 'x'",
    ),
    Difference(
        "unknown fields",
        "A field that the schema does not have is refused, also in `has()`.",
        "has(args.nope)",
    ),
    Difference(
        "several types",
        "JSON of several possible types is only compared with a single value or converted.",
        "args.blob == true && args.blob",
    ),
    Difference(
        "objects",
        "An object is not compared as a whole.",
        "args == args",
    ),
    Difference(
        "one type in a list",
        "The items of a list are of one type, and so are the keys and the values of a map.",
        "size([1, 'a']) == 2",
    ),
    Difference(
        "empty literals",
        "An empty list or map has nothing to go through or to look up.",
        "[].all(x, true)",
    ),
    Difference(
        "new names for variables",
        "The variable of a macro has a name that means nothing yet.",
        "[1].all(args, args == 1)",
    ),
    Difference(
        "null beside anything",
        "Null may stand beside a value of any type: in a comparison, in `?:`, and where lists are"
        " joined; a value that is never null differs from it.",
        "1 != null",
        google_refuses("null", "no matching overload for '_([!=]=|[?]_:|[+])_' .*null_type"),
    ),
)
_VALUES = (
    Difference(
        "key that turns out twice",
        "A map whose keys turn out to be the same is an error like any other, so that `false &&`"
        " decides before it; Google's package gives up on the whole condition.",
        "size({args.count: 1, 2: 1}) == 1 && false",
        google_fails("^ALREADY_EXISTS: duplicate key in map"),
    ),
    Difference(
        "order of keys",
        "`map()` and `filter()` go through a map in the order in which it was written; CEL leaves"
        " the order open.",
        f"{_TWENTY_KEYS}.map(k, k)",
        is_other_order,
    ),
    Difference(
        "steps",
        "A condition takes at most 100,000 steps; Google's package goes through 10,000 items.",
        f"{_HUNDRED}.all(x, {_HUNDRED}.all(y, x + y > 0))",
        is_too_much,
    ),
    Difference(
        "plain decimal numbers",
        "`int()` and `double()` read plain decimal numbers that are finite; Google's package also"
        " reads spaces around them, `0x1p3`, `inf`, `nan` and `1e400`.",
        "double('inf')",
        is_odd_number,
    ),
    Difference(
        "sign of NaN",
        "`string()` of NaN is `nan`; with Google's package the sign of that NaN stands before it.",
        "string(0.0 / 0.0)",
        is_signed_nan,
    ),
    Difference(
        "two signs",
        "`--x` negates twice; with Google's package two signs cancel before it looks at x, so that"
        " the least int does not overflow.",
        "--(-9223372036854775808)",
        is_two_signs,
    ),
    Difference(
        "RFC 3339 to the letter",
        "`timestamp()` reads what RFC 3339 describes, without leap seconds; Google's package also"
        " reads shorter numbers, offsets such as `+0100` and the 60th second.",
        "timestamp('2026-1-31T09:30:00' + 'Z')",
        is_lenient_moment,
    ),
    Difference(
        "int of a bool",
        "`int()` reads no bool, also where JSON of several types holds one.",
        "int(args.blob)",
        is_int_of_bool,
    ),
    Difference(
        "offsets of a day",
        "The offset of a time zone is less than a day.",
        "now.getMinutes('+25:00' + '')",
        is_long_offset,
    ),
    Difference(
        "years elsewhere",
        "A moment whose date in a time zone lies outside the years 1 to 9999 has no parts there.",
        "now.getHours('Asia/Tokyo')",
        is_year_elsewhere,
    ),
    Difference(
        "292 years",
        "With a duration of about 292 years (what 64 bits of nanoseconds hold) or more, arithmetic"
        " is exact or fails; Google's package counts it as endless or cuts it off.",
        "now - duration('2562048h')",
        is_length_at_the_edge,
    ),
)
DIFFERENCES = (*_TEXTS, *_TYPES, *_VALUES)
