"""A schema that cannot be compiled is named with the place in it."""

from typing import Any

import pytest

from agentrt.testing.schema import schema_complaints


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def complaints(schema: dict[str, Any]) -> list[str]:
    return list(schema_complaints({"s": schema}))


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(name={"type": "string", "format": "email"}, tags={"type": "array", "minItems": 1}),
        {**closed(a={"$ref": "#/$defs/A"}, b={"$ref": "#/$defs/A"}), "$defs": {"A": closed()}},
        closed(either={"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ],
)
def test_what_can_be_compiled_has_no_complaint(schema: dict[str, Any]) -> None:
    assert complaints(schema) == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object"}, "s: For 'object' type"),
        (closed(a=closed(b={"type": "object"})), "s.properties.a.properties.b: For 'object'"),
        (closed(a={"type": "array", "items": {"type": "object"}}), "s.properties.a.items: For"),
        (closed(a={"type": "integer", "minimum": 0}), "'minimum' is not supported"),
        (closed(a={"type": "string", "maxLength": 5}), "'maxLength' is not supported"),
        (closed(a={"type": "array", "minItems": 2}), "'minItems' values"),
        (closed(a={"type": "string", "format": "phone"}), "format 'phone'"),
        (closed(a={"$ref": "#"}), "recursive"),
        (
            {**closed(a={"$ref": "#/$defs/A"}), "$defs": {"A": closed(a={"$ref": "#/$defs/A"})}},
            "recursive",
        ),
        (
            {
                **closed(a={"$ref": "#/$defs/A"}),
                "$defs": {
                    "A": closed(b={"$ref": "#/$defs/B"}),
                    "B": closed(a={"$ref": "#/$defs/A"}),
                },
            },
            "recursive",
        ),
        (closed(a={"$ref": "https://example.com/a.json"}), "must point into"),
        (
            {**closed(**{f"p{i}": {"type": "string"} for i in range(25)}), "required": []},
            "25 optional",
        ),
        (
            closed(**{f"p{i}": {"type": ["string", "null"]} for i in range(17)}),
            "17 parameters of union",
        ),
    ],
)
def test_what_cannot_be_compiled_is_named(schema: dict[str, Any], words: str) -> None:
    assert any(words in complaint for complaint in complaints(schema))
