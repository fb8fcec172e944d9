"""What a policy says to one call: pure, and the same whatever the order of its rules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Any, Literal

import rfc8785

from agentrt.errors import ArgumentsInvalid
from agentrt.events import RuleRef
from agentrt.policy.bound import Bound
from agentrt.policy.judge import Judgement, judge
from agentrt.policy.known import Known
from agentrt.policy.rules import Approve, Effect, Rule, ToolLike, Verdict, effect_of
from agentrt.policy.vocabulary import about_tool
from agentrt.run.replacing import replace

__all__ = [
    "Decision",
    "DefaultRead",
    "Question",
    "decide",
    "decide_unknown",
]

_FOUND_MAX = 3
"""How many values of a rule a reason tells the places of; the decision records them all."""

DefaultRead = Literal["allow", "hold"]

Complete = Callable[[dict[str, Any]], dict[str, Any]]
"""Checks arguments and fills in defaults. Raises ArgumentsInvalid."""


@dataclass(frozen=True)
class Question:
    """A call, as policy is asked about it."""

    tool: ToolLike
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The completed arguments."""
    known: Known = field(default_factory=Known)
    complete: Complete = dict
    """What arguments that rules have set must go through."""


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
    considered: tuple[RuleRef, ...] = ()
    """The rules that cover the tool and did not match."""
    shadow: tuple[RuleRef, ...] = ()
    """The rules in `mode: shadow` that would have matched."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Why rules could not be evaluated, by id."""
    awaiting: tuple[str, ...] = ()
    """Facts that the decision waits for."""
    wait_s: int = 0
    """How long it does before a person is asked."""
    approve: Approve | None = None
    """What lets a held call run, with its severity said; None for other verdicts."""
    grouped: bool = False
    """Whether one approval may cover the calls of the turn that are held for the same reason."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The arguments that rules set."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The completed arguments that the decision is about."""
    judgement: Judgement = field(default_factory=Judgement, repr=False, compare=False)


def decide(
    question: Question, *, bounds: Sequence[Bound], default_read: DefaultRead, bundle: str
) -> Decision:
    """deny > hold > allow > the default, over all rules that match.

    `bounds` are the rules that cover the question's tool.
    """
    judgement, arguments = _judged(question, bounds)
    return _concluded(judgement, question.tool, arguments, default_read, bundle)


def decide_unknown(name: str, *, bundle: str) -> Decision:
    """The verdict on a tool nobody knows: it is denied."""
    return Decision(
        verdict="deny",
        basis="unknown_tool",
        reason=f"There is no tool {name!r}.",
        rules_digest=_digest({"unknown_tool": "deny"}),
        bundle=bundle,
    )


# --- judge ------------------------------------------------------------------------------


def _judged(question: Question, bounds: Sequence[Bound]) -> tuple[Judgement, Mapping[str, Any]]:
    """The judgement, and the arguments as the rules set them."""
    tool = about_tool(question.tool)
    first = judge(bounds, question.known, question.arguments, tool)
    if not first.settings:
        return first, question.arguments
    try:
        changed = question.complete({**question.arguments, **first.settings})
    except ArgumentsInvalid as error:
        return first.stuck_with(f"what it sets does not fit: {error}"), question.arguments
    second = judge(bounds, question.known, changed, tool)
    if any(changed.get(name) != value for name, value in second.settings.items()):
        reason = "what it sets makes rules set something else again"
        return first.then(second).stuck_with(reason), question.arguments
    return first.then(second), changed


# --- conclude ---------------------------------------------------------------------------


def _concluded(
    judgement: Judgement,
    tool: ToolLike,
    arguments: Mapping[str, Any],
    default_read: DefaultRead,
    bundle: str,
) -> Decision:
    deciding, verdict = _deciding(judgement)
    if verdict is None:
        return _by_default(judgement, tool, arguments, default_read, bundle)
    rules = tuple([bound.rule for bound in deciding])
    awaiting = _awaited(judgement) if verdict == "hold" else ()
    return replace(
        _by_rules(rules, verdict, effect_of(tool), bundle),
        reason=_reason(deciding, judgement, awaiting),
        rules=_refs(_once([*deciding, *_sorted(judgement.matched)])),
        deciding=_refs(deciding),
        considered=_considered(judgement, deciding),
        shadow=_refs(judgement.shadow),
        failed=judgement.failed,
        awaiting=awaiting,
        wait_s=min((one.rule.defer_s for one in judgement.waiting), default=0),
        settings=judgement.settings,
        arguments=arguments,
        judgement=judgement,
    )


def _considered(judgement: Judgement, deciding: Sequence[Bound]) -> tuple[RuleRef, ...]:
    """The rules that do not speak, and those that wait or are stuck where others deny the call."""
    holding = (*judgement.stuck, *judgement.waiting)
    if not holding:
        return _refs(judgement.considered)
    decided = {one.rule.id for one in deciding}
    overruled = (one for one in holding if one.rule.id not in decided)
    return _refs(_once([*judgement.considered, *overruled]))


def _deciding(judgement: Judgement) -> tuple[list[Bound], Verdict | None]:
    """The rules that decide, in one order, and what they decide."""
    matched = judgement.matched
    if denying := [one for one in matched if one.rule.decide == "deny"]:
        return _sorted(denying), "deny"
    holding = [one for one in matched if one.rule.decide == "hold"]
    if holding or judgement.stuck or judgement.waiting:
        return _sorted(_once([*holding, *judgement.stuck, *judgement.waiting])), "hold"
    return (_sorted(matched), "allow") if matched else ([], None)


def _sorted(bounds: Iterable[Bound]) -> list[Bound]:
    return sorted(bounds, key=lambda bound: bound.rank)


def _once(bounds: Iterable[Bound]) -> Collection[Bound]:
    return {bound.rule.id: bound for bound in bounds}.values()


def _awaited(judgement: Judgement) -> tuple[str, ...]:
    return tuple(sorted(set(judgement.awaiting.values())))


def _reason(deciding: Sequence[Bound], judgement: Judgement, awaiting: Sequence[str]) -> str:
    said = list(dict.fromkeys(part for bound in deciding for part in _grounds(bound, judgement)))
    said += [*_failures(deciding, judgement), *_failures(judgement.considered, judgement)]
    said += [f"(It waits for {', '.join(awaiting)}.)"] if awaiting else []
    return " ".join(said)


def _failures(bounds: Iterable[Bound], judgement: Judgement) -> list[str]:
    """Why rules could not be evaluated; one that would allow the call is then not heard."""
    return [
        f"({bound.rule.id}, which would allow it, could not be evaluated: {failed}.)"
        if bound.rule.decide == "allow"
        else f"({bound.rule.id} could not be evaluated: {failed}.)"
        for bound in bounds
        if bound.rule.mode == "enforce" and (failed := judgement.failed.get(bound.rule.id))
    ]


def _grounds(bound: Bound, judgement: Judgement) -> list[str]:
    """The reason of a rule, and where it found what it speaks of."""
    return [bound.rule.why, *(one.told for one in judgement.suspected(bound)[:_FOUND_MAX])]


def _by_default(
    judgement: Judgement,
    tool: ToolLike,
    arguments: Mapping[str, Any],
    default_read: DefaultRead,
    bundle: str,
) -> Decision:
    effect = effect_of(tool)
    verdict: DefaultRead = default_read if effect == "read" else "hold"
    return replace(
        _by_effect(effect, verdict, bundle),
        reason=" ".join(
            [
                _default_reason(tool.name, effect, verdict, bool(judgement.considered)),
                *_failures(judgement.considered, judgement),
            ]
        ),
        considered=_refs(judgement.considered),
        shadow=_refs(judgement.shadow),
        failed=judgement.failed,
        arguments=arguments,
        judgement=judgement,
    )


def _default_reason(name: str, effect: Effect, verdict: DefaultRead, considered: bool) -> str:
    said = f"No rule on {name} applies" if considered else f"No rule speaks of {name}"
    if verdict == "allow":
        return f"{said}, and this policy lets reads run."
    if effect == "read":
        return f"{said}, and this policy does not let reads run unasked."
    return f"{said}, and what does more than read waits for a person."


def _refs(bounds: Iterable[Bound]) -> tuple[RuleRef, ...]:
    return tuple([bound.ref for bound in bounds])


# --- what is the same for every call ----------------------------------------------------


# The same few rules decide most calls, and their digest is the dearest part of deciding.
@lru_cache(maxsize=4096)
def _by_rules(
    deciding: tuple[Rule, ...], verdict: Verdict, effect: Effect, bundle: str
) -> Decision:
    """A decision as far as it follows from the rules that decide."""
    return Decision(
        verdict=verdict,
        basis="rules",
        reason="",
        rules_digest=_digest({"rules": [rule.meaning() for rule in deciding]}),
        bundle=bundle,
        approve=_strictest(deciding, effect) if verdict == "hold" else None,
        grouped=any(rule.group == "run" for rule in deciding),
    )


@lru_cache(maxsize=64)
def _by_effect(effect: Effect, verdict: DefaultRead, bundle: str) -> Decision:
    """A decision as far as it follows from the default."""
    approve = Approve().for_effect(effect) if verdict == "hold" else None
    terms = approve.model_dump(mode="json") if approve else None
    meaning = {"default": {"effect": effect, "decide": verdict, "approve": terms}}
    return Decision(
        verdict=verdict,
        basis="default",
        reason="",
        rules_digest=_digest(meaning),
        bundle=bundle,
        approve=approve,
    )


def _strictest(rules: Sequence[Rule], effect: Effect) -> Approve:
    """What satisfies all of them; a rule that is no hold and made one asks for the default."""
    asked = [(rule.approve or Approve()).for_effect(effect) for rule in rules]
    return reduce(Approve.stricter, asked)


def _digest(meaning: dict[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(meaning)).hexdigest()
