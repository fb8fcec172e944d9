"""What a test proves: that a field is there, that a value is not null.

Used from left to right, as people read: in `has(a.b) && a.b == 1` the right side is only
asked when the left side is true.
"""

from __future__ import annotations

from typing import Literal as OneOf

from agentrt.policy.cel.syntax import (
    And,
    Comparison,
    Expr,
    Has,
    Index,
    Literal,
    Name,
    Not,
    Or,
    Select,
)

__all__ = ["Path", "Proof", "Proofs", "is_null", "path_of", "proofs"]

Path = tuple[str | int, ...]
Proof = tuple[OneOf["there", "not null"], Path]
Proofs = frozenset[Proof]

_NONE: Proofs = frozenset()


def path_of(expr: Expr) -> Path | None:
    """Name, fields and literal keys; None for what is not a place but a computed value."""
    match expr:
        case Name():
            return (expr.name,)
        case Select():
            return _longer(expr.of, expr.field)
        case Index(key=Literal(value=str() | int() as key)):
            return _longer(expr.of, key)
    return None


def _longer(of: Expr, step: str | int) -> Path | None:
    path = path_of(of)
    return None if path is None else (*path, step)


def proofs(test: Expr, outcome: bool) -> Proofs:
    """What holds when the test comes to `outcome`."""
    match test:
        case Not():
            return proofs(test.of, not outcome)
        case And() | Or():
            each = [proofs(part, outcome) for part in test.parts]
            # All parts of a true && are true; of a false one, who knows which is false.
            together = outcome is isinstance(test, And)
            return frozenset.union(*each) if together else frozenset.intersection(*each)
        case Has() if outcome:
            return _proof("there", test.field)
        case Comparison(op="!=" | "==") if outcome is (test.op == "!="):
            return _not_null(test)
    return _NONE


def _not_null(test: Comparison) -> Proofs:
    if is_null(test.right):
        return _proof("not null", test.left)
    return _proof("not null", test.right) if is_null(test.left) else _NONE


def is_null(expr: Expr) -> bool:
    """Whether this is the word `null`."""
    return isinstance(expr, Literal) and expr.value is None


def _proof(kind: OneOf["there", "not null"], place: Expr) -> Proofs:
    path = path_of(place)
    return _NONE if path is None else frozenset([(kind, path)])
