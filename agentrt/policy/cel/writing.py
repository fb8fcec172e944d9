"""A tree as text again, in one form however it was written: for messages and explanations."""

from __future__ import annotations

import json
import math

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
)

__all__ = ["written"]

_CONDITIONAL, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)
_PRODUCTS = ("*", "/", "%")


def written(expr: Expr) -> str:
    """The text of the tree, which parses to the same tree."""
    return _at(_CONDITIONAL, expr)


def _at(level: int, expr: Expr) -> str:
    """The text where only what binds as tightly as `level` needs no parentheses."""
    text = _text(expr)
    return text if _level(expr) >= level else f"({text})"


def _level(expr: Expr) -> int:
    match expr:
        case Conditional():
            return _CONDITIONAL
        case Or():
            return _OR
        case And():
            return _AND
        case Comparison() | In():
            return _RELATION
        case Arithmetic():
            return _PRODUCT if expr.op in _PRODUCTS else _SUM
        case Not() | Negative():
            return _UNARY
        case Literal(value=int() | float() as number) if str(number).startswith("-"):
            return _UNARY
    return _MEMBER


def _text(expr: Expr) -> str:  # noqa: C901 - one case for each kind of node
    match expr:
        case Literal():
            return _literal(expr.value)
        case Name():
            return expr.name
        case Select():
            return f"{_at(_MEMBER, expr.of)}.{_field(expr.field)}"
        case Has():
            return f"has({written(expr.field)})"
        case Index():
            return f"{_at(_MEMBER, expr.of)}[{written(expr.key)}]"
        case ListLiteral():
            return f"[{_listed(expr.items)}]"
        case MapLiteral():
            entries = (f"{written(key)}: {written(value)}" for key, value in expr.entries)
            return f"{{{', '.join(entries)}}}"
        case Not():
            return f"!{_at(_UNARY if isinstance(expr.of, Not) else _MEMBER, expr.of)}"
        case Negative():
            return f"-{_at(_UNARY if isinstance(expr.of, Negative) else _MEMBER, expr.of)}"
        case Arithmetic():
            level = _level(expr)
            return f"{_at(level, expr.left)} {expr.op} {_at(level + 1, expr.right)}"
        case Comparison():
            return f"{_at(_RELATION, expr.left)} {expr.op} {_at(_SUM, expr.right)}"
        case In():
            return f"{_at(_RELATION, expr.item)} in {_at(_SUM, expr.of)}"
        case And():
            return " && ".join(_at(_RELATION, part) for part in expr.parts)
        case Or():
            return " || ".join(_at(_AND, part) for part in expr.parts)
        case Conditional():
            test, then = _at(_OR, expr.test), _at(_OR, expr.then)
            return f"{test} ? {then} : {written(expr.otherwise)}"
        case FunctionCall():
            receiver = f"{_at(_MEMBER, expr.receiver)}." if expr.receiver else ""
            return f"{receiver}{expr.name}({_listed(expr.arguments)})"
        case Quantified():
            inner = f"{expr.variable}, {written(expr.condition)}"
            return f"{_at(_MEMBER, expr.of)}.{expr.kind}({inner})"
        case Collected():
            return _collected(expr)


def _collected(expr: Collected) -> str:
    parts = [part for part in (expr.condition, expr.result) if part]
    kind = "map" if expr.result else "filter"
    return f"{_at(_MEMBER, expr.of)}.{kind}({expr.variable}, {_listed(parts)})"


def _listed(parts: list[Expr] | tuple[Expr, ...]) -> str:
    return ", ".join(written(part) for part in parts)


def _literal(value: bool | int | float | str | None) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def _field(name: str) -> str:
    plain = name.isidentifier() and name.isascii() and name not in ("true", "false", "null", "in")
    return name if plain else f"`{name}`"
