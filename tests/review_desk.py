"""A store as a reviewer finds it, made record by record: nothing in it depends on the hour."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import rfc8785
from pydantic_core import to_json

from agentrt.approvals import ApprovalQueue, KeyFile, make_key
from agentrt.audit import STORE_CHAIN, AuditStore
from agentrt.events import (
    AnyEvent,
    Approver,
    BundleLoaded,
    CallDecided,
    CallFinished,
    CallStarted,
    ClaudeAsked,
    ClaudeReplied,
    RuleRef,
    RunFinished,
    RunStarted,
    Usage,
    User,
)
from agentrt.policy import Policy
from agentrt.run import Run
from agentrt.run.state import call_id

START = 1_772_373_600_000
"""2026-03-01 14:00:00 UTC."""

RULES = """\
default: {read: allow}
rules:
  - id: refunds
    decide: hold
    tools: [refund_payment]
    why: Money that has left does not come back.
    approve: {roles: [support-lead], expires: 4h}
  - id: mass-mail
    decide: hold
    tools: [send_mail]
    why: A mail cannot be called back.
"""


@dataclass
class Clock:
    """A clock that stands still until it is told to go on; milliseconds, and seconds for keys."""

    at: int = START
    seconds: float = 100.0

    def __call__(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds
        self.at += int(seconds * 1000)


@dataclass
class Desk:
    """A store, its queue, and reviewers with keys."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.ana = make_key(self.folder / "ana", comment="ana")
        self.lee = make_key(self.folder / "lee", comment="lee")
        people = "".join(
            f'  - name: {name}\n    roles: [{roles}]\n    keys: ["{key.public_key}"]\n'
            for name, roles, key in (
                ("ana", "support-lead", self.ana),
                ("lee", "owner", self.lee),
            )
        )
        texts = {"money.yaml": RULES, "reviewers.yaml": f"reviewers:\n{people}"}
        self.policy = Policy.parse(texts)
        self.store = AuditStore(self.folder / "audit.db", clock=self.clock)
        self.elsewhere = AuditStore(self.folder / "audit.db", clock=self.clock)
        self.queue = ApprovalQueue(self.store, self.policy.reviewers)
        self.queue_elsewhere = ApprovalQueue(self.elsewhere, self.policy.reviewers)
        # A fixed name: the digest of the real texts depends on keys that were made just now.
        self.bundle = "b0" * 32
        loaded = BundleLoaded(bundle=self.bundle, service="tests", files=to_json(texts))
        self.append(Run(STORE_CHAIN), loaded)

    def close(self) -> None:
        self.store.close()
        self.elsewhere.close()

    def append(self, run: Run, *events: AnyEvent) -> Run:
        """As another process would: the screens have to notice."""
        return run_now(self.elsewhere.append(run, events))

    def start(
        self,
        number: int,
        *,
        prompt: str,
        user: str = "mona",
        agent: str = "desk",
        tools: Sequence[str] = (),
    ) -> Run:
        """A run whose id ends in `number`."""
        definition = to_json({"name": agent, "tools": [{"name": name} for name in tools]})
        return self.append(
            Run(f"r_{number:016x}"),
            RunStarted(
                agent=agent,
                model="claude-sonnet-5-5",
                bundle=self.bundle,
                environment="development",
                service="agentrt@desk:1",
                simulated=False,
                turns_max=20,
                deadline_ms=3_600_000,
                definition=definition,
                prompt=prompt,
                user=User(name=user),
            ),
        )

    def reply(self, run: Run, *blocks: dict[str, Any], stop: str = "tool_use") -> Run:
        """A turn of Claude."""
        turn = run.turn + 1
        asked = ClaudeAsked(
            cause=run.seq,
            turn=turn,
            ask=1,
            model=run.model,
            messages=2 * turn - 1,
            tokens_max=1024,
            request_digest="d1" * 32,
        )
        replied = ClaudeReplied(
            cause=run.seq + 1,
            turn=turn,
            message_id=f"msg_{turn}",
            request_id=None,
            model=run.model,
            stop_reason=stop,
            usage=Usage(input_tokens=310, output_tokens=88),
            cost_usd="0.0021",
            latency_ms=1900,
            blocks=to_json(list(blocks)),
        )
        return self.append(run, asked, replied)

    def ran(self, run: Run, tool: str, arguments: dict[str, Any], result: str) -> Run:
        """The call of this turn was allowed and ran."""
        call = run.calls[0]
        run = self.append(run, self.decided(run, arguments, verdict="allow", effect="read"))
        started = CallStarted(
            cause=run.seq,
            call=call.id,
            revision=1,
            attempt=1,
            key=f"{run.id}:{call.id}",
            process="p_1",
            deadline_at=self.clock() + 60_000,
            arguments_digest=digest_of(arguments),
            tool_digest="70" * 32,
            bundle=self.bundle,
        )
        finished = CallFinished(
            cause=run.seq + 1, call=call.id, attempt=1, outcome="ok", duration_ms=12, result=result
        )
        return self.append(run, started, finished)

    def decided(
        self,
        run: Run,
        arguments: dict[str, Any],
        *,
        verdict: str = "hold",
        severity: str = "high",
        quorum: int = 1,
        minutes: float = 240,
        preview: str | None = None,
        effect: str = "irreversible",
        rule: RuleRef | None = None,
        reason: str = "Money that has left does not come back.",
        revision: int = 1,
        reason_required: bool = False,
    ) -> CallDecided:
        call = run.calls[0]
        held = verdict == "hold"
        return CallDecided(
            cause=call.decided_seq or call.requested_seq,
            call=call.id,
            revision=revision,
            tool=call.tool,
            verdict=verdict,
            basis="rules" if rule else "default",
            rules=(rule,) if rule else (),
            rules_digest="12" * 32,
            bundle=self.bundle,
            effect=effect,
            repeatable=False,
            tool_digest="70" * 32,
            arguments_digest=digest_of(arguments),
            approver=Approver(
                severity=severity,
                quorum=quorum,
                expires_at=self.clock() + int(minutes * 60_000),
                roles=("support-lead",) if rule and rule.id == "refunds" else (),
                reason_required=reason_required,
            )
            if held
            else None,
            arguments=rfc8785.dumps(arguments),
            reason=reason if held else "Reads run.",
            preview=preview,
        )

    def hold(self, number: int, tool: str, arguments: dict[str, Any], **how: Any) -> str:
        """A run that waits with one held call; the call's id."""
        start = {name: how.pop(name) for name in ("prompt", "user", "agent") if name in how}
        run = self.start(number, **{"prompt": "please do it", **start})
        run = self.reply(run, {"type": "text", "text": "I do it now."}, use(tool, arguments))
        self.append(run, self.decided(run, arguments, **how))
        return call_id(run.id, 1, 0)

    def hold_together(self, number: int, *refunds: dict[str, Any], **how: Any) -> list[str]:
        """A run that waits with refunds of one turn that belong together; the ids of the calls."""
        run = self.start(number, prompt="refund them all")
        uses = [use("refund_payment", each, f"toolu_{n}") for n, each in enumerate(refunds)]
        run = self.reply(run, *uses)
        held = [
            self.decided(run, arguments, **how).model_copy(update={"call": call.id, "group": "g_1"})
            for call, arguments in zip(run.calls, refunds, strict=True)
        ]
        return [call.id for call in self.append(run, *held).calls]

    def approve(self, call: str, *, key: KeyFile, reason: str = "looked at it") -> Run:
        """In another process."""
        return run_now(self.queue_elsewhere.approve(call, signer=key, reason=reason))

    def reject(self, call: str, *, key: KeyFile, reason: str = "not this one") -> Run:
        """In another process."""
        return run_now(self.queue_elsewhere.reject(call, signer=key, reason=reason))

    def status(self, call: str) -> str:
        return self.elsewhere.find_call(call).status


def use(tool: str, arguments: Any, id: str = "toolu_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": tool, "input": arguments}


def digest_of(arguments: dict[str, Any]) -> str:
    return sha256(rfc8785.dumps(arguments)).hexdigest()


def run_now(coroutine: Any) -> Any:
    """Its own loop in its own thread: a test may be inside another loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


REFUND_RULE = RuleRef(id="refunds", file="money.yaml", line=3)
MAIL_RULE = RuleRef(id="mass-mail", file="money.yaml", line=8)


def busy(desk: Desk) -> str:
    """Four held calls of three agents; the id of the refund among them."""
    desk.start(1, prompt="What time is it in Lima?", user="omar", agent="clock")
    finished = desk.elsewhere.load("r_0000000000000001")
    finished = desk.reply(finished, {"type": "text", "text": "It is 09:00."}, stop="end_turn")
    desk.append(
        finished, RunFinished(cause=finished.seq, stop_reason="end_turn", output="It is 09:00.")
    )
    desk.clock.pass_(60)
    run = desk.start(2, prompt="I was charged twice for order 4417, please fix it.")
    run = desk.reply(
        run,
        {"type": "text", "text": "I look at the order and the ledger."},
        use("find_charges", {"order": 4417}),
    )
    run = desk.ran(run, "find_charges", {"order": 4417}, "li_81 950.00 EUR, li_82 950.00 EUR")
    refund = {"customer": "cus_0192", "amount_cents": 95000, "reason": "duplicate charge"}
    run = desk.reply(
        run,
        {"type": "text", "text": "The ledger shows two charges. I refund the second."},
        use("refund_payment", refund, "toolu_2"),
    )
    desk.append(
        run,
        desk.decided(
            run, refund, preview="refund 950.00 EUR to cus_0192 (li_82)", rule=REFUND_RULE
        ),
    )
    desk.clock.pass_(45)
    desk.hold(
        3,
        "execute_sql",
        {"sql": "DELETE FROM users WHERE last_seen < '2020-01-01'"},
        severity="critical",
        quorum=2,
        minutes=12,
        agent="cleanup",
        user="lee",
        preview="delete 1,204 rows from users",
        reason="What is deleted is gone.",
    )
    desk.hold(
        4,
        "send_mail",
        {"to": "mona@example.com", "subject": "Your order 4417", "body": "Dear Mona,\n..."},
        severity="medium",
        minutes=58,
        rule=MAIL_RULE,
        reason="A mail cannot be called back.",
        effect="write",
    )
    desk.hold(
        5,
        "write_file",
        {"path": "site/index.html", "text": "<h1>Hello</h1>"},
        severity="low",
        agent="docs",
        user="omar",
        effect="write",
        reason="No rule speaks of write_file, and what does more than read waits for a person.",
    )
    desk.clock.pass_(30)
    return call_id(run.id, 2, 0)
