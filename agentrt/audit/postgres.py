"""The store in a PostgreSQL database: many machines append to it at once.

Records get their places of arrival before they are committed, so that a place may come to be seen
after a higher one. Two locks make up for it. Whoever appends holds ORDER_LOCK together with the
others; whoever relies on what others have come to holds it alone, and so sees everything that was
committed and nothing that is under way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from agentrt.audit.database import opening
from agentrt.audit.patience import patiently
from agentrt.audit.postgres_ddl import protect
from agentrt.audit.schema import FAILURES, check_revision, make_tables, no_store, own_tables
from agentrt.audit.server_processes import ServerProcesses
from agentrt.errors import Conflict, ProjectError, StoreCorrupt, StoreError, StoreUnavailable

__all__ = ["Postgres", "existing_postgres", "location_of", "open_postgres"]

ORDER_LOCK = 0x61677274_0001
"""The number of the advisory lock that says who sees what others append."""

MAKE_LOCK = 0x61677274_0002
"""The same for whoever makes the tables."""

CONNECTING: Mapping[str, Any] = {
    "application_name": "agentrt",
    "connect_timeout": 5,
    # A machine that fell silent is given up within seconds.
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
}
"""What libpq is told, unless the URL says otherwise."""

PASSING = ("08", "40001", "40P01", "53300", "57P01", "57P02", "57P03")
"""SQLSTATEs, or their classes, after which the same may work again: the server was restarted, has
no connection left, or two transactions were in each other's way."""

MOMENTARY = ("the database system is", "terminating connection", "connection slots", "too many")
"""Words of a server that refuses a connection only now."""

REFUSED = {
    "does not exist": "Make the database and the role first: CREATE DATABASE, CREATE ROLE.",
    "authentication failed": "Check the user and the password of the URL, PGPASSWORD or ~/.pgpass.",
    "no pg_hba.conf entry": "The server takes no such connection: see its pg_hba.conf.",
    "certificate": "Check sslmode, sslrootcert and the host of the URL.",
}
"""Words of a refused connection, which comes without a SQLSTATE, and what to do."""

TAKEN = ("event_place", "event_started", "event_finished", "event_decided")
"""Unique indexes that somebody else was quicker at."""


class Postgres:
    """A database on a server, written by any number of processes."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._conninfo = _conninfo(url, read_only=read_only)
        self.location = _location(self._conninfo)
        self.engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=30,
        )
        self.writing = self.engine
        event.listen(self.engine, "checkin", self._end_late)
        self.processes = ServerProcesses(self._connect)
        self._closed = False

    def _connect(self) -> Any:
        import psycopg

        connection = psycopg.connect(self._conninfo)
        # Whatever the server does by default, what is acknowledged is on its disk.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        connection.commit()
        return connection

    def connect(self) -> Connection:
        """A connection to read with, all at one moment; a server that is away is waited for."""
        connection = patiently(self.engine.connect, is_passing=self.is_passing)
        return connection.execution_options(isolation_level="REPEATABLE READ")

    def close(self) -> None:
        """Let the server go."""
        self._closed = True
        self.processes.close()
        self.engine.dispose()

    def _end_late(self, connection: Any, _record: Any) -> None:
        """Somebody still read when the store was closed: what comes back then is not kept."""
        if self._closed and connection is not None:
            connection.close()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The server gives everybody a turn."""
        yield

    def begin(self, connection: Connection, *, runs: Collection[str], alone: bool) -> None:
        """Take the locks of a transaction that appends to `runs`, in one order for all."""
        kind = "" if alone else "_shared"
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{kind}({ORDER_LOCK})")
        if len(runs) > 1:  # a single one is locked when its head is read
            connection.execute(LOCK_RUNS, {"runs": list(runs)})

    def settled(self, _connection: Connection) -> int | None:
        """The last place of arrival before which no record can appear any more."""
        with self.engine.begin() as alone:
            alone.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ORDER_LOCK})")
            return alone.execute(NEWEST).scalar() or 0

    def is_passing(self, error: Exception) -> bool:
        """Whether the same may work again in a moment, on a new connection."""
        return isinstance(error, DBAPIError) and _is_passing(error)

    def problem(self, error: Exception) -> StoreError:
        """What a failure (see FAILURES) means for the store, with what to do."""
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        reason = " ".join(reason.split())
        if isinstance(error, IntegrityError) and any(f'"{name}"' in reason for name in TAKEN):
            return Conflict()
        state = _sqlstate(error)
        if state in CORRUPT:
            return StoreCorrupt(f"{self.location} is damaged ({reason}). Restore it from a backup.")
        refused = next((hint for word, hint in REFUSED.items() if not state and word in reason), "")
        hint = refused or HINTS.get(state) or HINTS.get(state[:2], "Nothing was written.")
        return StoreUnavailable(f"The audit store {self.location} cannot be used: {reason}. {hint}")

    def pulse(self) -> ServerPulse:
        """Something that says when others have written."""
        return ServerPulse(self)

    def purge(self) -> str:
        """Let the server take the rows off its pages; its log and backups are out of reach."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in ("content", "run", "call", "approval"):
                connection.exec_driver_sql(f'VACUUM "{table}"')
        return (
            "the tables hold nothing of it; the server's WAL, replicas and backups do until they "
            "are recycled"
        )

    def damage(self, _connection: Connection) -> Iterator[str]:
        """Checksums of pages are the server's business (`data_checksums`)."""
        yield from ()


class ServerPulse:
    """Whether any transaction has written on this server.

    It looks at the numbers of the transactions under way, which no commit gets past. NOTIFY
    would let all appends queue for one lock when they commit.
    """

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self.connection = self._connected()
        self._seen = self._snapshot()

    def changed(self) -> bool:
        """Whether anything was written since the last time."""
        try:
            snapshot = self._snapshot()
        except FAILURES as error:
            if not self._database.is_passing(error):
                raise
            self.close()
            self.connection = self._connected()
            snapshot = self._snapshot()
        changed, self._seen = snapshot != self._seen, snapshot
        return changed

    def close(self) -> None:
        """Let the connection go."""
        self.connection.invalidate()
        self.connection.close()

    def _connected(self) -> Connection:
        """Each look is a transaction of its own: it must see what has come since."""
        return self._database.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _snapshot(self) -> str:
        found: str = self.connection.execute(SNAPSHOT).scalar_one()
        self.connection.rollback()
        return found


LOCK_RUNS = text("SELECT id FROM run WHERE id = ANY(:runs) ORDER BY id FOR UPDATE")
NEWEST = text("SELECT max(pos) FROM event")
SNAPSHOT = text("SELECT pg_current_snapshot()::text")

CORRUPT = ("XX001", "XX002", "42P01", "42703")
"""Damaged pages and indexes; tables and columns that should be there and are not."""

HINTS = {
    "": "Is the server up, and does it take connections from here? Nothing was written.",
    "08": "Is the server up, and does it take connections from here? Nothing was written.",
    "42501": "This role may not do that: `agentrt db grant` prints what each role needs.",
    "53100": "Make room on the server's disk; nothing ran that is not recorded.",
    "53300": "The server has no connection left: raise max_connections, or use fewer workers.",
    "25006": "The database is read-only here: name the primary in the URL, not a replica.",
    "57P": "The server is shutting down or starting. Nothing was written.",
}


def open_postgres(url: str, *, create: bool, read_only: bool) -> Postgres:
    """The store at `url`, its tables made when `create` and there are none.

    Raises StoreUnavailable, StoreTooOld, StoreTooNew or StoreCorrupt.
    """
    database = Postgres(url, read_only=read_only)
    with opening(database):
        if create and not read_only:
            _make(database)
        with database.connect() as connection:
            if not _is_store(connection):
                raise StoreUnavailable(
                    f"There is no audit store in {database.location}. Run an agent first."
                )
            check_revision(connection, database.location)
    return database


def existing_postgres(url: str) -> Postgres:
    """The store at `url`, whatever its revision. Raises StoreUnavailable."""
    database = Postgres(url)
    with opening(database), database.connect() as connection:
        if not _is_store(connection):
            raise StoreUnavailable(
                f"There is no audit store in {database.location}. Run an agent first."
            )
    return database


def new_postgres(url: str, row: Mapping[str, Any]) -> Postgres:
    """An empty store at `url` for the copy of another. Raises StoreError when one is there."""
    database = Postgres(url)
    with opening(database):
        with database.connect() as connection:
            if _is_store(connection):
                raise StoreCorrupt(
                    f"There is an audit store in {database.location} already: a copy is made in "
                    "a database where there is none."
                )
        _make(database, row)
    return database


def _make(database: Postgres, row: Mapping[str, Any] | None = None) -> None:
    with database.connect() as connection:
        if _is_store(connection):
            return
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MAKE_LOCK})")
        if _is_store(connection):
            return  # somebody else was quicker
        taken = {str(table.name) for table in own_tables()} & set(
            inspect(connection).get_table_names()
        )
        if taken:
            raise no_store(database.location)  # somebody else's: nothing of it is touched
        make_tables(connection, protect=protect, row=row)


def _is_store(connection: Connection) -> bool:
    looking = inspect(connection)
    return looking.has_table("store") and looking.has_table("event")


def _conninfo(url: str, *, read_only: bool) -> str:
    """What libpq connects with. Raises ProjectError when the driver is missing or the URL wrong."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise ProjectError(
            "A store on PostgreSQL needs a driver: pip install 'agentrt[postgres]'"
        ) from error
    try:
        stated = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except ProgrammingError as error:
        said = " ".join(str(error).split())
        raise ProjectError(
            f"The URL of the audit store cannot be read: {said}. Write "
            "postgresql://USER@HOST/DATABASE?sslmode=verify-full"
        ) from error
    if read_only:
        options = f"{stated.get('options') or ''} -c default_transaction_read_only=on"
        stated["options"] = options.strip()
    return make_conninfo("", **{**CONNECTING, **stated})


def location_of(url: str) -> str:
    """The URL without its password. Raises ProjectError."""
    return _location(_conninfo(url, read_only=False))


def _location(conninfo: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    stated = conninfo_to_dict(conninfo)
    user = f"{stated['user']}@" if stated.get("user") else ""
    port = f":{stated['port']}" if stated.get("port") else ""
    return f"postgresql://{user}{stated.get('host') or ''}{port}/{stated.get('dbname') or ''}"


def _sqlstate(error: Exception) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _is_passing(error: DBAPIError) -> bool:
    from psycopg import InterfaceError, OperationalError

    state = _sqlstate(error)
    if state:
        return state.startswith(PASSING)
    # Without a state it is libpq that speaks: the connection broke, or could not be made. What the
    # server itself answered to the attempt is final, unless it is starting, stopping or full.
    said = str(error.orig)
    final = "FATAL:" in said and not any(word in said for word in MOMENTARY)
    return isinstance(error.orig, OperationalError | InterfaceError) and not final
