"""From the text of a condition to its tree."""

from __future__ import annotations

import re

from agentrt.policy.cel.errors import Malformed
from agentrt.policy.cel.syntax import Expr, Literal, children
from agentrt.policy.cel.values import INT_MAX, INT_MIN

__all__ = ["DEPTH_MAX", "TEXT_MAX", "parse"]

TEXT_MAX = 4_000
"""The longest condition, in characters."""
DEPTH_MAX = 50
"""How deep a condition may nest."""

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def parse(text: str) -> Expr:
    """The tree of a condition.

    Raises Malformed, with the place, for whatever is not one: also for a text or a nesting
    beyond TEXT_MAX and DEPTH_MAX, so that no text can exhaust whoever walks the tree.
    """
    from lark import UnexpectedInput

    from agentrt.policy.cel.building import parser
    from agentrt.policy.cel.misreadings import misreading

    _check_characters(text)
    try:
        expr: Expr = parser().parse(text)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise misreading(text, error) from None
    _check_tree(expr)
    return expr


def _check_characters(text: str) -> None:
    if len(text) > TEXT_MAX:
        message = f"a condition has at most {TEXT_MAX:,} characters, not {len(text):,}"
        raise Malformed(message, TEXT_MAX, len(text))
    if half := _HALF_CHARACTER.search(text):
        raise Malformed("half of a surrogate pair is no character", *half.span())


def _check_tree(expr: Expr) -> None:
    waiting = [(expr, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise Malformed(f"nested deeper than {DEPTH_MAX} levels", part.start, part.end)
        if isinstance(part, Literal) and type(part.value) is int:
            _check_int(part, part.value)
        waiting.extend((child, depth + 1) for child in children(part))


def _check_int(literal: Literal, value: int) -> None:
    if not INT_MIN <= value <= INT_MAX:
        message = f"an int is from {INT_MIN} to {INT_MAX}"
        raise Malformed(message, literal.start, literal.end)
