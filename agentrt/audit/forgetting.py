"""Forgetting: what is held about a subject, or too long, erased wherever the store has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from agentrt.audit.appends import check_head
from agentrt.audit.claims import STORE_CHAIN
from agentrt.audit.erasing import (
    Erasure,
    Ground,
    erase,
    is_suspended,
    kind_of,
    runs_about,
    suspended,
)
from agentrt.audit.tables import RunRow
from agentrt.errors import Conflict, ErasureRefused, NotFound
from agentrt.events import (
    AnyEvent,
    ContentForgotten,
    ErasureResumed,
    ErasureSuspended,
    Record,
)
from agentrt.run import Run, fold

if TYPE_CHECKING:
    from agentrt.audit.store import AuditStore

__all__ = ["Due", "Forgetting", "Hold"]

TRIES = 20


@dataclass(frozen=True, slots=True)
class Due:
    """A run of which content of some kinds is older than it may be."""

    run: str
    kinds: frozenset[str] | None
    """None: of all kinds."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that may not be erased until it is released."""

    id: str
    run: str | None
    subject_ref: str | None
    by: str
    reason: str


Reading = Callable[[], AbstractContextManager[Connection]]

KeepMs = Callable[[RunRow, str], int | None]
"""How long content of a kind of a run is kept, in milliseconds; None: for ever."""


class Forgetting:
    """Erases content of a store. Every erasure is recorded in the chain of its run."""

    def __init__(self, store: AuditStore, reading: Reading) -> None:
        self._store = store
        self._reading = reading

    # --- look -----------------------------------------------------------------------------

    def runs_of(self, subject: str) -> list[Run]:
        """The runs that are about a subject, and those that go on from them."""
        with self._reading() as connection:
            found = runs_about(connection, self._store.ref(subject))
        return [self._store.load(run) for run in found]

    def held_about(self, runs: Sequence[str]) -> dict[str, int]:
        """How many fields of each kind of content there still are in these runs."""
        counted: Counter[str] = Counter()
        for run in runs:
            for record in self._store.records(run):
                counted.update(_kinds_in(record))
        return dict(sorted(counted.items()))

    def holds(self) -> list[Hold]:
        """What may not be erased now."""
        with self._reading() as connection:
            found = suspended(connection)
        return [
            Hold(hold, event.run_held, event.subject_ref, event.by, event.reason)
            for hold, event in found.items()
        ]

    def check_free(self, runs: Sequence[Run]) -> None:
        """Raises ErasureRefused when one of the runs, or a subject of one, is held."""
        with self._reading() as connection:
            held = [run.id for run in runs if is_suspended(connection, run)]
        if held:
            raise ErasureRefused(
                f"{', '.join(held)} may not be erased: there is a hold on it. `agentrt retention "
                "holds` says whose, `agentrt retention release` ends one. Nothing was erased."
            )

    def due(self, keep_ms: KeepMs, *, kinds: Sequence[str]) -> list[Due]:
        """What retention asks to be erased now: of runs that are over and that nobody holds."""
        now = self._store.clock()
        rows = self._store.runs(status=("finished", "failed", "cancelled"))
        due = [Due(row.id, _too_old(row, keep_ms, kinds, now)) for row in rows]
        return [each for each in due if each.kinds and self._has(each) and self._is_free(each.run)]

    def _has(self, due: Due) -> bool:
        records = self._store.records(due.run)
        return any(_kinds_in(record).keys() & (due.kinds or ()) for record in records)

    def _is_free(self, run: str) -> bool:
        with self._reading() as connection:
            return not is_suspended(connection, self._store.load(run))

    # --- erase ----------------------------------------------------------------------------

    async def forget(
        self, run: str, why: Ground, *, kinds: frozenset[str] | None = None
    ) -> Erasure | None:
        """Erase the content of a run that is over, or that of some kinds; None: there is none.

        Raises ErasureRefused while the run goes on, or when it is held.
        """
        for _ in range(TRIES):
            now = self._store.load(run)
            if not now.over:
                raise ErasureRefused(f"{run} is not over: cancel it first, it needs its content.")
            try:
                return await self._store.within(self._erasing(now, why, kinds))
            except Conflict:
                continue
        raise Conflict(f"{run} moves on faster than it can be erased. Try again.")

    def _erasing(
        self, now: Run, why: Ground, kinds: frozenset[str] | None
    ) -> Callable[[Connection], Erasure | None]:
        def work(connection: Connection) -> Erasure | None:
            check_head(connection, now)
            if is_suspended(connection, now):
                raise ErasureRefused(f"{now.id} may not be erased: there is a hold on it.")
            at = self._store.clock()
            _, erased = erase(connection, now, why, at=at, ref=self._store.ref, kinds=kinds)
            return erased

        return work

    async def sum_up(self, why: Ground, erased: Sequence[Erasure]) -> None:
        """Say in the store's own chain what was erased in all runs together; no names."""
        kinds: Counter[str] = Counter()
        for each in erased:
            kinds.update(each.kinds)
        event = ContentForgotten(
            request=why.request,
            ground=why.ground,
            kinds=dict(sorted(kinds.items())),
            runs=len(erased),
            by_ref=self._store.ref(why.by),
            by=why.by,
            reason=why.reason,
        )
        await self._say(event)

    # --- hold -----------------------------------------------------------------------------

    async def hold(
        self, *, run: str | None = None, subject: str | None = None, by: str, reason: str
    ) -> str:
        """Let nothing of a run, or of a subject, be erased until it is released; the hold's id."""
        why = Ground.of("hold", by=by, reason=reason)
        event = ErasureSuspended(
            hold=why.request.replace("f_", "h_"),
            run_held=run,
            subject_ref=self._store.ref(subject) if subject is not None else None,
            by_ref=self._store.ref(by),
            by=by,
            reason=reason,
        )
        await self._say(event)
        return event.hold

    async def release(self, hold: str, *, by: str, reason: str) -> None:
        """End a hold. Raises NotFound."""
        if hold not in {each.id for each in self.holds()}:
            raise NotFound(f"There is no hold {hold}: agentrt retention holds")
        event = ErasureResumed(hold=hold, by_ref=self._store.ref(by), by=by, reason=reason)
        await self._say(event)

    async def _say(self, event: AnyEvent) -> None:
        for _ in range(TRIES):
            records = self._store.records(STORE_CHAIN)
            chain = fold(records) if records else Run(STORE_CHAIN)
            try:
                await self._store.append(chain, [event])
            except Conflict:
                continue
            return
        raise Conflict("The store's own chain moves on too fast. Try again.")


def _kinds_in(record: Record) -> Counter[str]:
    event = record.event
    if isinstance(event, ContentForgotten):
        return Counter()
    return Counter(
        kind_of(event.type, name)
        for name, stored in event.storage.items()
        if stored.erasable and name not in record.forgotten and getattr(event, name) is not None
    )


def _too_old(row: RunRow, keep_ms: KeepMs, kinds: Sequence[str], now: int) -> frozenset[str]:
    kept: Mapping[str, int | None] = {kind: keep_ms(row, kind) for kind in kinds}
    return frozenset(
        kind for kind, most in kept.items() if most is not None and row.head_at + most <= now
    )
