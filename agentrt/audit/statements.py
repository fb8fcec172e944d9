"""Statements that run at every turn: written with SQLAlchemy Core, executed by the driver.

Core compiles each of them once, when it is imported. Executing them through Core as well costs
some forty microseconds each, several times what the database itself takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

__all__ = ["Prepared"]

_DIALECT = sqlite.dialect(paramstyle="named")


class Prepared:
    """A compiled statement with named parameters."""

    def __init__(self, statement: Any) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }

    def rows(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._failing_as_core_does(connection):
            cursor: Any = connection.connection.cursor()
            cursor.execute(self.sql, {**self._constants, **values})
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def row(self, connection: Connection, **values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, if there is one."""
        return next(iter(self.rows(connection, **values)), None)

    def write(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert, change or delete once for each of `rows`."""
        with self._failing_as_core_does(connection):
            connection.connection.cursor().executemany(self.sql, rows)

    @contextmanager
    def _failing_as_core_does(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except connection.dialect.loaded_dbapi.Error as error:
            raise DBAPIError(self.sql, None, error) from error
