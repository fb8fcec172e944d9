"""The types of values: what a condition may do with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ANY",
    "BOOL",
    "DOUBLE",
    "DURATION",
    "INT",
    "NOTHING",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "Enum",
    "Field",
    "ListOf",
    "MapOf",
    "Nullable",
    "Plain",
    "Record",
    "Type",
    "accepts",
    "comparable",
    "joined",
    "widened",
]


@dataclass(frozen=True, slots=True)
class Plain:
    """A type that is only a name."""

    name: str

    def __str__(self) -> str:
        return self.name


BOOL = Plain("bool")
INT = Plain("int")
DOUBLE = Plain("double")
STRING = Plain("string")
TIMESTAMP = Plain("timestamp")
DURATION = Plain("duration")
NULL = Plain("null")
ANY = Plain("any")
"""JSON of several possible types: it can only be compared, converted or handed on."""
NOTHING = Plain("nothing")
"""The items of `[]`, and what has a problem already: fits everywhere, so nothing is told twice."""


@dataclass(frozen=True, slots=True)
class Enum:
    """A string that is one of these."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return "string"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of items of one type."""

    item: Type

    def __str__(self) -> str:
        return f"list({self.item})"


@dataclass(frozen=True, slots=True)
class MapOf:
    """Keys of one type, values of one type."""

    key: Type
    value: Type

    def __str__(self) -> str:
        return f"map({self.key}, {self.value})"


@dataclass(frozen=True, slots=True)
class Nullable:
    """A value that may be null."""

    of: Type

    def __str__(self) -> str:
        return f"{self.of} or null"


@dataclass(frozen=True, slots=True)
class Field:
    """A named part of a record; an optional one may be missing."""

    type: Type
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """Names with a type each; every other name is a mistake."""

    fields: Mapping[str, Field]

    def __str__(self) -> str:
        return "record"

    def __hash__(self) -> int:
        return hash(frozenset(self.fields))


Type = Plain | Enum | ListOf | MapOf | Nullable | Record


def widened(type: Type) -> Type:
    """The type without the knowledge which strings it can be."""
    match type:
        case Enum():
            return STRING
        case ListOf():
            return ListOf(widened(type.item))
        case MapOf():
            return MapOf(widened(type.key), widened(type.value))
        case Nullable():
            return Nullable(widened(type.of))
    return type


def joined(one: Type, other: Type) -> Type | None:
    """The narrowest type that both are; None when values of both can never meet."""
    match one, other:
        case _ if one == other:
            return one
        case (Plain("nothing"), found) | (found, Plain("nothing")):
            return found
        case (Plain("null"), Nullable() as found) | (Nullable() as found, Plain("null")):
            return found
        case (Plain("null"), found) | (found, Plain("null")):
            return Nullable(found)
        case (Nullable(of=inner), found) | (found, Nullable(of=inner)):
            found = found.of if isinstance(found, Nullable) else found
            both = joined(inner, found)
            return Nullable(both) if both else None
        case ListOf(), ListOf():
            item = joined(one.item, other.item)
            return ListOf(item) if item else None
        case MapOf(), MapOf():
            key, value = joined(one.key, other.key), joined(one.value, other.value)
            return MapOf(key, value) if key and value else None
        case (Enum(), Plain("string")) | (Plain("string"), Enum()):
            return STRING
        case Enum(), Enum():
            return Enum(tuple(dict.fromkeys(one.values + other.values)))
    return None


def accepts(wanted: Type, given: Type) -> bool:
    """Whether a value of the type `given` can stand where `wanted` is asked for."""
    match wanted, given:
        case (Plain("any"), _) | (_, Plain("nothing")):
            return True
        case Nullable(), Nullable():
            return accepts(wanted.of, given.of)
        case Nullable(), _:
            return given == NULL or accepts(wanted.of, given)
        case ListOf(), ListOf():
            return accepts(wanted.item, given.item)
        case MapOf(), MapOf():
            return accepts(wanted.key, given.key) and accepts(wanted.value, given.value)
    return widened(wanted) == widened(given)


def comparable(type: Type) -> bool:
    """Whether two values of this type can be equal or not, without a doubt which is meant."""
    match type:
        case Record() | Plain("any"):
            return False
        case ListOf():
            return comparable(type.item)
        case MapOf():
            return comparable(type.key) and comparable(type.value)
        case Nullable():
            return comparable(type.of)
    return True
