"""One record further: how each fact changes where a run stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, assert_never

from pydantic_core import from_json, to_json

from agentrt.events import (
    BundleLoaded,
    BundleRefused,
    CallAbandoned,
    CallApproved,
    CallDecided,
    CallDoubted,
    CallExpired,
    CallFinished,
    CallRejected,
    CallSettled,
    CallStarted,
    CheckpointSigned,
    ClaudeAsked,
    ClaudeFailed,
    ClaudeReplied,
    ContentForgotten,
    ContentReduced,
    ErasureResumed,
    ErasureSuspended,
    FactStated,
    Record,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    Usage,
)
from agentrt.run.follow_up import messages_of
from agentrt.run.replacing import replace
from agentrt.run.state import (
    Approval,
    CallStatus,
    Contradiction,
    Definition,
    Run,
    RunStatus,
    Settlement,
    ToolCall,
    Trail,
    call_id,
)

__all__ = ["CHECKED", "evolve", "fold"]

CALLS_MAX = 1_000
"""Calls of one turn among which one is looked for whose block was erased."""

UNDER_DECISION: frozenset[CallStatus] = frozenset({"requested", "allowed", "held", "approved"})
"""A call in one of these has not begun, and can be decided again."""


def fold(records: Iterable[Record], *, run: Run | None = None) -> Run:
    """Where the run stands after `records`, starting from `run` or from nothing."""
    for record in records:
        run = evolve(run or Run(record.run), record)
    if run is None:
        raise ValueError("a run without records does not stand anywhere")
    return run


def evolve(run: Run, record: Record) -> Run:
    """`run` one record further. Costs the same in the first turn and the thousandth."""
    after = _apply(run, record)
    return replace(
        after,
        seq=record.seq,
        head=record.hash,
        at=record.at,
        **_waiting(after, _status(after), record.at),
    )


def _waiting(run: Run, status: RunStatus, at: int) -> dict[str, Any]:
    """The time a run waits for people does not count against its deadline."""
    if status == "waiting":
        return {"status": status, "waiting_since": run.waiting_since or at}
    if run.waiting_since is None:
        return {"status": status}
    waited_ms = at - run.waiting_since
    return {
        "status": status,
        "waiting_since": None,
        "working_since": run.working_since + waited_ms,
    }


def _apply(run: Run, record: Record) -> Run:  # noqa: C901 - one line for each kind of event
    match record.event:
        case RunStarted() as event:
            return _started(run, event, record)
        case RunFinished() as event:
            return replace(run, status="finished", output=event.output, asked=False)
        case RunFailed() as event:
            return _failed(run, event)
        case RunCancelled() as event:
            return replace(_without_open_calls(run), status="cancelled", asked=False)
        case RunResumed():
            return _resumed(run, record)
        case ClaudeAsked() | ClaudeReplied() | ClaudeFailed() as event:
            return _with_claude(run, event, record)
        case FactStated() as event:
            return replace(run, calls=tuple(_with_fact(call, event.name) for call in run.calls))
        case BundleLoaded() | BundleRefused() as event:
            return replace(run, bundle=event.bundle, status="running")
        case CheckpointSigned() | ErasureSuspended() | ErasureResumed():
            return replace(run, status="running")
        case ContentReduced() | ContentForgotten() as event:
            return _with_content(run, event)
        case _ as event:
            return _with_call(run, event, record)


CallEvent = (
    CallDecided
    | CallApproved
    | CallRejected
    | CallExpired
    | CallStarted
    | CallFinished
    | CallDoubted
    | CallAbandoned
    | CallSettled
)


def _with_call(run: Run, event: CallEvent, record: Record) -> Run:
    if isinstance(event, CallDecided):
        run = _known_by_its_decision(run, event, record)
    if isinstance(event, CallFinished | CallAbandoned):
        run = _with_contradiction(run, event, record)
    if isinstance(event, CallDoubted) and event.refused is not None:
        run = _reopened(run)
    calls = tuple(
        _call_after(call, event, record) if call.id == event.call else call for call in run.calls
    )
    if isinstance(event, CallFinished) or (isinstance(event, CallSettled) and event.happened):
        calls = tuple(_with_result(call) for call in calls)
    after = replace(run, calls=calls)
    return _without_open_calls(after) if run.over else _close_turn(after)


def _known_by_its_decision(run: Run, event: CallDecided, record: Record) -> Run:
    """The run with whom a call is about, and with the call when the reply that asked is erased."""
    more = tuple(ref for ref in event.subjects if ref not in run.subjects)
    run = replace(
        run,
        subjects=(*run.subjects, *more),
        reducible=run.reducible or event.shown is not None,
    )
    if not run.reply_gone or run.call(event.call) is not None:
        return run
    index = next((i for i in range(CALLS_MAX) if call_id(run.id, run.turn, i) == event.call), 0)
    call = ToolCall(
        id=event.call,
        tool=event.tool,
        tool_use_id="",
        turn=run.turn,
        index=index,
        input=b"{}",
        requested_seq=event.cause or record.seq,
        requested_at=record.at,
    )
    return replace(run, calls=(*run.calls, call))


def _with_fact(call: ToolCall, name: str) -> ToolCall:
    """What waited for the fact is decided again."""
    waited = call.status == "held" and name in call.awaiting
    return replace(call, status="requested") if waited else call


def _with_result(call: ToolCall) -> ToolCall:
    """Another call's result may be the fact that this one waited for: it is decided again."""
    return replace(call, status="requested") if call.status == "held" and call.awaiting else call


def _call_after(call: ToolCall, event: CallEvent, record: Record) -> ToolCall:
    if isinstance(event, CallDoubted) and event.refused is not None:
        return _unsettled(call, event, record)
    if call.resolved and not isinstance(event, CallFinished | CallAbandoned):
        return call  # only the function's own word, however late, changes an answer
    match event:
        case CallDecided():
            return _decided(call, event, record)
        case CallApproved():
            return _approved(call, event, record)
        case CallRejected():
            return _turned_down(call, "rejected", event.reason, by=event.by, at=record.at)
        case CallExpired():
            return _turned_down(call, "expired", "", by="", at=record.at)
        case _:
            return _attempt_after(call, event, record)


def _attempt_after(
    call: ToolCall,
    event: CallStarted | CallFinished | CallDoubted | CallAbandoned | CallSettled,
    record: Record,
) -> ToolCall:
    match event:
        case CallStarted():
            return _call_started(call, event, record)
        case CallFinished():
            return _came_back(call, event, record)
        case CallDoubted():
            return _doubted(call, event, record)
        case CallAbandoned():
            return _abandoned(call, event)
        case CallSettled():
            return _settled(call, event, record)
        case _:
            assert_never(event)


# --- run -------------------------------------------------------------------------------


def _started(run: Run, event: RunStarted, record: Record) -> Run:
    history = messages_of(event.history or b"[]")
    return replace(
        run,
        status="running",
        agent=event.agent,
        model=event.model,
        bundle=event.bundle,
        environment=event.environment,
        simulated=event.simulated,
        prompt=event.prompt,
        prompt_seen=event.seen("prompt"),
        user=event.user,
        user_ref=event.user_ref,
        subjects=event.subjects,
        zero_retention=bool(event.zero_retention),
        reducible=event.shown is not None,
        parent=event.parent,
        inherited=len(history),
        definition=Definition(from_json(event.definition)),
        turns_max=event.turns_max,
        deadline_ms=event.deadline_ms,
        working_since=record.at,
        started_at=record.at,
        messages=Trail([*history, _message("user", to_json(event.prompt))]),
    )


def _with_content(run: Run, event: ContentReduced | ContentForgotten) -> Run:
    """Nothing goes on from what was erased; the store's own chain goes on all the same."""
    if not run.started_at:
        return replace(run, status="running")
    if isinstance(event, ContentReduced):
        return replace(run, reduced=True, reducible=False)
    return replace(run, forgotten=True, resumable=False, reducible=False)


def _without_open_calls(run: Run) -> Run:
    """What had not started never will."""
    calls = tuple(
        call
        if call.resolved or call.status in ("started", "in doubt")
        else replace(call, status="cancelled")
        for call in run.calls
    )
    return replace(run, calls=calls)


def _failed(run: Run, event: RunFailed) -> Run:
    return replace(
        _without_open_calls(run),
        status="failed",
        error=(event.code, event.message),
        resumable=event.resumable,
        output=run.text or None,
        asked=False,
    )


def _resumed(run: Run, record: Record) -> Run:
    return replace(
        run,
        status="running",
        working_since=record.at,
        error=None,
        resumable=False,
        output=None,
        failures=0,
        failure=None,
    )


def _status(run: Run) -> RunStatus:
    """A run waits when it has calls and nothing but a person can move any of them on."""
    if run.over:
        return run.status
    waiting = any(call.waits for call in run.calls) and not any(
        can_move(run, call) for call in run.calls
    )
    return "waiting" if waiting else "running"


# --- Claude ----------------------------------------------------------------------------


def _with_claude(
    run: Run, event: ClaudeAsked | ClaudeReplied | ClaudeFailed, record: Record
) -> Run:
    match event:
        case ClaudeAsked():
            return _asked(run, event)
        case ClaudeReplied():
            return _replied(run, event, record)
        case ClaudeFailed():
            return replace(run, asked=False, failures=run.failures + 1, failure=event)
        case _:
            assert_never(event)


def _asked(run: Run, event: ClaudeAsked) -> Run:
    again = event.turn == run.turn
    return replace(
        run,
        turn=event.turn,
        ask=event.ask,
        asked=True,
        failures=run.failures if again else 0,
        failure=None,
        stop_reason=None,
    )


def _replied(run: Run, event: ClaudeReplied, record: Record) -> Run:
    blocks = _blocks(event)
    calls = _requested(run, event, blocks, record)
    return replace(
        run,
        asked=False,
        failures=0,
        failure=None,
        stop_reason=event.stop_reason,
        refusal=event.refusal,
        text="".join(block["text"] for block in _seen(event, blocks) if block["type"] == "text"),
        reducible=run.reducible or event.shown is not None,
        reply_gone=not blocks,
        fault=_fault(event.stop_reason, calls),
        messages=run.messages.plus(_message("assistant", event.blocks)) if blocks else run.messages,
        messages_seen=_with_seen(run, event),
        calls=calls,
        usage=_added(run.usage, event.usage),
        cost_usd=run.cost_usd + Decimal(event.cost_usd or 0),
        cost_unknown=run.cost_unknown or event.cost_usd is None,
    )


def _blocks(event: ClaudeReplied) -> list[dict[str, Any]]:
    """The content blocks; none when they were forgotten."""
    blocks = from_json(event.blocks)
    return blocks if isinstance(blocks, list) else []


def _with_seen(run: Run, event: ClaudeReplied) -> Mapping[int, bytes]:
    if event.shown is None:
        return run.messages_seen
    return {**run.messages_seen, len(run.messages): _message("assistant", event.seen("blocks"))}


def _seen(event: ClaudeReplied, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen = blocks if event.shown is None else from_json(event.seen("blocks"))
    return seen if isinstance(seen, list) else []


def _requested(
    run: Run, event: ClaudeReplied, blocks: list[dict[str, Any]], record: Record
) -> tuple[ToolCall, ...]:
    """The calls of a reply. A reply that stopped for another reason may hold half a call."""
    if event.stop_reason != "tool_use":
        return ()
    uses = (block for block in blocks if block["type"] == "tool_use")
    return tuple(
        ToolCall(
            id=call_id(run.id, event.turn, index),
            tool=block["name"],
            tool_use_id=block["id"],
            turn=event.turn,
            index=index,
            input=to_json(block.get("input")),
            requested_seq=record.seq,
            requested_at=record.at,
        )
        for index, block in enumerate(uses)
    )


def _fault(stop_reason: str, calls: tuple[ToolCall, ...]) -> str | None:
    counted = Counter(call.tool_use_id for call in calls)
    doubled = [used for used, count in counted.items() if count > 1]
    if doubled:
        return f"two of its calls have the id {doubled[0]}, and nothing was run"
    return (
        "it stopped for a tool and names none" if stop_reason == "tool_use" and not calls else None
    )


def _added(before: Usage, more: Usage) -> Usage:
    counts = {
        name: getattr(before, name) + getattr(more, name)
        for name, field in Usage.model_fields.items()
        if field.annotation is int
    }
    return Usage(**counts)


# --- calls -----------------------------------------------------------------------------


def _decided(call: ToolCall, event: CallDecided, record: Record) -> ToolCall:
    if call.status not in UNDER_DECISION:
        return call  # what was started is not decided anew before somebody settles it
    decided = replace(
        call,
        revision=event.revision,
        verdict=event.verdict,
        basis=event.basis,
        reason=event.reason,
        rules=event.rules,
        rules_digest=event.rules_digest,
        bundle=event.bundle,
        effect=event.effect,
        labels=event.labels,
        untrusted=event.untrusted,
        awaiting=event.awaiting,
        until=event.until,
        changed=event.changed,
        asked=event.asked,
        facts=event.facts,
        repeatable=event.repeatable,
        tool_digest=event.tool_digest,
        arguments=event.arguments,
        arguments_digest=event.arguments_digest,
        shown=event.shown,
        approver=event.approver,
        group=event.group,
        preview=event.preview,
        editor=event.editor or call.editor,
        decided_seq=record.seq,
        decided_at=record.at,
        approvals=tuple(approval for approval in call.approvals if approval.seq in event.approvals),
        doubt="",
    )
    if event.verdict == "deny":
        return _refused(decided, "denied", event.reason, by="", at=record.at)
    return _weighed(decided)


def _weighed(call: ToolCall) -> ToolCall:
    if call.verdict == "allow":
        return replace(call, status="allowed")
    enough = len({approval.by for approval in call.approvals}) >= call.quorum
    return replace(call, status="approved" if enough else "held")


def _approved(call: ToolCall, event: CallApproved, record: Record) -> ToolCall:
    if call.status != "held":
        return call  # nobody was asked: a yes from elsewhere makes nothing run
    approval = Approval(
        seq=record.seq,
        at=record.at,
        by=event.by,
        key=event.key,
        reason=event.reason,
        statement=event.statement,
        statement_digest=event.statement_digest,
        signature=event.signature,
    )
    return _weighed(replace(call, approvals=(*call.approvals, approval)))


def _call_started(call: ToolCall, event: CallStarted, record: Record) -> ToolCall:
    """An attempt uses its approvals up: another attempt of the call has to be approved again."""
    return replace(
        call,
        status="started",
        attempt=event.attempt,
        key=event.key,
        process=event.process,
        started_seq=record.seq,
        started_at=record.at,
        deadline_at=event.deadline_at,
        used=(*call.used, *(approval.statement_digest for approval in call.approvals)),
    )


def _came_back(call: ToolCall, event: CallFinished, record: Record) -> ToolCall:
    """The function's word is the truth about its attempt; a later one has to speak for itself."""
    if event.attempt < call.attempt and call.status in ("started", "in doubt"):
        return call
    return _finished(call, event.result, is_error=event.outcome == "error", at=record.at)


def _doubted(call: ToolCall, event: CallDoubted, record: Record) -> ToolCall:
    if event.attempt < call.attempt:
        return call
    said = f": {event.check_said}" if event.check_said else ""
    return replace(
        call,
        status="in doubt",
        doubt=event.reason,
        doubted_seq=record.seq,
        returned=bool(event.returned),
        check=f"{CHECKED[event.checked]}{said}" if event.checked else "",
    )


CHECKED = {
    "nothing_yet": "its check found nothing, and it may happen yet",
    "failed": "its check broke off",
    "timed_out": "its check did not come back in time",
}


def _abandoned(call: ToolCall, event: CallAbandoned) -> ToolCall:
    """What never happened is decided anew, also when somebody has settled it the other way."""
    settled = any(settlement.attempt == event.attempt for settlement in call.settlements)
    if event.attempt != call.attempt:
        return call
    if call.status in ("started", "in doubt") or (call.status == "finished" and settled):
        return _anew(call)
    return call


def _anew(call: ToolCall) -> ToolCall:
    return replace(call, status="requested", approvals=(), result="", is_error=False, finished_at=0)


def _settled(call: ToolCall, event: CallSettled, record: Record) -> ToolCall:
    """What happened is finished; what did not is decided anew and needs a fresh approval."""
    settlement = _settlement(call, event, record)
    call = replace(call, closed_by=event.by or "", settlements=(*call.settlements, settlement))
    if event.happened:
        return _finished(call, event.result or event.reason, is_error=False, at=record.at)
    return _anew(call)


def _settlement(call: ToolCall, event: CallSettled, record: Record) -> Settlement:
    return Settlement(
        seq=record.seq,
        attempt=event.attempt,
        happened=event.happened,
        method=event.method,
        by=event.by or "",
        reason=event.reason,
        result=event.result or "",
        statement=event.statement or b"",
        statement_digest=event.statement_digest or "",
        signature=event.signature or "",
        doubted_seq=call.doubted_seq,
        revision=call.revision,
        arguments_digest=call.arguments_digest,
        rules_digest=call.rules_digest,
        tool_digest=call.tool_digest,
        approver=call.approver,
    )


def _unsettled(call: ToolCall, event: CallDoubted, record: Record) -> ToolCall:
    """The call in doubt again, as if the refused settlement had not been written."""
    refused = next((s for s in call.settlements if s.seq == event.refused), None)
    if refused is None or not refused.holds or refused.attempt != call.attempt:
        return call
    settlements = tuple(replace(s, holds=s is not refused) for s in call.settlements)
    back = replace(_anew(call), settlements=settlements, closed_by="")
    return _doubted(back, event, record)


def _finished(call: ToolCall, result: str, *, is_error: bool, at: int) -> ToolCall:
    return replace(call, status="finished", result=result, is_error=is_error, finished_at=at)


def _turned_down(call: ToolCall, status: Any, reason: str, *, by: str, at: int) -> ToolCall:
    if call.status not in ("held", "approved"):
        return call
    return _refused(call, status, reason, by=by, at=at)


def _refused(call: ToolCall, status: Any, reason: str, *, by: str, at: int) -> ToolCall:
    return replace(
        call,
        status=status,
        result=refusal_text(status, call, reason),
        is_error=True,
        closed_by=by,
        finished_at=at,
    )


def refusal_text(status: str, call: ToolCall, reason: str) -> str:
    """What Claude is told about a call that will not run."""
    if status == "expired":
        return f"{call.tool} was not run: nobody approved it in time. Do not ask for it again."
    if status == "rejected":
        return f"{call.tool} was not run: a reviewer rejected it. Reason: {reason}"
    if call.basis in ("invalid_arguments", "unknown_tool", "tool_gone"):
        return reason
    return f"{call.tool} was not run: policy denies it. Reason: {reason}"


# --- turn ------------------------------------------------------------------------------


def can_move(run: Run, call: ToolCall) -> bool:
    """Whether the runtime itself can take this call further now."""
    if call.status in ("requested", "started"):
        return True
    return call.ready and (call.effect == "read" or not _earlier_open(run, call))


def _earlier_open(run: Run, call: ToolCall) -> bool:
    """A call with an effect waits for every earlier one, so that no mail overtakes its refund."""
    return any(
        earlier.effect != "read" and not earlier.resolved
        for earlier in run.calls
        if earlier.index < call.index
    )


def _close_turn(run: Run) -> Run:
    """When all calls have an answer, the answers go back in one message, in block order."""
    if not run.calls or not all(call.resolved for call in run.calls) or run.over:
        return run
    past = run.past_calls
    for call in run.calls:
        past = past.plus(call)
    results = to_json([_result_block(call) for call in run.calls])
    return replace(
        run, calls=(), past_calls=past, messages=run.messages.plus(_message("user", results))
    )


def _reopened(run: Run) -> Run:
    """The run with the turn open that closed last, if Claude has not been sent its results yet."""
    calls = run.answered
    if not calls:
        return run
    return replace(
        run,
        calls=calls,
        past_calls=run.past_calls.before(len(run.past_calls) - len(calls)),
        messages=run.messages.before(len(run.messages) - 1),
    )


def _with_contradiction(run: Run, event: CallFinished | CallAbandoned, record: Record) -> Run:
    call = run.call(event.call)
    settlement = _last_settlement(call, event.attempt) if call is not None else None
    happened = isinstance(event, CallFinished) and event.outcome == "ok"
    if call is None or settlement is None or settlement.happened == happened:
        return run
    found = Contradiction(
        call.id, call.tool, record.seq, record.at, _contradicted(settlement, event, call)
    )
    return replace(run, contradictions=(*run.contradictions, found))


def _last_settlement(call: ToolCall, attempt: int) -> Settlement | None:
    of_attempt = [s for s in call.settlements if s.attempt == attempt and s.holds]
    return of_attempt[-1] if of_attempt else None


def _contradicted(
    settlement: Settlement, event: CallFinished | CallAbandoned, call: ToolCall
) -> str:
    who = settlement.by or f"its {settlement.method}"
    said = "it happened" if settlement.happened else "it did not happen"
    if settlement.happened:
        how = "entered its function" if isinstance(event, CallAbandoned) else "did it"
        truth = f"the process that started it says that it never {how}"
    else:
        truth = "its function came back later, and it did happen"
    again = (
        f" Attempt {call.attempt} may have done it again." if call.attempt > event.attempt else ""
    )
    return f"Attempt {event.attempt} was settled by {who} ({said}); {truth}.{again}"


def _result_block(call: ToolCall) -> dict[str, Any]:
    block: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": call.tool_use_id,
        "content": _result_content(call),
    }
    return {**block, "is_error": True} if call.is_error else block


def _result_content(call: ToolCall) -> str | list[dict[str, Any]]:
    """The answer; Claude is told beside it what policy made of the call it asked for."""
    if not call.changed or call.is_error:
        return call.result
    set_by_policy = {name: call.arguments_data.get(name) for name in call.changed}
    note = f"[Policy changed the call: it ran with {to_json(set_by_policy).decode()}.]"
    return [{"type": "text", "text": call.result}, {"type": "text", "text": note}]


def _message(role: str, content: bytes) -> bytes:
    return b'{"role":"%s","content":%s}' % (role.encode(), content)
