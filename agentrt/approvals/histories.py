"""What is known when a call is decided, read from the store and caught up with it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentrt.audit import AuditStore
from agentrt.events import (
    CallDecided,
    CallExpired,
    CallFinished,
    CallRejected,
    CallStarted,
    Record,
)
from agentrt.policy import Policy
from agentrt.policy.facts import Facts, History
from agentrt.policy.known import Known
from agentrt.run import Run, ToolCall

__all__ = ["Histories", "RunHistory"]

LATE_MS = 3_600_000
"""How much further back than a fact looks its records are read: clocks may differ."""

KEPT_MAX = 200_000
"""Records folded into one history before it is read anew, so that what is past is let go."""

OVER = (CallFinished, CallRejected, CallExpired)


@dataclass(frozen=True)
class RunHistory:
    """What happened in a run and its ancestors, and what had when each open call was decided."""

    now: History
    decided: Mapping[str, History] = field(default_factory=dict)

    def evolve(self, record: Record) -> RunHistory:
        """The history one record further."""
        if not self.now.facts.all:
            return self
        return RunHistory(self.now.evolve(record), self._decided(record))

    def fold(self, records: Iterable[Record]) -> RunHistory:
        """The history after `records`."""
        history = self
        for record in records:
            history = history.evolve(record)
        return history

    def _decided(self, record: Record) -> Mapping[str, History]:
        event = record.event
        if isinstance(event, CallDecided):
            before = self.now.without(record.run, event.call, at=record.at)
            return {**self.decided, event.call: before}
        if isinstance(event, OVER):
            return {call: kept for call, kept in self.decided.items() if call != event.call}
        return self.decided


@dataclass(frozen=True)
class _Seen:
    begin: int
    """The place of arrival behind which its records begin."""
    place: int
    count: int
    """Records that came since it was begun."""
    history: History


class Histories:
    """The histories that a policy needs, each read once and then only caught up with."""

    def __init__(self, store: AuditStore, policy: Policy) -> None:
        self._store = store
        self.policy = policy
        self._seen: dict[str | None, _Seen] = {}
        self._lock = threading.Lock()

    @property
    def across_runs(self) -> bool:
        """Whether decisions depend on what happens in other runs."""
        return self.policy.needs.across_runs

    def of_run(self, run: Run) -> RunHistory:
        """What happened in a run, up to where it stands, and in those that it follows."""
        history = RunHistory(History.of(self.policy.needs.run))
        if not history.now.facts.all:
            return history
        for each in (*self._store.ancestors(run.id), run.id):
            records = self._store.records(each)
            history = history.fold(r for r in records if each != run.id or r.seq <= run.seq)
        return history

    def known(
        self,
        run: Run,
        call: ToolCall,
        *,
        at: int,
        history: History | None = None,
        pending: Sequence[Record] = (),
        connection: Any = None,
        starting: bool = False,
    ) -> Known:
        """What is known of a call apart from the call itself: it is judged by what others did.

        `history` is what happened in the run, read from the store when it is not given;
        `pending` are records of the run that are not in the store yet. When it is `starting`,
        what only counts since it was decided says nothing against it.
        """
        if history is None:
            history = self.of_run(run).now
        user = self._of_user(run.user_ref, now=at, connection=connection)
        everyone = self._of_everyone(now=at, connection=connection)
        return Known.of(
            run,
            call,
            at=at,
            history=history,
            user=user and user.fold(pending),
            everyone=everyone.fold(pending),
            starting=starting,
        )

    def _of_user(self, user_ref: str | None, *, now: int, connection: Any) -> History | None:
        """What happened in all runs of a user; None when nobody was named."""
        if user_ref is None:
            return None
        return self._caught_up(user_ref, self.policy.needs.user, now, connection)

    def _of_everyone(self, *, now: int, connection: Any) -> History:
        return self._caught_up(None, self.policy.needs.everyone, now, connection)

    def _caught_up(self, key: str | None, facts: Facts, now: int, connection: Any) -> History:
        if not facts.all:
            return History.of(facts)
        with self._lock:
            seen = self._seen.get(key)
        if seen is None or seen.count > KEPT_MAX:
            seen = self._begun(key, facts, now, connection)
        after = self._further(seen, key, facts, connection)
        if connection is None:
            # Within a transaction others' records are seen that may yet be rolled back.
            with self._lock:
                self._seen[key] = after
        return after.history

    def _begun(self, key: str | None, facts: Facts, now: int, connection: Any) -> _Seen:
        """What there is as far back as the facts look."""
        begin = 0
        if facts.span_ms is not None:
            since = now - facts.span_ms - LATE_MS
            begin = self._store.place_at(since, user_ref=key, connection=connection)
        empty = _Seen(begin, begin, 0, History.of(facts))
        return replace(self._further(empty, key, facts, connection), count=0)

    def _further(self, seen: _Seen, key: str | None, facts: Facts, connection: Any) -> _Seen:
        place, records = self._store.records_since(
            seen.place, types=facts.types, user_ref=key, connection=connection
        )
        decided = self._decided_before(seen.begin, records, connection)
        history = seen.history
        for record in records:
            if isinstance(record.event, CallStarted) and record.event.call in decided:
                history = history.evolve(decided[record.event.call])
            history = history.evolve(record)
        return _Seen(seen.begin, place, seen.count + len(records), history)

    def _decided_before(
        self, begin: int, records: Iterable[Record], connection: Any
    ) -> Mapping[str, Record]:
        """The decisions on calls that start in `records` and waited since before the beginning."""
        events = [record.event for record in records]
        decided = {event.call for event in events if isinstance(event, CallDecided)}
        started = {event.call for event in events if isinstance(event, CallStarted)}
        if not begin or not started - decided:
            return {}
        waited = sorted(started - decided)
        return self._store.decisions(waited, up_to=begin, connection=connection)
