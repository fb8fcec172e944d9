"""An atom: a part of a condition that is met by some values of a term, and by no others.

A term is whatever has a value: a place, a size, a sum, or a test that is not looked into.
Within one decision the same term always comes to the same value, or fails alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agentrt.policy.cel import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Checked,
    Expr,
    walk,
    written,
)
from agentrt.policy.cel.narrowing import is_null, path_of
from agentrt.policy.cel.syntax import (
    Comparison,
    FunctionCall,
    Has,
    In,
    ListLiteral,
    Literal,
    Name,
    Not,
    Select,
    children,
)
from agentrt.policy.cel.types import widened
from agentrt.policy.rules import ToolLike
from agentrt.policy.study.constants import constant
from agentrt.policy.study.domains import (
    TRUE_OR_FALSE,
    Domain,
    domain_of,
    domain_of_has,
    domain_of_null_test,
    domain_of_size,
    only,
)
from agentrt.policy.study.values import Edge, Span, Values, both, few, nothing, within

__all__ = ["Atom", "Reading", "Term"]

_SCALARS = (BOOL, INT, DOUBLE, STRING, TIMESTAMP, DURATION)
_LOOKED_UP = (INT, STRING)
"""A list of these, written out, is a set: to look into it takes no steps."""
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Term:
    """What an atom is about. Two are the same when text and types are."""

    text: str
    types: str
    """Of everything in it: what is read as another type fails otherwise."""
    domain: Domain = field(compare=False)
    is_free: bool = field(compare=False)
    """It takes no steps, so it comes to the same whatever was evaluated before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """True when its term has one of `values`, false when it has another."""

    expr: Expr
    positive: bool
    """Whether what is written is meant, or its opposite."""
    term: Term
    values: Values

    @property
    def is_never_met(self) -> bool:
        """Whether it certainly is false or fails."""
        return nothing(both(self.values, self.term.domain.values))

    @property
    def is_always_met(self) -> bool:
        """Whether it certainly is true or fails."""
        return within(self.term.domain.values, self.values)

    def __str__(self) -> str:
        expr = self.expr
        return written(expr if self.positive else Not(expr.start, expr.end, expr))


class Reading:
    """Reads the atoms of a condition that was typed for a tool."""

    def __init__(self, checked: Checked, tool: ToolLike) -> None:
        self._types = checked.types
        self._meant = checked.meant
        self._tool = tool

    def atom(self, expr: Expr, *, positive: bool) -> Atom:
        """The atom for a part that is true or false; what is not understood is its own term."""
        found = self._looked_into(expr, positive)
        term, values = found or (self._whole(expr), few([positive]))
        return Atom(expr, positive, term, values)

    def whole(self, expr: Expr, *, positive: bool) -> Atom:
        """The same without looking into it."""
        return Atom(expr, positive, self._whole(expr), few([positive]))

    def _looked_into(self, expr: Expr, positive: bool) -> tuple[Term, Values] | None:
        match expr:
            case Has():
                return self._has(expr), few([positive])
            case Comparison() if is_null(expr.left) or is_null(expr.right):
                return self._null_test(expr), few([positive is (expr.op == "==")])
            case Comparison():
                return self._compared(expr, positive)
            case In(of=ListLiteral(items=items)):
                return self._among(expr, items, positive)
        return None

    def _has(self, expr: Has) -> Term:
        domain = domain_of_has(expr, self._tool)
        return Term(written(expr), "bool", domain, is_free=_is_place(expr.field))

    def _null_test(self, expr: Comparison) -> Term:
        tested = expr.left if is_null(expr.right) else expr.right
        domain = domain_of_null_test(tested, self._types[tested])
        return Term(f"{written(tested)} == null", self._types_in(tested), domain, _is_place(tested))

    def _compared(self, expr: Comparison, positive: bool) -> tuple[Term, Values] | None:
        part, op, value = expr.left, str(expr.op), constant(expr.right, self._meant)
        if value is None:
            part, op, value = expr.right, _TURNED[op], constant(expr.left, self._meant)
        if value is None or not self._is_scalar(part):
            return None
        return self._term(part), _meeting(op if positive else _OPPOSITE[op], value)

    def _among(
        self, expr: In, items: tuple[Expr, ...], positive: bool
    ) -> tuple[Term, Values] | None:
        values = few(constant(item, self._meant) for item in items)
        if None in values.values or not self._is_scalar(expr.item):
            return None
        term = self._term(expr.item, is_free=widened(self._types[expr.item]) in _LOOKED_UP)
        return term, values if positive else Span(without=values.values)

    def _is_scalar(self, part: Expr) -> bool:
        kind = widened(self._types[part])
        # A computed double may be NaN, of which neither `x > 1` nor `x <= 1` is true.
        return kind in _SCALARS and (kind != DOUBLE or _is_place(part))

    def _whole(self, expr: Expr) -> Term:
        match expr:
            case Literal(value=bool() as value):
                return self._term(expr, only(value))
            case In(item=Literal(value=label), of=Select(of=Name(name="tool"), field="labels")):
                has_it = label in self._tool.labels
                said = f"{self._tool.name} has {'the' if has_it else 'no'} label {label!r}"
                return self._term(expr, only(has_it, said, of_tool=True))
        return self._term(expr, TRUE_OR_FALSE)

    def _term(self, part: Expr, domain: Domain | None = None, *, is_free: bool = True) -> Term:
        of = _sized(part)
        sized = of if of is not None else part
        is_free = is_free and _is_place(sized) and widened(self._types[sized]) in _SCALARS
        domain = domain or self._domain(part, of)
        return Term(written(part), self._types_in(part), domain, is_free)

    def _domain(self, part: Expr, of: Expr | None) -> Domain:
        if of is not None:
            return domain_of_size(of, self._types[of], self._tool)
        value = constant(part, self._meant)
        return only(value) if value is not None else domain_of(part, self._types[part], self._tool)

    def _types_in(self, part: Expr) -> str:
        return " ".join(str(self._types.get(each)) for each in walk(part))


def _meeting(op: str, value: Any) -> Values:
    """The values that `x op value` is true of."""
    step = 1 if value.__class__ is int else 0  # whole numbers above 5 are those from 6
    match op:
        case "==":
            return few([value])
        case "!=":
            return Span(without=frozenset([value]))
        case "<":
            return Span(high=Edge(value - 1) if step else Edge(value, included=False))
        case "<=":
            return Span(high=Edge(value))
        case ">":
            return Span(low=Edge(value + 1) if step else Edge(value, included=False))
        case _:
            return Span(low=Edge(value))


def _is_place(part: Expr) -> bool:
    return path_of(part) is not None


def _sized(part: Expr) -> Expr | None:
    """The part whose size this is."""
    is_size = isinstance(part, FunctionCall) and part.name == "size"
    return children(part)[0] if is_size else None
