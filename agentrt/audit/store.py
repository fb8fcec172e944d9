"""The audit store: append and read, no third verb."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, bindparam, delete, func, select

from agentrt.audit.appends import HEAD, Draft, check_head, check_lease, insert, is_written, put
from agentrt.audit.bell import Bell
from agentrt.audit.chores import Chores, Notices
from agentrt.audit.claims import STORE_CHAIN, Claims
from agentrt.audit.database import Database, is_url, open_database
from agentrt.audit.erasing import settle_content
from agentrt.audit.forgetting import Forgetting
from agentrt.audit.reads import (
    place_at,
    read_after,
    read_decisions,
    read_records,
    read_since,
)
from agentrt.audit.schema import FAILURES, store_row
from agentrt.audit.statements import Prepared
from agentrt.audit.tables import (
    ApprovalRow,
    CallRow,
    EventRow,
    LeaseRow,
    ModelCallRow,
    RunRow,
    columns,
    in_header,
)
from agentrt.audit.verify import Trust, Verification, verify
from agentrt.audit.writer import Writer
from agentrt.errors import (
    CarriedElsewhere,
    ClockWentBack,
    Expired,
    NotFound,
    StoreCorrupt,
    StoreUnavailable,
)
from agentrt.events import (
    AnyEvent,
    CallApproved,
    CallDecided,
    CallRejected,
    CallStarted,
    ClaudeAsked,
    Record,
    RunStarted,
)
from agentrt.run import Run, fold
from agentrt.run.state import moment

__all__ = ["STORE_CHAIN", "AuditStore", "Watch"]

T = TypeVar("T")

logger = logging.getLogger("agentrt")

CLOCK_TOLERANCE_MS = 5_000
"""How far the clock may be behind the newest record before nothing is decided any more."""

READ_AT_ONCE = 1_000
"""Records that a walk over the whole store holds in memory."""

DECISIVE = (RunStarted, ClaudeAsked, CallDecided, CallStarted, CallApproved, CallRejected)
"""Events after which something may happen that a wrong clock must not allow."""

_event, _run, _call = columns(EventRow), columns(RunRow), columns(CallRow)
_model_call, _approval, _lease = columns(ModelCallRow), columns(ApprovalRow), columns(LeaseRow)


class AuditStore:
    """Append-only, hash-chained, the single source of truth.

    Appends are coroutines and return when the commit is on disk. Reads are plain functions,
    quick enough for a screen; the runtime calls them in a thread.
    """

    def __init__(
        self,
        location: Path | str | Database,
        *,
        create: bool = True,
        read_only: bool = False,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`location` is the path of a file, or the URL of a PostgreSQL database.

        Or a database of yours, with the tables made, which is closed with the store.
        """
        self.path = (
            None if not isinstance(location, Path | str) or is_url(location) else Path(location)
        )
        """The file, if it is one."""
        self.clock = clock
        """Milliseconds since the epoch."""
        self._database = (
            open_database(location, create=create, read_only=read_only)
            if isinstance(location, Path | str)
            else location
        )
        self._engine = self._database.engine
        with self._reading() as connection:
            row = store_row(connection)
            newest = select(_run.head_at).order_by(_run.head_at.desc()).limit(1)
            self._newest_at = connection.execute(newest).scalar() or 0
        self.id = row.id
        self._ref_key = row.ref_key
        self._writer = None if read_only else Writer(self._database)
        self.bell: Bell | None = None
        """Rung when an append leaves a run that could go on and that nobody carries."""
        self.claims = Claims(
            submit=self._submit,
            reading=self._reading,
            process=lambda: self.process,
            is_alive=self.is_alive,
        )

        self.chores = Chores(
            submit=self._submit, reading=self._reading, process=lambda: self.process
        )
        self.notices = Notices(submit=self._submit, reading=self._reading)

    @property
    def location(self) -> str:
        """Where it is, in words that hold no password."""
        return self._database.location

    def close(self) -> None:
        """Finish what was appended and let the database go."""
        if self._writer is not None:
            self._writer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- append ---------------------------------------------------------------------------

    async def append(
        self,
        run: Run,
        events: Sequence[AnyEvent],
        *,
        process: str | None = None,
        not_after: int | None = None,
    ) -> Run:
        """Append `events` to the run as the caller folded it, and return it evolved.

        It returns when they are durable. All or none are appended. Raises Conflict when the
        run has moved on since, CarriedElsewhere when `process` is given and does not carry
        the run, Expired when the clock has reached `not_after` (milliseconds since the
        epoch), and ClockWentBack or StoreUnavailable.
        """
        draft = Draft.of(run).plus(events, at=self.clock())
        return await self.commit(draft, process=process, not_after=not_after)

    async def commit(
        self,
        draft: Draft,
        *,
        process: str | None = None,
        not_after: int | None = None,
        check: Callable[[Connection], None] | None = None,
    ) -> Run:
        """Append the records of a draft; the same promises as `append`.

        `check` looks at the store in the transaction, before anything is written, and raises
        an AgentrtError when the draft must not be appended: then nothing is.
        """
        # What its carrier appends, its carrier goes on from.
        bell = self.bell if process is None and draft.after.status == "running" else None

        def work(connection: Connection) -> Run:
            check_head(connection, draft.before)
            if process is not None:
                check_lease(connection, draft.before.id, process)
            self._check_time(draft, not_after)
            if check is not None:
                check(connection)
            insert(connection, draft)
            after = self._settled(connection, draft.after)
            if bell is not None and bell.in_transaction:
                _ring_within(bell, draft.after.id, connection)
            return after

        def done(connection: Connection) -> Run | None:
            return draft.after if is_written(connection, draft) else None

        after = await self._write(work, run=draft.before.id, alone=check is not None, done=done)
        if bell is not None and not bell.in_transaction:
            self.ring(after.id)
        return after

    def _settled(self, connection: Connection, run: Run) -> Run:
        """The run with what may stay of its content, if it is over for good."""
        if not run.over or run.resumable:
            return run
        if not (run.reducible or run.zero_retention or run.forgotten):
            return run
        return settle_content(connection, run, at=self.clock(), by="agentrt", ref=self.ref)

    @cached_property
    def forgetting(self) -> Forgetting:
        """Erases content, with a record of it."""
        return Forgetting(self, self._reading)

    def purge(self) -> str:
        """Let nothing of what was erased stay on pages or in logs; what that reached, in words."""
        with _answering(self._database):
            return self._database.purge()

    def ring(self, run: str) -> None:
        """Say that a run can go on; a bell that fails is logged, since the store knows anyway."""
        if self.bell is None or run == STORE_CHAIN:
            return
        try:
            self.bell.wake(run)
        except Exception as error:  # noqa: BLE001 - somebody else's code, and nothing hangs on it
            _note_silence(run, error)

    def _check_time(self, draft: Draft, not_after: int | None) -> None:
        now = self.clock()
        if not_after is not None and now >= not_after:
            raise Expired
        behind = max(self._newest_at, draft.before.at) - now
        decisive = any(isinstance(record.event, DECISIVE) for record in draft.records)
        if behind > CLOCK_TOLERANCE_MS and decisive:
            raise ClockWentBack(
                f"The clock is {behind / 1000:.0f} s behind the newest record of the audit store, "
                f"which was written at {moment(now + behind).isoformat(timespec='seconds')}. Set "
                "it right. If it is right and was wrong then, nothing is decided, approved or "
                "run until that time has come."
            )
        self._newest_at = max(self._newest_at, now)

    async def within(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction, and return when it is durable: for parts of the store."""
        return await self._write(work)

    def derive(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction: for what is made from records, and can be made again."""
        return self._submit(work).result()

    async def _write(self, work: Callable[[Connection], T], **how: Any) -> T:
        return await asyncio.wrap_future(self._submit(work, **how))

    def _submit(self, work: Callable[[Connection], T], **how: Any) -> Future[T]:
        """Have it done by the writer, `how` being what that wants to know of it."""
        if self._writer is None:
            raise StoreUnavailable("The audit store was opened to be read only.")
        return self._writer.submit(work, **how)

    @property
    def appends_waiting(self) -> int:
        """How many appends wait for their commit."""
        return 0 if self._writer is None else self._writer.waiting

    # --- who carries a run ----------------------------------------------------------------

    @property
    def process(self) -> str:
        """The name of this process in records; alive for as long as the store is open."""
        return self._database.processes.mine

    def is_alive(self, process: str) -> bool:
        """Whether a process that the records name may carry runs; its own leases count if so."""
        return self._database.processes.is_alive(process)

    def may_run(self, process: str, *, until: int) -> bool:
        """Whether a function that a process entered may run yet; it should have ended at `until`.

        In milliseconds since the epoch. While it may, nobody can say that it did not happen.
        """
        return self._database.processes.may_run(process, until=until)

    async def claim(self, run: str) -> None:
        """Let this process carry the run. Raises CarriedElsewhere while another lives that does."""
        mine = self.process

        def work(connection: Connection) -> None:
            HEAD.row(connection, run=run)  # who claims it at the same time waits here
            holder = self.claims.holder(connection, run)
            if holder not in (None, mine):
                raise CarriedElsewhere(f"{run} is being carried on by the process {holder}.")
            put(connection, LeaseRow, [{"run": run, "process": mine}])

        await self._write(work)

    async def release(self, run: str) -> None:
        """Let another process carry the run."""
        mine = self.process

        def work(connection: Connection) -> None:
            RELEASE.write(connection, [{"run": run, "process": mine}])

        await self._write(work)

    def still_carries(self, run: str) -> bool:
        """Whether this process carries the run, and the run is not over: one quick look."""
        with self._reading() as connection:
            row = CARRIED.row(connection, run=run, process=self.process)
        return row is not None and row[0] not in ENDED

    def carrier(self, run: str) -> str | None:
        """The living process that carries the run."""
        with self._reading() as connection:
            return self.claims.holder(connection, run)

    def ref(self, name: str) -> str:
        """What stands for a person's name in headers: a hash keyed by this store."""
        return hmac.new(self._ref_key, name.encode(), hashlib.sha256).hexdigest()[:24]

    @property
    def keep_key(self) -> bytes:
        """The key of the hashes that stand for values of fields with `keep: hash`."""
        return hmac.new(self._ref_key, b"agentrt keep", hashlib.sha256).digest()

    # --- read -----------------------------------------------------------------------------

    def records(self, run: str, *, after: int = 0) -> list[Record]:
        """The records of a run, oldest first, from `after` on."""
        with self._reading() as connection:
            return read_records(connection, _event.run == run, _event.seq > after, order=_event.seq)

    def records_since(
        self,
        after: int,
        *,
        types: Sequence[str],
        user_ref: str | None = None,
        connection: Connection | None = None,
    ) -> tuple[int, list[Record]]:
        """Records of some types behind a place of arrival, oldest first, and the last place.

        Those of one user only when `user_ref` is given. Within a `check`, on its connection.
        """
        with self._reading(connection) as reading:
            # Within a check the transaction is alone; else what is under way may come before.
            up_to = self._database.settled(reading) if connection is None else None
            return read_since(reading, after=after, types=types, user_ref=user_ref, up_to=up_to)

    def place_at(
        self, moment: int, *, user_ref: str | None = None, connection: Connection | None = None
    ) -> int:
        """The place of arrival of the last record that was written up to a time (milliseconds).

        Of one user only when `user_ref` is given; 0 when there is none.
        """
        with self._reading(connection) as reading:
            return place_at(reading, moment, user_ref=user_ref)

    def settled(self) -> int | None:
        """The last place of arrival before which no record can appear any more; None: each is.

        Whoever reads on from a place must not go beyond this one: on PostgreSQL records become
        visible in another order than their places.
        """
        with self._reading() as connection:
            return self._database.settled(connection)

    def decisions(
        self, calls: Sequence[str], *, up_to: int, connection: Connection | None = None
    ) -> Mapping[str, Record]:
        """The last decision on each of these calls that arrived up to a place, by call."""
        with self._reading(connection) as reading:
            return read_decisions(reading, calls, up_to=up_to)

    def in_order(
        self, *, progress: Callable[[int], None] = lambda _count: None
    ) -> Iterator[Record]:
        """Every record of every chain in the order of arrival, with few in memory at a time.

        `progress` hears how many were read.
        """
        place = count = 0
        while True:
            with self._reading() as connection:  # let go between, so that nobody has to wait
                place, records = read_after(connection, place, limit=READ_AT_ONCE)
            if not records:
                return
            yield from records
            count += len(records)
            progress(count)

    def load(self, run: str) -> Run:
        """Where the run stands. Raises NotFound."""
        records = self.records(run)
        if not records:
            raise NotFound(f"There is no run {run} in {self.location}.")
        return fold(records)

    def load_intact(self, run: str) -> Run:
        """Where the run stands, when every record of it still says what was written.

        So must those of the runs that it follows. For whoever acts on it. Raises StoreCorrupt,
        and NotFound.
        """
        for each in (run, *self.ancestors(run)):
            if findings := self.verify(each).findings:
                self.load(each)  # what a newer agentrt wrote is no damage, and says so
                raise StoreCorrupt(
                    f"{findings[0]}. {run} is left as it is: `agentrt audit verify {each}` "
                    "tells all."
                )
        return self.load(run)

    def parents(self, runs: Iterable[str]) -> dict[str, str]:
        """The parent of each of these runs that follows another."""
        with self._reading() as connection:
            found = {run: _parent(connection, run) for run in runs}
        return {run: parent for run, parent in found.items() if parent is not None}

    def ancestors(self, run: str) -> list[str]:
        """The runs that a run follows, the oldest first; none when it follows no other.

        Raises StoreCorrupt when they follow one another in a circle.
        """
        lineage = [run]
        with self._reading() as connection:
            while (parent := _parent(connection, lineage[0])) is not None:
                if parent in lineage:
                    raise StoreCorrupt(f"{parent} follows itself. Run `agentrt audit verify`.")
                lineage.insert(0, parent)
        return lineage[:-1]

    def catch_up(self, run: Run) -> Run:
        """The run with what others have appended since."""
        newer = self.records(run.id, after=run.seq)
        return fold(newer, run=run) if newer else run

    def runs(
        self,
        *,
        status: Sequence[str] = (),
        ids: Sequence[str] | None = None,
        agents: Sequence[str] | None = None,
        user: str | None = None,
        limit: int | None = None,
    ) -> list[RunRow]:
        """Runs, newest first; None and no status mean any."""
        query = select(*_run).where(_run.id != STORE_CHAIN)
        query = query.where(_run.status.in_(status)) if status else query
        query = query.where(_run.id.in_(ids)) if ids is not None else query
        query = query.where(_run.agent.in_(agents)) if agents is not None else query
        query = query.where(_run.user == user) if user else query
        query = query.order_by(_run.started_at.desc(), _run.id).limit(limit)
        return self._rows(RunRow, query)

    def calls(
        self,
        *,
        status: Sequence[str] = (),
        run: str | None = None,
        tool: str | None = None,
        due_by: int | None = None,
        due_after: int | None = None,
        limit: int | None = None,
    ) -> list[CallRow]:
        """Calls, newest first; those that expire up to `due_by` and after `due_after` (ms)."""
        query = select(*_call)
        query = query.where(_call.expires_at > due_after) if due_after is not None else query
        query = query.where(_call.expires_at <= due_by) if due_by is not None else query
        query = query.where(_call.status.in_(status)) if status else query
        query = query.where(_call.run == run) if run else query
        query = query.where(_call.tool == tool) if tool else query
        order = (_call.requested_at.desc(), _call.turn.desc(), _call.index.desc())
        return self._rows(CallRow, query.order_by(*order).limit(limit))

    def model_calls(self, *, simulated: bool = False) -> list[ModelCallRow]:
        """Requests to Claude: real ones, or on demand the simulated ones, never both."""
        query = select(*_model_call).where(_model_call.simulated == simulated)
        return self._rows(ModelCallRow, query.order_by(_model_call.at))

    def approvals(self, call: str) -> list[ApprovalRow]:
        """What reviewers said of a call, oldest first."""
        query = select(*_approval).where(_approval.call == call)
        return self._rows(ApprovalRow, query.order_by(_approval.at, _approval.seq))

    def settled_by_people(self) -> list[str]:
        """The runs in which a person said what became of a call in doubt."""
        query = (
            select(_event.run)
            .distinct()
            .where(_event.reviewer_ref.is_not(None), _event.type == "call.settled")
        )
        with self._reading() as connection:
            return list(connection.execute(query).scalars())

    def last_approval(self) -> ApprovalRow | None:
        """What a reviewer said last, of any call."""
        query = select(*_approval).order_by(_approval.at.desc(), _approval.seq.desc()).limit(1)
        return next(iter(self._rows(ApprovalRow, query)), None)

    def find_run(self, prefix: str) -> str:
        """The run whose id begins so. Raises NotFound, also when several do."""
        return self._find(RunRow, prefix, "run")

    def find_call(self, prefix: str) -> CallRow:
        """The call whose id begins so. Raises NotFound, also when several do."""
        found = self._find(CallRow, prefix, "call")
        query = select(*_call).where(_call.id == found)
        return self._rows(CallRow, query)[0]

    def search(
        self,
        *,
        run: str | None = None,
        call: str | None = None,
        tool: str | None = None,
        types: Sequence[str] = (),
        user: str | None = None,
        reviewer: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int | None = None,
    ) -> list[Record]:
        """Records that fit all that is asked, newest first. Times in milliseconds."""
        wanted: dict[Any, Any] = {
            _event.run: run,
            _event.call: call,
            _event.tool: tool,
            _event.user_ref: self.ref(user) if user else None,
            _event.reviewer_ref: self.ref(reviewer) if reviewer else None,
        }
        where = [column == value for column, value in wanted.items() if value is not None]
        where += [_event.type.in_(types)] if types else []
        where += [_event.at >= since] if since is not None else []
        where += [_event.at < until] if until is not None else []
        with self._reading() as connection:
            newest = _event.pos.desc()
            return read_records(connection, *where, order=newest, limit=limit)

    def bundle(self, digest: str) -> Mapping[str, str] | None:
        """The text of every file of a policy bundle that was ever loaded, by name."""
        from pydantic_core import from_json

        for record in self.records(STORE_CHAIN):
            if record.event.type == "bundle.loaded" and record.event.bundle == digest:
                texts: dict[str, str] = from_json(record.event.files)
                return texts
        return None

    def size(self) -> int:
        """About how many records there are, without counting them."""
        with self._reading() as connection:
            return connection.execute(select(func.max(_event.pos))).scalar() or 0

    def verify(
        self,
        run: str | None = None,
        *,
        lists: bool = True,
        trust: Trust | None = None,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> Verification:
        """Check every record, or those of one run; `progress` hears how many were checked.

        Without `lists` only what is proven is checked: many times as quick. `trust` is what is
        known from elsewhere: keys, remembered checkpoints, witnesses.
        """
        with self._reading() as connection:
            damage = self._database.damage(connection) if run is None and lists else ()
            return verify(
                connection, run=run, lists=lists, trust=trust, damage=damage, progress=progress
            )

    def watch(self) -> Watch:
        """Something that says when another connection, of any process, has written."""
        return Watch(self._database)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with: for parts of the store. Raises StoreError."""
        with self._reading() as connection:
            yield connection

    @contextmanager
    def _reading(self, within: Connection | None = None) -> Iterator[Connection]:
        """A connection to read with, `within` a transaction the one that it has."""
        if within is not None:
            yield within
            return
        with _answering(self._database), self._database.connect() as connection:
            yield connection

    def _rows(self, table: type[T], query: Any) -> list[T]:
        with self._reading() as connection:
            return [table(**row._mapping) for row in connection.execute(query)]

    def _find(self, table: Any, prefix: str, noun: str) -> str:
        escaped = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        query = select(table.id).where(
            table.id.like(f"{escaped}%", escape="\\"), table.id != STORE_CHAIN
        )
        with self._reading() as connection:
            found = list(connection.execute(query.limit(2)).scalars())
        if len(found) != 1 and prefix not in found:
            several = "more than one" if found else "no"
            raise NotFound(f"There is {several} {noun} whose id begins with {prefix!r}.")
        return prefix if prefix in found else str(found[0])


def _ring_within(bell: Bell, run: str, connection: Connection) -> None:
    """Ring in the append's transaction. One that fails must not keep a decision from the store."""
    if run == STORE_CHAIN:
        return
    try:
        with connection.begin_nested():
            bell.wake(run, connection)
    except Exception as error:  # noqa: BLE001 - whoever sweeps finds the run without it
        _note_silence(run, error)


def _note_silence(run: str, error: Exception) -> None:
    why = " ".join(str(error.__cause__ or error).split())
    logger.warning("the bell for %s failed, and workers find it themselves: %s", run, why)


def _parent(connection: Connection, run: str) -> str | None:
    row = PARENT.row(connection, run=run)
    return str(row[0]) if row is not None and row[0] is not None else None


class Watch:
    """A cheap look at the store, for whoever looks many times a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with _answering(database):
            self._pulse = database.pulse()

    def changed(self) -> bool:
        """Whether another connection, of any process, has written since the last time.

        Raises StoreUnavailable, also when a file is gone or another took its place.
        """
        with _answering(self._database):
            return self._pulse.changed()

    def running(self) -> list[tuple[str, str]]:
        """The runs that somebody could carry on now, each with its agent."""
        return [(run, agent) for run, agent in self._rows(RUNNING)]

    def status(self, run: str) -> str:
        """How the run stands."""
        return str(self._rows(STATUS, run=run)[0][0])

    def next_expiry(self) -> float:
        """When the next held call expires, in milliseconds since the epoch; else infinity."""
        found = self._rows(NEXT_EXPIRY)
        return found[0][0] if found else math.inf

    def close(self) -> None:
        """Let the connection go."""
        with suppress(*FAILURES):
            self._pulse.close()

    def _rows(self, statement: Prepared, **values: Any) -> list[tuple[Any, ...]]:
        with _answering(self._database):
            rows = statement.rows(self._pulse.connection, **values)
            self._pulse.connection.rollback()  # a look must not hold on to what it saw
        return rows


@contextmanager
def _answering(database: Database) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise database.problem(error) from error


PARENT = Prepared(
    select(in_header("parent")).where(_event.run == bindparam("run"), _event.seq == 1)
)
RUNNING = Prepared(select(_run.id, _run.agent).where(_run.status == "running"))
STATUS = Prepared(select(_run.status).where(_run.id == bindparam("run")))
NEXT_EXPIRY = Prepared(
    select(_run.wake_at).where(_run.wake_at.is_not(None)).order_by(_run.wake_at).limit(1)
)
ENDED = ("finished", "failed", "cancelled")
CARRIED = Prepared(
    select(_run.status)
    .join_from(LeaseRow, RunRow, _run.id == _lease.run)
    .where(_lease.run == bindparam("run"), _lease.process == bindparam("process"))
)
RELEASE = Prepared(
    delete(LeaseRow).where(_lease.run == bindparam("run"), _lease.process == bindparam("process"))
)
