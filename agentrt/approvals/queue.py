"""The approval queue: the calls that wait for a person."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentrt.approvals.revisions import revise
from agentrt.approvals.signatures import Signer
from agentrt.approvals.statement import Statement
from agentrt.approvals.verdicts import check_may_decide, check_may_settle
from agentrt.audit import AuditStore, CallRow
from agentrt.errors import Conflict, Expired, NotAllowed, NotFound, Stale
from agentrt.events import (
    AnyEvent,
    CallApproved,
    CallDecided,
    CallExpired,
    CallRejected,
    CallSettled,
)
from agentrt.policy import Policy, PublicKey, Reviewer, Reviewers
from agentrt.policy.rules import SEVERITIES
from agentrt.run import Run, ToolCall
from agentrt.tools import Tools

__all__ = ["ApprovalQueue", "Shown"]

TRIES = 20
"""How often a decision is taken anew because the run moved on under it."""

SETTLE_VALID_MS = 60_000


@dataclass(frozen=True, slots=True)
class Shown:
    """A call exactly as a reviewer was shown it; a decision is bound to this."""

    run: Run
    call: ToolCall


Prepare = Callable[[Run, ToolCall, Reviewer, int], list[AnyEvent]]


class ApprovalQueue:
    """The held calls of all runs, and what people do about them.

    Every decision is signed by the reviewer over what they were shown, and refused when the
    call has changed since. Of two decisions on one call one wins; the other is told so.
    """

    def __init__(self, store: AuditStore, reviewers: Reviewers) -> None:
        self._store = store
        self._reviewers = reviewers

    def held(self) -> list[CallRow]:
        """Calls that wait for a reviewer: the riskiest first, then what expires first."""
        return sorted(self._store.calls(status=("held",)), key=_riskiest_first)

    def in_doubt(self) -> list[CallRow]:
        """Calls of which nobody knows whether they happened."""
        return self._store.calls(status=("in doubt",))

    def reviewer(self, signer: Signer) -> Reviewer:
        """Whose key it is that signs. Raises NotAllowed when it is no reviewer's."""
        key = PublicKey.parse(signer.public_key)
        reviewer = self._reviewers.by_key(key.blob)
        if reviewer is None:
            raise NotAllowed(
                f"The key {key.fingerprint} is no reviewer's. Add it to policies/reviewers.yaml: "
                f'keys: ["{signer.public_key}"]'
            )
        return reviewer

    def view(self, call: str) -> Shown:
        """The call to show a reviewer. Raises NotFound."""
        row = self._store.find_call(call)
        return self._shown(self._store.load(row.run), row.id)

    async def approve(
        self, call: str | Shown, *, signer: Signer, reason: str = "", arguments: str | None = None
    ) -> Run:
        """Say yes to exactly what was shown.

        `arguments` is the digest the reviewer has in mind, or its beginning. Raises NotHeld,
        Stale, Expired or NotAllowed; then nothing was decided.
        """
        shown = self._expected(call, arguments)
        return await self._decide(shown, "approve", _SignsOnce(signer), reason)

    async def reject(
        self, call: str | Shown, *, signer: Signer, reason: str, arguments: str | None = None
    ) -> Run:
        """Say no; Claude is told the reason. Raises as `approve` does."""
        if not reason.strip():
            raise NotAllowed("A rejection needs a reason: Claude is told it.")
        shown = self._expected(call, arguments)
        return await self._decide(shown, "reject", _SignsOnce(signer), reason)

    async def edit(
        self,
        call: str | Shown,
        edited: Mapping[str, Any],
        *,
        signer: Signer,
        reason: str,
        tools: Tools,
        policy: Policy,
        arguments: str | None = None,
    ) -> Run:
        """Approve with other arguments: checked, decided on again by policy, both recorded.

        Raises ArgumentsInvalid, NotAllowed when policy denies the new arguments, and as
        `approve` does.
        """
        shown = self._expected(call, arguments)
        signer = _SignsOnce(signer)

        def prepare(run: Run, call: ToolCall, reviewer: Reviewer, at: int) -> list[AnyEvent]:
            check_may_decide(run, call, reviewer, reason=reason, at=at)
            revision = revise(run, call, tools=tools, policy=policy, at=at, edited=edited)
            stamped = self._stamped(revision, call, reviewer)
            asked_now = replace(call, approver=stamped.approver, approvals=())
            check_may_decide(run, asked_now, reviewer, reason=reason, at=at)
            said = self._statement(shown, "approve", reviewer, reason, at)
            return [
                stamped,
                self._verdict(_about(said, stamped), signer, cause=run.seq + 1),
            ]

        return await self._append(shown, signer, prepare)

    async def settle(
        self, call: str | Shown, *, happened: bool, signer: Signer, reason: str, result: str = ""
    ) -> Run:
        """Say whether a call in doubt happened; what did not is decided anew.

        Raises NotHeld, NotAllowed, and NotAllowed too for "it did not happen" while the
        process that started the call may still be alive and do it.
        """
        shown = self.view(call) if isinstance(call, str) else call
        signer = _SignsOnce(signer)

        def prepare(run: Run, call: ToolCall, reviewer: Reviewer, at: int) -> list[AnyEvent]:
            check_may_settle(run, call, reviewer, at=at)
            if not happened:
                self._check_dead(call)
            verdict: Verdict = "happened" if happened else "did_not_happen"
            said = self._statement(shown, verdict, reviewer, reason, at)
            said = said.model_copy(update={"result": result})
            return [self._settled(said, signer, attempt=call.attempt, cause=run.seq)]

        return await self._append(shown, signer, prepare)

    async def expire_due(self) -> list[str]:
        """Close the held calls whose time is over; the runs that this moved on."""
        now = self._store.clock()
        due = [row for row in self.held() if row.expires_at is not None and row.expires_at <= now]
        return [row.run for row in due if await self._expire(row)]

    # ---------------------------------------------------------------------------------------

    async def _expire(self, row: CallRow) -> bool:
        for _ in range(TRIES):
            run = self._store.load(row.run)
            call = run.call(row.id)
            if call is None or call.status != "held" or not _is_due(call, self._store.clock()):
                return False
            try:
                await self._store.append(run, [_expired(call)])
            except Conflict:
                continue
            return True
        return False

    async def _decide(
        self, shown: Shown, verdict: Literal["approve", "reject"], signer: Signer, reason: str
    ) -> Run:
        def prepare(run: Run, call: ToolCall, reviewer: Reviewer, at: int) -> list[AnyEvent]:
            check_may_decide(run, call, reviewer, reason=reason, at=at)
            said = self._statement(shown, verdict, reviewer, reason, at)
            return [self._verdict(said, signer, cause=call.decided_seq)]

        return await self._append(shown, signer, prepare)

    async def _append(self, shown: Shown, signer: Signer, prepare: Prepare) -> Run:
        """Append what `prepare` makes of the newest state; made anew when that has moved on."""
        reviewer = self.reviewer(signer)
        at = self._store.clock()
        for _ in range(TRIES):
            run = self._store.load(shown.run.id)
            call = self._shown(run, shown.call.id).call
            _check_unchanged(shown.call, call)
            try:
                events = prepare(run, call, reviewer, at)
                not_after = call.expires_at if call.status == "held" else None
                return await self._store.append(run, events, not_after=not_after)
            except Conflict:
                continue
            except Expired:
                await self.expire_due()
                raise
        raise Conflict(f"{shown.run.id} moves on faster than a decision can be taken. Try again.")

    def _statement(
        self, shown: Shown, verdict: Verdict, reviewer: Reviewer, reason: str, at: int
    ) -> Statement:
        call = shown.call
        return Statement(
            verdict=verdict,
            store=self._store.id,
            run=shown.run.id,
            call=call.id,
            revision=call.revision,
            tool=call.tool,
            tool_digest=call.tool_digest,
            arguments_digest=call.arguments_digest,
            rules_digest=call.rules_digest,
            bundle=call.bundle,
            head=shown.run.head.hex(),
            reviewer=reviewer.name,
            reason=reason,
            signed_at=at,
            expires_at=call.expires_at or at + SETTLE_VALID_MS,
        )

    def _stamped(self, revision: CallDecided, call: ToolCall, reviewer: Reviewer) -> CallDecided:
        """A revision that a reviewer wrote: also what policy would allow is bound to their yes."""
        if revision.verdict == "deny":
            raise NotAllowed(f"Policy denies these arguments: {revision.reason}")
        return revision.model_copy(
            update={
                "verdict": "hold",
                "approver": revision.approver or call.approver,
                "approvals": (),
                "editor": reviewer.name,
                "editor_ref": self._store.ref(reviewer.name),
            }
        )

    def _check_dead(self, call: ToolCall) -> None:
        if self._store.is_alive(call.process):
            raise NotAllowed(
                f"The process {call.process} that started {call.id} is still alive and may "
                "yet do it. Stop it first, then settle."
            )

    def _settled(self, said: Statement, signer: Signer, *, attempt: int, cause: int) -> CallSettled:
        return CallSettled(
            cause=cause,
            call=said.call,
            attempt=attempt,
            happened=said.verdict == "happened",
            method="person",
            reviewer_ref=self._store.ref(said.reviewer),
            key=PublicKey.parse(signer.public_key).fingerprint,
            statement_digest=said.digest,
            by=said.reviewer,
            reason=said.reason,
            result=said.result or None,
            statement=said.to_bytes(),
            signature=_signed(said, signer),
        )

    def _verdict(self, said: Statement, signer: Signer, *, cause: int) -> AnyEvent:
        kind = CallApproved if said.verdict == "approve" else CallRejected
        return kind(
            cause=cause,
            call=said.call,
            revision=said.revision,
            reviewer_ref=self._store.ref(said.reviewer),
            key=PublicKey.parse(signer.public_key).fingerprint,
            statement_digest=said.digest,
            by=said.reviewer,
            reason=said.reason,
            statement=said.to_bytes(),
            signature=_signed(said, signer),
        )

    def _expected(self, call: str | Shown, arguments: str | None) -> Shown:
        shown = self.view(call) if isinstance(call, str) else call
        if arguments is not None and not shown.call.arguments_digest.startswith(arguments):
            raise Stale(
                f"The arguments of {shown.call.id} have the digest "
                f"{shown.call.arguments_digest[:12]}, not {arguments[:12]}: look at it again."
            )
        return shown

    def _shown(self, run: Run, id: str) -> Shown:
        call = run.call(id)
        if call is None:
            raise NotFound(f"The run {run.id} has no call {id}.")
        return Shown(run, call)


Verdict = Literal["approve", "reject", "happened", "did_not_happen"]


def _about(said: Statement, revision: CallDecided) -> Statement:
    """The statement, about another revision than the one that was shown."""
    names = ("revision", "arguments_digest", "rules_digest", "tool_digest", "bundle")
    return said.model_copy(update={name: getattr(revision, name) for name in names})


class _SignsOnce:
    """Asks a signer once for the same statement: a key may want a touch for each signature."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._signed: dict[bytes, str] = {}

    @property
    def public_key(self) -> str:
        return self._signer.public_key

    def sign(self, statement: bytes) -> str:
        if statement not in self._signed:
            self._signed[statement] = self._signer.sign(statement)
        return self._signed[statement]


def _check_unchanged(shown: ToolCall, now: ToolCall) -> None:
    if now.status == "held" and now.revision != shown.revision:
        raise Stale(
            f"{now.id} has changed since it was shown: it is at revision {now.revision}, "
            f"arguments {now.arguments_digest[:12]}. Look at it again."
        )


def _expired(call: ToolCall) -> AnyEvent:
    return CallExpired(cause=call.decided_seq, call=call.id, revision=call.revision)


def _is_due(call: ToolCall, now: int) -> bool:
    return call.expires_at is not None and call.expires_at <= now


def _signed(said: Statement, signer: Signer) -> str:
    return signer.sign(said.to_bytes())


def _riskiest_first(row: CallRow) -> tuple[float, ...]:
    expires_at = math.inf if row.expires_at is None else row.expires_at
    return -_rank(row.severity), expires_at, row.requested_at, row.turn, row.index


def _rank(severity: str | None) -> int:
    return next((rank for rank, name in enumerate(SEVERITIES) if name == severity), 0)
