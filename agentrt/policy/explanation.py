"""An explanation: what each rule said to a call, from what was recorded and nothing else.

No condition is asked again: the values are those that were read when the call was decided, and
the rules are those of the bundle as it was then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic_core import from_json

from agentrt.errors import PolicyError
from agentrt.events import RuleRef
from agentrt.policy.bound import expressions, parsed
from agentrt.policy.bundle import Policy
from agentrt.policy.cel import Malformed, walk, written
from agentrt.policy.rules import Rule

__all__ = ["Decided", "RuleSaid", "State", "rule_text", "rules_said", "why_so"]

State = Literal["matched", "did not match", "could not be evaluated", "waits"]


class Decided(Protocol):
    """A decision as it was recorded, or as it would be."""

    @property
    def verdict(self) -> str:
        """What the policy said."""

    @property
    def basis(self) -> str:
        """What decided."""

    @property
    def rules(self) -> tuple[RuleRef, ...]:
        """The rules that matched or wait."""

    @property
    def considered(self) -> tuple[RuleRef, ...]:
        """The rules that did not match."""

    @property
    def shadow(self) -> tuple[RuleRef, ...]:
        """The rules in shadow mode that would have matched."""

    @property
    def failed(self) -> Collection[str]:
        """The ids of the rules that could not be evaluated."""


@dataclass(frozen=True)
class RuleSaid:
    """What one rule said."""

    ref: RuleRef
    state: State
    decides: bool
    """Whether the decision is this rule's, alone or among others."""
    shadow: bool = False
    rule: Rule | None = None
    """The rule as it was; None when its text was not recorded or cannot be read."""
    text: tuple[str, ...] = ()
    """Its lines in the file."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What its expressions read, by expression."""
    limit: str | None = None
    """How far its limit was used up."""
    error: str | None = None
    """Why it could not be evaluated."""
    waits_for: str | None = None
    """The fact that it needs."""


def rules_said(
    decided: Decided, facts: bytes | None, texts: Mapping[str, str]
) -> tuple[RuleSaid, ...]:
    """What each rule that covers the tool said, those that decided first.

    `facts` is what was recorded as read, `texts` the files of the bundle by name.
    """
    read: Mapping[str, Any] = from_json(facts) if facts is not None else {}
    rules = {rule.id: rule for rule in _rules(texts)}
    told = _Telling(decided, read, rules, texts)
    said = [told.of(ref) for ref in decided.rules]
    said += [told.of(ref, shadow=True) for ref in decided.shadow]
    said += [told.of(ref) for ref in decided.considered]
    return tuple(sorted(said, key=lambda one: not one.decides))


def why_so(decided: Decided, said: Collection[RuleSaid]) -> str:
    """What the decision came to, and by which of deny > hold > allow > the default."""
    names = ", ".join(one.ref.id for one in said if one.decides)
    verdict = decided.verdict
    if names:
        return f"{verdict}, by {names}: {_COUNTS[verdict]}"
    return f"{verdict}, by {decided.basis}: {_OTHERWISE.get(decided.basis, 'no rule was asked')}"


_COUNTS = {
    "deny": "a deny counts before every hold and allow",
    "hold": "no rule denies, and a hold counts before every allow",
    "allow": "no rule denies or holds",
}

_OTHERWISE = {
    "default": "no rule matches",
    "unknown_tool": "the agent has no such tool, and no rule was asked",
    "tool_gone": "the tool was taken away, and no rule was asked",
    "invalid_arguments": "the arguments do not fit the tool, and no rule was asked",
    "second_attempt": "it was started once and cannot be undone, so a person is asked",
}


def rule_text(rule: RuleRef, text: str) -> list[str]:
    """The rule's own lines: down to the next line that is indented no deeper than its first."""
    lines = text.splitlines()[rule.line - 1 :]
    if not lines:
        return ["(its text was not recorded)"]
    depth = len(lines[0]) - len(lines[0].lstrip())
    taken = [lines[0]]
    for line in lines[1:]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        taken.append(line)
    return [line[depth:] for line in taken if line.strip()]


def _rules(texts: Mapping[str, str]) -> tuple[Rule, ...]:
    try:
        return Policy.parse(texts).rules
    except PolicyError:  # of a later version, which this one cannot read
        return ()


@dataclass(frozen=True)
class _Telling:
    """Puts together what the record says of each rule."""

    decided: Decided
    read: Mapping[str, Any]
    rules: Mapping[str, Rule]
    texts: Mapping[str, str]

    def of(self, ref: RuleRef, *, shadow: bool = False) -> RuleSaid:
        rule = self.rules.get(ref.id)
        state = self._state(ref)
        return RuleSaid(
            ref,
            state,
            decides=not shadow and self._decides(ref, state, rule),
            shadow=shadow or (rule is not None and rule.mode == "shadow"),
            rule=rule,
            text=tuple(rule_text(ref, self.texts.get(ref.file, ""))),
            values=dict(self._values(rule)) if rule is not None else {},
            limit=self.read.get("limits", {}).get(ref.id),
            error=self.read.get("errors", {}).get(ref.id),
            waits_for=self.read.get("waits", {}).get(ref.id),
        )

    def _state(self, ref: RuleRef) -> State:
        if ref.id in self.decided.failed:
            return "could not be evaluated"
        if ref.id in self.read.get("waits", {}):
            return "waits"
        return "did not match" if ref in self.decided.considered else "matched"

    def _decides(self, ref: RuleRef, state: State, rule: Rule | None) -> bool:
        """A rule that waits, or cannot do what it sets, holds the call whatever it decides."""
        if ref in self.decided.considered:
            return False
        if rule is None:
            return True
        holds = state == "waits" or (state == "could not be evaluated" and bool(rule.set))
        return self.decided.verdict == ("hold" if holds else rule.decide)

    def _values(self, rule: Rule) -> Iterator[tuple[str, Any]]:
        """Those of the recorded values that its expressions name."""
        names = set(_names(rule))
        for expression, value in self.read.get("values", {}).items():
            if any(expression == name or expression.startswith(f"{name} where ") for name in names):
                yield expression, value


def _names(rule: Rule) -> Iterator[str]:
    for _, text in expressions(rule):
        try:
            yield from (written(part) for part in walk(parsed(text)))
        except Malformed:
            return
