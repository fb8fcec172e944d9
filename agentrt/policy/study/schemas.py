"""What a tool's schema says of a place in the arguments, beyond its type.

It holds for completed arguments, which are checked against the schema before policy is asked.
A word of the schema that is not understood here says nothing.
Source of the words: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrt.policy.cel.narrowing import Path
from agentrt.policy.rules import ToolLike
from agentrt.policy.study.values import Edge, higher, lower

__all__ = ["always_has", "edges", "listed", "never_has", "number", "schema_at"]

_REFERENCES_MAX = 10


def schema_at(path: Path | None, tool: ToolLike) -> Mapping[str, Any] | None:
    """The schema of the value there; None when nothing certain is said of it."""
    if not path or path[0] != "args":
        return None
    root = tool.input_schema
    schema = _meant(root, root)
    for step in path[1:]:
        schema = None if schema is None else _meant(_below(schema, step), root)
    return schema


def _below(schema: Mapping[str, Any], step: str | int) -> Any:
    if isinstance(step, int):
        return None if "prefixItems" in schema else schema.get("items")
    properties = _mapping(schema.get("properties"))
    if step in properties:
        return properties[step]
    return None if "patternProperties" in schema else schema.get("additionalProperties")


def _meant(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema behind references, and behind a choice between it and null."""
    for _ in range(_REFERENCES_MAX):
        if not isinstance(schema, Mapping):
            return None
        if "$ref" in schema:
            name = str(schema["$ref"]).removeprefix("#/$defs/")
            schema = _mapping(root.get("$defs")).get(name)
        elif choice := schema.get("anyOf") or schema.get("oneOf"):
            others = [part for part in _list(choice) if part != {"type": "null"}]
            schema = others[0] if len(others) == 1 else None
        else:
            return schema
    return None


def listed(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that the schema lists; None when it lists none."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return values if isinstance(values, list) else None


def edges(schema: Mapping[str, Any]) -> tuple[Edge | None, Edge | None]:
    """The least and the most that a number can be."""
    least = _edge(schema, "minimum"), _edge(schema, "exclusiveMinimum", included=False)
    most = _edge(schema, "maximum"), _edge(schema, "exclusiveMaximum", included=False)
    return higher(*least), lower(*most)


def _edge(schema: Mapping[str, Any], word: str, *, included: bool = True) -> Edge | None:
    value = number(schema, word)
    return None if value is None else Edge(value, included)


def number(schema: Mapping[str, Any], word: str) -> int | float | None:
    """The number that stands under a word of the schema."""
    value = schema.get(word)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return value if abs(value) < _NUMBER_MAX else None


_NUMBER_MAX = 1e300
"""Whatever is beyond says nothing, so that every number is finite as a double."""


def always_has(schema: Mapping[str, Any], name: str) -> bool:
    """Whether every object that fits has a field of this name."""
    return name in _list(schema.get("required"))


def never_has(schema: Mapping[str, Any], name: str) -> bool:
    """Whether no object that fits has one."""
    is_closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return is_closed and name not in _mapping(schema.get("properties"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
