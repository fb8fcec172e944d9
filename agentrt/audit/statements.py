"""Statements that run at every turn: written with SQLAlchemy Core, executed by the driver.

Core compiles each of them once for each kind of database. Executing them through Core as well
costs some forty microseconds each, several times what the database itself takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

__all__ = ["Prepared"]

_DIALECTS: Mapping[str, Any] = {
    "sqlite": lambda: sqlite.dialect(paramstyle="named"),
    "postgresql": lambda: postgresql.psycopg.dialect(),  # type: ignore[no-untyped-call]
}

_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Prepared:
    """A compiled statement with named parameters."""

    def __init__(self, statement: Any) -> None:
        self._statement_for: Callable[[str], Any] = lambda _kind: statement
        self._compiled: dict[str, tuple[str, dict[str, Any]]] = {}

    @classmethod
    def inserting(cls, make: Callable[[Any], Any]) -> Prepared:
        """What `make` makes of the database's own `insert`, which knows what to do on conflict."""
        prepared = cls(None)
        prepared._statement_for = lambda kind: make(_INSERTS[kind])
        return prepared

    def rows(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        sql, constants = self._for(connection)
        with _failing_as_core_does(connection, sql):
            cursor: Any = connection.connection.cursor()
            cursor.execute(sql, {**constants, **values})
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def row(self, connection: Connection, **values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, if there is one."""
        return next(iter(self.rows(connection, **values)), None)

    def write(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert, change or delete once for each of `rows`."""
        sql, constants = self._for(connection)
        filled = [{**constants, **row} for row in rows] if constants else rows
        with _failing_as_core_does(connection, sql):
            connection.connection.cursor().executemany(sql, filled)

    def _for(self, connection: Connection) -> tuple[str, dict[str, Any]]:
        """The text for this kind of database, and the parameters that are always the same."""
        kind = connection.dialect.name
        if kind not in self._compiled:
            compiled = self._statement_for(kind).compile(dialect=_DIALECTS[kind]())
            constants = {name: said for name, said in compiled.params.items() if said is not None}
            self._compiled[kind] = str(compiled), constants
        return self._compiled[kind]


@contextmanager
def _failing_as_core_does(connection: Connection, sql: str) -> Iterator[None]:
    driver: Any = connection.dialect.loaded_dbapi
    try:
        yield
    except driver.IntegrityError as error:
        raise IntegrityError(sql, None, error) from error
    except driver.OperationalError as error:
        raise OperationalError(sql, None, error) from error
    except driver.Error as error:
        raise DBAPIError(sql, None, error) from error
