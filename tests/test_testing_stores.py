"""The check for stores passes on three kinds of database and finds every broken one out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from plain_file import PlainFile
from servers import Server
from sqlalchemy import Connection

from agentrt.audit import AuditStore, Watch
from agentrt.audit.postgres import Postgres, open_postgres
from agentrt.errors import Conflict
from agentrt.events import Record
from agentrt.run import Run
from agentrt.testing import STORE_CHECKS, check_store

Make = Callable[[], AuditStore]

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(params=["a file", "a server", "a database of one's own"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens a store, each time in the same place."""
    path = tmp_path / "agentrt.db"
    if request.param == "a file":
        return lambda: AuditStore(path)
    if request.param == "a database of one's own":
        return lambda: AuditStore(PlainFile(path))
    url = request.getfixturevalue("server").empty()
    return lambda: AuditStore(url)


@pytest.mark.parametrize("name", STORE_CHECKS)
async def test_a_store_keeps_its_promises(make: Make, name: str) -> None:
    await STORE_CHECKS[name](make)


# --- broken ones -------------------------------------------------------------------------


class Forgetful(AuditStore):
    """Says that it is done, and loses the last record of each append."""

    def records(self, run: str, *, after: int = 0) -> list[Record]:
        return super().records(run, after=after)[:-1]


class Trusting(AuditStore):
    """Appends to where the run stands now, wherever the caller saw it."""

    async def append(self, run: Run, events: Any, **how: Any) -> Run:
        try:
            return await super().append(run, events, **how)
        except Conflict:
            return await super().append(self.load(run.id), events, **how)


class Timeless(AuditStore):
    """Takes what comes after its time."""

    async def append(self, run: Run, events: Any, **how: Any) -> Run:
        return await super().append(run, events, process=how.get("process"))


class Unfenced(AuditStore):
    """Lets anybody append, whoever carries the run."""

    async def append(self, run: Run, events: Any, **how: Any) -> Run:
        return await super().append(run, events, not_after=how.get("not_after"))


class Generous(AuditStore):
    """Gives a run to everybody who claims it."""

    async def claim(self, run: str) -> None:
        self.process  # noqa: B018 - which makes it alive


class Deathless(AuditStore):
    """Takes nobody for dead, so that nobody takes over."""

    def is_alive(self, process: str) -> bool:
        return True


class Hasty(AuditStore):
    """Rules out what a living process may still be doing."""

    def may_run(self, process: str, *, until: int) -> bool:
        return False


class Unchecked(AuditStore):
    """Counts before the transaction instead of in it."""

    async def commit(self, draft: Any, *, check: Any = None, **how: Any) -> Run:
        if check is not None:
            with self.reading() as connection:
                check(connection)
            await asyncio.sleep(0.01)
        return await super().commit(draft, **how)


class Blind(AuditStore):
    """Its watch sees nothing."""

    def watch(self) -> Watch:
        watch = super().watch()
        watch.changed = lambda: False  # type: ignore[method-assign]
        return watch


class AllOrAll(AuditStore):
    """Lets everybody fail with whoever is refused."""

    _failed: Exception | None = None

    async def append(self, run: Run, events: Any, **how: Any) -> Run:
        await asyncio.sleep(0)
        try:
            done = await super().append(run, events, **how)
        except Conflict as error:
            self._failed = error
            raise
        await asyncio.sleep(0.05)
        if self._failed is not None:
            raise self._failed
        return done


BROKEN = {
    Forgetful: "what is appended is read by all",
    Trusting: "who read too early appends nothing",
    Timeless: "what comes after its time is refused",
    Unfenced: "a run is carried by one process",
    Generous: "of those that claim a run at once one carries it",
    Deathless: "who ended carries nothing and runs nothing",
    Hasty: "who ended carries nothing and runs nothing",
    Unchecked: "of those that count at once none passes a cap",
    Blind: "a watch sees what others write",
    AllOrAll: "who is refused disturbs nobody",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
async def test_a_broken_store_is_found_out(broken: type[AuditStore], tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        await STORE_CHECKS[BROKEN[broken]](lambda: broken(tmp_path / "agentrt.db"))


async def test_the_check_says_which_promise_is_broken(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="what comes after its time is refused"):
        await check_store(lambda: Timeless(tmp_path / "agentrt.db"))


def test_a_file_whose_triggers_were_dropped_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "agentrt.db"
    with AuditStore(path) as store:
        store.derive(lambda connection: _drop_triggers(connection))
    with pytest.raises(AssertionError, match="let this pass"):
        asyncio.run(STORE_CHECKS["what is recorded cannot be changed"](lambda: AuditStore(path)))


def _drop_triggers(connection: Connection) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    for name in connection.exec_driver_sql(query).scalars().all():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")


class Unordered(Postgres):
    """Knows nothing of what is under way when it counts or reads on."""

    def begin(self, connection: Connection, *, runs: Collection[str], alone: bool) -> None:
        pass

    def settled(self, connection: Connection) -> int | None:
        return None


@pytest.mark.parametrize(
    "name",
    [
        "of those that count at once none passes a cap",
        "who reads on from a place misses nothing",
    ],
)
async def test_a_server_without_the_lock_of_order_is_found_out(server: Server, name: str) -> None:
    url = server.empty()
    open_postgres(url, create=True, read_only=False).close()

    async def often() -> None:
        for _ in range(30):
            await STORE_CHECKS[name](lambda: AuditStore(Unordered(url)))

    with pytest.raises(AssertionError):
        await often()
