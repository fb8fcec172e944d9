"""A term: what an atom of a condition is about.

A place, a size, a sum, or a test that is not looked into: whatever has a value. Within one
decision the same term always comes to the same value, or fails alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from agentrt.policy.cel import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Checked,
    Expr,
    Function,
    Nullable,
    Record,
    Type,
    walk,
    written,
)
from agentrt.policy.cel.narrowing import path_of
from agentrt.policy.cel.syntax import FunctionCall, Has, In, Literal, Name, Select, children
from agentrt.policy.cel.types import Plain, widened
from agentrt.policy.rules import ToolLike
from agentrt.policy.study.constants import constant
from agentrt.policy.study.domains import (
    Domain,
    domain_of,
    domain_of_has,
    domain_of_label,
    domain_of_null_test,
    domain_of_size,
    only,
)

__all__ = ["Term", "Terms", "has_single_values", "types_in"]

_SCALARS = (BOOL, INT, DOUBLE, STRING, TIMESTAMP, DURATION)


@dataclass(frozen=True, slots=True)
class Term:
    """Two are the same when text and types are."""

    text: str
    types: str
    """Of what is in it: what is read as another type fails otherwise."""
    domain: Domain = field(compare=False)
    is_free: bool = field(compare=False)
    """It takes no steps, so it comes to the same whatever was evaluated before it."""


class Terms:
    """The terms of the conditions that are typed for one tool, each made once."""

    def __init__(self, tool: ToolLike) -> None:
        self._tool = tool
        self._made: dict[tuple[str, str], Term] = {}

    def of(self, part: Expr, checked: Checked) -> Term:
        """The term that a part of the condition is."""
        return self._once(_text(part), part, checked, lambda: self._domain(part, checked))

    def of_null_test(self, tested: Expr, checked: Checked) -> Term:
        """The term for whether a part is null."""
        text = f"{_text(tested)} == null"
        kind = checked.types[tested]
        return self._once(text, tested, checked, lambda: domain_of_null_test(tested, kind))

    def _once(self, text: str, part: Expr, checked: Checked, domain: Callable[[], Domain]) -> Term:
        key = text, types_in(part, checked)
        if key not in self._made:
            self._made[key] = Term(*key, domain(), _is_free(part, checked))
        return self._made[key]

    def _domain(self, part: Expr, checked: Checked) -> Domain:
        match part:
            case Has():
                return domain_of_has(part, self._tool)
            case FunctionCall(name="size"):
                of = children(part)[0]
                return domain_of_size(of, checked.types[of], self._tool)
            case In(item=Literal(value=label), of=Select(of=Name(name="tool"), field="labels")):
                return domain_of_label(str(label), self._tool)
        value = constant(part, checked.meant)
        if value is not None:
            return only(value)
        return domain_of(part, checked.types[part], self._tool)


def has_single_values(part: Expr, checked: Checked) -> bool:
    """Whether each value of the part either meets a comparison or meets its opposite."""
    # A computed double may be NaN, of which neither `x > 1` nor `x <= 1` is true.
    kind = widened(checked.types[part])
    return kind in _SCALARS and (kind != DOUBLE or path_of(part) is not None)


# The same condition is studied for each tool that its rule covers.
@lru_cache(maxsize=8192)
def _text(part: Expr) -> str:
    return written(part)


def types_in(part: Expr, checked: Checked) -> str:
    """As what the places in the part are read."""
    if path_of(part) is not None:  # a place is followed as it came, and read at its end
        return _exactly(checked.types[part])
    return " ".join(_exactly(checked.types.get(each)) for each in walk(part))


def _exactly(kind: Type | None) -> str:
    # A choice of strings is called a string, but what is none of them fails.
    return str(kind) if isinstance(kind, (Plain, Record)) else repr(kind)


def _is_free(part: Expr, checked: Checked) -> bool:
    match part:
        case Has():
            return path_of(part.field) is not None
        case FunctionCall(name="size"):
            of = children(part)[0]
            return widened(checked.types[of]) == STRING and path_of(of) is not None
        case FunctionCall() if isinstance(checked.meant[part], Function):
            return all(_is_at_hand(argument) for argument in children(part))
    return path_of(part) is not None and _is_scalar(checked.types[part])


def _is_at_hand(part: Expr) -> bool:
    return isinstance(part, Literal) or path_of(part) is not None


def _is_scalar(kind: Type) -> bool:
    return widened(kind.of if isinstance(kind, Nullable) else kind) in _SCALARS
