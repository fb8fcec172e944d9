import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from everything import everything
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine
from worlds import asked, started

from agentrt.audit import AuditStore, Verification
from agentrt.audit.database import open_database
from agentrt.audit.records import record_hash
from agentrt.audit.verify import verify
from agentrt.errors import StoreError
from agentrt.events import Record
from agentrt.run import Run

LONG_RUN = "r_0123456789abcdef"
RECORDS = sum(len(story.records) for story in everything())
RUNS = ("store", LONG_RUN, "sim_r_0123456789abcdef", "r_fedcba9876543210")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every kind of event happened."""
    import asyncio

    path = tmp_path_factory.mktemp("verify") / "agentrt.db"
    with AuditStore(path) as store:
        for story in everything():
            events = [record.event for record in story.records]
            asyncio.run(store.append(Run(story.run.id), events))
    return path


@pytest.fixture(scope="module")
def engine(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A copy of it in the hands of somebody who owns the file: nothing is refused any more."""
    copy = tmp_path_factory.mktemp("owned") / "agentrt.db"
    copy.write_bytes(path.read_bytes())
    database = open_database(copy, create=False)
    engine = database.engine
    with engine.begin() as connection:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for name in connection.exec_driver_sql(triggers).scalars().all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for statement in (
            "ALTER TABLE event RENAME TO before",
            "CREATE TABLE event (pos INTEGER PRIMARY KEY, header TEXT, hash BLOB)",
            "INSERT INTO event SELECT pos, header, hash FROM before",
            "DROP TABLE before",
        ):
            connection.exec_driver_sql(statement)
    yield engine
    database.close()


@contextmanager
def tampering(engine: Engine) -> Iterator[Connection]:
    """A connection whose changes are undone."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def sql(connection: Connection, statement: str, *values: Any) -> list[Any]:
    result = connection.exec_driver_sql(statement, values)
    return list(result.all()) if result.returns_rows else []


def places(found: Verification) -> set[tuple[str, int | None]]:
    return {(finding.run, finding.seq) for finding in found.findings}


def flipped(data: bytes, place: int, bits: int) -> bytes:
    at = place % len(data)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


PLACE = st.integers(0, 100_000)
BITS = st.integers(1, 255)
slow = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def test_a_store_as_it_was_written_is_ok(engine: Engine) -> None:
    with tampering(engine) as connection:
        found = verify(connection)
    assert found.ok
    assert found.findings == []
    assert (found.runs, found.records) == (len(everything()), RECORDS)


def test_the_store_itself_with_its_indexes_and_triggers_is_ok(path: Path) -> None:
    heard: list[int] = []
    with AuditStore(path) as store:
        assert store.verify(progress=heard.append).ok
        assert store.verify(LONG_RUN).ok
        assert store.verify(LONG_RUN).records == 32
    assert heard == [RECORDS]


# --- one byte --------------------------------------------------------------------------


@given(PLACE, PLACE, BITS)
@slow
def test_one_byte_of_a_header_is_found(engine: Engine, row: int, place: int, bits: int) -> None:
    with tampering(engine) as connection:
        pos, run, seq, header = pick(connection, row, "header")
        changed = flipped(header.encode(), place, bits)
        sql(
            connection, "UPDATE event SET header = CAST(? AS TEXT) WHERE pos = ?", changed, int(pos)
        )
        found = verify(connection)
    assert not found.ok
    hit = places(found)
    named = {(run, seq), (run, seq + 1), (run, None)}
    assert hit & named


@given(PLACE, PLACE, BITS)
@slow
def test_one_byte_of_a_hash_is_found_and_named(
    engine: Engine, row: int, place: int, bits: int
) -> None:
    with tampering(engine) as connection:
        pos, run, seq, digest = pick(connection, row, "hash")
        sql(
            connection, "UPDATE event SET hash = ? WHERE pos = ?", flipped(digest, place, bits), pos
        )
        found = verify(connection)
    assert (run, seq) in places(found)


@given(PLACE, PLACE, BITS, st.sampled_from(["salt", "body"]))
@slow
def test_one_byte_of_content_or_salt_is_found_and_named(
    engine: Engine, row: int, place: int, bits: int, column: str
) -> None:
    with tampering(engine) as connection:
        query = f"SELECT run, seq, part, {column} FROM content ORDER BY run, seq, part"
        rows = sql(connection, query)
        run, seq, part, data = rows[row % len(rows)]
        sql(
            connection,
            f"UPDATE content SET {column} = ? WHERE run = ? AND seq = ? AND part = ?",
            *(flipped(data, place, bits), run, seq, part),
        )
        found = verify(connection)
    assert (run, seq) in places(found)
    assert any(part in finding.what for finding in found.findings)


@given(PLACE, PLACE, BITS)
@slow
def test_one_byte_of_a_shared_text_is_found_in_every_record_that_speaks_of_it(
    engine: Engine, row: int, place: int, bits: int
) -> None:
    with tampering(engine) as connection:
        rows = sql(connection, "SELECT digest, body FROM shared ORDER BY digest")
        digest, body = rows[row % len(rows)]
        sql(
            connection,
            "UPDATE shared SET body = ? WHERE digest = ?",
            flipped(body, place, bits),
            digest,
        )
        speaking = sql(
            connection,
            "SELECT header ->> '$.run', header ->> '$.seq' FROM event "
            "WHERE instr(header ->> '$.shared', ?)",
            digest,
        )
        found = verify(connection)
    assert speaking
    assert {tuple(row) for row in speaking} <= places(found)


def pick(connection: Connection, row: int, column: str) -> tuple[int, str, int, Any]:
    rows = sql(
        connection,
        f"SELECT pos, header ->> '$.run', header ->> '$.seq', {column} FROM event ORDER BY pos",
    )
    pos, run, seq, data = rows[row % len(rows)]
    return pos, run, seq, data


# --- whole records ---------------------------------------------------------------------


def test_any_record_that_is_removed_is_found(engine: Engine) -> None:
    for run, seq in every_record(engine):
        with tampering(engine) as connection:
            sql(
                connection,
                "DELETE FROM event WHERE header ->> '$.run' = ? AND header ->> '$.seq' = ?",
                *(run, seq),
            )
            found = verify(connection)
        assert {(run, seq + 1), (run, None)} & places(found), (run, seq)


def test_any_two_neighbours_that_are_swapped_are_found(engine: Engine) -> None:
    for run, seq in every_record(engine):
        with tampering(engine) as connection:
            pair = sql(
                connection,
                "SELECT pos, header, hash FROM event WHERE header ->> '$.run' = ? "
                "AND header ->> '$.seq' BETWEEN ? AND ?",
                *(run, seq, seq + 1),
            )
            if len(pair) < 2:
                continue
            (first, *one), (second, *two) = pair
            for pos, (header, digest) in ((first, two), (second, one)):
                sql(
                    connection,
                    "UPDATE event SET header = ?, hash = ? WHERE pos = ?",
                    *(header, digest, pos),
                )
            found = verify(connection)
        assert {(run, seq), (run, seq + 1)} <= places(found)


def test_any_record_that_is_repeated_is_found(engine: Engine) -> None:
    for run, seq in every_record(engine):
        with tampering(engine) as connection:
            sql(
                connection,
                "INSERT INTO event (header, hash) SELECT header, hash FROM event "
                "WHERE header ->> '$.run' = ? AND header ->> '$.seq' = ?",
                *(run, seq),
            )
            found = verify(connection)
        assert (run, seq) in places(found)


def test_a_run_that_is_removed_as_a_whole_is_found_by_what_hung_on_it(engine: Engine) -> None:
    for run in RUNS:
        with tampering(engine) as connection:
            sql(connection, "DELETE FROM event WHERE header ->> '$.run' = ?", run)
            assert (run, None) in places(verify(connection))
            sql(connection, "DELETE FROM run WHERE id = ?", run)
            found = verify(connection)
            assert run == "store" or any("belong to no record" in str(f) for f in found.findings)


def test_a_tail_that_is_cut_off_is_found_by_the_list_of_runs(engine: Engine) -> None:
    with tampering(engine) as connection:
        sql(
            connection,
            "DELETE FROM event WHERE header ->> '$.run' = ? AND header ->> '$.seq' > 20",
            LONG_RUN,
        )
        found = verify(connection)
    assert any(
        finding.run == LONG_RUN and "records after 20 are gone" in finding.what
        for finding in found.findings
    )


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        "[]",
        "null",
        '{"run":"r_x","seq":1,"prev":"","parts":[],"shared":{}}',
        '{"run":"r_x","seq":1,"prev":"","parts":{"a":[]},"shared":{}}',
        '{"run":"r_x","seq":[1],"prev":"","parts":{},"shared":{}}',
        '{"run":["r_x"],"seq":1,"prev":"","parts":{},"shared":{}}',
        '{"run":"r_x","seq":1,"prev":"","parts":{},"shared":{},"at":0,"type":"run.improved"}',
        '{"run":"r_x","seq":1,"prev":"","parts":{},"shared":{},"at":0,"type":"call.expired"}',
        "[" * 100_000,
    ],
)
def test_a_record_that_nobody_can_have_written_is_found_though_its_hash_is_right(
    engine: Engine, header: str
) -> None:
    with tampering(engine) as connection:
        sql(
            connection,
            "INSERT INTO event (header, hash) VALUES (?, ?)",
            *(header, record_hash(header.encode())),
        )
        assert not verify(connection).ok


def test_a_chain_that_was_written_anew_does_not_fit_what_hangs_on_it(engine: Engine) -> None:
    """Whoever recomputes all hashes of a run still leaves its row in the list of runs behind."""
    with tampering(engine) as connection:
        prev = ""
        rows = sql(
            connection,
            "SELECT pos, header FROM event WHERE header ->> '$.run' = ? ORDER BY pos",
            LONG_RUN,
        )
        for pos, header in rows:
            before = header.split('"prev":"')[1].split('"')[0]
            forged = header.replace(f'"prev":"{before}"', f'"prev":"{prev}"')
            forged = forged.replace('"environment":"test"', '"environment":"prod"')
            digest = record_hash(forged.encode())
            sql(
                connection,
                "UPDATE event SET header = ?, hash = ? WHERE pos = ?",
                *(forged, digest, pos),
            )
            prev = digest.hex()
        found = verify(connection)
    assert any("environment" in str(finding) for finding in found.findings)
    assert any("head_hash" in str(finding) for finding in found.findings)


def every_record(engine: Engine) -> list[tuple[str, int]]:
    with tampering(engine) as connection:
        query = "SELECT header ->> '$.run', header ->> '$.seq' FROM event"
        return [(run, seq) for run, seq in sql(connection, query)]


# --- what hangs on records -------------------------------------------------------------

LISTS = [
    ("UPDATE run SET status = 'finished' WHERE status = 'cancelled'", "status"),
    ("UPDATE run SET cost_usd = '0'", "cost_usd"),
    ("UPDATE run SET head_seq = 'x'", "head_seq"),
    ("DELETE FROM run WHERE id LIKE 'r_0%'", "missing in the list of runs"),
    ("UPDATE call SET status = 'finished' WHERE status = 'rejected'", "status"),
    ("DELETE FROM call WHERE status = 'rejected'", "missing in the list of calls"),
    ("UPDATE call SET id = 'c_x' WHERE status = 'rejected'", "no record speaks of"),
    ("UPDATE approval SET by = 'eve'", "by"),
    ("UPDATE approval SET verdict = 'approve'", "verdict"),
    ("DELETE FROM approval", "does not have it"),
    ("UPDATE model_call SET cost_usd = '0' WHERE seq > 20", "cost_usd"),
    ("DELETE FROM model_call WHERE failed", "does not have it"),
    ("UPDATE approval SET seq = 999 WHERE verdict = 'reject'", "does not have it"),
    (
        "INSERT INTO approval SELECT run, 999, at, call, verdict, by, reason, key FROM approval "
        "WHERE verdict = 'reject'",
        "belong to no record",
    ),
    ("DELETE FROM content WHERE part = 'prompt'", "'prompt' is gone"),
    ("UPDATE content SET part = 'x' WHERE part = 'prompt'", "does not speak of"),
    ("UPDATE content SET seq = 999 WHERE part = 'prompt'", "belong to no record"),
    ("DELETE FROM shared", "changed or is gone"),
]


@pytest.mark.parametrize(("statement", "words"), LISTS)
def test_a_list_or_a_content_that_says_otherwise_is_found(
    engine: Engine, statement: str, words: str
) -> None:
    with tampering(engine) as connection:
        sql(connection, statement)
        found = verify(connection)
    assert any(words in str(finding) for finding in found.findings)


async def test_one_run_can_be_verified_by_itself(tmp_path: Path) -> None:
    with AuditStore(tmp_path / "a.db") as store:
        await store.append(Run("r_good"), [started(), asked()])
        await store.append(Run("r_bad"), [started(), asked()])
        with store._engine.begin() as connection:
            sql(connection, "UPDATE run SET turn = 7 WHERE id = 'r_bad'")
        assert store.verify("r_good").ok
        assert [finding.run for finding in store.verify("r_bad").findings] == ["r_bad"]
        assert [finding.run for finding in store.verify().findings] == ["r_bad"]


def test_many_records_are_checked_page_by_page(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrt.audit.verify.PAGE", 10)
    heard: list[int] = []
    with tampering(engine) as connection:
        assert verify(connection, progress=heard.append).ok
    assert heard == [*range(10, RECORDS, 10), RECORDS]


# --- the file --------------------------------------------------------------------------


def contents(store: AuditStore) -> list[Record]:
    return [record for run in RUNS for record in store.records(run)]


@pytest.fixture(scope="module")
def written(path: Path) -> tuple[bytes, list[Record]]:
    with AuditStore(path, read_only=True) as store:
        return path.read_bytes(), contents(store)


@given(PLACE, BITS)
@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_flipped_byte_of_the_file_is_found_or_changed_no_record(
    written: tuple[bytes, list[Record]],
    tmp_path_factory: pytest.TempPathFactory,
    place: int,
    bits: int,
) -> None:
    data, records = written
    path = tmp_path_factory.mktemp("flipped") / "agentrt.db"
    path.write_bytes(flipped(data, place * 7919, bits))
    try:
        with AuditStore(path, create=False) as store:
            if store.verify().ok:
                assert contents(store) == records
    except StoreError:
        pass
    finally:
        for left in path.parent.iterdir():
            left.unlink()


@given(PLACE)
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_file_that_was_cut_off_is_found_or_complete(
    written: tuple[bytes, list[Record]], tmp_path_factory: pytest.TempPathFactory, place: int
) -> None:
    data, records = written
    path = tmp_path_factory.mktemp("cut") / "agentrt.db"
    path.write_bytes(data[: place * 7919 % len(data)])
    try:
        with AuditStore(path, create=False) as store:
            if store.verify().ok:
                assert contents(store) == records
    except StoreError:
        pass
    finally:
        for left in path.parent.iterdir():
            left.unlink()


def test_hashes_are_those_of_sha_256(engine: Engine) -> None:
    with tampering(engine) as connection:
        for header, digest in sql(connection, "SELECT header, hash FROM event"):
            assert hashlib.sha256(b"\0" + header.encode()).digest() == digest
