"""Projections: rows made from a run and its records; never trusted, always rebuildable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agentrt.audit.tables import ApprovalRow, CallRow, ModelCallRow, RunRow
from agentrt.events import (
    CallApproved,
    CallRejected,
    ClaudeFailed,
    ClaudeReplied,
    Record,
)
from agentrt.run import Run, ToolCall

__all__ = ["PROJECTIONS", "Row", "project", "record_rows"]

PROJECTIONS = (RunRow, CallRow, ModelCallRow, ApprovalRow)

SUMMARY_CHARACTERS = 200

Row = dict[str, Any]


def project(before: Run, after: Run, records: Sequence[Record]) -> Iterator[tuple[type, Row]]:
    """The rows that `records` change, `after` being the run that they led to from `before`.

    A row replaces the one with its key.
    """
    yield RunRow, _run_row(after)
    known = {call.id: call for call in before.calls}
    closed = after.past_calls.since(len(before.past_calls))
    for call in (*after.calls, *closed):
        if known.get(call.id) is not call:
            yield CallRow, _call_row(after, call)
    for record in records:
        yield from record_rows(after, record)


def record_rows(run: Run, record: Record) -> Iterator[tuple[type, Row]]:
    """The rows that one record makes by itself; no later record changes them."""
    yield from _request_rows(run, record)
    yield from _approval_rows(record)


def _run_row(run: Run) -> Row:
    return {
        "id": run.id,
        "head_seq": run.seq,
        "head_hash": run.head,
        "head_at": run.at,
        "status": run.status,
        "agent": run.agent,
        "model": run.model,
        "environment": run.environment,
        "simulated": run.simulated,
        "user": _shown(run.user.name) if run.user else None,
        "prompt": _beginning(run.prompt_seen),
        "turn": run.turn,
        "held": len(run.held),
        "in_doubt": len(run.in_doubt),
        "error": run.error[0] if run.error else None,
        "cost_usd": str(run.cost_usd),
        "cost_unknown": run.cost_unknown,
        "started_at": run.started_at,
        "wake_at": min(_expiries(run), default=None),
    }


def _expiries(run: Run) -> Iterator[int]:
    yield from (call.expires_at for call in run.held if call.expires_at is not None)


def _call_row(run: Run, call: ToolCall) -> Row:
    rule = call.rules[0] if call.rules else None
    return {
        "id": call.id,
        "run": run.id,
        "turn": call.turn,
        "index": call.index,
        "agent": run.agent,
        "user": _shown(run.user.name) if run.user else None,
        "simulated": run.simulated,
        "tool": call.tool,
        "status": "deferred" if call.status == "held" and call.awaiting else call.status,
        "effect": call.effect,
        "verdict": call.verdict,
        "revision": call.revision,
        "rule": f"{rule.id} {rule.file}:{rule.line}" if rule else None,
        "severity": call.approver.severity if call.approver else None,
        "summary": _beginning(call.preview or call.seen_arguments.decode(errors="replace")),
        "quorum": call.quorum,
        "approvals": len(call.approvals),
        "attempt": call.attempt,
        "requested_at": call.requested_at,
        "decided_at": call.decided_at or None,
        "expires_at": call.expires_at,
        "finished_at": call.finished_at or None,
    }


def _request_rows(run: Run, record: Record) -> Iterator[tuple[type, Row]]:
    event = record.event
    if not isinstance(event, ClaudeReplied | ClaudeFailed):
        return
    row = {
        "run": run.id,
        "seq": record.seq,
        "at": record.at,
        "turn": event.turn,
        "agent": run.agent,
        "environment": run.environment,
        "simulated": run.simulated,
        "request_id": event.request_id,
        "latency_ms": event.latency_ms,
        **(_replied(event) if isinstance(event, ClaudeReplied) else _failed(run, event)),
    }
    yield ModelCallRow, row


def _replied(event: ClaudeReplied) -> Row:
    usage = event.usage
    return {
        "model": event.model,
        "outcome": event.stop_reason,
        "failed": False,
        "input_tokens": usage.input_tokens,
        "cache_write_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": event.cost_usd,
        "first_token_ms": event.first_token_ms,
    }


def _failed(run: Run, event: ClaudeFailed) -> Row:
    return {
        "model": run.model,
        "outcome": event.kind,
        "failed": True,
        "input_tokens": 0,
        "cache_write_tokens": 0,
        "cache_read_tokens": 0,
        "output_tokens": 0,
        "cost_usd": None,
        "first_token_ms": None,
    }


def _approval_rows(record: Record) -> Iterator[tuple[type, Row]]:
    event = record.event
    if isinstance(event, CallApproved | CallRejected):
        row = {
            "run": record.run,
            "seq": record.seq,
            "at": record.at,
            "call": event.call,
            "verdict": "approve" if isinstance(event, CallApproved) else "reject",
            "by": _shown(event.by),
            "reason": _shown(event.reason),
            "key": event.key,
        }
        yield ApprovalRow, row


def _beginning(text: str) -> str:
    line = " ".join(_shown(text).split())
    cut = len(line) > SUMMARY_CHARACTERS
    return f"{line[: SUMMARY_CHARACTERS - 1]}…" if cut else line


def _shown(text: str) -> str:
    """As lists have it: PostgreSQL takes no NUL in a text, and the records keep what was said."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
