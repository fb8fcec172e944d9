"""What a receipt says, made from the records alone: by who writes it and by who checks it.

Nothing stands in a receipt that its evidence does not show, since the checker makes the same text
from the evidence and compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentrt.errors import ReceiptInvalid
from agentrt.events import (
    CallApproved,
    CallDecided,
    CallDoubted,
    CallExpired,
    CallFinished,
    CallRejected,
    CallSettled,
    CallStarted,
    FactStated,
    Record,
    RunCancelled,
    RunStarted,
)

__all__ = ["Told", "tell"]


@dataclass(frozen=True)
class Told:
    """The records of a receipt, sorted out."""

    store: str
    call: str
    records: Sequence[Record]

    def of_call(self, kind: type) -> list[Record]:
        """The call's records of a kind, oldest first."""
        return [
            record
            for record in self.records
            if isinstance(record.event, kind) and getattr(record.event, "call", None) == self.call
        ]


def tell(store: str, call: str, key: str, records: Sequence[Record], rules: Any) -> dict[str, Any]:
    """The predicate without its evidence. Raises ReceiptInvalid when no decision is there."""
    told = Told(store, call, records)
    decisions = told.of_call(CallDecided)
    if not decisions:
        raise ReceiptInvalid(f"There is no decision on {call} in it.")
    run = decisions[-1].run
    own = [record for record in records if record.run == run]
    started = next((r for r in own if isinstance(r.event, RunStarted)), None)
    if started is None:
        raise ReceiptInvalid(f"The beginning of {run} is not in it.")
    return {
        "action": _action(decisions[-1]),
        "context": _context(started, decisions[0], own, call),
        "identities": _identities(told, key, started, decisions),
        "delegation": [_ancestor(r) for r in records if _starts_another(r, run)],
        "decision": _decision(told, decisions, own, rules),
        "revisions": [_revision(record) for record in decisions],
        "approvals": [_verdict(r) for r in told.of_call(CallApproved)],
        "rejections": [_verdict(r) for r in told.of_call(CallRejected)],
        "deferrals": list(_deferrals(told, decisions, own)),
        "outcome": _outcome(told, own),
    }


# --- what, in which context, by whom ----------------------------------------------------------


def _action(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "call": event.call,
        "tool": event.tool,
        "tool_digest": event.tool_digest,
        "effect": event.effect,
        "labels": list(event.labels),
        "arguments": _json(record, "arguments"),
        "arguments_digest": event.arguments_digest,
        "arguments_asked_for": _json(record, "asked"),
        "arguments_set_by_rules": list(event.changed),
        "preview": _text(record, "preview"),
        "commitments": _commitments(record),
    }


def _context(started: Record, decided: Record, own: Sequence[Record], call: str) -> dict[str, Any]:
    event: Any = started.event
    header = json.loads(decided.header)
    return {
        "run": started.run,
        "environment": event.environment,
        "simulated": event.simulated,
        "model": event.model,
        "started_at": started.at,
        "request": _text(started, "prompt"),
        "agent_definition": json.loads(started.header)["shared"].get("definition"),
        "commitments": _commitments(started),
        "records_before": decided.seq - 1,
        "history": header["prev"],
        "earlier_calls": [
            _earlier(r) for r in own if _decides_another(r, call) and r.seq < decided.seq
        ],
    }


def _decides_another(record: Record, call: str) -> bool:
    return isinstance(record.event, CallDecided) and record.event.call != call


def _earlier(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "call": event.call,
        "seq": record.seq,
        "at": record.at,
        "tool": event.tool,
        "verdict": event.verdict,
        "labels": list(event.labels),
        "untrusted": list(event.untrusted),
        "arguments_digest": event.arguments_digest,
    }


def _identities(
    told: Told, key: str, started: Record, decisions: Sequence[Record]
) -> dict[str, Any]:
    event: Any = started.event
    user = event.user if "user" not in started.forgotten else None
    attempts: list[Any] = [record.event for record in told.of_call(CallStarted)]
    return {
        "user": user.model_dump(mode="json") if user is not None else None,
        "user_ref": event.user_ref,
        "agent": event.agent,
        "session": started.run,
        "service": event.service,
        "processes": [attempt.process for attempt in attempts],
        "store": told.store,
        "runtime_key": key,
        "reviewers": [
            {"name": _text(r, "by"), "ref": r.event.reviewer_ref, "key": r.event.key}
            for r in (*told.of_call(CallApproved), *told.of_call(CallRejected))
            if isinstance(r.event, CallApproved | CallRejected)
        ],
        "editors": [
            {"name": _text(r, "editor"), "ref": r.event.editor_ref}
            for r in decisions
            if isinstance(r.event, CallDecided) and r.event.editor_ref is not None
        ],
    }


def _starts_another(record: Record, run: str) -> bool:
    return isinstance(record.event, RunStarted) and record.run != run


def _ancestor(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "run": record.run,
        "agent": event.agent,
        "service": event.service,
        "user": event.user.model_dump(mode="json") if event.user is not None else None,
        "user_ref": event.user_ref,
        "at": record.at,
        "follows": event.parent,
        "follows_at": event.parent_head,
    }


# --- the decision -----------------------------------------------------------------------------


def _decision(
    told: Told, decisions: Sequence[Record], own: Sequence[Record], rules: Any
) -> dict[str, Any]:
    last = decisions[-1]
    return {
        "kind": _kind(told, last),
        **_revision(last),
        "rules_text": rules,
        "facts": _json(last, "facts"),
        "requested_at": min((r.at for r in own if r.event.type == "claude.replied"), default=None),
    }


def _kind(told: Told, last: Record) -> str:
    """In one word: what was decided, by rules and by people."""
    event: Any = last.event
    if event.verdict == "deny":
        return "denied"
    if told.of_call(CallRejected):
        return "rejected"
    if told.of_call(CallExpired):
        return "expired"
    approved = bool(told.of_call(CallApproved))
    if event.editor_ref is not None and approved:
        return "edited"
    if event.verdict == "hold" and not approved:
        return "deferred" if event.awaiting else "held"
    if approved:
        return "approved"
    return "modified" if event.changed else "allowed"


def _revision(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "revision": event.revision,
        "seq": record.seq,
        "at": record.at,
        "verdict": event.verdict,
        "basis": event.basis,
        "reason": _text(record, "reason"),
        "rules": [rule.model_dump(mode="json") for rule in event.rules],
        "rules_digest": event.rules_digest,
        "policy": event.bundle,
        "arguments_digest": event.arguments_digest,
        "approver": event.approver.model_dump(mode="json") if event.approver else None,
        "awaiting": list(event.awaiting),
        "until": event.until,
    }


def _verdict(record: Record) -> dict[str, Any]:
    event: Any = record.event
    statement = None if "statement" in record.forgotten else event.statement.decode()
    return {
        "seq": record.seq,
        "at": record.at,
        "revision": event.revision,
        "by": _text(record, "by"),
        "reason": _text(record, "reason"),
        "key": event.key,
        "statement": statement,
        "statement_digest": event.statement_digest,
        "signature": _text(record, "signature"),
        "commitments": _commitments(record),
    }


def _deferrals(
    told: Told, decisions: Sequence[Record], own: Sequence[Record]
) -> Iterable[dict[str, Any]]:
    """Each time the call waited for facts, and how that ended."""
    ends = (CallDecided, CallApproved, CallRejected, CallExpired)
    for record in decisions:
        event: Any = record.event
        if not event.awaiting:
            continue
        later = [r for kind in ends for r in told.of_call(kind) if r.seq > record.seq]
        end = min(later, key=lambda each: each.seq, default=None)
        facts = [r for r in own if record.seq < r.seq < (end.seq if end else 2**53)]
        stated = [r for r in facts if isinstance(r.event, FactStated)]
        yield {
            "awaiting": list(event.awaiting),
            "reason": _text(record, "reason"),
            "deferred_at": record.at,
            "until": event.until,
            "resolved_at": end.at if end else None,
            "method": _method(end, stated),
            "facts": [{"name": r.event.name, "by": _text(r, "by"), "at": r.at} for r in stated
                      if isinstance(r.event, FactStated)],
        }  # fmt: skip


def _method(end: Record | None, stated: Sequence[Record]) -> str | None:
    if end is None:
        return None
    methods = {CallApproved: "person", CallRejected: "person", CallExpired: "timeout"}
    return methods.get(type(end.event), "fact stated" if stated else "decided again")


# --- the outcome ------------------------------------------------------------------------------


def _outcome(told: Told, own: Sequence[Record]) -> dict[str, Any]:
    finished, doubts = told.of_call(CallFinished), told.of_call(CallDoubted)
    settled = told.of_call(CallSettled)
    return {
        "status": _status(told, own),
        "attempts": [_attempt(record) for record in told.of_call(CallStarted)],
        "results": [_result(record) for record in finished],
        "doubts": [{"at": r.at, "seq": r.seq, "reason": _text(r, "reason")} for r in doubts],
        "settled": [_settled(record) for record in settled],
        "expired_at": next((r.at for r in told.of_call(CallExpired)), None),
    }


def _status(told: Told, own: Sequence[Record]) -> str:
    if finished := told.of_call(CallFinished):
        event: Any = finished[-1].event
        return "done" if event.outcome == "ok" else "failed"
    if settled := told.of_call(CallSettled):
        said: Any = settled[-1].event
        return "happened" if said.happened else "did not happen"
    if told.of_call(CallDoubted):
        return "in doubt"
    if told.of_call(CallStarted):
        return "started"
    over = any(isinstance(record.event, RunCancelled) for record in own)
    return "cancelled" if over else "not run"


def _attempt(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "attempt": event.attempt,
        "at": record.at,
        "seq": record.seq,
        "key": event.key,
        "process": event.process,
        "arguments_digest": event.arguments_digest,
        "policy": event.bundle,
        "approvals": list(event.approvals),
    }


def _result(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "attempt": event.attempt,
        "at": record.at,
        "outcome": event.outcome,
        "duration_ms": event.duration_ms,
        "result": _text(record, "result"),
        "commitments": _commitments(record),
    }


def _settled(record: Record) -> dict[str, Any]:
    event: Any = record.event
    return {
        "attempt": event.attempt,
        "at": record.at,
        "happened": event.happened,
        "method": event.method,
        "by": _text(record, "by"),
        "reason": _text(record, "reason"),
        "key": event.key,
        "signature": _text(record, "signature"),
        "statement": None
        if event.statement is None or "statement" in record.forgotten
        else event.statement.decode(),
    }


# --- content, or that there was some ----------------------------------------------------------


def _commitments(record: Record) -> Mapping[str, str]:
    parts: dict[str, str] = json.loads(record.header)["parts"]
    return parts


def _text(record: Record, name: str) -> str | None:
    """The content, if it is shown; else only its commitment is there."""
    value = getattr(record.event, name)
    return None if name in record.forgotten or value is None else str(value)


def _json(record: Record, name: str) -> Any:
    value = getattr(record.event, name)
    return None if name in record.forgotten or value is None else json.loads(value)
