from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, bindparam, create_engine, select
from sqlalchemy.exc import DBAPIError

from agentrt.audit.appends import INSERT_SHARED
from agentrt.audit.database import open_database
from agentrt.audit.statements import Prepared
from agentrt.audit.tables import SharedRow, columns

_shared = columns(SharedRow)
BODY = Prepared(select(_shared.body).where(_shared.digest == bindparam("digest")))
ONE = Prepared(select(_shared.digest).where(_shared.digest == "a"))


@pytest.fixture
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    database = open_database(tmp_path_factory.mktemp("db") / "a.db", create=True)
    with database.connect() as opened:
        opened.begin()
        INSERT_SHARED.write(opened, [{"digest": "a", "body": b"1"}, {"digest": "b", "body": b"2"}])
        yield opened
    database.close()


def test_a_statement_reads_and_writes_as_core_would(connection: Connection) -> None:
    assert BODY.rows(connection, digest="b") == [(b"2",)]
    assert BODY.row(connection, digest="b") == (b"2",)
    assert BODY.row(connection, digest="c") is None
    core = connection.execute(select(_shared.digest)).scalars().all()
    assert sorted(core) == ["a", "b"]


def test_a_constant_of_the_statement_needs_no_value(connection: Connection) -> None:
    assert ONE.rows(connection) == [("a",)]


def test_a_statement_belongs_to_the_transaction_of_its_connection(connection: Connection) -> None:
    INSERT_SHARED.write(connection, [{"digest": "c", "body": b"3"}])
    connection.rollback()
    assert connection.execute(select(_shared.digest)).scalars().all() == []


def test_a_failure_is_one_of_sqlalchemy() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as empty:
        with pytest.raises(DBAPIError):
            ONE.rows(empty)
        with pytest.raises(DBAPIError):
            INSERT_SHARED.write(empty, [{"digest": "c", "body": b"3"}])
    engine.dispose()
