"""May this reviewer decide this call now, and does an approval still hold? Pure answers."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace

from agentrt.approvals.signatures import authenticate
from agentrt.approvals.statement import Covered, Statement
from agentrt.errors import ApprovalError, Expired, NotAllowed, NotHeld, SignatureInvalid
from agentrt.policy import Reviewer, Reviewers
from agentrt.run import Approval, Run, Settlement, ToolCall
from agentrt.run.state import moment

__all__ = [
    "check_approvals",
    "check_may_decide",
    "check_may_settle",
    "check_settlement",
    "standing",
]


def check_may_decide(run: Run, call: ToolCall, reviewer: Reviewer, *, reason: str, at: int) -> None:
    """Raises NotHeld, Expired or NotAllowed, each saying how things stand."""
    if run.over or call.status != "held":
        raise NotHeld(standing(run, call))
    if call.deferred(at):
        raise NotHeld(
            f"{call.id} waits for {', '.join(call.awaiting)} until "
            f"{moment(call.until or at).isoformat(timespec='seconds')}; then a person is asked. "
            f"`agentrt runs state {run.id} {call.awaiting[0]} VALUE` states it."
        )
    if not call.arguments_intact:
        raise NotAllowed(
            f"The arguments of {call.id} are not those that were recorded: somebody changed the "
            "store. `agentrt audit verify` says where."
        )
    if call.expires_at is not None and at >= call.expires_at:
        raise Expired(f"The time to decide {call.id} is over: it counts as rejected.")
    if any(approval.by == reviewer.name for approval in call.approvals):
        missing = call.quorum - len(call.approvals)
        raise NotHeld(
            f"{reviewer.name} has approved {call.id} already; it waits for {missing} more."
        )
    _check_allowed(run, call, reviewer, at)
    if call.approver and call.approver.reason_required and not reason.strip():
        raise NotAllowed(f"The rule asks for a reason to decide {call.id}: give one.")


def check_may_settle(run: Run, call: ToolCall, reviewer: Reviewer, *, at: int) -> None:
    """Raises NotHeld when the call is not in doubt, NotAllowed when it is not for them to say."""
    if call.status != "in doubt":
        raise NotHeld(standing(run, call))
    _check_allowed(run, call, reviewer, at)


def _check_allowed(run: Run, call: ToolCall, reviewer: Reviewer, at: int) -> None:
    if not reviewer.valid_at(at):
        raise NotAllowed(f"The keys of {reviewer.name} are not valid at this time.")
    asked = call.approver
    if asked is None:
        return
    if not reviewer.may(asked.roles):
        missing = ", ".join(role for role in asked.roles if role not in reviewer.roles)
        raise NotAllowed(f"{reviewer.name} lacks the role {missing} that the rule asks for.")
    if asked.four_eyes and run.user is not None and run.user.name == reviewer.name:
        raise NotAllowed(f"The run works for {reviewer.name}: somebody else has to decide this.")


def standing(run: Run, call: ToolCall) -> str:
    """How a call stands that is not held, for whoever came too late."""
    by = f" by {call.closed_by}" if call.closed_by else ""
    match call.status:
        case "approved" | "started" | "finished" if call.approvals:
            by = f" by {', '.join(approval.by for approval in call.approvals)}"
            return f"{call.id} was approved already{by}; it is {call.status} now."
        case "rejected":
            return f"{call.id} was rejected already{by}."
        case "expired":
            return f"{call.id} expired: it counts as rejected."
        case "cancelled":
            return f"The run {run.id} was {run.status}; {call.id} never ran."
        case "in doubt":
            return f"{call.id} is in doubt: `agentrt settle {call.id}` says what became of it."
        case "held":
            return f"{call.id} is held: approve or reject it."
        case _:
            return f"{call.id} is {call.status} and waits for nobody."


def check_approvals(
    run: Run,
    call: ToolCall,
    *,
    reviewers: Reviewers,
    store: str,
    heads: Collection[str],
    at: int,
) -> list[Approval]:
    """The approvals of `call` that hold now, each verified from its signature up.

    `heads` are the hashes of the run's records: what a reviewer was shown must be one.
    """
    good: dict[str, Approval] = {}
    for approval in call.approvals:
        try:
            said, reviewer, _key = authenticate(
                approval.statement, approval.signature, reviewers, at=at
            )
            _check_statement(run, call, said, store=store, heads=heads, at=at)
            _check_unused(call, approval, said)
            _check_allowed(run, call, reviewer, at)
        except ApprovalError:
            continue
        good.setdefault(reviewer.name, approval)
    return list(good.values())


def _check_statement(
    run: Run, call: ToolCall, said: Statement, *, store: str, heads: Collection[str], at: int
) -> None:
    _check_says(said, verdict="approve", store=store, run=run.id)
    covered = _covered(said, call)
    _check_says(
        covered,
        tool=call.tool,
        tool_digest=call.tool_digest,
        arguments_digest=hashlib.sha256(call.arguments).hexdigest(),
        rules_digest=call.rules_digest,
    )
    if said.head not in heads:
        raise SignatureInvalid("The statement speaks of a history that this run does not have.")
    if at >= covered.expires_at:
        raise Expired


def check_settlement(
    run: Run,
    call: ToolCall,
    settlement: Settlement,
    *,
    reviewers: Reviewers,
    store: str,
    heads: Mapping[str, int],
    at: int,
) -> None:
    """Raises ApprovalError unless a reviewer signed just this about an attempt in doubt.

    `heads` are the places (`seq`) of the run's records by their hashes: the reviewer must have
    been shown the doubt, so that what was said of one attempt cannot be said again of another.
    """
    said, reviewer, _key = authenticate(
        settlement.statement, settlement.signature, reviewers, at=at
    )
    _check_says(
        said,
        verdict="happened" if settlement.happened else "did_not_happen",
        store=store,
        run=run.id,
        call=call.id,
        tool=call.tool,
        tool_digest=settlement.tool_digest,
        arguments_digest=settlement.arguments_digest,
        rules_digest=settlement.rules_digest,
        reason=settlement.reason,
        result=settlement.result,
        reviewer=settlement.by,
    )
    if said.digest != settlement.statement_digest:
        raise SignatureInvalid("The record names another statement than the one it holds.")
    if not settlement.doubted_seq <= heads.get(said.head, 0) < settlement.seq:
        raise SignatureInvalid("The statement speaks of another attempt than this one.")
    _check_allowed(run, replace(call, approver=settlement.approver), reviewer, at)


def _covered(said: Statement, call: ToolCall) -> Covered:
    """What the statement says of this call, which must be one that its rules let go with others."""
    found = next((covered for covered in said.covered if covered.call == call.id), None)
    if found is None:
        raise SignatureInvalid("The statement speaks of another call.")
    if said.also and call.group is None:
        raise SignatureInvalid("The rules ask for a decision on this call alone.")
    return found


def _check_says(said: Covered, **expected: str) -> None:
    for name, value in expected.items():
        if getattr(said, name) != value:
            raise SignatureInvalid(f"The statement speaks of another {name}.")


def _check_unused(call: ToolCall, approval: Approval, said: Statement) -> None:
    """One statement is good for one attempt of each call, however often it is recorded."""
    if said.digest != approval.statement_digest:
        raise SignatureInvalid("The record names another statement than the one it holds.")
    if said.digest in call.used:
        raise SignatureInvalid("An earlier attempt used this approval up.")
