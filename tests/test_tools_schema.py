"""From a signature to a JSON Schema, or to an error that says where and what to do."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentrt.errors import ToolDefinitionError
from agentrt.tools import Call, Tool, tool


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Address(BaseModel):
    """Where it goes."""

    street: str
    number: int = 1


class Folder(BaseModel):
    name: str
    inside: list["Folder"] = Field(default_factory=list)


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    made: Tool = tool(function)
    return made.input_schema


def property_of(function: Callable[..., Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema_of(function)["properties"][name]
    return found


def test_a_schema_takes_nothing_that_the_signature_does_not_name() -> None:
    def get_order(order_id: str, limit: int = 3) -> None: ...

    assert schema_of(get_order) == {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "limit": {"type": "integer", "default": 3}},
        "required": ["order_id"],
        "additionalProperties": False,
    }


def test_types_that_people_use_become_their_schemas() -> None:
    def book(
        day: date,
        at: datetime,
        size: Size,
        mode: Literal["fast", "slow"],
        price: Decimal,
        note: str | None,
        tags: list[str],
        counts: dict[str, int],
    ) -> None: ...

    assert schema_of(book)["properties"] == {
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "size": {"type": "string", "enum": ["s", "l"]},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "price": property_of(book, "price"),
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    assert {choice["type"] for choice in property_of(book, "price")["anyOf"]} == {
        "number",
        "string",
    }


def test_a_nested_model_stands_where_it_is_used() -> None:
    def send(to: Address, copy: Address | None = None) -> None: ...

    assert "$defs" not in schema_of(send)
    assert property_of(send, "to")["properties"]["street"] == {"type": "string"}
    assert property_of(send, "to")["description"] == "Where it goes."
    assert property_of(send, "copy")["anyOf"][0]["required"] == ["street"]


def test_a_recursive_model_keeps_its_definition() -> None:
    def make(folder: Folder) -> None: ...

    schema = schema_of(make)
    assert schema["properties"]["folder"] == {"$ref": "#/$defs/Folder"}
    assert schema["$defs"]["Folder"]["properties"]["inside"]["items"] == {"$ref": "#/$defs/Folder"}


def test_a_union_with_a_discriminator_leaves_no_dangling_reference() -> None:
    def feed(pet: Annotated[Cat | Dog, Field(discriminator="kind")]) -> None: ...

    assert "#/$defs" not in str(schema_of(feed))


def test_a_parameter_may_have_any_name_python_allows() -> None:
    def copy(copy: str, model_name: str, json: str, title: str, _hidden: str) -> None: ...

    made: Tool = tool(copy)
    given = dict.fromkeys(("copy", "model_name", "json", "title", "_hidden"), "x")
    assert made.complete(given) == given


@pytest.mark.parametrize(
    "docstring",
    [
        "Get it.\n\nMore.\n\nArgs:\n    place: Where it is.\n",
        "Get it.\n\nMore.\n\nParameters\n----------\nplace : str\n    Where it is.\n",
        "Get it.\n\nMore.\n\n:param place: Where it is.\n",
    ],
    ids=["google", "numpy", "rest"],
)
def test_descriptions_come_from_the_docstring_in_three_styles(docstring: str) -> None:
    def get(place: str) -> None: ...

    get.__doc__ = docstring
    made: Tool = tool(get)
    assert made.description == "Get it.\n\nMore."
    assert property_of(get, "place")["description"] == "Where it is."


def test_a_field_description_wins_over_the_docstring() -> None:
    def get(place: Annotated[str, Field(description="From the field.")]) -> None:
        """Get it.

        Args:
            place: From the docstring.
        """

    assert property_of(get, "place")["description"] == "From the field."


def test_a_call_is_given_and_never_asked_for() -> None:
    def by_name(me: Call) -> None: ...
    def optional(call: Call | None = None) -> None: ...
    def annotated(call: Annotated[Call, "mine"]) -> None: ...
    def as_text(call: "Call") -> None: ...

    for function in (by_name, optional, annotated, as_text):
        assert schema_of(function)["properties"] == {}


class Opaque:
    """A type without a schema."""


def any_values(*values: int) -> None: ...
def any_names(**names: int) -> None: ...
def unnamed(value: int, /) -> None: ...
def untyped(value) -> None: ...  # type: ignore[no-untyped-def]
def opaque(value: Opaque) -> None: ...
def inside(value: list[Opaque]) -> None: ...
def called(value: Callable[[], int]) -> None: ...
def unordered(value: set[str]) -> None: ...
def deep_unordered(value: dict[str, frozenset[int]]) -> None: ...
def raw(value: bytes) -> None: ...
def unknown(value: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821
def badly_defaulted(value: int = "x") -> None: ...  # type: ignore[assignment]
def infinite(value: float = float("inf")) -> None: ...
def in_field(value: int = Field(3)) -> None: ...
def made_up(value: Annotated[int, Field(default_factory=lambda: 3)]) -> None: ...
def two_calls(call: Call, value: Call) -> None: ...
def rust_pattern(value: Annotated[str, Field(pattern=r"\p{L}")]) -> None: ...


IMPOSSIBLE = [
    any_values,
    any_names,
    unnamed,
    untyped,
    opaque,
    inside,
    called,
    unordered,
    deep_unordered,
    raw,
    unknown,
    badly_defaulted,
    infinite,
    in_field,
    made_up,
    two_calls,
    rust_pattern,
]


@pytest.mark.parametrize("function", IMPOSSIBLE, ids=lambda function: function.__name__)
def test_what_cannot_become_a_schema_says_where_and_what_to_do(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(ToolDefinitionError) as raised:
        tool(function)
    said = str(raised.value)
    line = function.__code__.co_firstlineno
    assert said.startswith(f"{function.__name__} ({Path(__file__)}:{line}) cannot become a tool")
    assert "parameter `value" in said or "parameter `names`" in said
    assert said.count(". ") >= 1  # the problem, then the advice
