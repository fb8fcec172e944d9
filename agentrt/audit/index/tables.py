"""The tables of the index: numbered entries, what they can be found by, and their words.

An entry is a call or a run; its number grows with the order in which the records arrived, so
that the newest come first without sorting.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
)

__all__ = [
    "FORMAT",
    "argument",
    "drop_index",
    "entry",
    "fact",
    "has_index",
    "make_index",
    "mark",
    "stale",
]

FORMAT = 1
"""The version of these tables; an index of another one is made again."""

_BIG = BigInteger().with_variant(Integer, "sqlite")

_metadata = MetaData()

mark = Table(
    "search_mark",
    _metadata,
    Column("format", Integer, primary_key=True),
    Column("store", Text, nullable=False),
    Column("pos", _BIG, nullable=False),
)
"""One row: how far the records were read, by place of arrival."""

entry = Table(
    "search_entry",
    _metadata,
    Column("n", _BIG, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("run", Text, nullable=False),
    Column("at", _BIG, nullable=False),
    Index("search_entry_at", "at", "n"),
    Index("search_entry_run", "run"),
)

fact = Table(
    "search_fact",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("n", _BIG, primary_key=True),
    sqlite_with_rowid=False,
)
"""What is known of an entry from headers alone: it outlives content, as they do."""

argument = Table(
    "search_argument",
    _metadata,
    Column("n", _BIG, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("number", Float),
    Index("search_argument_value", "path", "value", "n"),
    Index("search_argument_number", "path", "number", "n"),
    sqlite_with_rowid=False,
)
"""The values of arguments that policies and tools name: content, which goes when that does."""

stale = Table("search_stale", _metadata, Column("run", Text, primary_key=True))
"""Runs of which content was deleted since they were read."""

_SQLITE = (
    """
CREATE VIRTUAL TABLE IF NOT EXISTS search_text
USING fts5(words, tokenize='unicode61 remove_diacritics 2')
""",
    # Without it the words of what was deleted stay on the pages of the index until it is merged.
    "INSERT INTO search_text(search_text, rank) VALUES ('secure-delete', 1)",
    """
CREATE TRIGGER IF NOT EXISTS search_forget AFTER DELETE ON content BEGIN
  DELETE FROM search_text WHERE rowid IN (SELECT n FROM search_entry WHERE run = OLD.run);
  DELETE FROM search_argument WHERE n IN (SELECT n FROM search_entry WHERE run = OLD.run);
  INSERT OR IGNORE INTO search_stale (run) VALUES (OLD.run);
END
""",
)

_POSTGRESQL = (
    "CREATE TABLE IF NOT EXISTS search_text (n BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
    "CREATE INDEX IF NOT EXISTS search_text_words ON search_text USING gin (words)",
    """
CREATE OR REPLACE FUNCTION search_forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM search_text WHERE n IN (SELECT n FROM search_entry WHERE run = OLD.run);
  DELETE FROM search_argument WHERE n IN (SELECT n FROM search_entry WHERE run = OLD.run);
  INSERT INTO search_stale (run) VALUES (OLD.run) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$
""",
    "DROP TRIGGER IF EXISTS search_forget ON content",
    """
CREATE TRIGGER search_forget AFTER DELETE ON content
FOR EACH ROW EXECUTE FUNCTION search_forget()
""",
)

_DROP_TRIGGER = {
    "sqlite": "DROP TRIGGER IF EXISTS search_forget",
    "postgresql": "DROP TRIGGER IF EXISTS search_forget ON content",
}


def has_index(connection: Connection) -> bool:
    """Whether there are tables of an index."""
    return inspect(connection).has_table(mark.name)


def make_index(connection: Connection) -> None:
    """Make the tables that are not there, and the trigger that lets none outlive content."""
    _metadata.create_all(connection)
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL:
        connection.exec_driver_sql(statement)


def drop_index(connection: Connection) -> None:
    """Remove the index, and the trigger first: nobody could delete content otherwise."""
    connection.exec_driver_sql(_DROP_TRIGGER[connection.dialect.name])
    connection.exec_driver_sql("DROP TABLE IF EXISTS search_text")
    _metadata.drop_all(connection)
