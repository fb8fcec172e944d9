"""The type of a JSON schema: what a condition can say of the values that fit it.

Whatever the schema says that a type cannot, such as a range or a pattern, is left out; where
it allows values of several types, the type is ANY.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from agentrt.policy.cel.types import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Enum,
    Field,
    ListOf,
    MapOf,
    Nullable,
    Record,
    Type,
    joined,
)

__all__ = ["schema_type"]

_DEPTH_MAX = 30
_PLAIN = {"boolean": BOOL, "integer": INT, "number": DOUBLE, "null": NULL}
_CLASSES: dict[type, Type] = {
    bool: BOOL,
    int: INT,
    float: DOUBLE,
    type(None): NULL,
}
_MOMENTS = ("date-time", "date")


def schema_type(schema: Mapping[str, Any]) -> Type:
    """The type of the values that fit the schema."""
    definitions = schema.get("$defs") if isinstance(schema, Mapping) else None
    known = definitions if isinstance(definitions, Mapping) else {}
    return _Reading(known).type_of(schema, frozenset())


class _Reading:
    """Follows a schema through its definitions; one that contains itself is ANY."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def type_of(self, schema: Any, within: frozenset[str], depth: int = 0) -> Type:
        """The type of a part of the schema, inside of the definitions `within`."""
        if not isinstance(schema, Mapping) or depth > _DEPTH_MAX:
            return ANY
        if "$ref" in schema:
            return self._referred(schema["$ref"], within, depth)
        if "allOf" in schema:
            return ANY
        for word in ("anyOf", "oneOf"):
            if isinstance(parts := schema.get(word), list):
                return _either(self.type_of(part, within, depth + 1) for part in parts)
        if (values := _values(schema)) is not None:
            return _either(_value_type(value) for value in values)
        return self._by_name(schema, within, depth)

    def _referred(self, reference: Any, within: frozenset[str], depth: int) -> Type:
        name = str(reference).removeprefix("#/$defs/")
        if name in within or name not in self._definitions:
            return ANY
        return self.type_of(self._definitions[name], within | {name}, depth + 1)

    def _by_name(self, schema: Mapping[str, Any], within: frozenset[str], depth: int) -> Type:
        names = schema.get("type")
        if isinstance(names, list):
            return _either(
                self.type_of({**schema, "type": name}, within, depth + 1) for name in names
            )
        match names:
            case "string":
                return TIMESTAMP if schema.get("format") in _MOMENTS else STRING
            case "array":
                return ListOf(self._item(schema, within, depth))
            case "object":
                return self._object(schema, within, depth)
            case str():
                return _PLAIN.get(names, ANY)
        return ANY

    def _item(self, schema: Mapping[str, Any], within: frozenset[str], depth: int) -> Type:
        firsts = schema.get("prefixItems")
        if isinstance(firsts, list) and firsts:
            kinds = {self.type_of(part, within, depth + 1) for part in firsts}
            rest = schema.get("items", False)
            if rest is not False:
                kinds.add(self.type_of(rest, within, depth + 1))
            return kinds.pop() if len(kinds) == 1 else ANY
        return self.type_of(schema.get("items"), within, depth + 1)

    def _object(self, schema: Mapping[str, Any], within: frozenset[str], depth: int) -> Type:
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(properties, Mapping) and (properties or others is False):
            return self._record(schema, properties, within, depth)
        if others is False and "patternProperties" not in schema:
            return Record({})
        is_map = "patternProperties" not in schema
        return MapOf(STRING, self.type_of(others, within, depth + 1) if is_map else ANY)

    def _record(
        self,
        schema: Mapping[str, Any],
        properties: Mapping[str, Any],
        within: frozenset[str],
        depth: int,
    ) -> Record:
        required = schema.get("required")
        always = set(required) if isinstance(required, list) else set()
        fields = {}
        for name, part in properties.items():
            has_default = isinstance(part, Mapping) and "default" in part
            optional = name not in always and not has_default
            fields[name] = Field(self.type_of(part, within, depth + 1), optional)
        return Record(fields)


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _value_type(value: Any) -> Type:
    if isinstance(value, str):
        return Enum((value,))
    return _CLASSES.get(type(value), ANY)


def _either(types: Iterable[Type]) -> Type:
    found = list(types)
    return reduce(_both, found) if found else ANY


def _both(one: Type, other: Type) -> Type:
    """Null makes the other nullable, choices of strings add up; else it is one type or ANY."""
    if ANY in (one, other):
        return ANY
    both = joined(one, other)
    return ANY if both is None or both == Nullable(ANY) else both
