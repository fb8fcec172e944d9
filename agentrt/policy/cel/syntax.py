"""A condition as a tree: what was written, each part with its place in the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf

__all__ = [
    "And",
    "Arithmetic",
    "Collected",
    "Comparison",
    "Conditional",
    "Expr",
    "FunctionCall",
    "Has",
    "In",
    "Index",
    "ListLiteral",
    "Literal",
    "MapLiteral",
    "Name",
    "Negative",
    "Not",
    "Or",
    "Quantified",
    "Select",
    "children",
    "walk",
]

ArithmeticOp = OneOf["+", "-", "*", "/", "%"]
ComparisonOp = OneOf["==", "!=", "<", "<=", ">", ">="]
Quantifier = OneOf["all", "exists", "exists_one"]


# Nodes are equal only to themselves: types and problems belong to an occurrence.
@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A part of a condition: `text[start:end]`, with the parentheses around it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Node):
    """`true`, `1`, `2.5`, `"text"` or `null`."""

    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True, eq=False)
class Name(Node):
    """A root (`args`) or the variable of a macro."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select(Node):
    """`of.field`"""

    of: Expr
    field: str


@dataclass(frozen=True, slots=True, eq=False)
class Has(Node):
    """`has(of.field)`"""

    field: Select


@dataclass(frozen=True, slots=True, eq=False)
class Index(Node):
    """`of[key]`"""

    of: Expr
    key: Expr


@dataclass(frozen=True, slots=True, eq=False)
class ListLiteral(Node):
    """`[1, 2]`"""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MapLiteral(Node):
    """`{"a": 1}`"""

    entries: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Not(Node):
    """`!of`"""

    of: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Negative(Node):
    """`-of`"""

    of: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic(Node):
    """`left + right`, also of texts, lists and times."""

    op: ArithmeticOp
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Node):
    """`left == right`"""

    op: ComparisonOp
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class In(Node):
    """`item in of`"""

    item: Expr
    of: Expr


@dataclass(frozen=True, slots=True, eq=False)
class And(Node):
    """`a && b && c`; two parts or more."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Or(Node):
    """`a || b || c`; two parts or more."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Conditional(Node):
    """`test ? then : otherwise`"""

    test: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True, eq=False)
class FunctionCall(Node):
    """`name(arguments)`, or `receiver.name(arguments)`."""

    name: str
    receiver: Expr | None
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Quantified(Node):
    """`of.all(variable, condition)`, and its sisters."""

    kind: Quantifier
    of: Expr
    variable: str
    condition: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Collected(Node):
    """`of.filter(variable, condition)` and `of.map(variable, [condition,] result)`."""

    of: Expr
    variable: str
    condition: Expr | None
    result: Expr | None
    """None: the items themselves (`filter`)."""


Expr = (
    Literal
    | Name
    | Select
    | Has
    | Index
    | ListLiteral
    | MapLiteral
    | Not
    | Negative
    | Arithmetic
    | Comparison
    | In
    | And
    | Or
    | Conditional
    | FunctionCall
    | Quantified
    | Collected
)


def children(expr: Expr) -> tuple[Expr, ...]:  # noqa: C901 - one case for each kind of node
    """The parts directly inside, in the order of the text."""
    match expr:
        case Literal() | Name():
            return ()
        case Select() | Not() | Negative():
            return (expr.of,)
        case Has():
            return (expr.field,)
        case Index():
            return (expr.of, expr.key)
        case ListLiteral():
            return expr.items
        case MapLiteral():
            return tuple(part for entry in expr.entries for part in entry)
        case Arithmetic() | Comparison():
            return (expr.left, expr.right)
        case In():
            return (expr.item, expr.of)
        case And() | Or():
            return expr.parts
        case Conditional():
            return (expr.test, expr.then, expr.otherwise)
        case FunctionCall():
            return (*([expr.receiver] if expr.receiver else []), *expr.arguments)
        case Quantified():
            return (expr.of, expr.condition)
        case Collected():
            return tuple(part for part in (expr.of, expr.condition, expr.result) if part)


def walk(expr: Expr) -> Iterator[Expr]:
    """This part and all inside it, in the order of the text."""
    waiting = [expr]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(reversed(children(part)))
