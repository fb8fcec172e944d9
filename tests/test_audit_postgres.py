"""The store on PostgreSQL: what a server does otherwise than a file, and goes wrong otherwise."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from servers import Server
from sqlalchemy import text
from worlds import asked, replied, said, started

from agentrt.audit import AuditStore, Draft, patience
from agentrt.audit import postgres as postgres_file
from agentrt.audit.database import open_database
from agentrt.audit.grants import ROLES, grants
from agentrt.errors import Conflict, ProjectError, StoreCorrupt, StoreUnavailable
from agentrt.run import Run

RUN = "r_0000000000000001"


@pytest.fixture
def url(server: Server) -> str:
    return server.empty()


@pytest.fixture
def store(url: str) -> Iterator[AuditStore]:
    with AuditStore(url) as opened:
        yield opened


# --- append-only -------------------------------------------------------------------------

CHANGES = [
    "UPDATE event SET hash = '\\x00'",
    "DELETE FROM event",
    "TRUNCATE event CASCADE",
    "INSERT INTO event (pos, header, hash) SELECT pos, header, hash FROM event "
    "ON CONFLICT (pos) DO UPDATE SET hash = '\\x00'",
    "MERGE INTO event USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "INSERT INTO event (header, hash) SELECT header, '\\x00' FROM event WHERE seq = 1",
    "INSERT INTO event (header, hash) SELECT replace(header, '\"seq\":2', '\"seq\":9'), "
    "sha256('\\x00'::bytea || convert_to(replace(header, '\"seq\":2', '\"seq\":9'), 'UTF8')) "
    "FROM event WHERE seq = 2",
    "UPDATE content SET body = '\\x00'",
    "TRUNCATE content",
    "UPDATE shared SET body = '\\x00'",
    "DELETE FROM shared",
    "UPDATE store SET id = 'mine'",
    "INSERT INTO store SELECT 's_2', format, ref_key, created_at FROM store",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["as the owner", "as a replica"])
async def test_what_is_recorded_is_not_changed(
    store: AuditStore, url: str, change: str, how: str
) -> None:
    await store.append(Run(RUN), [started(), asked(), replied(said("hi"))])
    with psycopg.connect(url, autocommit=True) as connection:
        if how == "as a replica":
            connection.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.Error):
            connection.execute(change)  # type: ignore[call-overload]
    assert store.verify().ok


# --- who appends, and in which order -----------------------------------------------------


async def test_two_that_begin_one_run_at_once_make_one_chain(url: str) -> None:
    with AuditStore(url) as one, AuditStore(url) as other:
        for number in range(20):
            run = Run(f"r_{number}")
            both = await asyncio.gather(
                one.append(run, [started("a")]),
                other.append(run, [started("b")]),
                return_exceptions=True,
            )
            assert sorted(type(each).__name__ for each in both) == ["Conflict", "Run"]
        assert one.verify().ok


async def test_groups_of_two_processes_that_append_to_the_same_runs_never_lock_each_other(
    url: str,
) -> None:
    runs = [f"r_{number:02}" for number in range(12)]
    with AuditStore(url) as one, AuditStore(url) as other:
        for run in runs:
            await one.append(Run(run), [started()])

        async def add(store: AuditStore, order: list[str]) -> int:
            added = 0
            for _ in range(5):
                now = [await asyncio.to_thread(store.load, run) for run in order]
                done = await asyncio.gather(
                    *(store.append(run, [asked(run.seq)]) for run in now), return_exceptions=True
                )
                assert all(isinstance(each, Run | Conflict) for each in done)
                added += sum(isinstance(each, Run) for each in done)
            return added

        counts = await asyncio.gather(add(one, runs), add(other, runs[::-1]))
        assert one.verify().records == len(runs) + sum(counts)


async def test_whoever_reads_on_from_a_place_misses_no_record(url: str) -> None:
    """Places are given before commits: a reader that takes the highest it sees loses some."""
    with AuditStore(url) as reader:
        done = threading.Event()

        def write(name: str) -> None:
            async def append() -> None:
                with AuditStore(url) as store:
                    for number in range(40):
                        await store.append(Run(f"r_{name}_{number}"), [started()])

            asyncio.run(append())

        writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for writer in writers:
            writer.start()
        place, heard = 0, []
        while not done.is_set():
            if not any(writer.is_alive() for writer in writers):
                done.set()
            place, records = await asyncio.to_thread(
                reader.records_since, place, types=["run.started"]
            )
            heard += [record.run for record in records]
        assert len(heard) == len(set(heard)) == 160


async def test_a_commit_that_was_never_answered_is_not_made_twice(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import Connection
    from sqlalchemy.exc import OperationalError

    commit, answered = Connection.commit, []

    def unheard(connection: Connection) -> None:
        commit(connection)
        if not answered:
            answered.append(True)
            raise OperationalError("COMMIT", {}, psycopg.OperationalError("connection lost"))

    monkeypatch.setattr(Connection, "commit", unheard)
    run = await store.append(Run(RUN), [started(), asked()])
    assert answered
    assert [record.seq for record in store.records(RUN)] == [1, 2]
    assert run.head == store.load(RUN).head


# --- a server that goes away -------------------------------------------------------------


async def test_a_server_that_is_started_again_loses_and_doubles_nothing() -> None:
    with Server() as server, AuditStore(server.empty()) as store:
        run = await store.append(Run(RUN), [started()])
        server.kill()
        appending = asyncio.ensure_future(store.append(run, [asked()]))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        run = await appending
        assert run.seq == 2
        assert (await asyncio.to_thread(store.load, RUN)).head == run.head
        assert (await asyncio.to_thread(store.verify)).ok


async def test_a_server_that_stays_away_is_said_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "AWAY_S", 0.5)
    with Server() as server, AuditStore(server.empty()) as store:
        run = await store.append(Run(RUN), [started()])
        server.kill()
        with pytest.raises(StoreUnavailable, match="Is the server up"):
            await store.append(run, [asked()])
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            store.load(RUN)
        server.start()


def test_a_database_that_is_not_there_is_said(server: Server) -> None:
    with pytest.raises(StoreUnavailable, match="CREATE DATABASE"):
        AuditStore(server.url("nowhere"))


def test_a_reader_makes_no_tables(url: str) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreUnavailable, match="Run an agent first"):
            AuditStore(url, **options)  # type: ignore[arg-type]


def test_somebody_elses_tables_are_not_touched(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE run (id integer)")
    with pytest.raises(StoreCorrupt, match="is not an audit store"):
        AuditStore(url)


def test_two_that_make_one_store_at_once_make_one(url: str) -> None:
    ids: list[str] = []

    def make() -> None:
        with AuditStore(url) as store:
            ids.append(store.id)

    makers = [threading.Thread(target=make) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1


@pytest.mark.parametrize("url", ["postgresql://a@h/d?sslmod=verify-full", "postgresql://[::1"])
def test_a_url_that_cannot_be_read_is_said(url: str) -> None:
    with pytest.raises(ProjectError, match="cannot be read"):
        AuditStore(url)


def test_a_password_is_never_told() -> None:
    told = postgres_file.location_of(
        "postgresql://ana:s3cret@db.example:5433/audit?sslmode=require"
    )
    assert told == "postgresql://ana@db.example:5433/audit"


async def test_what_is_committed_is_on_the_disk_whatever_the_server_does_by_default(
    url: str, server: Server
) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    server.do(f"ALTER DATABASE {name} SET synchronous_commit = off")
    database = open_database(url, create=True)
    with database.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    database.close()


# --- who lives ---------------------------------------------------------------------------


def test_a_process_lives_until_it_ends_and_its_effects_are_over_then(url: str) -> None:
    with AuditStore(url) as looking:
        with AuditStore(url) as other:
            name = other.process
            assert looking.is_alive(name)
            assert looking.may_run(name, until=0)
        assert not looking.is_alive(name)
        assert not looking.may_run(name, until=int(time.time() * 1000) + 9_999_999)


def test_a_process_of_another_machine_loses_its_leases_before_its_effects_are_ruled_out(
    url: str,
) -> None:
    with AuditStore(url) as looking:
        gone, now = "p_1_of_another_machine", int(time.time() * 1000)
        assert not looking.is_alive(gone)
        assert looking.may_run(gone, until=now)
        assert not looking.may_run(gone, until=now - 3_600_000)


def test_a_session_that_was_cut_is_made_again(url: str) -> None:
    with AuditStore(url) as looking, AuditStore(url) as other:
        name = other.process
        held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
        with psycopg.connect(url, autocommit=True) as connection:
            before = {row[0] for row in connection.execute(held).fetchall()}
            for pid in before:
                connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
            until = time.monotonic() + 20
            while time.monotonic() < until:
                now = {row[0] for row in connection.execute(held).fetchall()}
                if now and not now & before:
                    break
                time.sleep(0.05)
            assert now
            assert not now & before
        assert looking.is_alive(name)


def test_a_watch_sees_what_others_write(url: str) -> None:
    with AuditStore(url) as looking, AuditStore(url) as other:
        watch = looking.watch()
        watch.changed()
        assert not watch.changed()
        asyncio.run(other.append(Run(RUN), [started()]))
        assert watch.changed()
        watch.close()


# --- roles -------------------------------------------------------------------------------


@pytest.fixture
def roles(server: Server, url: str, store: AuditStore) -> dict[str, str]:
    """The URL of each role, on a store that has its grants."""
    names = {kind: f"{kind}_{url.partition('?')[0].rpartition('_')[2]}" for kind in ROLES}
    for name in names.values():
        server.do(f"CREATE ROLE {name} LOGIN")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("\n".join(grants(names)))  # type: ignore[call-overload]
    return {kind: url.replace("postgres:@", f"{name}:@") for kind, name in names.items()}


async def test_the_runtime_does_all_its_work_and_changes_no_record(
    roles: dict[str, str], store: AuditStore
) -> None:
    with AuditStore(roles["runtime"]) as runtime:
        run = await runtime.append(Run(RUN), [started(), asked(), replied(said("hi"))])
        await runtime.claim(RUN)
        await runtime.append(run, [asked(2)], process=runtime.process)
        await runtime.release(RUN)
        assert runtime.verify().ok
    with psycopg.connect(roles["runtime"], autocommit=True) as connection:
        for statement in ("DELETE FROM content", "DROP TABLE event", "CREATE TABLE more (a int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[call-overload]
        with pytest.raises(psycopg.Error):
            connection.execute("ALTER TABLE event DISABLE TRIGGER ALL")


async def test_a_reviewer_adds_verdicts_and_nothing_that_runs_anything(
    roles: dict[str, str], store: AuditStore
) -> None:
    from agentrt.events import RunCancelled

    run = await store.append(Run(RUN), [started()])
    with AuditStore(roles["reviewer"], create=False) as reviewer:
        with pytest.raises(StoreUnavailable, match="agentrt db grant"):
            await reviewer.append(run, [asked()])
        ended = RunCancelled(cause=run.seq, by="ana", by_ref="x", reason="Enough.")
        assert (await reviewer.append(run, [ended])).status == "cancelled"


async def test_an_auditor_reads_and_writes_nothing(
    roles: dict[str, str], store: AuditStore
) -> None:
    run = await store.append(Run(RUN), [started()])
    with AuditStore(roles["auditor"], read_only=True) as auditor:
        assert auditor.load(RUN).seq == 1
        assert auditor.verify().ok
    draft, refused = Draft.of(run).plus([asked()], at=run.at), "agentrt db grant"
    with (
        AuditStore(roles["auditor"], create=False) as auditor,
        pytest.raises(StoreUnavailable, match=refused),
    ):
        await auditor.commit(draft)
