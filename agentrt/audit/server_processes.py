"""The processes that work on a store on a server, from any machine: which of them live.

Each holds an advisory lock of its session, and a lock file on its own machine. On one machine
the file tells at once and for certain. From another machine a free lock says that the session is
gone, which lets others take its runs over; a function that it had entered may run yet, so an
effect is ruled out only when its deadline has passed too.
"""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentrt.audit.processes import LocalProcesses

__all__ = ["ServerProcesses"]

BEAT_S = 1.0
"""How often a process looks whether its session still holds its lock."""

GRACE_MS = 60_000
"""How long after its deadline an attempt of a process that cannot be reached may run yet."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

HELD = """
SELECT 1 FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND classid = %(high)s AND objid = %(low)s
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
BEGAN = """
INSERT INTO process (id, host, started_at)
VALUES (%(id)s, %(host)s, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
"""
ENDED = """
UPDATE process SET ended_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
WHERE id = %(id)s
"""
WHEN_ENDED = "SELECT ended_at FROM process WHERE id = %(id)s"


class ServerProcesses:
    """This process, and the others that the records name."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """`connect` makes a connection of the driver."""
        self._connect = connect
        self._local = LocalProcesses(_folder())
        self._session: _Session | None = None
        self._asking: Any = None
        self._lock = threading.Lock()

    @property
    def mine(self) -> str:
        """This process, as the records name it; alive until `close`."""
        with self._lock:
            if self._session is None:
                self._session = _Session(self._connect, self._local.mine)
            return self._local.mine

    def is_alive(self, id: str) -> bool:
        """Whether it holds its lock: the file's on this machine, else that of its session."""
        if self._local.knows(id):
            return self._local.is_alive(id)
        return self._ask(HELD, **_key(id)) is not None

    def may_run(self, id: str, *, until: int) -> bool:
        """Whether a function that it entered may run yet, which should have ended at `until`."""
        if self._local.knows(id):
            return self._local.is_alive(id)
        if (ended := self._ask(WHEN_ENDED, id=id)) is not None and ended[0] is not None:
            return False
        (now,) = self._ask(NOW) or (0,)
        return self._ask(HELD, **_key(id)) is not None or now < until + GRACE_MS

    def close(self) -> None:
        """Say that nothing of this process runs any more."""
        with self._lock:
            if self._session is not None:
                self._session.end()
                self._session = None
            self._local.close()
            if self._asking is not None:
                self._asking.close()
                self._asking = None

    def _ask(self, query: str, **values: Any) -> tuple[Any, ...] | None:
        """The first row, on a connection of its own; made anew when it broke."""
        with self._lock:
            if self._asking is None or self._asking.closed:
                self._asking = _autocommitting(self._connect())
            try:
                row: tuple[Any, ...] | None = self._asking.execute(query, values).fetchone()
            except self._errors():
                self._asking.close()
                self._asking = _autocommitting(self._connect())
                row = self._asking.execute(query, values).fetchone()
        return row

    def _errors(self) -> tuple[type[Exception], ...]:
        import psycopg

        return psycopg.OperationalError, psycopg.InterfaceError


class _Session:
    """The session that holds this process's lock, looked after by a thread that nothing starves."""

    def __init__(self, connect: Callable[[], Any], id: str) -> None:
        self._connect = connect
        self._id = id
        self._ending = threading.Event()
        self._connection = self._locked()
        self._connection.execute(BEGAN, {"id": id, "host": platform.node()})
        self._thread = threading.Thread(target=self._look_after, name="agentrt-alive", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()
        with suppress(Exception):  # a server that is gone has let go of the lock itself
            self._connection.execute(ENDED, {"id": self._id})
        self._connection.close()

    def _locked(self) -> Any:
        connection = _autocommitting(self._connect())
        key = _key(self._id)
        number = (key["high"] << 32 | key["low"]) - (1 << 64 if key["high"] >> 31 else 0)
        connection.execute("SELECT pg_advisory_lock(%s)", (number,))
        return connection

    def _look_after(self) -> None:
        while not self._ending.wait(BEAT_S):
            try:
                self._connection.execute("SELECT 1")
            except Exception:  # noqa: BLE001 - whatever broke, only a new session holds the lock
                self._connection.close()
                with suppress(Exception):  # it is tried again at the next beat
                    self._connection = self._locked()


def _autocommitting(connection: Any) -> Any:
    connection.autocommit = True
    return connection


def _key(id: str) -> dict[str, int]:
    """The two halves of the number of the process's lock."""
    digest = hashlib.sha256(id.encode()).digest()
    return {"high": int.from_bytes(digest[:4]), "low": int.from_bytes(digest[4:8])}


def _folder() -> Path:
    """Lock files of this machine since it was started: those of another say nothing here."""
    try:
        boot = BOOT_ID.read_text().strip()
    except OSError:
        boot = "unknown"
    return Path.home() / ".cache" / "agentrt" / "processes" / f"{platform.node()}-{boot}"
