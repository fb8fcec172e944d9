"""The approval queue: the calls that wait for a person."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from agentrt.approvals.histories import Histories
from agentrt.approvals.revisions import revise
from agentrt.approvals.shown import Shown, check_in_mind, check_together, together
from agentrt.approvals.signatures import Signer
from agentrt.approvals.statement import Covered, Statement
from agentrt.approvals.verdicts import check_may_decide, check_may_settle, standing
from agentrt.audit import AuditStore, CallRow
from agentrt.errors import Conflict, Expired, NotAllowed, NotFound, NotHeld, Stale
from agentrt.events import (
    AnyEvent,
    CallApproved,
    CallDecided,
    CallExpired,
    CallRejected,
    CallSettled,
)
from agentrt.policy import Policy, PublicKey, Reviewer, Reviewers
from agentrt.policy.keeping import Keeping
from agentrt.policy.rules import SEVERITIES
from agentrt.privacy import Mask, Secrets
from agentrt.run import Contradiction, Run, ToolCall
from agentrt.run.state import moment
from agentrt.tools import Tools

__all__ = ["ApprovalQueue"]

TRIES = 20
"""How often a decision is taken anew because the run moved on under it."""

SETTLE_VALID_MS = 60_000

Calls = Sequence[ToolCall]
Prepare = Callable[[Run, Calls, Reviewer, int], list[AnyEvent]]


class ApprovalQueue:
    """The held calls of all runs, and what people do about them.

    Every decision is signed by the reviewer over what they were shown, and refused when the
    call has changed since. Of two decisions on one call one wins; the other is told so.
    """

    def __init__(
        self,
        store: AuditStore,
        reviewers: Reviewers,
        *,
        known: Callable[[], Secrets] = Secrets,
    ) -> None:
        """`known` are secrets that are masked by their value in what people write."""
        self._store = store
        self._reviewers = reviewers
        self._known = known

    def reviewers_are(self, reviewers: Reviewers) -> None:
        """Go by other reviewers from now on."""
        self._reviewers = reviewers

    def held(self) -> list[CallRow]:
        """Calls that wait for a reviewer: the riskiest first, then what expires first.

        One that waits for a fact is not among them before its time for that is over.
        """
        rows = self._store.calls(status=("held", "deferred"))
        asked = [row for row in rows if row.status == "held" or not self._is_deferred(row)]
        for row in asked:
            row.status = "held"
        return sorted(asked, key=_riskiest_first)

    def deferred(self) -> list[CallRow]:
        """Held calls that wait for a fact, and for a person only once their time is over."""
        return [r for r in self._store.calls(status=("deferred",)) if self._is_deferred(r)]

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

    def group(self, call: str | Shown) -> tuple[Shown, ...]:
        """The held calls that belong together with this one, itself included, in turn order.

        One decision may cover them: show them all first. Raises NotFound.
        """
        return together(self.view(call) if isinstance(call, str) else call)

    async def approve(
        self, call: str | Shown, *, signer: Signer, reason: str = "", arguments: str | None = None
    ) -> Run:
        """Say yes to exactly what was shown.

        `arguments` is the digest the reviewer has in mind, or its beginning. Raises NotHeld,
        Stale, Expired or NotAllowed; then nothing was decided.
        """
        shown = self._expected(call, arguments)
        return await self._decide([shown], "approve", signer, reason)

    async def approve_group(
        self,
        group: Sequence[Shown],
        *,
        signer: Signer,
        reason: str = "",
        arguments: str | None = None,
    ) -> Run:
        """Say yes to exactly these calls, with one signature: to all of them or to none.

        `group` is what `group()` gave and the reviewer was shown; a call that has joined since
        is not covered. `arguments` is its `group_digest`, or the beginning of it. The terms of
        every call are checked for that call. Raises as `approve` does.
        """
        check_together(group, arguments)
        return await self._decide(group, "approve", signer, reason)

    async def reject(
        self, call: str | Shown, *, signer: Signer, reason: str, arguments: str | None = None
    ) -> Run:
        """Say no; Claude is told the reason. Raises as `approve` does."""
        shown = self._expected(call, arguments)
        return await self._decide([shown], "reject", signer, reason)

    async def reject_group(
        self, group: Sequence[Shown], *, signer: Signer, reason: str, arguments: str | None = None
    ) -> Run:
        """Say no to exactly these calls; otherwise as `approve_group`."""
        check_together(group, arguments)
        return await self._decide(group, "reject", signer, reason)

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

        Raises ArgumentsInvalid, NotAllowed when policy denies the new arguments or sets some of
        them, and as `approve` does.
        """
        shown = self._expected(call, arguments)
        signer = _SignsOnce(signer)

        def prepare(run: Run, calls: Calls, reviewer: Reviewer, at: int) -> list[AnyEvent]:
            (call,) = calls
            check_may_decide(run, call, reviewer, reason=reason, at=at)
            known = Histories(self._store, policy).known(run, call, at=at)
            revision = revise(run, call, tools=tools, policy=policy, known=known, edited=edited)
            stamped = self._stamped(revision, call, reviewer)
            stamped = self._keeping(policy).decided(run, stamped, tools.get(call.tool))
            asked_now = _as_revised(call, stamped)
            check_may_decide(run, asked_now, reviewer, reason=reason, at=at)
            said = _about(self._statement([shown], "approve", reviewer, reason, at), stamped)
            return [stamped, self._verdict(said, said, signer, cause=run.seq + 1)]

        return await self._append([shown], signer, prepare)

    async def settle(
        self,
        call: str | Shown,
        *,
        happened: bool,
        signer: Signer,
        reason: str,
        result: str = "",
        arguments: str | None = None,
    ) -> Run:
        """Say whether a call in doubt happened; what did not is decided anew.

        `arguments` is the digest the reviewer has in mind, or its beginning. Raises NotHeld,
        Stale, NotAllowed, and NotAllowed too for "it did not happen" while the process that
        started the call may still be alive and do it.
        """
        if not reason.strip():
            raise NotAllowed("A doubt is settled with a reason: say how you know.")
        shown = self._expected(call, arguments)
        signer = _SignsOnce(signer)
        reason, result = self._masked(reason), self._masked(result)

        def prepare(run: Run, calls: Calls, reviewer: Reviewer, at: int) -> list[AnyEvent]:
            (call,) = calls
            check_may_settle(run, call, reviewer, at=at)
            if call.attempt != shown.call.attempt:
                raise Stale(f"{call.id} is at attempt {call.attempt} now: look at it again.")
            if not happened:
                self._check_dead(call)
            verdict: Verdict = "happened" if happened else "did_not_happen"
            said = self._statement([shown], verdict, reviewer, reason, at)
            said = said.model_copy(update={"result": result})
            return [self._settled(said, signer, attempt=call.attempt, cause=run.seq)]

        return await self._append([shown], signer, prepare)

    def check_settle(self, shown: Shown, *, happened: bool | None) -> None:
        """Raises NotHeld or NotAllowed when this cannot be said of the call, whoever says it."""
        if shown.call.status != "in doubt":
            raise NotHeld(standing(shown.run, shown.call))
        if happened is False:
            self._check_dead(shown.call)

    def may_still_run(self, call: ToolCall) -> bool:
        """Whether the attempt in doubt may yet take effect, as far as can be known here."""
        if call.returned:
            return False
        return self._store.may_run(call.process, until=call.deadline_at)

    def contradicted(self) -> list[Contradiction]:
        """Where a function said something else than was settled of it, the newest first."""
        runs = self._store.settled_by_people()
        found = [c for run in runs for c in self._store.load(run).contradictions]
        return sorted(found, key=lambda c: -c.at)

    async def expire_due(self) -> list[str]:
        """Close the held calls whose time is over; the runs that this moved on."""
        due = self._store.calls(status=("held", "deferred"), due_by=self._store.clock())
        return [row.run for row in due if await self._expire(row)]

    # ---------------------------------------------------------------------------------------

    def _masked(self, text: str) -> str:
        """What a person wrote, as it may be recorded and told to Claude."""
        return Mask(self._known()).text(text)

    def _keeping(self, policy: Policy) -> Keeping:
        store = self._store
        return Keeping(lambda: policy.privacy, key=store.keep_key, ref=store.ref, known=self._known)

    def _is_deferred(self, row: CallRow) -> bool:
        call = self._store.load(row.run).call(row.id)
        return call is not None and call.deferred(self._store.clock())

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
        self, shown: Sequence[Shown], verdict: Verdict, signer: Signer, reason: str
    ) -> Run:
        if verdict == "reject" and not reason.strip():
            raise NotAllowed("A rejection needs a reason: Claude is told it.")
        signer, reason = _SignsOnce(signer), self._masked(reason)

        def prepare(run: Run, calls: Calls, reviewer: Reviewer, at: int) -> list[AnyEvent]:
            for call in calls:
                check_may_decide(run, call, reviewer, reason=reason, at=at)
            said = self._statement(shown, verdict, reviewer, reason, at)
            return [
                self._verdict(said, covered, signer, cause=call.decided_seq)
                for covered, call in zip(said.covered, calls, strict=True)
            ]

        return await self._append(shown, signer, prepare)

    async def _append(self, shown: Sequence[Shown], signer: Signer, prepare: Prepare) -> Run:
        """Append what `prepare` makes of the newest state; made anew when that has moved on."""
        reviewer = self.reviewer(signer)
        at = self._store.clock()
        run_id = shown[0].run.id
        for _ in range(TRIES):
            run = self._store.load(run_id)
            calls = [self._unchanged(run, each.call) for each in shown]
            try:
                events = prepare(run, calls, reviewer, at)
                return await self._store.append(run, events, not_after=_first_expiry(calls))
            except Conflict:
                continue
            except Expired:
                await self.expire_due()
                raise
        raise Conflict(f"{run_id} moves on faster than a decision can be taken. Try again.")

    def _statement(
        self,
        shown: Sequence[Shown],
        verdict: Verdict,
        reviewer: Reviewer,
        reason: str,
        at: int,
    ) -> Statement:
        first, *others = shown
        return Statement(
            **_named(first.call, at),
            verdict=verdict,
            store=self._store.id,
            run=first.run.id,
            bundle=first.call.bundle,
            head=first.run.head.hex(),
            reviewer=reviewer.name,
            reason=reason,
            signed_at=at,
            also=tuple(Covered(**_named(other.call, at)) for other in others),
        )

    def _stamped(self, revision: CallDecided, call: ToolCall, reviewer: Reviewer) -> CallDecided:
        """A revision that a reviewer wrote: also what policy would allow is bound to their yes."""
        if revision.verdict == "deny":
            raise NotAllowed(f"Policy denies these arguments: {revision.reason}")
        if revision.asked not in (None, revision.arguments):
            # Otherwise the signature would be under arguments that nobody was shown.
            raise NotAllowed(
                f"Policy sets {', '.join(revision.changed)} of these arguments. Write what it "
                f"makes of them, if that is right: {revision.arguments.decode()}"
            )
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
        if self.may_still_run(call):
            until = moment(call.deadline_at).isoformat(timespec="seconds")
            raise NotAllowed(
                f"The process {call.process} that started {call.id} is still alive, or nothing "
                f"proves its death, and may yet do it: its deadline is {until}. Stop it first, "
                "then settle. That it happened can be said at any time."
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

    def _verdict(
        self, said: Statement, covered: Covered, signer: Signer, *, cause: int
    ) -> AnyEvent:
        kind = CallApproved if said.verdict == "approve" else CallRejected
        return kind(
            cause=cause,
            call=covered.call,
            revision=covered.revision,
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
        check_in_mind([shown], arguments)
        return shown

    def _unchanged(self, run: Run, shown: ToolCall) -> ToolCall:
        """The call as it stands now. Raises Stale when it is held for something else."""
        now = self._shown(run, shown.id).call
        if now.status == "held" and now.revision != shown.revision:
            raise Stale(
                f"{now.id} has changed since it was shown: it is at revision {now.revision}, "
                f"arguments {now.arguments_digest[:12]}. Look at it again."
            )
        return now

    def _shown(self, run: Run, id: str) -> Shown:
        call = run.call(id)
        if call is None:
            raise NotFound(f"The run {run.id} has no call {id}.")
        return Shown(run, call)


Verdict = Literal["approve", "reject", "happened", "did_not_happen"]


def _named(call: ToolCall, at: int) -> dict[str, Any]:
    """A call as a statement names it."""
    return {
        "call": call.id,
        "revision": call.revision,
        "tool": call.tool,
        "tool_digest": call.tool_digest,
        "arguments_digest": call.arguments_digest,
        "rules_digest": call.rules_digest,
        "expires_at": call.expires_at or at + SETTLE_VALID_MS,
    }


def _as_revised(call: ToolCall, revision: CallDecided) -> ToolCall:
    """The call as it asks for a decision once it has been revised."""
    return replace(
        call,
        approver=revision.approver,
        approvals=(),
        awaiting=revision.awaiting,
        until=revision.until,
    )


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


def _first_expiry(calls: Calls) -> int | None:
    """When the first of the held calls expires: what covers them all must be recorded before."""
    held = (call.expires_at for call in calls if call.status == "held")
    return min((at for at in held if at is not None), default=None)


def _expired(call: ToolCall) -> AnyEvent:
    return CallExpired(cause=call.decided_seq, call=call.id, revision=call.revision)


def _is_due(call: ToolCall, now: int) -> bool:
    return call.expires_at is not None and call.expires_at <= now


def _signed(said: Statement, signer: Signer) -> str:
    """The signature. Raises SignatureInvalid for what could not be read again when it counts."""
    statement = said.to_bytes()
    Statement.from_bytes(statement)
    return signer.sign(statement)


def _riskiest_first(row: CallRow) -> tuple[float, ...]:
    expires_at = math.inf if row.expires_at is None else row.expires_at
    return -_rank(row.severity), expires_at, row.requested_at, row.turn, row.index


def _rank(severity: str | None) -> int:
    return next((rank for rank, name in enumerate(SEVERITIES) if name == severity), 0)
