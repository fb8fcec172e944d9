"""What a policy says to one call: pure, and the same whatever the order of its rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Any, Literal

import rfc8785

from agentrt.events import RuleRef
from agentrt.policy.rules import DECISIONS, Approve, Rule, ToolLike, Verdict, effect_of

__all__ = ["Decision", "DefaultRead", "Question", "decide", "decide_unknown", "matches"]

DefaultRead = Literal["allow", "hold"]


@dataclass(frozen=True)
class Question:
    """A call, as policy is asked about it."""

    tool: ToolLike
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The completed arguments."""


@dataclass(frozen=True)
class Decision:
    """The verdict on a call, and everything needed to say later why it was so."""

    verdict: Verdict
    basis: Literal["rules", "default", "unknown_tool"]
    reason: str
    """For the reviewer and for Claude."""
    rules_digest: str
    """SHA-256 of what the deciding rules mean; an approval is void once it is another."""
    bundle: str
    rules: tuple[RuleRef, ...] = ()
    """Every rule that matched, those that decided first."""
    deciding: tuple[RuleRef, ...] = ()
    approve: Approve | None = None
    """What lets a held call run, with its severity said; None for other verdicts."""


def matches(rule: Rule, question: Question) -> bool:
    """Whether the rule speaks of this call."""
    return rule.covers(question.tool)


def decide(
    question: Question, *, rules: Sequence[Rule], default_read: DefaultRead, bundle: str
) -> Decision:
    """deny > hold > allow > the default, over all rules that match."""
    matching = [rule for rule in rules if matches(rule, question)]
    if not matching:
        return _by_default(question.tool, default_read, bundle)
    ordered = sorted(matching, key=_strictest_first)
    verdict = ordered[0].decide
    deciding = [rule for rule in ordered if rule.decide == verdict]
    return Decision(
        verdict=verdict,
        basis="rules",
        reason=" ".join(dict.fromkeys(rule.why for rule in deciding)),
        rules_digest=_digest_of_rules(tuple(deciding)),
        bundle=bundle,
        rules=tuple(_ref(rule) for rule in ordered),
        deciding=tuple(_ref(rule) for rule in deciding),
        approve=_strictest(deciding, question.tool),
    )


def decide_unknown(name: str, *, bundle: str) -> Decision:
    """The verdict on a tool nobody knows: it is denied."""
    return Decision(
        verdict="deny",
        basis="unknown_tool",
        reason=f"There is no tool {name!r}.",
        rules_digest=_digest({"unknown_tool": "deny"}),
        bundle=bundle,
    )


def _by_default(tool: ToolLike, default_read: DefaultRead, bundle: str) -> Decision:
    effect = effect_of(tool)
    verdict: DefaultRead = default_read if effect == "read" else "hold"
    approve = Approve().for_effect(effect) if verdict == "hold" else None
    return Decision(
        verdict=verdict,
        basis="default",
        reason=_default_reason(tool.name, effect, verdict),
        rules_digest=_digest_of_default(effect, verdict, approve),
        bundle=bundle,
        approve=approve,
    )


def _default_reason(name: str, effect: str, verdict: DefaultRead) -> str:
    if verdict == "allow":
        return f"No rule speaks of {name}, and this policy lets reads run."
    if effect == "read":
        return f"No rule speaks of {name}, and this policy does not let reads run unasked."
    return f"No rule speaks of {name}, and what does more than read waits for a person."


def _strictest_first(rule: Rule) -> tuple[int, str]:
    return DECISIONS.index(rule.decide), rule.id


def _strictest(deciding: Sequence[Rule], tool: ToolLike) -> Approve | None:
    asked = [rule.approve.for_effect(effect_of(tool)) for rule in deciding if rule.approve]
    return reduce(Approve.stricter, asked) if asked else None


def _ref(rule: Rule) -> RuleRef:
    return RuleRef(id=rule.id, file=rule.file, line=rule.line)


# The same few rules decide most calls, and their digest is the dearest part of deciding.
@lru_cache(maxsize=4096)
def _digest_of_rules(deciding: tuple[Rule, ...]) -> str:
    return _digest({"rules": [rule.meaning() for rule in deciding]})


@lru_cache(maxsize=64)
def _digest_of_default(effect: str, verdict: DefaultRead, approve: Approve | None) -> str:
    terms = approve.model_dump(mode="json") if approve else None
    return _digest({"default": {"effect": effect, "decide": verdict, "approve": terms}})


def _digest(meaning: dict[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(meaning)).hexdigest()
