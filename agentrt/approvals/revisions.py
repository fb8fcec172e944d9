"""A revision: what policy says to a call as it stands now."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import rfc8785
from pydantic_core import from_json

from agentrt.errors import ArgumentsInvalid
from agentrt.events import Approver, CallDecided, RuleRef
from agentrt.policy import Approve, Decision, Policy, Question
from agentrt.policy.rules import EFFECTS, SEVERITIES
from agentrt.run import Run, ToolCall
from agentrt.tools import Tool, Tools

__all__ = ["is_current", "revise"]


@dataclass(frozen=True)
class _Asked:
    """A tool as policy is asked about it, with the stricter of its effects then and now."""

    name: str
    effect: str
    labels: Collection[str]


def revise(
    run: Run,
    call: ToolCall,
    *,
    tools: Tools,
    policy: Policy,
    at: int,
    edited: Mapping[str, Any] | None = None,
) -> CallDecided:
    """The next revision of `call`: its first, or another since something has changed.

    `edited` are a reviewer's arguments in place of Claude's. Approvals that were given
    before still count when arguments, tool and asking rules are the same. Raises
    ArgumentsInvalid for `edited` only: Claude's own mistakes are denials that it is told of.
    """
    tool = tools.get(call.tool)
    if tool is None:
        return _without_tool(run, call, policy)
    try:
        arguments = tool.complete(edited if edited is not None else _asked_for(call))
    except ArgumentsInvalid as error:
        if edited is not None:
            raise
        return _invalid(call, tool, policy, str(error))
    asked = _Asked(tool.name, _effect(run, tool), tool.labels)
    decision = policy.decide(Question(tool=asked, arguments=arguments))
    if _is_second_attempt(call, asked) and decision.verdict == "allow":
        decision = _held_again(decision)
    return _decided(call, tool, asked, arguments, decision, at)


def is_current(run: Run, call: ToolCall, *, tools: Tools, policy: Policy) -> bool:
    """Whether the recorded decision is what this policy says of this tool, or stricter.

    It is taken anew to be compared, so that nothing runs by a decision, by terms or by
    arguments that somebody else wrote into the store.
    """
    again = revise(run, call, tools=tools, policy=policy, at=call.decided_at)
    return (
        again.bundle == call.bundle
        and again.tool_digest == call.tool_digest
        and again.effect == call.effect
        and again.arguments_digest == call.arguments_digest
        and again.rules_digest == call.rules_digest
        and (again.verdict == "allow" or _terms(again.approver) == _terms(call.approver))
        and again.verdict in ("allow", call.verdict)
    )


def _terms(approver: Approver | None) -> Approver | None:
    return approver and approver.model_copy(update={"expires_at": None})


def _asked_for(call: ToolCall) -> Any:
    """What Claude wrote, unless a reviewer changed it."""
    return call.arguments_data if call.editor is not None else from_json(call.input)


def _effect(run: Run, tool: Tool) -> str:
    then: str = run.definition.tools.get(tool.name, {}).get("effect", tool.effect)
    strictness: tuple[str, ...] = EFFECTS
    return max((then, tool.effect), key=strictness.index)


def _is_second_attempt(call: ToolCall, asked: _Asked) -> bool:
    return call.attempt > 0 and asked.effect == "irreversible"


def _held_again(decision: Decision) -> Decision:
    """What was tried once and cannot be undone is not tried again without a person."""
    return replace(
        decision,
        verdict="hold",
        reason="An earlier attempt of this call was started and did not happen. Run it again?",
        approve=Approve(severity="high"),
    )


def _decided(
    call: ToolCall,
    tool: Tool,
    asked: _Asked,
    arguments: Mapping[str, Any],
    decision: Decision,
    at: int,
) -> CallDecided:
    body = rfc8785.dumps(dict(arguments))
    revision = CallDecided(
        cause=call.decided_seq or call.requested_seq,
        call=call.id,
        revision=call.revision + 1,
        tool=call.tool,
        verdict=decision.verdict,
        basis="second_attempt" if _is_second_attempt(call, asked) else decision.basis,
        rules=tuple(RuleRef(id=rule.id, file=rule.file, line=rule.line) for rule in decision.rules),
        rules_digest=decision.rules_digest,
        bundle=decision.bundle,
        effect=asked.effect,
        labels=tuple(sorted(asked.labels)),
        repeatable=tool.repeatable and asked.effect == tool.effect,
        tool_digest=tool.digest,
        arguments_digest=hashlib.sha256(body).hexdigest(),
        approver=_approver(call, decision, at),
        arguments=body,
        reason=decision.reason,
    )
    return revision.model_copy(update={"approvals": _still_given(call, revision)})


def _approver(call: ToolCall, decision: Decision, at: int) -> Approver | None:
    approve = decision.approve
    if approve is None:
        return None
    return Approver(
        roles=approve.roles,
        quorum=approve.quorum,
        severity=approve.severity or SEVERITIES[-1],
        expires_at=_expires_at(call, decision, at + approve.expires_s * 1000),
        four_eyes=approve.four_eyes,
        reason_required=approve.reason == "required",
    )


def _expires_at(call: ToolCall, decision: Decision, fresh: int) -> int:
    """The time to decide runs on while the call is held for the same reason."""
    same = call.status in ("held", "approved") and call.rules_digest == decision.rules_digest
    return call.expires_at if same and call.expires_at is not None else fresh


def _still_given(call: ToolCall, revision: CallDecided) -> tuple[int, ...]:
    same = (
        call.arguments_digest == revision.arguments_digest
        and call.tool_digest == revision.tool_digest
        and call.rules_digest == revision.rules_digest
    )
    return tuple(approval.seq for approval in call.approvals) if same else ()


def _without_tool(run: Run, call: ToolCall, policy: Policy) -> CallDecided:
    known = call.tool in run.definition.tools
    names = ", ".join(run.definition.tools) or "none"
    reason = (
        f"The tool {call.tool} was taken away while the call waited. Do without it."
        if known
        else f"There is no tool {call.tool}. There are: {names}."
    )
    decision = replace(policy.decide_unknown(call.tool), reason=reason)
    return _denied(call, decision, basis="tool_gone" if known else "unknown_tool")


def _invalid(call: ToolCall, tool: Tool, policy: Policy, reason: str) -> CallDecided:
    decision = replace(policy.decide_unknown(call.tool), reason=reason)
    denied = _denied(call, decision, basis="invalid_arguments")
    return denied.model_copy(update={"effect": tool.effect, "tool_digest": tool.digest})


def _denied(call: ToolCall, decision: Decision, *, basis: str) -> CallDecided:
    """Nothing was completed, so what Claude wrote stands for the arguments."""
    return CallDecided(
        cause=call.decided_seq or call.requested_seq,
        call=call.id,
        revision=call.revision + 1,
        tool=call.tool,
        verdict="deny",
        basis=basis,
        rules_digest=decision.rules_digest,
        bundle=decision.bundle,
        effect="irreversible",
        repeatable=False,
        tool_digest=call.tool_digest,
        arguments_digest=hashlib.sha256(call.input).hexdigest(),
        arguments=call.input,
        reason=decision.reason,
    )
