"""The parser: what becomes of each rule of the grammar.

Imports lark; whoever only passes trees on need not load this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, v_args

from agentrt.policy.cel.errors import Malformed
from agentrt.policy.cel.grammar import GRAMMAR
from agentrt.policy.cel.literals import double_of, int_of, text_of
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
from agentrt.policy.cel.writing import written

__all__ = ["parser"]

_WORDS = {"true": True, "false": False, "null": None}
_KEYWORDS = (*_WORDS, "in")
# Kept for the languages that CEL is embedded in:
# https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_QUANTIFIERS = ("all", "exists", "exists_one")
_MACROS = (*_QUANTIFIERS, "filter", "map")
_UNSUPPORTED = {"dyn": "every value has its type here", "type": "every type is known beforehand"}
_ESCAPED_NAME = re.compile(r"`[a-zA-Z0-9_./ -]+`")

Parsed = Any
"""A node, a token, or a tuple of nodes or entries: whatever the rules above have made."""


@cache
def parser() -> Lark:
    """What makes a tree of a text."""
    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False, transformer=_Builder())


@v_args(inline=True)
class _Builder(Transformer[Token, Expr]):
    """A method for each rule; the parser calls them from the leaves to the root."""

    def int_literal(self, token: Token) -> Literal:
        # Its sign is not seen yet, so that the range is checked when the tree is complete.
        return _literal(token, int_of)

    def double_literal(self, token: Token) -> Literal:
        return _literal(token, double_of)

    def string_literal(self, token: Token) -> Literal:
        return _literal(token, text_of)

    def word_literal(self, token: Token) -> Literal:
        return Literal(*_span(token), _WORDS[token])

    def uint_literal(self, token: Token) -> Literal:
        raise Malformed(f"unsigned numbers are not accepted: write {token[:-1]}", *_span(token))

    def bytes_literal(self, token: Token) -> Literal:
        raise Malformed("bytes are not accepted: write a text without the b", *_span(token))

    def name(self, token: Token) -> Name:
        return Name(*_span(token), _free(token))

    def leading_dot(self, name: Token, *rest: Parsed) -> Name:
        raise Malformed(
            f"a name does not begin with a dot: write {name}", _start(name) - 1, _end(name)
        )

    def group(self, opened: Token, inner: Expr, closed: Token) -> Expr:
        return replace(inner, start=_start(opened), end=_end(closed))

    def arguments(self, *items: Expr) -> tuple[Expr, ...]:
        return items

    items = arguments

    def entries(self, *entries: tuple[Expr, Expr]) -> tuple[tuple[Expr, Expr], ...]:
        return entries

    def entry(self, key: Expr, value: Expr) -> tuple[Expr, Expr]:
        return key, value

    def list_literal(self, opened: Token, *rest: Parsed) -> ListLiteral:
        *items, closed = rest
        return ListLiteral(_start(opened), _end(closed), items[0] if items else ())

    def map_literal(self, opened: Token, *rest: Parsed) -> MapLiteral:
        *entries, closed = rest
        return MapLiteral(_start(opened), _end(closed), entries[0] if entries else ())

    def select(self, of: Expr, field: Token) -> Select:
        return Select(of.start, _end(field), of, _selector(field))

    def escaped_select(self, of: Expr, field: Token) -> Select:
        if not _ESCAPED_NAME.fullmatch(field):
            message = "a name in backticks has letters, digits, spaces and _ . - / only"
            raise Malformed(message, *_span(field))
        return Select(of.start, _end(field), of, field[1:-1])

    def index(self, of: Expr, key: Expr, closed: Token) -> Index:
        return Index(of.start, _end(closed), of, key)

    def function(self, name: Token, *rest: Parsed) -> Expr:
        *arguments, closed = rest
        span = (_start(name), _end(closed))
        if name == "has":
            return _has(span, *arguments)
        if why := _UNSUPPORTED.get(name):
            raise Malformed(f"{name}() is not accepted: {why}", *_span(name))
        return FunctionCall(*span, _free(name), None, *arguments or [()])

    def method(self, of: Expr, name: Token, *rest: Parsed) -> Expr:
        *arguments, closed = rest
        found: tuple[Expr, ...] = arguments[0] if arguments else ()
        if name in _MACROS:
            return _macro(of, name, found, _end(closed))
        return FunctionCall(of.start, _end(closed), _selector(name), of, found)

    def nots(self, sign: Token, of: Expr) -> Not:
        return Not(_start(sign), of.end, of)

    def minuses(self, sign: Token, of: Expr) -> Expr:
        # As one literal, since -9223372036854775808 has no positive counterpart.
        match of:
            case Literal(value=int() | float() as value) if value >= 0 and type(value) is not bool:
                return Literal(_start(sign), of.end, -value)
        return Negative(_start(sign), of.end, of)

    def arithmetic(self, left: Expr, op: Any, right: Expr) -> Arithmetic:
        return Arithmetic(left.start, right.end, str(op), left, right)  # type: ignore[arg-type]

    def comparison(self, left: Expr, op: Any, right: Expr) -> Comparison:
        return Comparison(left.start, right.end, str(op), left, right)  # type: ignore[arg-type]

    def membership(self, item: Expr, of: Expr) -> In:
        return In(item.start, of.end, item, of)

    def all_of(self, *parts: Expr) -> And:
        return And(parts[0].start, parts[-1].end, parts)

    def any_of(self, *parts: Expr) -> Or:
        return Or(parts[0].start, parts[-1].end, parts)

    def conditional(self, test: Expr, then: Expr, otherwise: Expr) -> Conditional:
        return Conditional(test.start, otherwise.end, test, then, otherwise)


def _start(part: Expr | Token) -> int:
    return part.start_pos or 0 if isinstance(part, Token) else part.start


def _end(part: Expr | Token) -> int:
    return part.end_pos or 0 if isinstance(part, Token) else part.end


def _span(token: Token) -> tuple[int, int]:
    return _start(token), _end(token)


def _literal(token: Token, value_of: Callable[[str], str | float]) -> Literal:
    try:
        return Literal(*_span(token), value_of(token))
    except ValueError as error:
        raise Malformed(str(error), *_span(token)) from None


def _selector(name: Token) -> str:
    if name in _KEYWORDS:
        raise Malformed(f"{name} is a word of CEL: write .`{name}`", *_span(name))
    return str(name)


def _free(name: Token) -> str:
    if name in _RESERVED or name in _KEYWORDS:
        raise Malformed(f"{name} is a reserved word of CEL", *_span(name))
    return str(name)


def _has(span: tuple[int, int], arguments: tuple[Expr, ...] = ()) -> Has:
    match arguments:
        case (Select() as field,):
            return Has(*span, field)
        case (Index(key=Literal(value=str())) as entry,):
            message = f"has() asks for a field: write {written(entry.key)} in {written(entry.of)}"
            raise Malformed(message, *span)
    raise Malformed("has() asks for a field: write has(args.note)", *span)


def _macro(of: Expr, kind: Token, arguments: tuple[Expr, ...], end: int) -> Expr:
    match str(kind), arguments:
        case ("all" | "exists" | "exists_one") as quantifier, (Name(name=variable), condition):
            return Quantified(of.start, end, quantifier, of, variable, condition)
        case "filter", (Name(name=variable), condition):
            return Collected(of.start, end, of, variable, condition, None)
        case "map", (Name(name=variable), result):
            return Collected(of.start, end, of, variable, None, result)
        case "map", (Name(name=variable), condition, result):
            return Collected(of.start, end, of, variable, condition, result)
    example = "map(x, x + 1)" if kind == "map" else f"{kind}(x, x > 0)"
    message = f"{kind}() takes the name of a variable and an expression: write {example}"
    raise Malformed(message, *_span(kind))
