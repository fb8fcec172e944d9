"""What the tests of the condition language speak of, and a condition evaluated in one call."""

from collections.abc import Mapping
from typing import Any

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Duration,
    Enum,
    Field,
    Function,
    ListOf,
    MapOf,
    Mistyped,
    Nullable,
    Record,
    Timestamp,
    Type,
    check,
    compile,  # noqa: A004 - the word that goes with parse and check
    parse,
)

LINE = Record({"price": Field(DOUBLE), "gift": Field(BOOL, optional=True)})
CUSTOMER = Record({"email": Field(STRING), "age": Field(INT, optional=True)})

ROOTS: dict[str, Type] = {
    "args": Record(
        {
            "amount": Field(INT),
            "price": Field(DOUBLE),
            "id": Field(STRING),
            "flag": Field(BOOL),
            "day": Field(TIMESTAMP),
            "reason": Field(Enum(("duplicate", "fraud"))),
            "note": Field(STRING, optional=True),
            "memo": Field(Nullable(STRING)),
            "both": Field(Nullable(STRING), optional=True),
            "loose": Field(ANY),
            "tags": Field(ListOf(STRING)),
            "reasons": Field(ListOf(Enum(("duplicate", "fraud")))),
            "prices": Field(ListOf(DOUBLE)),
            "lines": Field(ListOf(LINE)),
            "labels": Field(MapOf(STRING, INT)),
            "customer": Field(CUSTOMER, optional=True),
        }
    ),
    "run": Record({"calls": Field(INT), "refunded": Field(ListOf(STRING))}),
    "now": TIMESTAMP,
    "age": DURATION,
}

VALUES: dict[str, Any] = {
    "args": {
        "amount": 2500,
        "price": 20,
        "id": "pay_1",
        "flag": True,
        "day": "2026-01-31",
        "reason": "fraud",
        "memo": None,
        "loose": 5,
        "tags": ["a", "bc"],
        "reasons": ["fraud"],
        "prices": [1, 2.5],
        "lines": [{"price": 20.5}, {"price": 3, "gift": True}],
        "labels": {"x": 1},
    },
    "run": {"calls": 3, "refunded": ["pay_2"]},
    "now": Timestamp.parsed("2026-02-01T09:30:00Z"),
    "age": Duration.parsed("90s"),
}


def is_named(host: Any, value: Any) -> bool:
    """A host's function: whether the host, which is a list here, contains the value."""
    return value in host


FUNCTIONS = {
    "named": Function("named", (ANY,), BOOL, is_named),
    "length_of": Function("length_of", (STRING,), INT, lambda _host, text: len(text)),
}


def evaluate(
    text: str,
    values: Mapping[str, Any] = VALUES,
    *,
    roots: Mapping[str, Type] = ROOTS,
    functions: Mapping[str, Function] = FUNCTIONS,
    wanted: Type = ANY,
    host: Any = ("a", "pay_1"),
) -> Any:
    """Parse, check, compile and ask: raises Malformed, Mistyped or Undetermined."""
    return compile(check(parse(text), roots, functions, wanted))(values, host)


def with_args(**arguments: Any) -> dict[str, Any]:
    """The values, with some arguments changed."""
    return {**VALUES, "args": {**VALUES["args"], **arguments}}


def mistakes(text: str, *, wanted: Type = BOOL) -> list[str]:
    """What the checker says of the condition."""
    try:
        check(parse(text), ROOTS, FUNCTIONS, wanted)
    except Mistyped as error:
        return [problem.message for problem in error.problems]
    return []
