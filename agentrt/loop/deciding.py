"""Deciding the calls of one run, by what has happened when policy is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from sqlalchemy import Connection

from agentrt.approvals.histories import Histories, RunHistory
from agentrt.approvals.revisions import revise, same_decision, still_says
from agentrt.audit import Draft
from agentrt.errors import Conflict
from agentrt.events import CallDecided, CallStarted, Record
from agentrt.policy import Known, Policy
from agentrt.policy.facts import History
from agentrt.run import Run, ToolCall, evolve
from agentrt.tools import Tools

__all__ = ["Deciding"]


class Deciding:
    """What policy says to the calls of a run. Nothing is written here.

    Facts of the run are those of the moment at which a call was decided, folded from its
    records; facts across runs and the time are looked at again in every transaction that
    something depends on.
    """

    def __init__(self, histories: Callable[[], Histories], tools: Tools) -> None:
        self._in_force = histories
        self._histories = histories()
        self._tools = tools
        self._durable: RunHistory | None = None
        """What happened in the run as far as it is durable, once a decision has asked for it."""

    @property
    def policy(self) -> Policy:
        """The policy that was asked last."""
        return self._histories.policy

    @property
    def up_to_date(self) -> bool:
        """Whether that policy still holds."""
        return self._histories is self._in_force()

    @property
    def across_runs(self) -> bool:
        """Whether what happens in other runs can change what it says."""
        return self._histories.across_runs

    def refresh(self) -> None:
        """Go by the policy that holds now."""
        if not self.up_to_date:
            self._histories, self._durable = self._in_force(), None

    def went_on(self, records: Iterable[Record]) -> None:
        """The run has become durable up to the last of these records."""
        if self._durable is not None:
            self._durable = self._durable.fold(records)

    async def revised(self, draft: Draft, call: ToolCall, *, at: int) -> CallDecided:
        """The next revision of a call, `draft` being how far the run has come."""
        history = await self._history(draft)
        known = await self._known(draft, call, at, history.now)
        decide = partial(self._revise, draft.after, call, known)
        return await self._aside(decide)

    async def is_current(self, draft: Draft, call: ToolCall, *, at: int) -> bool:
        """Whether the recorded decision holds, by what had happened when it was taken.

        What happens in other runs, and the time, are as they are now.
        """
        history = await self._history(draft)
        as_decided = history.decided.get(call.id, history.now)
        known = await self._known(draft, call, at, as_decided, starting=True)
        again = await self._aside(partial(self._revise, draft.after, call, known))
        return still_says(again, call)

    def check_of(self, draft: Draft) -> Callable[[Connection], None] | None:
        """What to look at in the transaction of a draft: two calls must not both pass one cap.

        Facts that reach across runs may have changed since a call was decided, so it is decided
        again with what the store holds then. Another answer is a Conflict.
        """
        durable = self._durable
        if durable is None or not self._histories.across_runs:
            return None

        def check(connection: Connection) -> None:
            run, history = draft.before, durable
            for index, record in enumerate(draft.records):
                self._check_still(run, history, record, draft.records[:index], connection)
                run, history = evolve(run, record), history.evolve(record)

        return check

    # ---------------------------------------------------------------------------------------

    async def _aside(self, decide: Callable[[], CallDecided]) -> CallDecided:
        """Looking values up in long texts must not hold up the runs beside this one."""
        return await asyncio.to_thread(decide) if self.policy.needs.origins else decide()

    def _revise(self, run: Run, call: ToolCall, known: Known) -> CallDecided:
        return revise(run, call, tools=self._tools, policy=self.policy, known=known)

    async def _history(self, draft: Draft) -> RunHistory:
        """What happened in the run so far, as the policy that holds now needs to know it."""
        self.refresh()
        if self._durable is None:
            self._durable = await asyncio.to_thread(self._histories.of_run, draft.before)
        return self._durable.fold(draft.records)

    async def _known(
        self, draft: Draft, call: ToolCall, at: int, history: History, *, starting: bool = False
    ) -> Known:
        read = partial(
            self._histories.known,
            draft.after,
            call,
            at=at,
            history=history,
            pending=draft.records,
            starting=starting,
        )
        return await asyncio.to_thread(read) if self._histories.across_runs else read()

    def _check_still(
        self,
        run: Run,
        history: RunHistory,
        record: Record,
        before: tuple[Record, ...],
        connection: Connection,
    ) -> None:
        event = record.event
        call = run.call(event.call) if isinstance(event, CallDecided | CallStarted) else None
        if call is None:
            return
        starting = isinstance(event, CallStarted)
        if starting and not call.ready:
            return  # a repetition with the same key: it was checked when it first started
        as_decided = history.decided.get(call.id, history.now)
        known = self._histories.known(
            run,
            call,
            at=record.at,
            history=as_decided if starting else history.now,
            pending=before,
            connection=connection,
            starting=starting,
        )
        if not _stands(self._revise(run, call, known), call, event):
            raise Conflict(f"What {call.id} was decided by has changed since.")


def _stands(again: CallDecided, call: ToolCall, event: object) -> bool:
    """Whether a decision taken anew is the one to record, or the one that a start relies on."""
    if isinstance(event, CallDecided):
        return same_decision(again, event)
    return still_says(again, call)
