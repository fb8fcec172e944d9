"""Claims: who carries which run, who is there to carry, and whose turn it is.

The only coordination that is not in the events. Losing all of it costs a wait, never an effect:
an append says where its run stood, and the database refuses a second one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, literal, select, text, update

from agentrt.audit.appends import put
from agentrt.audit.tables import LeaseRow, RunRow, ServedRow, WorkerRow, columns, of_user

__all__ = ["BEAT_S", "SILENT_S", "STORE_CHAIN", "Claims", "Present", "Wanted"]

STORE_CHAIN = "store"
"""The chain of the store's own events; nobody carries it."""

BEAT_S = 5.0
"""How often a process says that it is there."""

SILENT_S = 30.0
"""A process that said nothing for so long may be alive, and its runs go on elsewhere.

It stands still, or its machine is cut off. What it appends when it wakes up is refused.
"""

FORGET_SERVED_S = 86_400.0
"""Who was served last is remembered for a day: longer ago is the same as never."""

_run, _lease = columns(RunRow), columns(LeaseRow)
_worker, _served = columns(WorkerRow), columns(ServedRow)

CLAIMS_LOCK = 0x61677274
"""The number of PostgreSQL's advisory lock under which claims with limits are made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs a process can carry."""

    agents: Collection[str]
    simulated: bool
    only: Collection[str] | None = None
    """Of these runs only; None: of all."""
    but: Collection[str] = ()
    """Not these: it tried them, and could not carry them on."""
    per_user: int | None = None
    """How many runs of one user all processes together carry at once."""
    per_agent: int | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """A process that carries runs, as it said last."""

    process: str
    service: str
    host: str
    pid: int
    version: str
    agents: tuple[str, ...]
    simulated: bool
    """Whether a scripted Claude answers it."""
    runs_at_once: int
    started_at: int
    seen_at: int
    draining: bool
    alive: bool
    """False once its death is proven, or when it has been silent for too long."""
    carries: tuple[str, ...]


class Claims:
    """Which runs are carried by whom. One process takes a run at a time; a dead one has none."""

    def __init__(
        self,
        *,
        submit: Callable[[Callable[[Connection], Any]], Future[Any]],
        reading: Callable[[], AbstractContextManager[Connection]],
        process: Callable[[], str],
        is_alive: Callable[[str], bool],
    ) -> None:
        self._submit = submit
        self._reading = reading
        self._process = process
        self._is_alive = is_alive

    def findable(self, wanted: Wanted) -> bool:
        """Whether there may be a run to take: a look that writes nothing and waits for nobody."""
        mine = self._process()
        with self._reading() as connection:
            free = ~_leased({*self._gone(connection, mine), mine})
            query = _ready(wanted, wanted.agents).where(free).limit(1)
            return connection.execute(query).first() is not None

    async def take(self, wanted: Wanted, room: int) -> list[str]:
        """Take up to `room` ready runs, for this process to carry: the longest unserved first.

        Users take turns, so that one with a thousand runs does not keep the others waiting.
        """
        mine = self._process()

        def work(connection: Connection) -> list[str]:
            return _take(connection, wanted, room, mine=mine, gone=self._gone(connection, mine))

        taken: list[str] = await asyncio.wrap_future(self._submit(work))
        return taken

    def holder(self, connection: Connection, run: str) -> str | None:
        """Who carries the run: not who is dead, and not who has been silent for too long."""
        found = connection.execute(select(_lease.process).where(_lease.run == run)).scalar()
        return None if found is None or found in self._gone(connection, "") else str(found)

    def _gone(self, connection: Connection, mine: str) -> set[str]:
        """The processes that have runs and carry them no longer."""
        query = select(_lease.process, _worker.seen_at).distinct()
        query = query.outerjoin_from(LeaseRow, WorkerRow, _worker.process == _lease.process).where(
            _lease.process != mine
        )
        silent = database_now(connection) - int(SILENT_S * 1000)
        return {
            process
            for process, seen_at in connection.execute(query).all()
            if (seen_at is not None and seen_at < silent) or not self._is_alive(process)
        }

    # --- who is there ---------------------------------------------------------------------

    async def attend(
        self,
        *,
        service: str,
        host: str,
        pid: int,
        version: str,
        agents: Sequence[str],
        simulated: bool,
        room: int,
    ) -> None:
        """Say that this process is there, and forget those that died without a word."""
        mine = self._process()

        def work(connection: Connection) -> None:
            now = database_now(connection)
            self._forget_dead(connection, now)
            row = {
                "process": mine,
                "service": service,
                "host": host,
                "pid": pid,
                "version": version,
                "agents": json.dumps(sorted(agents)),
                "simulated": simulated,
                "runs_at_once": room,
                "started_at": now,
                "seen_at": now,
                "draining": False,
            }
            put(connection, WorkerRow, [row])

        await asyncio.wrap_future(self._submit(work))

    def _forget_dead(self, connection: Connection, now: int) -> None:
        known = connection.execute(select(_worker.process)).scalars().all()
        dead = [process for process in known if not self._is_alive(process)]
        connection.execute(delete(WorkerRow).where(_worker.process.in_(dead)))
        old = now - int(FORGET_SERVED_S * 1000)
        connection.execute(delete(ServedRow).where(_served.at < old))

    def beat(self) -> Future[Any]:
        """Say that this process is still there. For a thread that nothing else can starve."""
        mine = self._process()

        def work(connection: Connection) -> None:
            seen = {"seen_at": database_now(connection)}
            connection.execute(update(WorkerRow).where(_worker.process == mine).values(seen))

        return self._submit(work)

    async def drain(self) -> None:
        """Say that this process takes no more runs."""
        mine = self._process()

        def work(connection: Connection) -> None:
            begun = update(WorkerRow).where(_worker.process == mine).values(draining=True)
            connection.execute(begun)

        await asyncio.wrap_future(self._submit(work))

    async def leave(self) -> None:
        """Say that this process is gone."""
        mine = self._process()

        def work(connection: Connection) -> None:
            connection.execute(delete(WorkerRow).where(_worker.process == mine))

        await asyncio.wrap_future(self._submit(work))

    def present(self) -> list[Present]:
        """Who was there last, and what each of them carries; the longest there first."""
        with self._reading() as connection:
            rows = connection.execute(select(*_worker).order_by(_worker.started_at)).all()
            leases = connection.execute(select(_lease.process, _lease.run)).all()
            silent = database_now(connection) - int(SILENT_S * 1000)
        carried: dict[str, list[str]] = {}
        for process, run in leases:
            carried.setdefault(process, []).append(run)
        return [
            Present(
                **{**row._mapping, "agents": tuple(json.loads(row.agents))},
                alive=row.seen_at >= silent and self._is_alive(row.process),
                carries=tuple(sorted(carried.get(row.process, ()))),
            )
            for row in rows
        ]

    def ready(self, *, most: int) -> int:
        """How many runs could go on and are carried by nobody; counted up to `most`."""
        with self._reading() as connection:
            free = select(literal(1)).where(
                _run.status == "running", _run.id != STORE_CHAIN, ~_leased(())
            )
            counted = free.limit(most).subquery()
            return int(connection.execute(select(func.count()).select_from(counted)).scalar_one())

    def waiting(self) -> int:
        """How many runs wait for a person."""
        with self._reading() as connection:
            query = select(func.count()).select_from(RunRow).where(_run.status == "waiting")
            return int(connection.execute(query).scalar_one())


@dataclass(slots=True)
class _Room:
    """How many more runs may be carried: by this process, of each user, of each agent."""

    left: int
    wanted: Wanted
    users: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)

    def of_user(self, user: str) -> int:
        if self.wanted.per_user is None:
            return self.left
        return min(self.left, self.wanted.per_user - self.users[user])

    @property
    def open_agents(self) -> list[str]:
        most = self.wanted.per_agent
        agents = self.wanted.agents
        return [agent for agent in agents if most is None or self.agents[agent] < most]

    def took(self, user: str, agent: str) -> None:
        self.left -= 1
        self.users[user] += 1
        self.agents[agent] += 1


def _take(
    connection: Connection, wanted: Wanted, room: int, *, mine: str, gone: Collection[str]
) -> list[str]:
    limited = wanted.per_user is not None or wanted.per_agent is not None
    if limited and connection.dialect.name == "postgresql":
        # Two claims that count at once would both pass one limit; SQLite has one writer anyway.
        connection.execute(select(func.pg_advisory_xact_lock(CLAIMS_LOCK)))
    left = _Room(room, wanted)
    if limited:
        _count_carried(connection, left, gone)
    taken: list[str] = []
    served: set[str] = set()
    free = {*gone, mine}  # a lease of its own that it does not carry is one that it let fall
    while left.left > 0 and (found := list(_one_round(connection, left, taken, free))):
        taken += [run for _, run in found]
        served |= {user for user, _ in found}
    _note(connection, taken, served, mine)
    return taken


def _count_carried(connection: Connection, room: _Room, gone: Collection[str]) -> None:
    query = select(of_user, _run.agent, func.count()).join_from(
        LeaseRow, RunRow, _run.id == _lease.run
    )
    query = query.where(_lease.process.not_in(gone)) if gone else query
    for user, agent, count in connection.execute(query.group_by(of_user, _run.agent)):
        room.users[user] += count
        room.agents[agent] += count


def _one_round(
    connection: Connection, room: _Room, taken: Sequence[str], gone: Collection[str]
) -> Iterator[tuple[str, str]]:
    """An equal share of each user who has ready runs, those who were served longest ago first."""
    users = list(connection.execute(USERS).scalars())
    share = 1 if room.wanted.per_agent is not None else max(1, room.left // max(1, len(users)))
    for user in users:
        if (agents := room.open_agents) and (most := min(share, room.of_user(user))) > 0:
            query = _oldest(user, agents, room.wanted, but=taken, gone=gone).limit(most)
            found = {row.id: row.agent for row in connection.execute(query)}
            # Another claim may have taken one and let go of its row before this one locked it.
            for run in _still_free(connection, found, gone):
                room.took(user, found[run])
                yield user, run


def _still_free(
    connection: Connection, locked: Collection[str], gone: Collection[str]
) -> list[str]:
    """Of runs that this claim has locked, those that are free now that nobody can take them."""
    if not locked or connection.dialect.name != "postgresql":
        return list(locked)  # SQLite has one writer anyway
    query = select(_lease.run).where(_lease.run.in_(locked))
    query = query.where(_lease.process.not_in(gone)) if gone else query
    leased = set(connection.execute(query).scalars())
    return [run for run in locked if run not in leased]


def _oldest(
    user: str,
    agents: Iterable[str],
    wanted: Wanted,
    *,
    but: Sequence[str],
    gone: Collection[str],
) -> Any:
    """The runs of the user that wait longest to be carried on, with their agents."""
    query = _ready(wanted, agents).where(of_user == user, ~_leased(gone))
    query = query.where(_run.id.not_in(but)) if but else query
    return query.order_by(_run.started_at).with_for_update(skip_locked=True, of=RunRow)


def _ready(wanted: Wanted, agents: Iterable[str]) -> Any:
    """Runs that could go on, carried or not, with their agents."""
    query = select(_run.id, _run.agent).where(
        _run.status == "running",
        _run.agent.in_(agents),
        _run.simulated == wanted.simulated,
    )
    query = query.where(_run.id.not_in(wanted.but)) if wanted.but else query
    return query.where(_run.id.in_(wanted.only)) if wanted.only is not None else query


def _leased(gone: Collection[str]) -> Any:
    """Whether somebody carries the run who is not gone."""
    query = select(literal(1)).where(_lease.run == _run.id)
    return (query.where(_lease.process.not_in(gone)) if gone else query).exists()


def _note(connection: Connection, taken: Sequence[str], served: Iterable[str], mine: str) -> None:
    if not taken:
        return
    now = database_now(connection)
    put(connection, LeaseRow, [{"run": run, "process": mine} for run in taken])
    put(connection, ServedRow, [{"user": user, "at": now} for user in sorted(served)])


def database_now(connection: Connection) -> int:
    """Milliseconds since the epoch by the database's clock, which is the same for all who ask."""
    if connection.dialect.name != "postgresql":
        return time.time_ns() // 1_000_000  # the file's machine is this one
    now = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    return int(connection.execute(now).scalar_one())


def _next_user(after: Any) -> Any:
    query = select(of_user).where(_run.status == "running")
    query = query.where(of_user > after) if after is not None else query
    return query.order_by(of_user).limit(1).scalar_subquery()


def _users_statement() -> Any:
    # The index holds ready runs by user: each step of the recursion is one look into it, so
    # that ten thousand ready runs of one user cost as much as one.
    first = select(_next_user(None).label("user")).cte("ready_users", recursive=True)
    following = select(_next_user(first.c.user)).where(first.c.user.is_not(None))
    users = first.union_all(following)
    query = select(users.c.user).outerjoin_from(users, ServedRow, _served.user == users.c.user)
    query = query.where(users.c.user.is_not(None))
    return query.order_by(func.coalesce(_served.at, bindparam("never", 0)), users.c.user)


USERS = _users_statement()
