import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2
from worlds import AT, asked, replied, said, started

from agentrt.audit import AuditStore
from agentrt.audit.database import open_database
from agentrt.audit.records import write_record
from agentrt.errors import SQLiteTooOld, StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable
from agentrt.run import Run

RUN = "r_0000000000000001"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with one run of three records."""
    path = tmp_path / "agentrt.db"
    with AuditStore(path) as store:
        await store.append(Run(RUN), [started(), asked(), replied(said("hi"))])
    return path


@pytest.fixture
def raw(path: Path) -> Iterator[Any]:
    """A connection as anybody's program would open it."""
    connection = dbapi2.connect(str(path), isolation_level=None)
    yield connection
    connection.close()


# --- append-only -----------------------------------------------------------------------

CHANGES = [
    "UPDATE event SET header = header",
    "UPDATE event SET hash = x'00'",
    "UPDATE OR REPLACE event SET pos = 1 WHERE pos = 2",
    "DELETE FROM event",
    "DELETE FROM event WHERE seq = 3",
    "INSERT OR REPLACE INTO event (pos, header, hash) SELECT pos, header, hash FROM event",
    "INSERT OR REPLACE INTO event (header, hash) SELECT header, hash FROM event WHERE seq = 2",
    "REPLACE INTO event (pos, header, hash) SELECT 1, header, x'00' FROM event WHERE seq = 3",
    "INSERT INTO event (pos, header, hash) SELECT pos, header, hash FROM event WHERE seq = 3 "
    "ON CONFLICT DO UPDATE SET hash = x'00'",
    "INSERT INTO event (header, hash) SELECT header, hash FROM event WHERE seq = 3",
    "UPDATE content SET body = x'00'",
    "UPDATE content SET salt = x'00'",
    "INSERT OR REPLACE INTO content (run, seq, part, salt, body) "
    "SELECT run, seq, part, salt, x'00' FROM content",
    "INSERT INTO content (run, seq, part, salt, body) SELECT run, seq, part, salt, x'00' "
    "FROM content WHERE TRUE ON CONFLICT DO UPDATE SET body = x'00'",
    "UPDATE shared SET body = x'00'",
    "DELETE FROM shared",
    "INSERT OR REPLACE INTO shared (digest, body) SELECT digest, x'00' FROM shared",
    "UPDATE store SET id = 'mine'",
    "DELETE FROM store",
    "INSERT INTO store (id, format, ref_key, created_at) VALUES ('mine', 1, x'00', 0)",
    "INSERT OR REPLACE INTO store (id, format, ref_key, created_at) "
    "SELECT id, format, x'00', 0 FROM store",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_what_was_recorded_cannot_be_changed_by_sql(raw: Any, path: Path, statement: str) -> None:
    before = dump(raw)
    with pytest.raises(dbapi2.IntegrityError):
        raw.execute(statement)
    assert dump(raw) == before


def dump(raw: Any) -> list[Any]:
    tables = ("event", "content", "shared", "store")
    return [raw.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


@pytest.mark.parametrize("name", ["run", "seq", "at", "type", "call", "tool", "reviewer_ref"])
def test_no_column_can_say_anything_but_what_the_header_says(raw: Any, name: str) -> None:
    with pytest.raises(dbapi2.OperationalError, match="generated column"):
        raw.execute(f"INSERT INTO event (header, hash, {name}) VALUES ('{{}}', x'00', 1)")


def header(**changes: Any) -> str:
    """The header of a fourth record of the run, which nobody wrote."""
    data = {"run": RUN, "seq": 4, "prev": "", "type": "claude.asked", "at": AT, **changes}
    return json.dumps({name: value for name, value in data.items() if value is not None})


def head(raw: Any) -> str:
    found: str = raw.execute("SELECT lower(hex(hash)) FROM event WHERE seq = 3").fetchone()[0]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 5},
        {"seq": 4, "prev": "00" * 32},
        {"seq": 4, "prev": None},
        {"seq": 0},
        {"seq": -1},
        {"seq": 3},
        {"seq": 1},
        {"seq": None},
        {"seq": "4"},
        {"seq": 4.5},
        {"run": None},
        {"run": "r_new", "seq": 2},
        {"run": "r_new", "seq": 1},
        {"run": "r_new", "seq": 1, "prev": None},
    ],
)
def test_a_record_that_does_not_follow_the_one_before_is_refused(
    raw: Any, changes: dict[str, Any]
) -> None:
    place = {"prev": head(raw), **changes}
    with pytest.raises(dbapi2.IntegrityError):
        raw.execute("INSERT INTO event (header, hash) VALUES (?, x'00')", [header(**place)])


def test_a_record_that_follows_is_taken(raw: Any) -> None:
    body = header(prev=head(raw))
    raw.execute("INSERT INTO event (header, hash) VALUES (?, x'00')", [body])
    assert raw.execute("SELECT max(seq) FROM event").fetchone() == (4,)


def test_content_can_be_erased(raw: Any) -> None:
    raw.execute("DELETE FROM content")
    assert raw.execute("SELECT count(*) FROM content").fetchone() == (0,)


@pytest.mark.parametrize(
    "second",
    [
        {"type": "call.started", "attempt": 1},
        {"type": "call.finished", "attempt": 1},
        {"type": "call.decided", "revision": 1},
    ],
)
def test_an_attempt_starts_and_ends_once_and_a_revision_is_decided_once(
    raw: Any, second: dict[str, Any]
) -> None:
    body = header(prev=head(raw), call="c_1", **second)
    raw.execute("INSERT INTO event (header, hash) VALUES (?, x'01')", [body])
    again = header(seq=5, prev="01", call="c_1", **second)
    with pytest.raises(dbapi2.IntegrityError, match="UNIQUE"):
        raw.execute("INSERT INTO event (header, hash) VALUES (?, x'02')", [again])


# --- opening ---------------------------------------------------------------------------


def test_commits_are_on_disk_and_what_is_deleted_is_gone(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.db", create=True)
    with database.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete", "recursive_triggers")
        }
    database.close()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "recursive_triggers": 1,
    }


def refusal(path: Path, **options: Any) -> StoreError:
    with pytest.raises(StoreError) as caught:
        AuditStore(path, **options)
    return caught.value


def test_a_file_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "agentrt.db"
    for options in ({"create": False}, {"read_only": True}):
        error = refusal(path, **options)
        assert isinstance(error, StoreUnavailable)
        assert "Run an agent first" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    error = refusal(tmp_path / "no" / "agentrt.db")
    assert isinstance(error, StoreUnavailable)
    assert "Make the folder" in str(error)


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path), StoreUnavailable)


@pytest.mark.parametrize(
    "content", [b"hello " * 1000, bytes(5000), b"SQLite format 3\0" + b"x" * 99]
)
def test_a_file_that_is_no_database_is_not_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert isinstance(refusal(path), StoreCorrupt)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE store (id TEXT, town TEXT)")
        other.execute("INSERT INTO store VALUES ('1', 'Ulm')")
    other.close()
    before = path.read_bytes()
    for options in ({}, {"create": False}, {"read_only": True}):
        error = refusal(path, **options)
        assert isinstance(error, StoreCorrupt)
        assert "is not an audit store" in str(error)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_format_is_refused(path: Path, raw: Any) -> None:
    raw.execute("DROP TRIGGER store_update")
    raw.execute("UPDATE store SET format = 2")
    error = refusal(path)
    assert isinstance(error, StoreTooNew)
    assert "Upgrade agentrt" in str(error)


def test_a_store_without_its_row_is_damaged(path: Path, raw: Any) -> None:
    raw.execute("DROP TRIGGER store_delete")
    raw.execute("DELETE FROM store")
    assert isinstance(refusal(path), StoreCorrupt)


def test_an_old_sqlite_is_refused_with_where_to_get_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbapi2, "sqlite_version", "3.51.2")
    error = refusal(tmp_path / "agentrt.db")
    assert isinstance(error, SQLiteTooOld)
    assert "pysqlite3" in str(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a?mode=ro.db", "a%20b.db", "#a.db", "ä b.db", "a&b=c.db"])
async def test_a_store_may_have_any_name(tmp_path: Path, name: str) -> None:
    with AuditStore(tmp_path / name) as store:
        await store.append(Run(RUN), [started()])
    assert (tmp_path / name).exists()


async def test_a_reader_reads_and_cannot_write(path: Path) -> None:
    with AuditStore(path, read_only=True) as reader:
        assert reader.load(RUN).seq == 3
        with pytest.raises(StoreUnavailable, match="read only"):
            await reader.append(reader.load(RUN), [asked(2)])


def test_a_store_keeps_its_id(path: Path) -> None:
    ids = set()
    for _ in range(2):
        with AuditStore(path) as store:
            ids.add(store.id)
    assert len(ids) == 1


def test_a_full_disk_and_others_say_what_to_do(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.db", create=True)

    class Failure(Exception):
        def __str__(self) -> str:
            return str(self.args[0])

    advice = {
        "database or disk is full": "Make room",
        "attempt to write a readonly database": "writable",
        "unable to open database file": "Make the folder",
        "database is locked": "Another program",
        "disk I/O error": "The disk does not answer",
        "something new": "Nothing was written",
    }
    for reason, words in advice.items():
        error = database.problem(Failure(reason))
        assert isinstance(error, StoreUnavailable)
        assert words in str(error)
    database.close()


def test_a_record_has_no_column_of_its_own_but_header_and_hash(raw: Any) -> None:
    written = write_record(asked(), run="r_x", seq=1, at=AT, prev=b"").record
    raw.execute(
        "INSERT INTO event (header, hash) VALUES (?, ?)", [written.header.decode(), written.hash]
    )
    row = raw.execute("SELECT run, seq, at, type FROM event WHERE run = 'r_x'").fetchone()
    assert row == ("r_x", 1, AT, "claude.asked")
