"""What keeps records as they are in PostgreSQL: triggers that no session can switch off unseen."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlmodel import SQLModel

from agentrt.audit.schema import APPEND_ONLY, table_name
from agentrt.audit.tables import ContentRow, EventRow, StoreRow

__all__ = ["protect"]

REFUSE = """
CREATE FUNCTION agentrt_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""

CHAIN = r"""
CREATE FUNCTION agentrt_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  said json := NEW.header::json;
  place integer := (said ->> 'seq')::integer;
BEGIN
  IF NEW.hash <> sha256('\x00'::bytea || convert_to(NEW.header, 'UTF8')) THEN
    RAISE EXCEPTION 'a record must have the hash of its header';
  END IF;
  IF place = 1 AND said ->> 'prev' = '' THEN
    RETURN NEW;
  END IF;
  IF NOT EXISTS (
    SELECT 1 FROM event
    WHERE run = said ->> 'run' AND seq = place - 1 AND encode(hash, 'hex') = said ->> 'prev'
  ) THEN
    RAISE EXCEPTION 'a record must name the hash of the one before it';
  END IF;
  RETURN NEW;
END $$
"""

ONE_STORE = """
CREATE FUNCTION agentrt_one_store() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM store) THEN
    RAISE EXCEPTION 'a store has one row';
  END IF;
  RETURN NEW;
END $$
"""


def protect(connection: Connection) -> None:
    """Make the triggers; an owner of the tables can still drop them, and the chain tells."""
    for function in (REFUSE, CHAIN, ONE_STORE):
        connection.exec_driver_sql(function)
    for table in APPEND_ONLY:
        _trigger(connection, table_name(table), "UPDATE OR DELETE", "ROW", "agentrt_refuse")
    _trigger(connection, table_name(ContentRow), "UPDATE", "ROW", "agentrt_refuse")
    tables: tuple[type[SQLModel], ...] = (*APPEND_ONLY, ContentRow)
    for each in tables:
        _trigger(connection, table_name(each), "TRUNCATE", "STATEMENT", "agentrt_refuse")
    _trigger(connection, table_name(EventRow), "INSERT", "ROW", "agentrt_chain")
    _trigger(connection, table_name(StoreRow), "INSERT", "ROW", "agentrt_one_store")


def _trigger(connection: Connection, table: str, verbs: str, each: str, function: str) -> None:
    name = f"{table}_{verbs.split()[0].lower()}"
    connection.exec_driver_sql(
        f"CREATE TRIGGER {name} BEFORE {verbs} ON {table} "
        f"FOR EACH {each} EXECUTE FUNCTION {function}()"
    )
    # Also where a session says `session_replication_role = replica`.
    connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
