"""From a checked condition to closures, each made for the types it has to do with.

A closure takes the Frame of an evaluation and gives the value of its part. Whatever the
values are, it raises nothing but Undetermined.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import cast

from agentrt.policy.cel import places
from agentrt.policy.cel.checked import Checked
from agentrt.policy.cel.closures import (
    Constant,
    applied,
    collected,
    conditional,
    counted,
    exactly_one,
    host_call,
    list_of,
    logic,
    map_of,
    prepared,
    quantified,
)
from agentrt.policy.cel.narrowing import is_null
from agentrt.policy.cel.operators import Overload
from agentrt.policy.cel.places import Evaluate
from agentrt.policy.cel.syntax import (
    And,
    Arithmetic,
    Collected,
    Comparison,
    Conditional,
    Expr,
    FunctionCall,
    Has,
    In,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Negative,
    Not,
    Or,
    Quantified,
    Select,
    children,
)
from agentrt.policy.cel.types import ANY, INT, STRING, ListOf, MapOf, Record, Type, widened
from agentrt.policy.cel.writing import written

__all__ = ["Observe", "compiled"]

Observe = Callable[[Expr, Evaluate], Evaluate]
"""May put something around the closure of a place, a `has()` or a call of the host."""


def compiled(checked: Checked, *, observe: Observe | None = None) -> Evaluate:
    """The closure of the whole condition."""
    return _Compiling(checked, observe or (lambda _, evaluate: evaluate)).value(checked.expr)


class _Compiling:
    """Goes through the tree once.

    Places are followed as they came from outside, and only what is found at the end of one is
    read as a value: of a record with a hundred fields, the one that is asked for.
    """

    def __init__(self, checked: Checked, observe: Observe) -> None:
        self.types = checked.types
        self.meant = checked.meant
        self.observe = observe
        self.unread: dict[str, bool] = {}
        """For each variable, whether its items still are as they came from outside."""

    def value(self, expr: Expr) -> Evaluate:  # noqa: C901 - one case for each node
        """The closure of a part."""
        match expr:
            case Literal():
                return Constant(expr.value)
            case Name() | Select() | Index():
                return self._place_value(expr)
            case Has():
                return self._has(expr)
            case ListLiteral():
                return list_of(self._values(expr.items))
            case MapLiteral():
                return map_of([(self.value(key), self.value(of)) for key, of in expr.entries])
            case Not():
                return applied(operator.not_, [self.value(expr.of)])
            case And() | Or():
                return logic(self._values(expr.parts), decisive=isinstance(expr, Or))
            case Comparison() if is_null(expr.left) or is_null(expr.right):
                return self._null_test(expr)
            case Negative() | Arithmetic() | Comparison():
                return self._applied(self._overload(expr), children(expr))
            case In():
                return self._in(expr)
            case Conditional():
                return conditional(*self._values(children(expr)))
            case FunctionCall():
                return self._function(expr)
            case Quantified():
                return self._quantified(expr)
            case Collected():
                return self._collected(expr)

    def _values(self, parts: Sequence[Expr]) -> list[Evaluate]:
        return [self.value(part) for part in parts]

    # --- places --------------------------------------------------------------------------

    def _place_value(self, expr: Name | Select | Index) -> Evaluate:
        get, is_unread = self._place(expr)
        if is_unread:
            get = self._as_read(get, expr)
        return self.observe(expr, get) if self._is_outside(expr) else get

    def _as_read(self, get: Evaluate, expr: Name | Select | Index) -> Evaluate:
        kind, name = self.types[expr], written(expr)
        match expr:
            case Select(of=Name(name=root) as of, field=key) if self._is_record_outside(of):
                return places.read_field_of_root(root, key, kind, name)
        return places.as_read(get, kind, name)

    def _is_outside(self, expr: Expr) -> bool:
        """Whether this is a place below a root: variables and computed values are not."""
        while isinstance(expr, (Select, Index)):
            expr = expr.of
        return isinstance(expr, Name) and expr.name not in self.unread

    def _is_record_outside(self, expr: Name) -> bool:
        return self._is_outside(expr) and isinstance(self.types[expr], Record)

    def _place(self, expr: Expr) -> tuple[Evaluate, bool]:
        """What finds the place, and whether what it finds still has to be read."""
        match expr:
            case Name() if expr.name in self.unread:
                return places.variable(expr.name), self.unread[expr.name]
            case Name():
                return places.root(expr.name), True
            case Select():
                return self._field(expr)
            case Index():
                return self._element(expr)
        return self.value(expr), False

    def _field(self, expr: Select) -> tuple[Evaluate, bool]:
        of, is_unread = self._place(expr.of)
        if not isinstance(self.types[expr.of], Record):
            return places.entry(of, Constant(expr.field), written(expr.of)), is_unread
        if isinstance(expr.of, Name) and expr.of.name not in self.unread:
            return places.field_of_root(expr.of.name, expr.field, written(expr)), True
        return places.field(of, expr.field, written(expr)), True

    def _element(self, expr: Index) -> tuple[Evaluate, bool]:
        of, is_unread = self._place(expr.of)
        find = places.item if isinstance(self.types[expr.of], ListOf) else places.entry
        return find(of, self.value(expr.key), written(expr.of)), is_unread

    def _has(self, expr: Has) -> Evaluate:
        of, _ = self._place(expr.field.of)
        name = written(expr.field.of)
        found = places.has(of, expr.field.field, self.types[expr.field.of], name)
        return self.observe(expr, found) if self._is_outside(expr.field) else found

    # --- operators -----------------------------------------------------------------------

    def _overload(self, expr: Expr) -> Overload:
        return cast(Overload, self.meant[expr])  # only a FunctionCall can mean a Function

    def _applied(self, overload: Overload, parts: Sequence[Expr]) -> Evaluate:
        values = self._values(parts)
        if overload.prepare:
            values[-1] = prepared(overload.prepare, values[-1], overload.preparing_steps)
        return (counted if overload.counted else applied)(overload.call, values)

    def _null_test(self, expr: Comparison) -> Evaluate:
        tested = expr.left if is_null(expr.right) else expr.right
        call = operator.is_ if expr.op == "==" else operator.is_not
        return applied(call, [self.value(tested), Constant(None)])

    def _in(self, expr: In) -> Evaluate:
        kind = self.types[expr.item]
        if isinstance(expr.of, ListLiteral) and _is_set(expr.of, kind):
            known = frozenset(part.value for part in expr.of.items if isinstance(part, Literal))
            return applied(known.__contains__, [self.value(expr.item)])
        if isinstance(self.types[expr.of], MapOf):
            of, _ = self._place(expr.of)
            return places.key_in(of, self.value(expr.item), written(expr.of))
        # A list from outside was counted when it was read.
        combine = applied if self._is_outside(expr.of) else counted
        return combine(self._overload(expr).call, self._values([expr.item, expr.of]))

    # --- functions -----------------------------------------------------------------------

    def _function(self, expr: FunctionCall) -> Evaluate:
        meant = self.meant[expr]
        if isinstance(meant, Overload):
            return self._applied(meant, children(expr))
        name = written(expr)
        pairs = zip(expr.arguments, meant.parameters, strict=True)
        parts = [self._argument(part, wanted) for part, wanted in pairs]
        called = host_call(expr.name, meant.call, parts)
        return self.observe(expr, places.as_read(called, meant.returns, name))

    def _argument(self, expr: Expr, wanted: Type) -> Evaluate:
        if wanted != ANY:
            return self.value(expr)
        # Where anything is welcome it goes as it came: "2026-01-31", not the moment it means.
        get, _ = self._place(expr)
        return self.observe(expr, get) if self._is_outside(expr) else get

    # --- macros --------------------------------------------------------------------------

    def _range(self, expr: Quantified | Collected) -> Evaluate:
        of, is_unread = self._place(expr.of)
        self.unread[expr.variable] = is_unread
        found = places.items(of, self.types[expr.of], written(expr.of))
        return self.observe(expr.of, found) if self._is_outside(expr.of) else found

    def _quantified(self, expr: Quantified) -> Evaluate:
        of = self._range(expr)
        condition = self.value(expr.condition)
        if expr.kind == "exists_one":
            return exactly_one(of, expr.variable, condition)
        return quantified(of, expr.variable, condition, decisive=expr.kind == "exists")

    def _collected(self, expr: Collected) -> Evaluate:
        of = self._range(expr)
        condition = self.value(expr.condition) if expr.condition else None
        result = self.value(expr.result) if expr.result else self._item(expr)
        return collected(of, expr.variable, condition, result)

    def _item(self, expr: Collected) -> Evaluate:
        get, found = places.variable(expr.variable), self.types[expr]
        if self.unread[expr.variable] and isinstance(found, ListOf):
            return places.as_read(get, found.item, expr.variable)
        return get


def _is_set(of: ListLiteral, kind: Type) -> bool:
    """Whether the items can be looked up: they are known, and equal only to their like."""
    is_known = all(isinstance(part, Literal) for part in of.items)
    return is_known and widened(kind) in (INT, STRING)
