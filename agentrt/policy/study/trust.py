"""Trust: which way a rule goes by where a value comes from.

`from_tool` compares widely, so that nobody evades a suspicion by another spelling; whoever
relies on it to let a call run lets others' values run too. `user_named` and `from_trusted`
compare narrowly, so that nothing runs by a likeness; a suspicion built on them is evaded by
another spelling. Looked into are `!`, `&&`, `||`, the sides of `?:`, `all` and `exists`, and
`== true`; what other parts make of such a call is left to the author.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentrt.policy.bound import parsed
from agentrt.policy.cel import Expr
from agentrt.policy.cel.syntax import (
    And,
    Comparison,
    Conditional,
    FunctionCall,
    Literal,
    Not,
    Or,
    Quantified,
)
from agentrt.policy.rules import Rule
from agentrt.policy.study.findings import Finding, Level

__all__ = ["misplaced_trust"]

_WIDE = ("from_tool",)
_NARROW = ("user_named", "from_trusted")


def misplaced_trust(rule: Rule) -> Iterator[Finding]:
    """Calls of the functions of provenance that work against what the rule is for."""
    if rule.when is None:
        return
    for call, positive in _uses(parsed(rule.when), True):
        lets_run = positive is (rule.decide == "allow")
        if call.name in _WIDE and lets_run:
            yield _finding(call, _WIDE_LETS_RUN)
        elif call.name in _NARROW and not lets_run:
            yield _finding(call, _narrow_keeps(call.name, rule))


_WIDE_LETS_RUN = (
    "from_tool finds a value however it is spelt, so it must not be what lets a call run: "
    "use from_trusted"
)


def _narrow_keeps(name: str, rule: Rule) -> str:
    kept = {"deny": "denied", "hold": "held", "allow": "kept from running"}[rule.decide]
    return (
        f"{name} finds a value only as it is written, so whoever spells it differently is not "
        f"{kept} by this: use from_tool, or turn the condition round"
    )


def _finding(call: FunctionCall, message: str) -> Finding:
    level: Level = "error" if call.name in _WIDE else "warning"
    return Finding(message, ("when",), call.start, level)


def _uses(expr: Expr, positive: bool) -> Iterator[tuple[FunctionCall, bool]]:
    """Calls of provenance, each with whether it being true can make the whole true or false."""
    match expr:
        case FunctionCall(receiver=None) if expr.name in (*_WIDE, *_NARROW):
            yield expr, positive
        case Not():
            yield from _uses(expr.of, not positive)
        case And() | Or():
            for part in expr.parts:
                yield from _uses(part, positive)
        case Conditional():
            yield from _uses(expr.then, positive)
            yield from _uses(expr.otherwise, positive)
        case Quantified(kind="all" | "exists"):
            yield from _uses(expr.condition, positive)
        case Comparison(op="==" | "!=", right=Literal(value=bool() as value)):
            yield from _uses(expr.left, positive is (value is (expr.op == "==")))
        case Comparison(op="==" | "!=", left=Literal(value=bool() as value)):
            yield from _uses(expr.right, positive is (value is (expr.op == "==")))
