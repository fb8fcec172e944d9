"""Migrations: the tables of an older store brought up to date, without touching a record."""

from agentrt.audit.migrations.migrate import Migrated, migrate

__all__ = ["Migrated", "migrate"]
