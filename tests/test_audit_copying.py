"""Copies of a store, and stores of older versions: nothing of what is recorded changes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from everything import everything
from office import Office, one_call
from servers import Server
from sqlalchemy import inspect

from agentrt import Call, tool
from agentrt.audit import AuditStore
from agentrt.audit.copying import copy_store
from agentrt.audit.database import raw_database
from agentrt.audit.migrations import Migrated, migrate
from agentrt.audit.schema import REVISIONS, own_tables
from agentrt.cli import main
from agentrt.errors import StoreCorrupt, StoreTooNew, StoreTooOld, StoreUnavailable
from agentrt.run import Run

NEW_IN_0002 = (
    "chore",
    "notice",
    "process",
    "worker",
    "served",
    "leaf",
    "node",
    "checkpoint",
    "cosignature",
)


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    """A store with everything that can be recorded in it."""
    path = tmp_path / "source.db"
    with AuditStore(path) as store:
        for story in everything():
            await store.append(Run(story.run.id), [record.event for record in story.records])
    return path


def records_of(location: str | Path) -> list[tuple[str, int, bytes, bytes, object]]:
    with AuditStore(location, read_only=True) as store:
        return [(r.run, r.seq, r.header, r.hash, r.event) for r in store.in_order()]


# --- copies ------------------------------------------------------------------------------


async def test_a_copy_on_a_server_and_back_is_the_same_store(
    source: Path, server: Server, tmp_path: Path
) -> None:
    url, back = server.empty(), tmp_path / "back.db"
    there = copy_store(source, url)
    again = copy_store(url, back)
    assert there.store == again.store
    assert there.rows == again.rows
    assert records_of(source) == records_of(url) == records_of(back)
    with AuditStore(source) as one, AuditStore(url) as other, AuditStore(back) as third:
        assert one.id == other.id == third.id
        assert one.ref("mona") == other.ref("mona") == third.ref("mona")
        assert one.runs() == other.runs() == third.runs()
        assert one.calls() == other.calls() == third.calls()


async def test_a_copy_is_appended_to_behind_the_last_record(source: Path, server: Server) -> None:
    url = server.empty()
    copy_store(source, url)
    (story, *_rest) = everything()
    with AuditStore(url) as store:
        before = [record.hash for record in store.in_order()]
        events = [record.event for record in story.records]
        await store.append(Run("r_new"), events)
        assert [record.hash for record in store.in_order()][: len(before)] == before
        assert store.verify().ok


def test_a_copy_is_made_only_where_nothing_is(source: Path, server: Server, tmp_path: Path) -> None:
    url = server.empty()
    AuditStore(url).close()
    other = tmp_path / "other.db"
    other.write_text("mine")
    for target in (url, other):
        with pytest.raises(StoreCorrupt, match="already"):
            copy_store(source, target)
    assert other.read_text() == "mine"
    with pytest.raises(StoreUnavailable, match="There is no audit store"):
        copy_store(tmp_path / "nowhere.db", tmp_path / "x.db")


def test_a_source_that_was_changed_makes_no_copy_that_passes_for_one(
    source: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("DROP TRIGGER content_update")
        connection.execute("UPDATE content SET body = x'00' WHERE part = 'prompt'")
        connection.commit()
    with pytest.raises(StoreCorrupt, match="does not verify"):
        copy_store(source, tmp_path / "copy.db")


async def test_a_run_that_waits_in_a_file_is_approved_on_a_server_and_finishes_there(
    tmp_path: Path, server: Server
) -> None:
    paid: list[str] = []

    @tool(effect="irreversible")
    def send_money(to: str, call: Call) -> str:
        """Send money."""
        paid.append(call.key)
        return "sent"

    desk = Office(tmp_path, (send_money,), one_call("send_money", to="ana"))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Pay.", user="mona")
            assert run.status == "waiting"
        url = server.empty()
        copy_store(tmp_path / "agentrt.db", url)
        with AuditStore(url) as store:
            async with desk.runtime(store=store) as runtime:
                (call,) = run.held
                await runtime.approvals.approve(call.id, signer=desk.keys["ana"])
                assert (await runtime.wait(run.id)).status == "finished"
            assert store.verify().ok
    assert len(paid) == 1


def test_the_commands_back_up_and_copy(source: Path, tmp_path: Path) -> None:
    (tmp_path / "agentrt.toml").write_text('[project]\nstore = "source.db"\n')
    runner, at = CliRunner(), ["-C", str(tmp_path)]
    made = runner.invoke(main, [*at, "db", "backup", str(tmp_path / "backup.db"), "--json"])
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["records"] == len(records_of(source))
    again = runner.invoke(main, [*at, "db", "backup", str(tmp_path / "backup.db")])
    assert again.exit_code != 0
    assert "is there already" in again.stderr
    copied = runner.invoke(main, [*at, "db", "copy", str(source), str(tmp_path / "copy.db")])
    assert copied.exit_code == 0
    assert "verified" in copied.stdout
    assert records_of(tmp_path / "copy.db") == records_of(source)
    where = runner.invoke(main, [*at, "db", "path"], env={"AGENTRT_STORE": "postgresql://a:b@h/d"})
    assert where.stdout == "postgresql://a@h/d\n"


# --- migrations --------------------------------------------------------------------------


def as_of_02(path: Path) -> None:
    """Take from a store what agentrt 0.2 did not make."""
    with closing(sqlite3.connect(path)) as connection:
        for table in (*NEW_IN_0002, "alembic_version"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP INDEX run_ready")
        connection.commit()


def schema_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        found = connection.execute(query).fetchall()
    return {name: " ".join(sql.replace("IF NOT EXISTS ", "").split()) for name, sql in found}


def test_an_older_store_is_refused_until_it_is_migrated_and_is_then_as_a_new_one(
    source: Path,
) -> None:
    new, before = schema_of(source), records_of(source)
    as_of_02(source)
    with pytest.raises(StoreTooOld, match="agentrt db migrate"):
        AuditStore(source)
    assert migrate(source) == Migrated("0001", REVISIONS[-1])
    assert migrate(source) == Migrated(REVISIONS[-1], REVISIONS[-1])
    assert schema_of(source) == new
    assert records_of(source) == before
    with AuditStore(source) as store:
        assert store.verify().ok


def test_a_migration_that_breaks_off_leaves_the_store_as_it_was(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    as_of_02(source)
    before = schema_of(source)

    def broken(*_: object, **__: object) -> None:
        raise OSError("the power failed")

    monkeypatch.setattr(op, "create_index", broken)
    with pytest.raises(OSError, match="power"):
        migrate(source)
    assert schema_of(source) == before


def test_what_is_no_store_or_newer_is_not_migrated(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE note (text TEXT)")
        connection.commit()
    with pytest.raises(StoreCorrupt, match="is not an audit store"):
        migrate(other)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreTooNew, match="Upgrade agentrt"):
        migrate(source)


INDEXES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' "
    "AND indexname NOT LIKE '%%_pkey' AND indexname NOT LIKE 'alembic%%'",
}


def test_the_tables_of_a_server_have_the_columns_and_indexes_of_the_file(
    source: Path, server: Server
) -> None:
    url = server.empty()
    AuditStore(url).close()
    told = []
    for location in (source, url):
        database = raw_database(location)
        with database.connect() as connection:
            names = connection.exec_driver_sql(INDEXES[connection.dialect.name]).scalars().all()
            looking = inspect(connection)
            columns = {
                table.name: (
                    sorted(column["name"] for column in looking.get_columns(table.name)),
                    looking.get_pk_constraint(table.name)["constrained_columns"],
                )
                for table in own_tables()
            }
        told.append((sorted(names), columns))
        database.close()
    assert told[0] == told[1]
