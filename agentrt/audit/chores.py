"""Chores: what is done for the store again and again, by one process at a time; and notices.

Coordination that is not in the events: losing it costs a chore done twice, or a notice told twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from agentrt.audit.claims import database_now
from agentrt.audit.statements import Prepared
from agentrt.audit.tables import ChoreRow, NoticeRow, columns

__all__ = ["Chores", "Notices", "Told"]

KEPT_MS = 30 * 86_400_000
"""How long it is remembered what was told."""

_chore, _notice = columns(ChoreRow), columns(NoticeRow)


class Told(NamedTuple):
    """A notice as it is kept."""

    target: str
    id: str
    state: str
    attempts: int
    due_at: int
    at: int
    body: str


class Chores:
    """Who does which chore. Two processes never have one at the same time, unless one stands still
    for longer than it asked for: each chore must bear to be done twice.
    """

    def __init__(
        self,
        *,
        submit: Callable[[Callable[[Connection], Any]], Future[Any]],
        reading: Callable[[], AbstractContextManager[Connection]],
        process: Callable[[], str],
    ) -> None:
        self._submit = submit
        self._reading = reading
        self._process = process

    async def take(self, name: str, *, for_s: float) -> int | None:
        """Take the chore for so long: when it was done last (0: never), None if another has it."""
        mine = self._process()

        def work(connection: Connection) -> int | None:
            now = database_now(connection)
            until = now + int(for_s * 1000)
            NEW_CHORE.write(
                connection, [{"name": name, "process": mine, "until": now, "done_at": 0}]
            )
            free = or_(_chore.process == mine, _chore.until <= now)
            taken = update(ChoreRow).where(_chore.name == name, free)
            if connection.execute(taken.values(process=mine, until=until)).rowcount == 0:
                return None
            done = select(_chore.done_at).where(_chore.name == name)
            return int(connection.execute(done).scalar_one())

        taken: int | None = await asyncio.wrap_future(self._submit(work))
        return taken

    async def done(self, name: str, *, at: int) -> None:
        """Say that it was done, as of `at` (milliseconds since the epoch)."""
        mine = self._process()

        def work(connection: Connection) -> None:
            own = update(ChoreRow).where(_chore.name == name, _chore.process == mine)
            connection.execute(own.values(done_at=at))

        await asyncio.wrap_future(self._submit(work))

    async def let_go(self) -> None:
        """Leave all chores to others: this process ends."""
        mine = self._process()

        def work(connection: Connection) -> None:
            connection.execute(update(ChoreRow).where(_chore.process == mine).values(until=0))

        await asyncio.wrap_future(self._submit(work))


class Notices:
    """What targets are told: each notice once for each target, kept until it is delivered."""

    def __init__(
        self,
        *,
        submit: Callable[[Callable[[Connection], Any]], Future[Any]],
        reading: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        self._submit = submit
        self._reading = reading

    async def queue(self, notices: Sequence[Told]) -> None:
        """Keep those that are new; what was told already is not told again."""
        if notices:
            rows = [notice._asdict() for notice in notices]
            await asyncio.wrap_future(self._submit(lambda c: NEW_NOTICE.write(c, rows)))

    def due(self, *, now: int, targets: Sequence[str], limit: int = 100) -> list[Told]:
        """What is to be told now, the oldest first."""
        query = select(*_notice).where(_notice.state == "due", _notice.due_at <= now)
        query = query.where(_notice.target.in_(targets)).order_by(_notice.due_at).limit(limit)
        with self._reading() as connection:
            return [Told(**row._mapping) for row in connection.execute(query)]

    async def change(self, notice: Told, *, state: str, attempts: int, due_at: int) -> None:
        """Say how it went."""
        one = update(NoticeRow).where(_notice.target == notice.target, _notice.id == notice.id)
        changed = one.values(state=state, attempts=attempts, due_at=due_at)
        await asyncio.wrap_future(self._submit(lambda c: c.execute(changed) and None))

    async def forget_old(self, *, now: int) -> None:
        """Forget what was told long ago."""
        old = delete(NoticeRow).where(_notice.state != "due", _notice.at < now - KEPT_MS)
        await asyncio.wrap_future(self._submit(lambda c: c.execute(old) and None))

    def counted(self) -> dict[tuple[str, str], int]:
        """How many notices there are, by target and state."""
        query = select(_notice.target, _notice.state, func.count())
        query = query.group_by(_notice.target, _notice.state)
        with self._reading() as connection:
            return {(target, state): n for target, state, n in connection.execute(query)}


def _new(table: Any) -> Prepared:
    """An insert that leaves what is there."""
    values: dict[str, Any] = {
        column.name: bindparam(column.name) for column in table.__table__.columns
    }
    return Prepared.inserting(lambda insert: insert(table).values(values).on_conflict_do_nothing())


NEW_CHORE, NEW_NOTICE = _new(ChoreRow), _new(NoticeRow)
