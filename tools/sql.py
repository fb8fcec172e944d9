"""Ask and change one SQLite database: reading and writing are two permissions.

The tools of this module use the file in AGENTRT_SQL_DATABASE; `sql_tools(database)` makes
them for another.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from agentrt.errors import ToolError
from agentrt.tools import Call, Tool, tool

__all__ = ["execute_statement", "query_database", "sql_tools"]

DATABASE_VARIABLE = "AGENTRT_SQL_DATABASE"
ROWS_MAX = 500
VALUE_BYTES_MAX = 1_000_000
BUSY_TIMEOUT_S = 5.0
STEPS_BETWEEN_LOOKS = 10_000
"""Virtual machine steps of SQLite between two looks at whether the call was cancelled."""

EFFECTS_TABLE = "agentrt_effect"
"""Holds the key of every statement that was executed, written in its transaction."""

_CREATE_EFFECTS = f"""
CREATE TABLE IF NOT EXISTS {EFFECTS_TABLE} (key TEXT PRIMARY KEY, rows_changed INTEGER NOT NULL)
"""
_INSERT_EFFECT = f"INSERT INTO {EFFECTS_TABLE} (key, rows_changed) VALUES (?, ?)"  # noqa: S608
_SELECT_EFFECT = f"SELECT rows_changed FROM {EFFECTS_TABLE} WHERE key = ?"  # noqa: S608
_HAS_EFFECTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_TOO_MUCH = {
    sqlite3.SQLITE_ATTACH,
    sqlite3.SQLITE_DETACH,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
}

Value = str | int | float | None
Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]

Statement = Annotated[
    str,
    Field(
        min_length=1,
        max_length=20_000,
        description="One SQL statement of SQLite, with `?` for each value.",
    ),
]
Values = Annotated[
    tuple[Value, ...], Field(max_length=1000, description="The values for the `?`, in order.")
]


class Rows(TypedDict):
    """What a query found."""

    columns: list[str]
    rows: list[list[Value]]
    complete: bool


class Change(TypedDict):
    """What a statement did."""

    rows_changed: int


def sql_tools(database: Path | None) -> tuple[Tool, ...]:
    """The two tools for one SQLite file; without one they refuse."""
    return (_query_database(database), _execute_statement(database))


def _settings(database: Path | None) -> dict[str, str | None]:
    return {"database": None if database is None else str(database)}


def _query_database(database: Path | None) -> Tool:
    @tool(effect="read", settings=_settings(database))
    def query_database(sql: Statement, call: Call, values: Values = ()) -> Rows:
        """Read from the SQLite database with one SELECT.

        Gives up to 500 rows; `complete` says whether these were all. The tables are listed in
        sqlite_master. Nothing can be changed.
        """
        with _refusals(), _connected(database, mode="ro", call=call) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.set_authorizer(_only_reading)
            cursor = connection.execute(sql, values)
            found = cursor.fetchmany(ROWS_MAX + 1)
        return Rows(
            columns=[column[0] for column in cursor.description or ()],
            rows=[[_shown(value) for value in row] for row in found[:ROWS_MAX]],
            complete=len(found) <= ROWS_MAX,
        )

    return query_database


def _execute_statement(database: Path | None) -> Tool:
    def find_change(call: Call) -> Change | None:
        with _connected(database, mode="ro", call=call) as connection:
            if not connection.execute(_HAS_EFFECTS, [EFFECTS_TABLE]).fetchone():
                return None
            row = connection.execute(_SELECT_EFFECT, [call.key]).fetchone()
        return Change(rows_changed=row[0]) if row else None

    @tool(effect="irreversible", check=find_change, settings=_settings(database))
    def execute_statement(sql: Statement, call: Call, values: Values = ()) -> Change:
        """Change the SQLite database with one INSERT, UPDATE, DELETE, CREATE, ALTER or DROP.

        It happens as a whole or not at all, and never twice for one call. Use query_database
        to read.
        """
        with _connected(database, mode="rw", call=call) as connection:
            with _refusals():
                changed = _change(connection, sql, values, key=call.key)
            # Outside: a commit that fails is a doubt, which `find_change` resolves.
            connection.execute("COMMIT")
        return Change(rows_changed=changed)

    return execute_statement


def _change(
    connection: sqlite3.Connection, sql: str, values: tuple[Value, ...], *, key: str
) -> int:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_CREATE_EFFECTS)
    if (done := connection.execute(_SELECT_EFFECT, [key]).fetchone()) is not None:
        return int(done[0])
    connection.set_authorizer(_only_own_tables)
    cursor = connection.execute(sql, values)
    if cursor.description is not None:
        raise ToolError("This statement gives rows: use query_database, and no RETURNING.")
    connection.set_authorizer(None)
    changed = max(cursor.rowcount, 0)
    connection.execute(_INSERT_EFFECT, [key, changed])
    return changed


@contextmanager
def _connected(
    database: Path | None, *, mode: Literal["ro", "rw"], call: Call
) -> Iterator[sqlite3.Connection]:
    """A connection outside any transaction; closing it rolls back what is not committed."""
    if database is None:
        advice = f"Its operator has to name a SQLite file in {DATABASE_VARIABLE}."
        raise ToolError(f"This tool is not configured. {advice}")
    with closing(_connect(database, mode)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.set_progress_handler(lambda: call.cancelled, STEPS_BETWEEN_LOOKS)
        yield connection


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    address = f"{database.absolute().as_uri()}?mode={mode}"
    try:
        return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    except sqlite3.Error as error:
        raise ToolError("The database of this tool cannot be opened.") from error


@contextmanager
def _refusals() -> Iterator[None]:
    """SQLite's words for Claude: nothing is committed here, so nothing happened."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
        raise ToolError(f"The database refused: {error}.") from error


def _only_reading(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _only_own_tables(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in _TOO_MUCH or EFFECTS_TABLE in (first, second):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _shown(value: object) -> Value:
    """Blobs are told by their size: they are not for reading."""
    if isinstance(value, bytes):
        return f"[blob of {len(value)} bytes]"
    return value if isinstance(value, int | float | str) else None


def _database_from_environment() -> Path | None:
    database = os.environ.get(DATABASE_VARIABLE)
    return Path(database) if database else None


query_database, execute_statement = sql_tools(_database_from_environment())
