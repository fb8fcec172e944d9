"""Ask and change one SQLite database: two permissions."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentrt.errors import ToolError
from agentrt.tools import Call
from agentrt_tools.sql import sql_tools


def a_call(key: str = "r:c", cancel: threading.Event | None = None) -> Call:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    cancel = cancel or threading.Event()
    return Call(id="c", key=key, run="r", user=None, attempt=1, deadline=deadline, cancel=cancel)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "shop #1?.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, picture BLOB)")
        connection.execute("INSERT INTO item (name, picture) VALUES ('a', x'00ff'), ('b', NULL)")
        connection.commit()
    return file


@pytest.fixture
def tools(database: Path) -> Any:
    return SimpleNamespace(**{tool.name: tool for tool in sql_tools(database)})


def rows(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def test_a_query_gives_rows_with_bound_values(tools: Any) -> None:
    assert tools.query_database("SELECT * FROM item WHERE name = ?", a_call(), ("a",)) == {
        "columns": ["id", "name", "picture"],
        "rows": [[1, "a", "[blob of 2 bytes]"]],
        "complete": True,
    }


def test_a_value_is_never_sql(tools: Any) -> None:
    attack = "a' OR '1'='1"
    found = tools.query_database("SELECT * FROM item WHERE name = ?", a_call(), (attack,))
    assert found["rows"] == []


def test_a_query_gives_so_many_rows_and_says_there_are_more(tools: Any) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    found = tools.query_database(endless, a_call())
    assert len(found["rows"]) == 500
    assert not found["complete"]


def test_a_query_that_nobody_waits_for_ends(tools: Any) -> None:
    cancel = threading.Event()
    cancel.set()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT max(i) FROM n"
    with pytest.raises(ToolError, match="interrupted"):
        tools.query_database(endless, a_call(cancel=cancel))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM item",
        "INSERT INTO item (name) VALUES ('c')",
        "UPDATE item SET name = 'x' RETURNING name",
        "DROP TABLE item",
        "CREATE TEMP TABLE t (x)",
        "SELECT 1; DELETE FROM item",
        "ATTACH 'other.db' AS other",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "BEGIN IMMEDIATE",
        "VACUUM",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('evil')",
        "SELECT zeroblob(1000000000)",
        "EXPLAIN",
        "nonsense",
        "SELECT ?",
    ],
)
def test_a_query_cannot_change_anything(
    tools: Any, database: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(database.parent)
    before = database.read_bytes()
    with pytest.raises(ToolError, match="The database refused"):
        tools.query_database(sql, a_call())
    assert database.read_bytes() == before
    assert [file.name for file in database.parent.iterdir()] == [database.name]


def test_a_statement_changes_the_database(tools: Any, database: Path) -> None:
    changed = tools.execute_statement("UPDATE item SET name = ?", a_call(), ("z",))
    assert changed == {"rows_changed": 2}
    assert rows(database, "SELECT name FROM item") == [("z",), ("z",)]


def test_a_statement_may_change_tables(tools: Any, database: Path) -> None:
    for number, sql in enumerate(
        ["CREATE TABLE t (x)", "ALTER TABLE t ADD y", "CREATE INDEX i ON t (x)", "DROP TABLE t"]
    ):
        assert tools.execute_statement(sql, a_call(f"k{number}")) == {"rows_changed": 0}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "DELETE FROM item RETURNING id",
        "DELETE FROM item; DELETE FROM item",
        "INSERT INTO item (id) VALUES (1)",
        "ATTACH 'other.db' AS other",
        "PRAGMA journal_mode = WAL",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "VACUUM",
        "DELETE FROM agentrt_effect",
        "DROP TABLE agentrt_effect",
        "nonsense",
        "UPDATE item SET name = load_extension('evil')",
    ],
)
async def test_a_refused_statement_changes_nothing(tools: Any, database: Path, sql: str) -> None:
    before = rows(database, "SELECT * FROM item")
    with pytest.raises(ToolError):
        tools.execute_statement(sql, a_call())
    assert rows(database, "SELECT * FROM item") == before
    execute = tools.execute_statement
    assert await execute.run_check({"sql": sql, "values": []}, a_call()) is None


async def test_the_check_knows_what_happened_under_a_key(tools: Any) -> None:
    execute = tools.execute_statement
    arguments = execute.complete({"sql": "DELETE FROM item WHERE id = ?", "values": [1]})
    assert await execute.run_check(arguments, a_call("first")) is None
    assert await execute.run(arguments, a_call("first")) == {"rows_changed": 1}
    assert await execute.run_check(arguments, a_call("first")) == {"rows_changed": 1}
    assert await execute.run_check(arguments, a_call("second")) is None


def test_one_call_happens_once_however_often_it_is_tried(tools: Any, database: Path) -> None:
    sql = "INSERT INTO item (name) VALUES ('once')"
    for _ in range(3):
        assert tools.execute_statement(sql, a_call("k")) == {"rows_changed": 1}
    assert rows(database, "SELECT count(*) FROM item WHERE name = 'once'") == [(1,)]


@pytest.fixture
def held(database: Path) -> Iterator[None]:
    """Another program that reads and so keeps a commit from finishing."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM item").fetchall()
        yield
        other.execute("ROLLBACK")


async def test_a_commit_that_fails_is_a_doubt_and_not_a_refusal(
    held: None, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars_of(tools), "BUSY_TIMEOUT_S", 0.01)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        tools.execute_statement("DELETE FROM item", a_call())
    assert await tools.execute_statement.run_check({"sql": "x", "values": []}, a_call()) is None


def vars_of(tools: Any) -> dict[str, Any]:
    found: dict[str, Any] = tools.execute_statement.function.__globals__
    return found


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    query, execute = sql_tools(tmp_path / "gone.db")
    with pytest.raises(ToolError, match="cannot be opened"):
        query("SELECT 1", a_call())
    with pytest.raises(ToolError, match="cannot be opened"):
        execute("CREATE TABLE t (x)", a_call())
    assert list(tmp_path.iterdir()) == []
