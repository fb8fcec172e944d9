"""The carrier on PostgreSQL: heard if and only if the append commits; the dead leave no job."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import PROMPT, a_shop
from servers import Server
from sqlalchemy import Connection, Engine, create_engine
from test_workers import until

from agentrt.audit import AuditStore
from agentrt.carriers import procrastinate as file
from agentrt.carriers.procrastinate import Procrastinate, make_schema, queue_grants
from agentrt.errors import StoreUnavailable
from agentrt.testing import check_carrier


@pytest.fixture
def url(server: Server) -> str:
    """A database of its own."""
    return server.empty()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield made
    made.dispose()


@asynccontextmanager
async def served(carrier: Procrastinate) -> AsyncIterator[Counter[str]]:
    heard: Counter[str] = Counter()

    async def advance(run: str) -> None:
        heard[run] += 1

    serving = asyncio.create_task(carrier.serve(advance))
    try:
        yield heard
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def becomes(true: Any) -> None:
    for _ in range(3_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not become true")


async def test_it_carries(url: str) -> None:
    make_schema(url)
    await check_carrier(lambda: Procrastinate(url))


async def test_a_job_exists_if_and_only_if_the_transaction_commits(
    url: str, engine: Engine
) -> None:
    make_schema(url)
    carrier = Procrastinate(url)

    def ring(run: str, connection: Connection) -> None:
        carrier.wake(run, connection)

    async with served(carrier) as heard:
        with engine.connect() as connection, connection.begin() as transaction:
            ring("r_undone", connection)
            transaction.rollback()
        with engine.begin() as connection:
            ring("r_done", connection)
            ring("r_done", connection)
            await asyncio.sleep(0.3)
            assert not heard
        await becomes(lambda: heard["r_done"] == 2)
        assert "r_undone" not in heard


async def test_a_bell_that_fails_behind_a_savepoint_leaves_the_transaction_whole(
    url: str, engine: Engine
) -> None:
    """There are no tables for jobs here at all."""
    from agentrt.audit.store import _ring_within

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (n int)")
        _ring_within(Procrastinate(url), "r_1", connection)
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM kept").scalar_one() == 1


async def test_jobs_of_a_dead_worker_are_given_to_the_living(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STALLED_S", 0.2)
    make_schema(url)
    carrier = Procrastinate(url)
    carrier.wake("r_left")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"
        )
        worker = connection.execute("SELECT * FROM procrastinate_register_worker_v1()").fetchone()
        taken = connection.execute(
            "SELECT id FROM procrastinate_fetch_job_v2(ARRAY['agentrt'], %s)", worker
        ).fetchone()
        assert taken != (None,)
    async with served(carrier) as heard:
        await becomes(lambda: heard["r_left"] == 1)


async def test_jobs_leave_nothing_behind(url: str) -> None:
    make_schema(url)
    carrier = Procrastinate(url)
    async with served(carrier) as heard:
        for number in range(20):
            carrier.wake(f"r_{number}")
        await becomes(lambda: len(heard) == 20)
        with psycopg.connect(url) as connection:
            jobs = "SELECT count(*) FROM procrastinate_jobs"
            count = f"SELECT ({jobs}), count(*) FROM procrastinate_events"
            await becomes(lambda: connection.execute(count).fetchone() == (0, 0))


async def test_a_database_that_went_away_is_asked_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "AGAIN_S", 0.05)
    make_schema(url)
    carrier = Procrastinate(url)
    async with served(carrier) as heard:
        carrier.wake("r_before")
        await becomes(lambda: heard["r_before"] == 1)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        carrier.wake("r_after")
        await becomes(lambda: heard["r_after"] >= 1)


def test_the_tables_are_made_once_and_a_role_that_may_not_is_told_who_can(
    url: str, server: Server
) -> None:
    server.do("DROP ROLE IF EXISTS nobody_special")
    server.do("CREATE ROLE nobody_special LOGIN")
    poor = url.replace("postgres:@", "nobody_special:@")
    with pytest.raises(StoreUnavailable, match="agentrt db migrate"):
        make_schema(poor)
    make_schema(url)
    make_schema(url)


def test_a_server_that_is_not_there_is_said(tmp_path: Any) -> None:
    with pytest.raises(StoreUnavailable, match="PostgreSQL does not answer"):
        make_schema(f"postgresql://postgres:@/postgres?host={tmp_path}")


def test_a_project_on_a_server_is_carried_by_a_worker_that_hears_of_an_approval(
    url: str, tmp_path: Path
) -> None:
    shop = a_shop(tmp_path)
    file = shop.folder / "agentrt.toml"
    file.write_text(re.sub(r"(?m)^store = .*\n", "", file.read_text()))
    file.write_text(file.read_text().replace("[project]\n", f'[project]\nstore = "{url}"\n', 1))
    AuditStore(url).close()
    with shop.started("worker", "--simulated", shop.script) as worker:
        until(lambda: shop.json("workers"), "a worker")
        detached = shop.say("run", PROMPT, "--simulated", shop.script, "--detach")
        assert detached.exit_code == 0, detached.stderr
        until(lambda: shop.json("approvals", "list"), "a held call")
        (held,) = shop.json("approvals", "list")
        digest = shop.json("approvals", "view", held["id"])["arguments_digest"]
        said = shop.say("approve", held["id"], "--arguments", digest, "--reason", "Right.")
        assert said.exit_code == 0, said.stderr
        until(lambda: shop.json("runs", "list")[0]["status"] == "finished", "the end of the run")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    assert len(shop.refunds) == 1
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)


def test_a_carrier_that_does_not_fit_the_store_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    file = shop.folder / "agentrt.toml"
    file.write_text(f'{file.read_text()}\n[workers]\ncarrier = "procrastinate"\n')
    said = shop.say("worker", "--simulated", shop.script)
    assert said.exit_code == 1
    assert "carrier is 'procrastinate', which needs a store on PostgreSQL" in said.stderr


def test_a_reviewer_who_may_only_add_jobs_rings(url: str, server: Server) -> None:
    make_schema(url)
    for name in ("queue_worker", "queue_reviewer"):
        server.do(f"DROP ROLE IF EXISTS {name}")
        server.do(f"CREATE ROLE {name} LOGIN")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("\n".join(queue_grants("queue_worker", "queue_reviewer")))
    reviewer = url.replace("postgres:@", "queue_reviewer:@")
    Procrastinate(reviewer).wake("r_1")
    with psycopg.connect(reviewer, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM procrastinate_jobs")
    worker = url.replace("postgres:@", "queue_worker:@")
    with psycopg.connect(worker, autocommit=True) as connection:
        row = connection.execute("SELECT * FROM procrastinate_register_worker_v1()").fetchone()
        taken = "SELECT id FROM procrastinate_fetch_job_v2(ARRAY['agentrt'], %s)"
        assert connection.execute(taken, row).fetchone() != (None,)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY queue_worker; DROP OWNED BY queue_reviewer")
