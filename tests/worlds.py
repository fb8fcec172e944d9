"""Small worlds for tests: facts in a line, a run told in memory, a desk with a real store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from agentrt.agent import Agent
from agentrt.approvals import ApprovalQueue, KeyFile, Statement
from agentrt.approvals.revisions import revise
from agentrt.audit import AuditStore
from agentrt.audit.records import Written, write_record
from agentrt.events import (
    AnyEvent,
    Approver,
    CallApproved,
    CallDecided,
    CallDoubted,
    CallExpired,
    CallFinished,
    CallRejected,
    CallSettled,
    CallStarted,
    ClaudeAsked,
    ClaudeFailed,
    ClaudeReplied,
    Record,
    RunStarted,
    Usage,
    User,
)
from agentrt.policy import Known, Policy, PublicKey
from agentrt.run import Run, ToolCall, evolve
from agentrt.tools import Tool, Tools, tool

AT = 1_780_000_000_000
HOUR_MS = 3_600_000
MODEL = "claude-sonnet-5-5"


@tool(effect="read")
def read_note(name: str) -> str:
    """Read a note.

    Args:
        name: Which one.
    """
    return f"note {name}"


@tool(effect="write", idempotent_for="1h")
def write_note(name: str, text: str = "") -> str:
    """Write a note.

    Args:
        name: Which one.
        text: What to write.
    """
    return f"wrote {text} to {name}"


@tool(effect="irreversible")
def pay(payee: str, cents: int) -> str:
    """Pay somebody.

    Args:
        payee: Whom.
        cents: How much.
    """
    return f"paid {cents} to {payee}"


TOOLS: tuple[Tool, ...] = (read_note, write_note, pay)
AGENT = Agent(name="desk", model=MODEL, instructions="Be kind.", tools=TOOLS)


# --- facts -----------------------------------------------------------------------------


def started(prompt: str = "pay the bill", *, user: User | None = None, **more: Any) -> RunStarted:
    fields: dict[str, Any] = {
        "agent": AGENT.name,
        "model": MODEL,
        "bundle": "b" * 64,
        "environment": "test",
        "service": "agentrt@here:1",
        "simulated": False,
        "turns_max": 20,
        "deadline_ms": HOUR_MS,
        "definition": AGENT.definition(),
    }
    return RunStarted.model_validate({**fields, "prompt": prompt, "user": user, **more})


def asked(turn: int = 1, ask: int = 1) -> ClaudeAsked:
    return ClaudeAsked(
        turn=turn, ask=ask, model=MODEL, messages=1, tokens_max=4096, request_digest="d" * 64
    )


def use(tool: str, /, *, id: str = "toolu_1", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": tool, "input": arguments}


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def replied(
    *blocks: dict[str, Any], turn: int = 1, stop_reason: str | None = None
) -> ClaudeReplied:
    uses = any(block["type"] == "tool_use" for block in blocks)
    return ClaudeReplied(
        turn=turn,
        message_id=f"msg_{turn}",
        request_id=None,
        model=MODEL,
        stop_reason=stop_reason or ("tool_use" if uses else "end_turn"),
        usage=Usage(input_tokens=10, output_tokens=5),
        cost_usd="0.00007",
        latency_ms=12,
        blocks=to_json(blocks),
    )


def failed(turn: int = 1, *, again: bool = True, outage: bool = True) -> ClaudeFailed:
    return ClaudeFailed(
        turn=turn, kind="overloaded", again=again, outage=outage, latency_ms=3, message="busy"
    )


def decided(call: ToolCall, verdict: str = "allow", **more: Any) -> CallDecided:
    fields: dict[str, Any] = {
        "call": call.id,
        "revision": call.revision + 1,
        "tool": call.tool,
        "verdict": verdict,
        "basis": "rules",
        "rules_digest": "c" * 64,
        "bundle": "b" * 64,
        "effect": next((tool.effect for tool in TOOLS if tool.name == call.tool), "irreversible"),
        "repeatable": False,
        "tool_digest": "e" * 64,
        "arguments_digest": hashlib.sha256(call.input).hexdigest(),
        "approver": Approver(expires_at=AT + HOUR_MS) if verdict == "hold" else None,
        "arguments": call.input,
        "reason": "a rule says so",
    }
    return CallDecided.model_validate(fields | more)


def approved(call: ToolCall, by: str = "ana") -> CallApproved:
    """A yes that no key signed: what a fold takes at its word and the runtime does not."""
    return CallApproved.model_validate(_verdict(call, by))


def rejected(call: ToolCall, by: str = "ana", reason: str = "too much") -> CallRejected:
    return CallRejected.model_validate(_verdict(call, by) | {"reason": reason})


def _verdict(call: ToolCall, by: str) -> dict[str, Any]:
    statement = to_json({"call": call.id, "by": by, "attempt": call.attempt})
    return {
        "call": call.id,
        "revision": call.revision,
        "reviewer_ref": f"ref of {by}",
        "key": "SHA256:none",
        "statement_digest": hashlib.sha256(statement).hexdigest(),
        "by": by,
        "reason": "",
        "statement": statement,
        "signature": "none",
    }


def expired(call: ToolCall) -> CallExpired:
    return CallExpired(call=call.id, revision=call.revision)


def began(call: ToolCall, *, process: str = "p_gone") -> CallStarted:
    return CallStarted(
        call=call.id,
        revision=call.revision,
        attempt=call.attempt + 1,
        key=f"key of {call.id}",
        process=process,
        deadline_at=AT + HOUR_MS,
        arguments_digest=call.arguments_digest or "a" * 64,
        tool_digest=call.tool_digest or "e" * 64,
        bundle=call.bundle or "b" * 64,
        approvals=tuple(approval.seq for approval in call.approvals),
    )


def finished(call: ToolCall, result: str = "done", *, outcome: str = "ok") -> CallFinished:
    return CallFinished.model_validate(
        {
            "call": call.id,
            "attempt": max(call.attempt, 1),
            "outcome": outcome,
            "duration_ms": 1,
            "result": result,
        }
    )


def doubted(call: ToolCall) -> CallDoubted:
    return CallDoubted(call=call.id, attempt=max(call.attempt, 1), reason="nobody knows")


def settled(call: ToolCall, *, happened: bool) -> CallSettled:
    return CallSettled(
        call=call.id, attempt=call.attempt, happened=happened, method="check", reason="looked"
    )


# --- a run told in memory --------------------------------------------------------------


class Story:
    """A run and its records, without a store."""

    def __init__(self, id: str = "r_0000000000000001") -> None:
        self.run = Run(id)
        self.written: list[Written] = []

    @property
    def records(self) -> list[Record]:
        return [written.record for written in self.written]

    def tell(self, *events: AnyEvent, at: int | None = None) -> Run:
        for event in events:
            seq = self.run.seq + 1
            when = AT + seq * 1000 if at is None else at
            written = write_record(event, run=self.run.id, seq=seq, at=when, prev=self.run.head)
            self.written.append(written)
            self.run = evolve(self.run, written.record)
        return self.run

    def call(self, index: int = 0) -> ToolCall:
        return self.run.calls[index]


def a_story(*uses: dict[str, Any], id: str = "r_0000000000000001") -> Story:
    """A run whose first reply asks for `uses`."""
    story = Story(id)
    story.tell(started(), asked(), replied(*uses))
    return story


# --- a desk with a real store ----------------------------------------------------------


@dataclass
class Clock:
    """Milliseconds that move when a test says so."""

    now: int = AT

    def __call__(self) -> int:
        return self.now


RULES = "default: {read: allow}\nrules: []\n"


def a_policy(reviewers: dict[str, tuple[KeyFile, tuple[str, ...]]], rules: str = RULES) -> Policy:
    """A policy whose reviewers have these keys and roles."""
    people = [
        f"  - name: {name}\n    roles: [{', '.join(roles)}]\n    keys: ['{key.public_key}']\n"
        for name, (key, roles) in reviewers.items()
    ]
    texts = {"rules.yaml": rules, "reviewers.yaml": "reviewers:\n" + "".join(people)}
    return Policy.from_texts(texts, TOOLS)


@dataclass
class Desk:
    """A store, a policy and the steps of a run, taken by hand."""

    path: Path
    policy: Policy
    tools: Tools = field(default_factory=lambda: Tools(TOOLS))
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.store = AuditStore(self.path, clock=self.clock)

    @property
    def queue(self) -> ApprovalQueue:
        return ApprovalQueue(self.store, self.policy.reviewers)

    async def ask_for(
        self, *uses: dict[str, Any], run: str = "r_0000000000000001", user: User | None = None
    ) -> Run:
        """A run whose first reply asks for `uses`, each decided by the policy."""
        begun = await self.store.append(
            Run(run),
            [
                started(bundle=self.policy.bundle, user=user),
                asked().model_copy(update={"cause": 1}),
                replied(*uses).model_copy(update={"cause": 2}),
            ],
        )
        return await self.decide(begun)

    async def decide(self, run: Run) -> Run:
        requested = [call for call in run.calls if call.status == "requested"]
        return await self.store.append(run, [self.revision(run, call) for call in requested])

    def revision(self, run: Run, call: ToolCall, **more: Any) -> CallDecided:
        known = Known(now=self.clock())
        return revise(run, call, tools=self.tools, policy=self.policy, known=known, **more)

    async def hold(self, cents: int = 5, **more: Any) -> ToolCall:
        """A payment that waits for a reviewer."""
        run = await self.ask_for(use("pay", payee="bob", cents=cents), **more)
        return run.calls[0]

    def signed(
        self, run: Run, call: ToolCall, key: KeyFile, by: str, /, **more: Any
    ) -> CallApproved:
        """A yes by this key, its statement changed by `more`: what an attacker would append."""
        statement = self.statement(run, call, by).model_copy(update=more)
        body = statement.to_bytes()
        return CallApproved(
            cause=call.decided_seq,
            call=call.id,
            revision=call.revision,
            reviewer_ref=self.store.ref(by),
            key=PublicKey.parse(key.public_key).fingerprint,
            statement_digest=statement.digest,
            by=by,
            reason=statement.reason,
            statement=body,
            signature=key.sign(body),
        )

    def statement(self, run: Run, call: ToolCall, by: str) -> Statement:
        return Statement(
            verdict="approve",
            store=self.store.id,
            run=run.id,
            call=call.id,
            revision=call.revision,
            tool=call.tool,
            tool_digest=call.tool_digest,
            arguments_digest=call.arguments_digest,
            rules_digest=call.rules_digest,
            bundle=call.bundle,
            head=run.head.hex(),
            reviewer=by,
            reason="fine",
            signed_at=self.clock(),
            expires_at=call.expires_at or self.clock() + HOUR_MS,
        )
