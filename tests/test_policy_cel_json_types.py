from datetime import date, datetime
from enum import StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentrt.policy.cel import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    STRING,
    TIMESTAMP,
    Enum,
    Field,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
    schema_type,
)
from agentrt.tools.schema import parameters_of

NULL_SCHEMA = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "integer"}, INT),
        ({"type": "number", "minimum": 0}, DOUBLE),
        ({"type": "boolean"}, BOOL),
        ({"type": "string", "pattern": "x"}, STRING),
        ({"type": "string", "format": "date-time"}, TIMESTAMP),
        ({"type": "string", "format": "date"}, TIMESTAMP),
        ({"type": "string", "format": "duration"}, STRING),
        ({"type": "string", "enum": ["a", "b"]}, Enum(("a", "b"))),
        ({"const": "a"}, Enum(("a",))),
        ({"enum": [1, 2]}, INT),
        ({"enum": ["a", None]}, Nullable(Enum(("a",)))),
        ({"enum": ["a", 1]}, ANY),
        ({"enum": []}, ANY),
        ({"type": "array", "items": {"type": "integer"}}, ListOf(INT)),
        ({"type": "array"}, ListOf(ANY)),
        ({"type": "array", "prefixItems": [{"type": "integer"}] * 2}, ListOf(INT)),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}]}, ListOf(ANY)),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, MapOf(STRING, INT)),
        ({"type": "object"}, MapOf(STRING, ANY)),
        ({"type": "object", "patternProperties": {"x": {}}}, MapOf(STRING, ANY)),
        ({"type": "object", "properties": {}, "additionalProperties": False}, Record({})),
        ({"anyOf": [{"type": "integer"}, NULL_SCHEMA]}, Nullable(INT)),
        ({"oneOf": [NULL_SCHEMA, {"type": "integer"}]}, Nullable(INT)),
        ({"type": ["string", "null"]}, Nullable(STRING)),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, ANY),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}, NULL_SCHEMA]}, ANY),
        ({"anyOf": [{"const": "a"}, {"const": "b"}]}, Enum(("a", "b"))),
        ({"allOf": [{"type": "integer"}]}, ANY),
        ({"properties": {"a": {}}}, ANY),
        ({"$ref": "#/$defs/Gone"}, ANY),
        ({"type": "nonsense"}, ANY),
        ({}, ANY),
    ],
)
def test_a_schema_says_a_type(schema: dict[str, Any], kind: Type) -> None:
    assert schema_type(schema) == kind


def test_a_property_is_optional_without_a_default_and_unless_required() -> None:
    whole = {"type": "integer"}
    properties = {"always": whole, "default": {**whole, "default": 1}, "maybe": whole}
    schema = {"type": "object", "properties": properties, "required": ["always"]}
    fields = {"always": Field(INT), "default": Field(INT), "maybe": Field(INT, optional=True)}
    assert schema_type(schema) == Record(fields)


def test_a_definition_is_followed_unless_it_contains_itself() -> None:
    definitions = {
        "Leaf": {"type": "integer"},
        "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}},
    }
    leaf, node = {"$ref": "#/$defs/Leaf"}, {"$ref": "#/$defs/Node"}
    assert schema_type({**leaf, "$defs": definitions}) == INT
    found = schema_type({**node, "$defs": definitions})
    assert found == Record({"next": Field(ANY, optional=True)})


def test_a_schema_deeper_than_anybody_writes_ends_in_any() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    assert str(schema_type(schema)).endswith("list(any)" + ")" * 30)


class Reason(StrEnum):
    FRAUD = "fraud"
    OTHER = "other"


class Line(BaseModel):
    price: float
    gift: bool = False


def refund(
    amount: int,
    day: date,
    at: datetime,
    reason: Reason,
    way: Literal["card", "cash"],
    lines: list[Line],
    labels: dict[str, int],
    note: str | None = None,
    either: int | str = 1,
) -> None:
    """Refund."""


def test_a_tools_parameters_have_the_types_of_its_signature() -> None:
    line = Record({"price": Field(DOUBLE), "gift": Field(BOOL)})
    expected = {
        "amount": INT,
        "day": TIMESTAMP,
        "at": TIMESTAMP,
        "reason": Enum(("fraud", "other")),
        "way": Enum(("card", "cash")),
        "lines": ListOf(line),
        "labels": MapOf(STRING, INT),
        "note": Nullable(STRING),
        "either": ANY,
    }
    found = schema_type(parameters_of(refund).schema)
    assert found == Record({name: Field(kind) for name, kind in expected.items()})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYWORDS = """type enum const anyOf oneOf allOf items prefixItems properties required
    additionalProperties patternProperties $ref $defs format default"""
WORDS = st.sampled_from(KEYWORDS.split())
SCHEMAS = st.recursive(
    JSON | st.sampled_from(["string", "object", "array", "null", "integer", "#/$defs/a"]),
    lambda inner: st.dictionaries(WORDS | st.just("a"), inner) | st.lists(inner, max_size=3),
    max_leaves=15,
)


@given(st.dictionaries(WORDS, SCHEMAS))
def test_any_json_as_a_schema_is_a_type(schema: dict[str, Any]) -> None:
    assert str(schema_type(schema))
