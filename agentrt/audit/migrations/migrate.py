"""Bringing the tables of a store up to date: all of it in one transaction, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from agentrt.audit.database import Database, raw_database
from agentrt.audit.schema import (
    FAILURES,
    FIRST_REVISION,
    REVISIONS,
    revision_of,
    revisions,
    store_row,
)
from agentrt.errors import StoreTooNew

__all__ = ["Migrated", "migrate"]


@dataclass(frozen=True, slots=True)
class Migrated:
    """From which revision of the tables to which; the same when there was nothing to do."""

    before: str
    after: str


def migrate(location: str | Path) -> Migrated:
    """Bring the tables of a store up to date. Records, content and hashes stay as they are.

    Raises StoreUnavailable, StoreCorrupt, or StoreTooNew when a newer agentrt made them.
    """
    database = raw_database(location)
    try:
        with database.turn(), database.writing.begin() as connection:
            return _upgraded(connection, database)
    except FAILURES as error:
        raise database.problem(error) from error
    finally:
        database.close()


def _upgraded(connection: Connection, database: Database) -> Migrated:
    store_row(connection)  # of somebody else's database nothing is touched
    before = revision_of(connection)
    if before not in REVISIONS:
        raise StoreTooNew(
            f"{database.location} has tables of the revision {before}, and this agentrt knows "
            f"{REVISIONS[-1]}. Upgrade agentrt."
        )
    if before == FIRST_REVISION:
        revisions.create(connection, checkfirst=True)
        connection.execute(insert(revisions).values(version_num=before))
    _run_alembic(connection)
    return Migrated(before, revision_of(connection))


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])
