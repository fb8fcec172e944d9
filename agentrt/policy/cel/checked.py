"""A condition that fits its types, with what was found out about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from agentrt.policy.cel.functions import Function
from agentrt.policy.cel.operators import Overload
from agentrt.policy.cel.syntax import Expr, FunctionCall, Name, Select, children, walk
from agentrt.policy.cel.types import Record, Type
from agentrt.policy.cel.writing import written

__all__ = ["Checked", "HostCall"]


@dataclass(frozen=True, slots=True)
class HostCall:
    """A call of one of the host's functions."""

    node: FunctionCall
    name: str
    text: str


@dataclass(frozen=True, eq=False)
class Checked:
    """A condition that fits its types."""

    expr: Expr
    type: Type
    roots: frozenset[str]
    types: Mapping[Expr, Type]
    """The type of every part, where a test before has made it narrower."""
    meant: Mapping[Expr, Overload | Function]
    """What each operator and function does, for the types that it has there."""

    def type_of(self, node: Expr) -> Type:
        """The type of a part of the condition."""
        return self.types[node]

    @cached_property
    def reads(self) -> frozenset[str]:
        """The dotted paths that are read, from a root up to the first index: `args.amount`."""
        return frozenset(self._reads())

    @cached_property
    def calls(self) -> tuple[HostCall, ...]:
        """The calls of the host's functions, in the order of the text."""
        return tuple(
            HostCall(part, part.name, written(part))
            for part in walk(self.expr)
            if isinstance(part, FunctionCall) and isinstance(self.meant[part], Function)
        )

    def _reads(self) -> Iterator[str]:
        waiting = [self.expr]
        while waiting:
            part = waiting.pop()
            path = self._dotted(part)
            if path is None:
                waiting.extend(children(part))
            else:
                yield path

    def _dotted(self, expr: Expr) -> str | None:
        match expr:
            case Name() if expr.name in self.roots:
                return expr.name
            case Select():
                of = self._dotted(expr.of)
                is_field = isinstance(self.types[expr.of], Record)
                return f"{of}.{expr.field}" if of and is_field else of
        return None
