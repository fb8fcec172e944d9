"""Carrying one run on: fold, take the next step, append, again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, assert_never

from agentrt.approvals.histories import Histories
from agentrt.approvals.verdicts import check_approvals, check_settlement
from agentrt.audit import AuditStore, Draft
from agentrt.claude import Claude, Failure, Reply, Requests
from agentrt.claude.request import request_head
from agentrt.errors import ApprovalError, CarriedElsewhere, Conflict, Expired
from agentrt.events import (
    AnyEvent,
    CallAbandoned,
    CallDecided,
    CallDoubted,
    CallExpired,
    CallFinished,
    CallSettled,
    ClaudeAsked,
    ClaudeFailed,
    ClaudeReplied,
    Record,
    RunFailed,
    RunFinished,
)
from agentrt.loop.calls import call_for, check_doubt, enter, preview, started
from agentrt.loop.deciding import Deciding
from agentrt.loop.fence import Fence
from agentrt.loop.late import Late
from agentrt.loop.show import Show
from agentrt.policy.keeping import Keeping, Left
from agentrt.run import (
    Approval,
    AskClaude,
    Decide,
    Execute,
    Fail,
    Finish,
    Recover,
    Run,
    Settlement,
    Step,
    ToolCall,
    fold,
    next_step,
)
from agentrt.tools import Call, Tool, Tools

__all__ = ["Carry", "Surroundings"]

Answer = Reply | Failure

HAPPENED = (
    ClaudeReplied,
    ClaudeFailed,
    CallFinished,
    CallDoubted,
    CallSettled,
    CallAbandoned,
)
"""Facts that nobody can take back, however the run has moved on meanwhile."""

OWN_WORD = (CallFinished, CallAbandoned)
"""What only the process that started an attempt can say, whoever carries the run by then."""

ATTEMPTS_MAX = 3
"""Attempts of a call whose repetition is harmless, before it is a doubt after all."""


@dataclass(frozen=True)
class Surroundings:
    """What a run is carried with: the same for all runs of an agent."""

    store: AuditStore
    histories: Callable[[], Histories]
    """The policy that holds now, with what happened so far as it needs to know it."""
    tools: Tools
    claude: Callable[[], Claude]
    """Made when it is first asked, so that runs without a request need no key."""
    keeping: Keeping = field(default_factory=Keeping.plain)
    """What may be written down and sent back."""
    show: Show = lambda _run, _seq, _item: None
    stream: bool = False
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when the process is about to stop: no further step is begun."""


class Carry:
    """One run, carried by this process, which holds its lease.

    Everything it does is in the store before it counts, so that it can be stopped between
    any two statements and taken up by another.
    """

    def __init__(self, run: Run, around: Surroundings) -> None:
        self._draft = Draft.of(run)
        self._decided_here: dict[str, int] = {}
        """The revision of each call that was decided here and not read from the store."""
        self._around = around
        self._store = around.store
        self._deciding = Deciding(around.histories, around.tools)
        self._late = Late(self._store)
        self._verified: set[int] = set()
        """Settlements whose signatures were looked at."""
        self.ended = asyncio.Event()
        """Set by whoever sees that the run was ended from outside."""

    @property
    def run(self) -> Run:
        """Where the run stands, with what is not durable yet."""
        return self._draft.after

    async def on(self) -> Run:
        """Carry the run on until it is over or waits for a person."""
        while True:
            try:
                await self._check_settlements()
                step = None if self._around.closing.is_set() else next_step(self.run)
                if step is None:
                    await self._save()
                    return self.run
                await self._take(step)
            except Conflict:
                continue  # others have written to the run: look at it again

    async def _take(self, step: Step) -> None:
        match step:
            case AskClaude():
                await self._ask(step)
            case Decide():
                await self._decide(step.calls)
            case Execute():
                await self._execute(step.calls)
            case Recover():
                await self._recover(step.calls)
            case Finish():
                self._finish(step)
            case Fail():
                self._fail(step)
            case _:
                assert_never(step)

    # --- record ---------------------------------------------------------------------------

    def _add(self, *events: AnyEvent, at: int | None = None) -> None:
        """Take the run further; what was added is durable from the next save on."""
        self._draft = self._draft.plus(events, at=self._store.clock() if at is None else at)

    async def _save(self, *, not_after: int | None = None, fenced: bool = True) -> None:
        """Make durable what was added: before a request is sent or a function entered.

        Raises Conflict or CarriedElsewhere; what has happened is then recorded all the same,
        and the rest is left to the next look at the run.
        """
        draft = self._draft
        if not draft.written:
            return
        process = self._store.process if fenced else None
        check = self._deciding.check_of(draft)
        try:
            await self._store.commit(draft, process=process, not_after=not_after, check=check)
        except Conflict:
            await self._save_what_happened(draft, HAPPENED, fenced=fenced)
            raise
        except CarriedElsewhere:
            # Who carries the run no longer may not steer it, but what a function returned
            # is the truth about its call.
            await self._save_what_happened(draft, OWN_WORD, fenced=False)
            raise
        self._go_on_from(draft.after, draft.records)

    async def _save_what_happened(
        self, draft: Draft, kinds: tuple[type, ...], *, fenced: bool
    ) -> None:
        await self._catch_up(draft.before)
        events = [record.event for record in draft.records if isinstance(record.event, kinds)]
        if events:
            self._add(*events)
            with suppress(Conflict):
                await self._save(fenced=fenced)

    async def _catch_up(self, run: Run) -> None:
        """Go on from `run` with what others have appended since, and nothing undurable."""
        newer = await asyncio.to_thread(self._store.records, run.id, after=run.seq)
        self._go_on_from(fold(newer, run=run), newer)
        self._decided_here.clear()

    def _go_on_from(self, run: Run, records: Sequence[Record]) -> None:
        """The run is durable so far, `records` being the last ones."""
        self._draft = Draft.of(run)
        self._deciding.went_on(records)
        self._show(records)

    def _show(self, records: Sequence[Record]) -> None:
        for record in records:
            self._around.show(record.run, record.seq, record.event)

    # --- ask ------------------------------------------------------------------------------

    async def _ask(self, step: AskClaude) -> None:
        left_s = (self.run.deadline_at - self._store.clock()) / 1000
        if left_s <= 0:
            self._fail(_deadline(self.run))
            return
        claude = await self._claude()
        body, digest = self._requests.body(self.run.messages)
        self._add(self._asked(step, digest))
        await self._save()
        asked = self.run.seq
        answer = await self._or_ended(self._send(claude, body, left_s))
        self._add(self._answered(answer, step.turn, asked))

    async def _claude(self) -> Claude:
        try:
            return self._around.claude()
        except Exception:
            await self._save()  # nobody can be asked, but what the calls came to is not lost
            raise

    async def _send(self, claude: Claude, body: bytes, left_s: float) -> Answer:
        run, seq, show = self.run.id, self.run.seq, self._around.show
        return await claude.ask(
            body,
            deadline_s=left_s,
            show=(lambda delta: show(run, seq, delta)) if self._around.stream else None,
        )

    async def _or_ended(self, request: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer. Raises Conflict when the run was ended from outside before it came."""
        asking = asyncio.ensure_future(request)
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({asking, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                await self._catch_up(self.run)
                raise Conflict
            return asking.result()
        finally:
            asking.cancel()
            ended.cancel()

    @cached_property
    def _requests(self) -> Requests:
        head = request_head(self.run.definition.data)
        return Requests(head, stream=self._around.stream)

    def _asked(self, step: AskClaude, digest: str) -> ClaudeAsked:
        return ClaudeAsked(
            cause=self.run.seq,
            turn=step.turn,
            ask=step.ask,
            model=self.run.model,
            messages=len(self.run.messages),
            tokens_max=self.run.definition.data["tokens_max"],
            request_digest=digest,
        )

    def _answered(self, answer: Answer, turn: int, cause: int) -> AnyEvent:
        if isinstance(answer, Failure):
            message, masked = self._around.keeping.text(answer.message)
            return ClaudeFailed(
                cause=cause,
                turn=turn,
                kind=answer.kind,
                status=answer.status,
                request_id=answer.request_id,
                again=answer.again,
                outage=answer.outage,
                latency_ms=answer.latency_ms,
                attempts=answer.attempts,
                masked=masked,
                message=message,
            )
        replied = ClaudeReplied(
            cause=cause,
            turn=turn,
            message_id=answer.message_id,
            request_id=answer.request_id,
            model=answer.model,
            stop_reason=answer.stop_reason,
            refusal=answer.refusal,
            usage=answer.usage,
            cost_usd=f"{answer.price.cost_usd:f}" if answer.price else None,
            rates=dict(answer.price.rates) if answer.price else None,
            latency_ms=answer.latency_ms,
            first_token_ms=answer.first_token_ms,
            attempts=answer.attempts,
            blocks=answer.blocks,
        )
        return self._around.keeping.replied(self.run, replied, self._around.tools)

    def _finish(self, step: Finish) -> None:
        output, masked = self._around.keeping.text(step.output)
        self._add(
            RunFinished(
                cause=self.run.seq, stop_reason=step.stop_reason, masked=masked, output=output
            )
        )

    def _fail(self, step: Fail) -> None:
        message, masked = self._around.keeping.text(step.message)
        self._add(
            RunFailed(
                cause=self.run.seq,
                code=step.code,
                resumable=step.resumable,
                masked=masked,
                message=message,
            )
        )

    # --- decide ---------------------------------------------------------------------------

    async def _decide(self, calls: Sequence[ToolCall]) -> None:
        """Decide the calls one after the other: each is judged by those before it too."""
        for call in calls:
            at = self._now()
            decided = await self._revised(call, at)
            if self._previews(decided):
                await self._save()  # what Claude replied is paid for, and a preview may take long
                decided = await self._with_preview(call, decided)
            self._add(self._kept(decided), at=at)
            self._decided_here[decided.call] = decided.revision

    def _now(self) -> int:
        """The time as the run knows it, which never goes back."""
        return max(self._store.clock(), self.run.at)

    async def _revised(self, call: ToolCall, at: int) -> CallDecided:
        return await self._deciding.revised(self._draft, call, at=at)

    async def _with_preview(self, call: ToolCall, decided: CallDecided) -> CallDecided:
        if not self._previews(decided):
            return decided
        shown = replace(call, arguments=decided.arguments)
        said = await preview(shown, self._tool(call), call_for(self.run, shown))
        return decided.model_copy(update={"preview": said})

    def _kept(self, decided: CallDecided) -> CallDecided:
        tool = self._around.tools.get(decided.tool)
        return self._around.keeping.decided(self.run, decided, tool)

    def _left(self, call: ToolCall, tool: Tool) -> Left:
        return self._around.keeping.left(self.run, call, tool)

    def _previews(self, decided: CallDecided) -> bool:
        tool = self._around.tools.get(decided.tool)
        return decided.verdict == "hold" and tool is not None and tool.preview is not None

    # --- settle ---------------------------------------------------------------------------

    async def _check_settlements(self) -> None:
        """Put calls in doubt again that somebody settled who is no reviewer.

        Who can write the database still cannot say what became of a call. It is looked at before
        anything is done by it, and before Claude is told.
        """
        for call in (*self.run.answered, *self.run.calls):
            for settlement in call.settlements:
                signed = settlement.method == "person" and settlement.holds
                if not signed or settlement.seq in self._verified:
                    continue
                self._verified.add(settlement.seq)
                if (problem := await self._problem_with(call, settlement)) is not None:
                    self._add(_refused(call, settlement, problem))
                    await self._save()

    async def _problem_with(self, call: ToolCall, settlement: Settlement) -> ApprovalError | None:
        records = await asyncio.to_thread(self._store.records, self.run.id)
        self._deciding.refresh()
        try:
            check_settlement(
                self.run,
                call,
                settlement,
                reviewers=self._deciding.policy.reviewers,
                store=self._store.id,
                heads={record.hash.hex(): record.seq for record in records},
                at=self._store.clock(),
            )
        except ApprovalError as error:
            return error
        return None

    # --- execute --------------------------------------------------------------------------

    async def _execute(self, calls: Sequence[ToolCall]) -> None:
        if changed := await self._changed(calls):
            self._add(*changed)
            return
        if self._deciding.across_runs:
            await self._save()  # what was decided stays, though others may prevent the start
        before = self._draft
        try:
            await self._start(calls)
        except Expired:
            late = [call for call in calls if _is_late(call, self._store.clock())]
            self._draft = before
            self._add(*[_expired(call) for call in late])

    async def _changed(self, calls: Sequence[ToolCall]) -> list[AnyEvent]:
        """New revisions of the calls whose decision or approvals no longer hold."""
        revisions: list[AnyEvent] = []
        for call in calls:
            if self._is_fresh(call):
                continue
            good = await self._good_approvals(call)
            at = self._now()
            current = await self._deciding.is_current(self._draft, call, at=at)
            if current and len(good) == len(call.approvals):
                continue
            revised = await self._revised(replace(call, approvals=tuple(good)), at)
            revisions.append(self._kept(await self._with_preview(call, revised)))
        return revisions

    def _is_fresh(self, call: ToolCall) -> bool:
        """Whether it was decided here, by the policy that still holds, and nobody was asked."""
        return (
            self._decided_here.get(call.id) == call.revision
            and not call.approvals
            and self._deciding.up_to_date
        )

    async def _good_approvals(self, call: ToolCall) -> list[Approval]:
        if not call.approvals:
            return []
        records = await asyncio.to_thread(self._store.records, self.run.id)
        heads = {record.hash.hex() for record in records}
        return check_approvals(
            self.run,
            call,
            reviewers=self._deciding.policy.reviewers,
            store=self._store.id,
            heads=heads,
            at=self._store.clock(),
        )

    async def _start(self, calls: Sequence[ToolCall]) -> None:
        """Record that the calls start, enter their functions, record each as it comes back."""
        begun = [
            started(
                call,
                self._tool(call),
                run=self.run,
                process=self._store.process,
                at=self._store.clock(),
            )
            for call in calls
        ]
        self._add(*begun)
        await self._save(not_after=_first_expiry(calls))
        fence = Fence(self._store, self.run.id)
        ids = {event.call for event in begun}
        asked = {call: call_for(self.run, call) for call in self.run.calls if call.id in ids}
        running = {asyncio.ensure_future(self._attempt(*pair, fence)) for pair in asked.items()}
        following = asyncio.ensure_future(self._pass_on_end(asked.values()))
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                self._add(*[event for task in done for event in task.result()])
                if running:  # the last results share the commit of what follows at once
                    with suppress(Conflict, CarriedElsewhere):
                        await self._save()
        finally:
            for task in (following, *running):
                task.cancel()
        await self._repeat(ids)

    async def _repeat(self, ids: set[str]) -> None:
        """What broke off and is harmless to repeat runs again, with the same key."""
        doubts = [call for call in self.run.in_doubt if call.id in ids]
        if again := [call for call in doubts if self._may_run_again(call)]:
            await self._start(again)

    async def _attempt(self, call: ToolCall, asked: Call, fence: Fence) -> list[AnyEvent]:
        """What to record of an attempt; a doubt is put to the tool's `check` at once."""
        tool = self._tool(call)
        harmless = call.effect == "read" or call.repeatable
        outcome = await enter(
            call,
            tool,
            asked,
            self._left(call, tool),
            fence=None if harmless else fence,
            late=partial(self._late.record, self.run.id),
        )
        if not isinstance(outcome.event, CallDoubted):
            return [outcome.event]
        return await self._doubted(call, tool, outcome.event, may_be_running=not outcome.ended)

    async def _pass_on_end(self, running: Iterable[Call]) -> None:
        await self.ended.wait()
        for asked in running:
            asked.cancel.set()

    async def _doubted(
        self, call: ToolCall, tool: Tool | None, doubt: CallDoubted, *, may_be_running: bool
    ) -> list[AnyEvent]:
        if tool is None:
            return [doubt]
        asked, left = call_for(self.run, call), self._left(call, tool)
        return [*await check_doubt(call, tool, asked, left, doubt, may_be_running=may_be_running)]

    def _tool(self, call: ToolCall) -> Tool:
        return self._around.tools[call.tool]

    # --- recover --------------------------------------------------------------------------

    async def _recover(self, calls: Sequence[ToolCall]) -> None:
        """Of calls that a process left behind: run the harmless again, doubt the others."""
        again = [call for call in calls if self._may_run_again(call)]
        if again:
            await self._start(again)
            return
        for call in calls:
            self._add(*await self._orphaned(call))

    def _may_run_again(self, call: ToolCall) -> bool:
        tool = self._around.tools.get(call.tool)
        if tool is None or tool.digest != call.tool_digest:
            return False
        if call.effect == "read":
            return True
        if not call.repeatable or tool.idempotent_for is None or call.attempt >= ATTEMPTS_MAX:
            return False
        window_ms = tool.idempotent_for.total_seconds() * 1000
        return self._store.clock() < call.started_at + window_ms

    async def _orphaned(self, call: ToolCall) -> list[AnyEvent]:
        alive = self._store.is_alive(call.process)
        doubt = CallDoubted(
            cause=call.started_seq,
            call=call.id,
            attempt=call.attempt,
            reason=f"The process {call.process} {'stopped carrying the run' if alive else 'died'} "
            "after it had started the call and before it recorded a result.",
        )
        tool = self._around.tools.get(call.tool)
        may_run = self._store.may_run(call.process, until=call.deadline_at)
        return await self._doubted(call, tool, doubt, may_be_running=may_run)


def _deadline(run: Run) -> Fail:
    return Fail(
        "deadline",
        f"The run used up its {run.deadline_ms / 1000:g} s. `agentrt runs resume {run.id}` "
        "gives it as much again.",
        resumable=True,
    )


def _refused(call: ToolCall, settlement: Settlement, problem: ApprovalError) -> CallDoubted:
    return CallDoubted(
        cause=settlement.seq,
        call=call.id,
        attempt=settlement.attempt,
        refused=settlement.seq,
        reason=f"{call.doubt} Somebody wrote that it {_said(settlement)}, and that does not "
        f"count: {problem}",
    )


def _said(settlement: Settlement) -> str:
    return "happened" if settlement.happened else "did not happen"


def _is_late(call: ToolCall, now: int) -> bool:
    return bool(call.approvals) and call.expires_at is not None and now >= call.expires_at


def _first_expiry(calls: Sequence[ToolCall]) -> int | None:
    """Approvals must be used before they expire; checked in the transaction of the start.

    A call that is started again with the same key has used its approvals in time.
    """
    fresh = [call for call in calls if call.status == "approved"]
    return min((call.expires_at for call in fresh if call.expires_at is not None), default=None)


def _expired(call: ToolCall) -> CallExpired:
    return CallExpired(cause=call.decided_seq, call=call.id, revision=call.revision)
