"""Questions in SQL: one statement over the views, that can read and do nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agentrt.audit.index.views import make_views
from agentrt.audit.store import AuditStore
from agentrt.errors import QueryInvalid

__all__ = ["Table", "ask_sql"]

LENGTH_MAX = 100_000
"""Characters of a statement."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a statement answered."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows with their columns' names."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def ask_sql(
    store: AuditStore, statement: str, values: Mapping[str, Any] | None = None, *, limit: int | None
) -> Table:
    """The first `limit` rows that a statement answers; it cannot change anything.

    `values` are those of its `:names`. Raises QueryInvalid with the database's own words.
    """
    if len(statement) > LENGTH_MAX:
        raise QueryInvalid(f"A statement has at most {LENGTH_MAX:,} characters.")
    with store.reading() as connection:
        _make_safe(connection)
        try:
            return _answer(connection, statement, values, limit)
        except (SQLAlchemyError, ValueError, connection.dialect.loaded_dbapi.Error) as error:
            said = error.orig if isinstance(error, DBAPIError) else error
            raise QueryInvalid(f"The database refuses: {said}") from error
        finally:
            _let_go(connection)


def _answer(
    connection: Connection, statement: str, values: Mapping[str, Any] | None, limit: int | None
) -> Table:
    if values is not None:
        found = connection.execute(text(statement), dict(values))
        return Table(tuple(found.keys()), [tuple(row) for row in _first(found, limit)])
    cursor = _foreign(connection, statement)
    if cursor.description is None:
        raise QueryInvalid("This statement answers nothing: write a SELECT.")
    names = tuple(column[0] for column in cursor.description)
    return Table(names, [tuple(row) for row in _first(cursor, limit)])


def _first(found: Any, limit: int | None) -> Sequence[Any]:
    rows: Sequence[Any] = found.fetchmany(limit) if limit is not None else found.fetchall()
    return rows


def _foreign(connection: Connection, statement: str) -> Any:
    """Execute what somebody else wrote: one statement, in which no colon is a name of ours."""
    own: Any = connection.connection.driver_connection
    try:
        if connection.dialect.name == "sqlite":
            return own.execute(statement)
        # A server prepares one statement and refuses two, the second of which could end the
        # transaction that only reads.
        return own.execute(statement, prepare=True)
    except (
        connection.dialect.loaded_dbapi.Error,
        connection.dialect.loaded_dbapi.Warning,
    ) as error:
        raise QueryInvalid(f"The database refuses: {error}") from error


def _make_safe(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        own: Any = connection.connection.driver_connection
        own.execute("PRAGMA query_only=OFF")  # for views that last as long as this connection
        make_views(connection, temporary=True)
        own.execute("PRAGMA query_only=ON")
        own.set_authorizer(_allows)
    else:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _let_go(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        own: Any = connection.connection.driver_connection
        own.set_authorizer(None)
    connection.rollback()
    connection.invalidate()  # nothing that was set on it is left to the next


_SELECT, _READ, _FUNCTION, _RECURSIVE, _PRAGMA = 21, 20, 31, 33, 19
_OK, _DENY = 0, 1
_FORBIDDEN = frozenset({"load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"})
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "data_version", "function_list"})


def _allows(action: int, first: str | None, second: str | None, *_where: str | None) -> int:
    """What SQLite asks before each thing that a statement would do."""
    if action in (_SELECT, _READ, _RECURSIVE):
        return _OK
    if action == _FUNCTION:
        return _DENY if (second or "").lower() in _FORBIDDEN else _OK
    if action == _PRAGMA:
        return _OK if first in _PRAGMAS else _DENY
    return _DENY
