"""An atom: a part of a condition that is met by some values of a term, and by no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentrt.policy.cel import INT, STRING, Checked, Expr, written
from agentrt.policy.cel.narrowing import is_null
from agentrt.policy.cel.syntax import Comparison, In, ListLiteral, Not
from agentrt.policy.cel.types import widened
from agentrt.policy.study.constants import constant
from agentrt.policy.study.terms import Term, Terms, has_single_values
from agentrt.policy.study.values import Edge, Span, Values, both, few, nothing, within

__all__ = ["Atom", "Reading"]

_LOOKED_UP = (INT, STRING)
"""A list of these, written out, is a set: to look into it takes no steps."""
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """True when its term has one of `values`, false when it has another."""

    expr: Expr
    positive: bool
    """Whether what is written is meant, or its opposite."""
    term: Term
    values: Values
    is_free: bool
    """It takes no steps, so that it can be evaluated whatever was before it."""

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

    def __init__(self, checked: Checked, terms: Terms) -> None:
        self._checked = checked
        self._terms = terms

    def atom(self, expr: Expr, *, positive: bool) -> Atom:
        """The atom for a part that is true or false; what is not understood is its own term."""
        match expr:
            case Comparison() if is_null(expr.left) or is_null(expr.right):
                return self._null_test(expr, positive)
            case Comparison():
                return self._compared(expr, positive) or self.whole(expr, positive=positive)
            case In(of=ListLiteral(items=items)):
                return self._among(expr, items, positive) or self.whole(expr, positive=positive)
        return self.whole(expr, positive=positive)

    def whole(self, expr: Expr, *, positive: bool) -> Atom:
        """The same without looking into it."""
        term = self._terms.of(expr, self._checked)
        return Atom(expr, positive, term, few([positive]), term.is_free)

    def _null_test(self, expr: Comparison, positive: bool) -> Atom:
        tested = expr.left if is_null(expr.right) else expr.right
        term = self._terms.of_null_test(tested, self._checked)
        return Atom(expr, positive, term, few([positive is (expr.op == "==")]), term.is_free)

    def _compared(self, expr: Comparison, positive: bool) -> Atom | None:
        part, op, value = expr.left, str(expr.op), self._constant(expr.right)
        if value is None:
            part, op, value = expr.right, _TURNED[op], self._constant(expr.left)
        if value is None or not has_single_values(part, self._checked):
            return None
        term = self._terms.of(part, self._checked)
        values = _meeting(op if positive else _OPPOSITE[op], value)
        return Atom(expr, positive, term, values, term.is_free)

    def _among(self, expr: In, items: tuple[Expr, ...], positive: bool) -> Atom | None:
        listed = few(map(self._constant, items))
        if None in listed.values or not has_single_values(expr.item, self._checked):
            return None
        term = self._terms.of(expr.item, self._checked)
        is_set = widened(self._checked.types[expr.item]) in _LOOKED_UP
        values = listed if positive else Span(without=listed.values)
        return Atom(expr, positive, term, values, term.is_free and is_set)

    def _constant(self, part: Expr) -> Any | None:
        return constant(part, self._checked.meant)


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
