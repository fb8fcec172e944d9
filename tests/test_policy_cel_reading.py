from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Duration,
    Enum,
    Failed,
    Field,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Timestamp,
    Type,
    adapted,
)


class Size(IntEnum):
    SMALL = 1


class Colour(StrEnum):
    RED = "red"


MOMENT = Timestamp.parsed("2026-01-31T00:00:00Z")


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (BOOL, True, True),
        (INT, 5, 5),
        (INT, 5.0, 5),
        (INT, Size.SMALL, 1),
        (DOUBLE, 5, 5.0),
        (DOUBLE, Decimal("0.1"), 0.1),
        (STRING, Colour.RED, "red"),
        (TIMESTAMP, "2026-01-31", MOMENT),
        (TIMESTAMP, MOMENT, MOMENT),
        (DURATION, Duration(5), Duration(5)),
        (NULL, None, None),
        (ANY, {"a": [None]}, {"a": [None]}),
        (Enum(("a", "b")), "a", "a"),
        (Nullable(INT), None, None),
        (Nullable(DOUBLE), 1, 1.0),
        (ListOf(DOUBLE), (1, 2.5), [1.0, 2.5]),
        (ListOf(ListOf(STRING)), [["a"], []], [["a"], []]),
        (MapOf(STRING, TIMESTAMP), {"a": "2026-01-31"}, {"a": MOMENT}),
        (MapOf(STRING, INT), MappingProxyType({"a": 1}), {"a": 1}),
        (Record({"a": Field(INT)}), {"a": "not looked at"}, {"a": "not looked at"}),
    ],
)
def test_a_value_is_read_as_its_type(kind: Type, value: Any, read: Any) -> None:
    found = adapted(kind, value)
    assert found == read
    assert type(found) is type(read)
    assert adapted(kind, found) == read


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (BOOL, 1, "the value is 1, not a bool"),
        (INT, True, "the value is true, not an int"),
        (INT, 1.5, "the value is 1.5, not an int"),
        (INT, 1e300, "the value is 1e+300, not an int"),
        (INT, float("inf"), "the value is inf, not an int"),
        (INT, "5", "the value is '5', not an int"),
        (DOUBLE, True, "the value is true, not a double"),
        (DOUBLE, Decimal("NaN"), "the value is a value of type Decimal, not a double"),
        (DOUBLE, Decimal("sNaN"), "the value is a value of type Decimal, not a double"),
        (STRING, None, "the value is null, not a string"),
        (INT, "x" * 1000, "the value is a text, not an int"),
        (TIMESTAMP, "soon", "the value: 'soon' is no timestamp"),
        (DURATION, "1h", "the value is '1h', not a duration"),
        (NULL, 0, "the value is 0, not null"),
        (Enum(("a", "b")), "c", "the value is 'c', not one of 'a', 'b'"),
        (ListOf(INT), {}, "the value is an object, not a list"),
        (ListOf(INT), [1, "x"], "the value[1] is 'x', not an int"),
        (ListOf(ListOf(INT)), [[], [1, None]], "the value[1][1] is null, not an int"),
        (MapOf(STRING, INT), [], "the value is a list, not a map"),
        (MapOf(STRING, INT), {"a": "x"}, "the value['a'] is 'x', not an int"),
        (MapOf(STRING, INT), {1: 1}, "a key of the value is 1, not a string"),
        (Record({}), "x", "the value is 'x', not an object"),
        (Record({}), None, "the value is null, not an object"),
    ],
)
def test_a_value_of_another_type_fails(kind: Type, value: Any, message: str) -> None:
    with pytest.raises(Failed) as failed:
        adapted(kind, value)
    assert failed.value.message.startswith(message)


def test_the_message_calls_the_value_by_its_name() -> None:
    with pytest.raises(Failed, match=r"run\.score is 'x', not an int"):
        adapted(INT, "x", name="run.score")


def test_a_list_of_texts_is_checked_and_not_copied() -> None:
    texts = ["a", "b"]
    assert adapted(ListOf(STRING), texts) is texts


@given(st.integers(-(2**70), 2**70))
def test_an_int_is_one_of_64_bits(value: int) -> None:
    fits = -(2**63) <= value < 2**63
    if fits:
        assert adapted(INT, value) == value
    else:
        with pytest.raises(Failed, match="a number beyond 64 bits"):
            adapted(INT, value)
