"""Claude's input becomes completed arguments, or a list of what to put right."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, JsonValue, PlainSerializer

from agentrt.errors import AgentrtError, ArgumentsInvalid
from agentrt.tools import Tool, tool


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Line(BaseModel):
    text: str
    price: Decimal = Decimal("1.50")


@tool(effect="read")
def order(
    name: str,
    day: date = date(2026, 1, 2),
    at: datetime | None = None,
    size: Size = Size.SMALL,
    mode: Literal["fast", "slow"] = "fast",
    lines: list[Line] = [Line(text="a")],  # noqa: B006, B008
    price: Decimal | None = None,
    wait: timedelta = timedelta(hours=1),
    rate: float = 0.5,
    extra: dict[str, JsonValue] | None = None,
    count: Annotated[int, Field(ge=1)] = 1,
) -> None:
    """Order it."""


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LARGEST = 2**53 - 1
NUMBERS = st.integers(-LARGEST, LARGEST) | st.floats(-LARGEST, LARGEST)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FITTING = st.fixed_dictionaries(
    {"name": TEXT},
    optional={
        "day": st.dates().map(date.isoformat),
        "at": st.none() | st.datetimes().map(datetime.isoformat),
        "size": st.sampled_from(["s", "l"]),
        "mode": st.sampled_from(["fast", "slow"]),
        "lines": st.lists(
            st.fixed_dictionaries({"text": TEXT}, optional={"price": st.integers(0, 10**6)}),
            max_size=3,
        ),
        "price": st.none() | st.decimals(allow_nan=False, allow_infinity=False).map(str),
        "wait": st.sampled_from(["PT1H", "P1D", "PT0.5S"]),
        "rate": NUMBERS,
        "extra": st.none() | st.dictionaries(TEXT, ANY_JSON, max_size=3),
        "count": st.integers(1, 2**53 - 1),
    },
)


@given(FITTING)
def test_completing_twice_is_completing_once(arguments: dict[str, Any]) -> None:
    completed = order.complete(arguments)
    assert order.complete(completed) == completed
    assert order.complete(arguments) == completed


@given(FITTING)
def test_completed_arguments_have_one_canonical_form(arguments: dict[str, Any]) -> None:
    completed = order.complete(arguments)
    canonical = rfc8785.dumps(completed)
    assert rfc8785.dumps(order.complete(json.loads(canonical))) == canonical
    assert completed.keys() == order.input_schema["properties"].keys()  # type: ignore[union-attr]


@given(ANY_JSON | st.dictionaries(st.sampled_from(["name", "day", "extra", "rate"]), ANY_JSON))
def test_any_json_is_completed_or_refused_in_words(arguments: Any) -> None:
    try:
        completed = order.complete(arguments)
    except ArgumentsInvalid as error:
        said = str(error)
    else:
        assert order.complete(completed) == completed
        return
    assert said.startswith("The arguments do not fit order:\n- ")


def test_defaults_are_filled_in_as_json() -> None:
    assert order.complete({"name": "x"}) == {
        "name": "x",
        "day": "2026-01-02",
        "at": None,
        "size": "s",
        "mode": "fast",
        "lines": [{"text": "a", "price": "1.50"}],
        "price": None,
        "wait": "PT1H",
        "rate": 0.5,
        "extra": None,
        "count": 1,
    }


def refused(arguments: object) -> str:
    with pytest.raises(ArgumentsInvalid) as raised:
        order.complete(arguments)
    return str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "`name` is missing: expected string"),
        ({"name": 3}, "`name`: expected string, got 3"),
        ({"name": "x", "nmae": 1}, "`nmae` is not known here: expected only `name`, `day`"),
        ({"name": "x", "day": "2026-13-01"}, "`day`: expected text in the format date"),
        ({"name": "x", "day": 20000}, "`day`: expected string, got 20000"),
        ({"name": "x", "at": "1700000000"}, "`at`: expected text in the format date-time or null"),
        ({"name": "x", "size": "m"}, "`size`: expected one of 's', 'l', got 'm'"),
        ({"name": "x", "count": 0}, "`count`: expected at least 1, got 0"),
        ({"name": "x", "count": True}, "`count`: expected integer, got True"),
        ({"name": "x", "lines": [{}]}, "`lines[0].text` is missing: expected string"),
        ({"name": "x", "price": "much"}, "`price"),
        ([], "expected an object, got []"),
        (None, "expected an object, got None"),
        ("{}", "expected an object, got '{}'"),
    ],
)
def test_each_problem_names_the_argument_and_what_was_expected(
    arguments: object, said: str
) -> None:
    assert said in refused(arguments)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        float(2**53),
        1e300,
        "\ud800",
        {"\udfff": 1},
        {1: "x"},
        b"x",
        (1,),
        {1, 2},
        object(),
    ],
)
def test_what_is_not_canonical_json_is_refused_wherever_it_is(value: object) -> None:
    assert "expected" in refused({"name": "x", "extra": {"deep": [value]}})


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "nests deeper than 64 levels" in refused({"name": "x", "extra": {"deep": deep}})


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    assert "nests deeper" in refused({"name": "x", "extra": loop})


def test_a_long_list_of_problems_is_cut() -> None:
    said = refused({f"wrong_{n}": n for n in range(30)})
    assert said.count("\n- ") == 11
    assert "and 21 more" in said


def test_a_long_value_is_not_repeated_to_claude_in_full() -> None:
    assert len(refused({"name": "x", "size": "y" * 10_000})) < 300


def test_a_check_of_the_author_speaks_to_claude() -> None:
    def even(number: int) -> int:
        if number % 2:
            raise ValueError("only even numbers")
        return number

    @tool
    def take(number: Annotated[int, AfterValidator(even)]) -> None: ...

    with pytest.raises(ArgumentsInvalid, match="only even numbers, got 3"):
        take.complete({"number": 3})


def test_a_check_of_the_author_that_breaks_refuses_the_call() -> None:
    def broken(number: int) -> int:
        return number // 0

    @tool
    def take(number: Annotated[int, AfterValidator(broken)]) -> None: ...

    with pytest.raises(ArgumentsInvalid, match="ZeroDivisionError"):
        take.complete({"number": 3})


def unstable_tools() -> list[Tool]:
    @tool
    def grow(text: Annotated[str, AfterValidator(lambda text: text + "!")]) -> None: ...

    @tool
    def change(number: Annotated[int, PlainSerializer(str)]) -> None: ...

    return [grow, change]


@pytest.mark.parametrize("made", unstable_tools(), ids=lambda made: made.name)
def test_arguments_that_change_when_read_again_are_never_approved(made: Tool) -> None:
    # The function's values are built from the completed arguments, so a value that changes
    # on the way would run something else than what a reviewer saw.
    given_value: object = "x" if made.name == "grow" else 3
    with pytest.raises(ArgumentsInvalid, match="fault of the tool"):
        made.complete({next(iter(made.parameters.names())): given_value})


def test_errors_are_in_the_tree() -> None:
    assert issubclass(ArgumentsInvalid, AgentrtError)
