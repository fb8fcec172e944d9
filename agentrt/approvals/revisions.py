"""A revision: what policy says to a call as it stands now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import rfc8785
from pydantic_core import from_json

from agentrt.errors import ArgumentsInvalid
from agentrt.events import Approver, CallDecided
from agentrt.policy import Approve, Decision, Known, Policy, Question
from agentrt.policy.readings import facts_read
from agentrt.policy.rules import SEVERITIES
from agentrt.policy.tools_file import RaisedTool
from agentrt.run import Run, ToolCall
from agentrt.tools import Tool, Tools

__all__ = ["is_current", "revise", "same_decision", "still_says"]


def revise(
    run: Run,
    call: ToolCall,
    *,
    tools: Tools,
    policy: Policy,
    known: Known,
    edited: Mapping[str, Any] | None = None,
) -> CallDecided:
    """The next revision of `call`: its first, or another since something has changed.

    `known` is what policy may go by, and says what time it is. `edited` are a reviewer's
    arguments in place of Claude's. Approvals that were given before still count when arguments,
    tool and asking rules are the same. Raises ArgumentsInvalid for `edited` only: Claude's own
    mistakes are denials that it is told of.
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
    then = run.definition.tools.get(tool.name, {}).get("effect")
    asked = policy.seen(tool, effect_then=then)
    decision = policy.decide(Question(asked, arguments, known, complete=tool.complete))
    if _is_second_attempt(call, asked) and decision.verdict == "allow":
        decision = _held_again(decision)
    return _decided(run, call, tool, asked, arguments, decision, known)


def is_current(run: Run, call: ToolCall, *, tools: Tools, policy: Policy, known: Known) -> bool:
    """Whether the recorded decision is what this policy says of this tool, or stricter.

    It is taken anew to be compared, so that nothing runs by a decision, by terms or by
    arguments that somebody else wrote into the store.
    """
    return still_says(revise(run, call, tools=tools, policy=policy, known=known), call)


def same_decision(again: CallDecided, decided: CallDecided) -> bool:
    """Whether a decision that was taken anew comes to the same."""
    return (
        again.verdict == decided.verdict
        and again.rules_digest == decided.rules_digest
        and again.arguments_digest == decided.arguments_digest
        and again.bundle == decided.bundle
    )


def still_says(again: CallDecided, call: ToolCall | CallDecided) -> bool:
    """Whether a decision that was taken anew is the recorded one, or laxer."""
    return (
        again.bundle == call.bundle
        and again.tool_digest == call.tool_digest
        and again.effect == call.effect
        and again.arguments_digest == call.arguments_digest
        and again.rules_digest == call.rules_digest
        and (again.verdict == "allow" or _terms(again) == _terms(call))
        and again.verdict in ("allow", call.verdict)
    )


def _terms(decided: CallDecided | ToolCall) -> tuple[Approver | None, str | None]:
    """Who has to approve it, and with which other calls they may."""
    asked = decided.approver
    return asked and asked.model_copy(update={"expires_at": None}), decided.group


def _asked_for(call: ToolCall) -> Any:
    """What Claude wrote, unless a reviewer changed it."""
    return call.arguments_data if call.editor is not None else from_json(call.input)


def _is_second_attempt(call: ToolCall, asked: RaisedTool) -> bool:
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
    run: Run,
    call: ToolCall,
    tool: Tool,
    asked: RaisedTool,
    before: Mapping[str, Any],
    decision: Decision,
    known: Known,
) -> CallDecided:
    body = rfc8785.dumps(dict(decision.arguments))
    until = _until(call, decision, known.now)
    revision = CallDecided(
        cause=call.decided_seq or call.requested_seq,
        call=call.id,
        revision=call.revision + 1,
        tool=call.tool,
        verdict=decision.verdict,
        basis="second_attempt" if _is_second_attempt(call, asked) else decision.basis,
        rules=decision.rules,
        considered=decision.considered,
        shadow=decision.shadow,
        failed=tuple(sorted(decision.failed)),
        rules_digest=decision.rules_digest,
        bundle=decision.bundle,
        effect=asked.effect,
        labels=tuple(sorted(asked.labels)),
        untrusted=tuple(sorted(asked.untrusted)),
        repeatable=tool.repeatable and asked.effect == tool.effect,
        tool_digest=tool.digest,
        arguments_digest=hashlib.sha256(body).hexdigest(),
        approver=_approver(call, decision, until or known.now),
        group=_group(run, call, decision),
        awaiting=decision.awaiting,
        until=until,
        changed=tuple(sorted(decision.settings)),
        arguments=body,
        asked=rfc8785.dumps(dict(before)) if decision.settings else None,
        reason=decision.reason,
        facts=facts_read(decision, known),
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


def _until(call: ToolCall, decision: Decision, now: int) -> int | None:
    """Till when it waits for facts; that time runs on while it waits for the same ones."""
    if not decision.awaiting:
        return None
    same = call.awaiting == decision.awaiting and call.until is not None
    return call.until if same else now + decision.wait_s * 1000


def _group(run: Run, call: ToolCall, decision: Decision) -> str | None:
    """What the calls of a turn have in common that are held for the same reason."""
    if not decision.grouped or decision.verdict != "hold":
        return None
    together = f"{run.id}/{call.turn}/{decision.rules_digest}"
    return f"g_{hashlib.sha256(together.encode()).hexdigest()[:16]}"


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
