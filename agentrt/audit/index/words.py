"""Words: the full-text part of the index, in the manner of each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, column, select, table, text

from agentrt.audit.query.terms import Value

__all__ = ["matching", "put_words", "take_words"]

WORD_MAX = 255
"""Letters of a word: PostgreSQL refuses longer ones than 2046 bytes."""


def put_words(connection: Connection, words: Mapping[int, str]) -> None:
    """Make entries findable by their words."""
    rows = [{"n": n, "words": _storable(said)} for n, said in words.items() if said]
    if rows:
        connection.execute(_PUT[connection.dialect.name], rows)


def take_words(connection: Connection, numbers: Sequence[int]) -> None:
    """Let entries be found by no word any more."""
    if numbers:
        connection.execute(_TAKE[connection.dialect.name], [{"n": n} for n in numbers])


def matching(dialect: str, value: Value) -> tuple[Any, ColumnElement[int]]:
    """The numbers of the entries that say this, as a selectable and its column of numbers."""
    if dialect == "sqlite":
        found = table("search_text", column("rowid"), column("search_text"))
        number = found.c.rowid
        condition = found.c.search_text.op("MATCH")(_fts5(value))
    else:
        found = table("search_text", column("n"), column("words"))
        number = found.c.n
        condition = found.c.words.op("@@")(_tsquery(value))
    return select(number.label("n")).where(condition), number


def _fts5(value: Value) -> str:
    # In quotes nothing of FTS5's own language is obeyed.
    quoted = value.text.replace('"', '""')
    return f'"{quoted}"*' if value.pattern else f'"{quoted}"'


def _tsquery(value: Value) -> Any:
    if not value.pattern:
        return text("phraseto_tsquery('simple', :said)").bindparams(
            bindparam("said", value.text, unique=True)
        )
    lexeme = value.text.replace("'", "''").replace("\\", "\\\\")
    return text("to_tsquery('simple', :said)").bindparams(
        bindparam("said", f"'{lexeme}':*", unique=True)
    )


def _storable(said: str) -> str:
    """Text without what a database refuses in one: NUL, and words longer than any word is."""
    words = said.replace("\0", " ")
    if len(words) <= WORD_MAX:
        return words
    return " ".join(word[:WORD_MAX] for word in words.split())


_PUT = {
    "sqlite": text("INSERT INTO search_text (rowid, words) VALUES (:n, :words)"),
    "postgresql": text(
        "INSERT INTO search_text (n, words) VALUES (:n, to_tsvector('simple', :words))"
    ),
}
_TAKE = {
    "sqlite": text("DELETE FROM search_text WHERE rowid = :n"),
    "postgresql": text("DELETE FROM search_text WHERE n = :n"),
}
