"""The part of JSON Schema that structured output and strict tools can be compiled from."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["schema_complaints"]

_REFUSED = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
)
_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
)
_OPTIONAL_MAX = 24
_UNIONS_MAX = 16


def schema_complaints(schemas: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Say what cannot be compiled; the keys say where each schema stands in the request."""
    optional = unions = 0
    for place, schema in schemas.items():
        for where, node in _nodes(schema, place):
            yield from _node_complaints(where, node)
            optional += len(set(node.get("properties", ())) - set(node.get("required", ())))
            unions += _is_union(node)
        yield from _reference_complaints(schema, place)
    if optional > _OPTIONAL_MAX:
        yield f"Strict schemas have {optional} optional parameters; at most {_OPTIONAL_MAX} fit."
    if unions > _UNIONS_MAX:
        yield f"Strict schemas have {unions} parameters of union type; at most {_UNIONS_MAX} fit."


def _is_union(node: Mapping[str, Any]) -> bool:
    return "anyOf" in node or isinstance(node.get("type"), list)


def _node_complaints(where: str, node: Mapping[str, Any]) -> Iterator[str]:
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        yield f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false."
    for keyword in _REFUSED:
        if keyword in node:
            yield f"{where}: '{keyword}' is not supported."
    if node.get("minItems", 0) not in (0, 1):
        yield f"{where}: 'minItems' values other than 0 or 1 are not supported."
    if "format" in node and node["format"] not in _FORMATS:
        yield f"{where}: format '{node['format']}' is not supported."


def _nodes(schema: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk the schema and every schema in it."""
    if not isinstance(schema, Mapping):
        return
    yield where, schema
    for key in ("properties", "$defs", "definitions"):
        for name, child in schema.get(key, {}).items():
            yield from _nodes(child, f"{where}.{key}.{name}")
    for key in ("anyOf", "allOf", "oneOf", "prefixItems"):
        for index, child in enumerate(schema.get(key, ())):
            yield from _nodes(child, f"{where}.{key}.{index}")
    for key in ("items", "additionalProperties"):
        yield from _nodes(schema.get(key), f"{where}.{key}")


def _reference_complaints(schema: dict[str, Any], place: str) -> Iterator[str]:
    definitions = {
        f"#/{key}/{name}": child
        for key in ("$defs", "definitions")
        for name, child in schema.get(key, {}).items()
    }
    links = {name: _references(child) for name, child in definitions.items()}
    for reference in _references(schema):
        if reference == "#" or reference in _reachable(reference, links):
            yield f"{place}: recursive schemas are not supported: {reference}"
        elif reference not in definitions:
            yield f"{place}: '$ref' must point into this schema's definitions: {reference}"


def _references(schema: Any) -> set[str]:
    return {str(node["$ref"]) for _, node in _nodes(schema, "") if "$ref" in node}


def _reachable(reference: str, links: Mapping[str, set[str]]) -> set[str]:
    """Follow the links from a definition; what leads back to it contains it."""
    seen: set[str] = set()
    ahead = set(links.get(reference, ()))
    while ahead:
        seen |= ahead
        ahead = {far for near in ahead for far in links.get(near, ())} - seen
    return seen
