"""The carrier on PostgreSQL: jobs of Procrastinate, deferred in the append's own transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Connection

from agentrt.carriers.carrier import Advance
from agentrt.errors import ProjectError, StoreUnavailable

if TYPE_CHECKING:
    from procrastinate import App

__all__ = ["Procrastinate", "make_schema", "queue_grants"]

logger = logging.getLogger("agentrt")

QUEUE = "agentrt"
TASK = "agentrt.carry_on"

JOBS_AT_ONCE = 8
"""A job only rings, so few are enough, and how many runs are carried is decided elsewhere."""

HEARTBEAT_S = 2.0
STALLED_S = 10.0
"""A job that a worker took and has not answered for so long was left by a dead one."""

AGAIN_S = 1.0
"""How long to wait before a database that went away is asked again."""

SCHEMA_LOCK = 0x61677275


class Procrastinate:
    """Rings through Procrastinate's queue, which is a table of the store's own database.

    A job is deferred on the connection of the append: it exists if, and only if, what made the
    run ready was committed. It has no lock of its own and no `queueing_lock`: a collision of
    that would turn the later append's commit into a rollback.
    """

    in_transaction: ClassVar[bool] = True

    def __init__(self, url: str) -> None:
        """`url` as for the store: postgresql://... Raises ProjectError without the extra."""
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        try:
            from procrastinate import App, SyncPsycopgConnector
        except ImportError as error:
            raise ProjectError(
                "The carrier 'procrastinate' is not installed: pip install 'agentrt[postgres]'"
            ) from error
        # It never opens a pool: whoever defers brings the connection.
        self._app = App(connector=SyncPsycopgConnector())

    def wake(self, run: str, connection: Connection | None = None) -> None:
        """Defer the run's job: in the transaction of `connection`, else in one of its own."""
        if connection is not None:
            self._defer(run, connection.connection.dbapi_connection)
            return
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as own:
            self._defer(run, own)

    def _defer(self, run: str, connection: Any) -> None:
        self._app.configure_task(TASK, queue=QUEUE, connection=connection).defer(run=run)

    async def serve(self, advance: Advance) -> None:
        """Call `advance` for each job until cancelled; a database that went away comes back."""
        await asyncio.to_thread(make_schema, self._url)
        while True:
            try:
                await self._serve_once(advance)
            except Exception as error:  # noqa: BLE001 - whatever it is, workers look for themselves
                logger.warning("jobs are not heard at the moment: %s", error)
            await asyncio.sleep(AGAIN_S)

    async def _serve_once(self, advance: Advance) -> None:
        app = _app(self._url, advance)
        async with app.open_async():
            retrying = asyncio.create_task(_retry_stalled(app), name="agentrt-stalled-jobs")
            try:
                await app.run_worker_async(
                    queues=[QUEUE],
                    name="agentrt",
                    concurrency=JOBS_AT_ONCE,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=1,
                    update_heartbeat_interval=HEARTBEAT_S,
                    stalled_worker_timeout=STALLED_S,
                )
            finally:
                retrying.cancel()
                await asyncio.gather(retrying, return_exceptions=True)


def _app(url: str, advance: Advance) -> App:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=4))

    @app.task(name=TASK, queue=QUEUE)
    async def carry_on(run: str) -> None:
        await advance(run)

    return app


async def _retry_stalled(app: App) -> None:
    """Give the jobs of dead workers to the living, which Procrastinate leaves to its user."""
    while True:
        stalled = await app.job_manager.get_stalled_jobs(
            queue=QUEUE, seconds_since_heartbeat=STALLED_S
        )
        for job in stalled:
            with suppress(Exception):  # another worker was quicker
                await app.job_manager.retry_job(job)
        await asyncio.sleep(STALLED_S)


def make_schema(url: str) -> None:
    """Make Procrastinate's tables unless they are there. Raises StoreUnavailable.

    For `agentrt db migrate`, and for the first worker, if its role may.
    """
    import psycopg
    from procrastinate.schema import SchemaManager

    with _connected(url) as connection:
        if _has_schema(connection):
            return
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                if not _has_schema(connection):  # another was quicker
                    connection.execute(SchemaManager.get_schema())
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreUnavailable(
                "The tables of the job queue are missing, and this role may not make them. Run "
                "`agentrt db migrate` as the owner of the database."
            ) from error


def queue_grants(runtime: str, reviewer: str) -> Iterator[str]:
    """The statements that let workers take jobs, and reviewers add them, if there is a queue."""
    everything = "GRANT ALL ON {0} TO {1}; GRANT USAGE ON SEQUENCE {2} TO {1};"
    adding = "GRANT SELECT, INSERT ON {0} TO {1}; GRANT USAGE ON SEQUENCE {2} TO {1};"
    tables = "procrastinate_jobs, procrastinate_events"
    others = "procrastinate_workers, procrastinate_periodic_defers"
    sequences = "procrastinate_jobs_id_seq, procrastinate_events_id_seq"
    more = "procrastinate_workers_id_seq, procrastinate_periodic_defers_id_seq"
    worker, person = _quoted(runtime), _quoted(reviewer)
    yield "-- the job queue, if `agentrt db migrate` has made it"
    yield "DO $$ BEGIN IF to_regclass('procrastinate_jobs') IS NOT NULL THEN"
    yield everything.format(f"{tables}, {others}", worker, f"{sequences}, {more}")
    yield adding.format(tables, person, sequences)
    yield "END IF; END $$;"


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    import psycopg

    try:
        connection = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL does not answer: {error}") from error
    with connection:
        yield connection


def _has_schema(connection: Any) -> bool:
    found = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
    return bool(found != (None,))
