"""The same questions on PostgreSQL: index, words, views, SQL, exports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import postgres
from sqlalchemy import Connection
from worlds import asked, began, decided, finished, replied, started, use

from agentrt.audit import AuditStore
from agentrt.audit.index import catch_up, rebuild, search
from agentrt.audit.index.views import VIEWS
from agentrt.audit.own_sql import ask_sql
from agentrt.audit.query import parse
from agentrt.audit.questions import QUESTIONS, Asked
from agentrt.errors import QueryInvalid
from agentrt.events import BundleLoaded, User
from agentrt.exports import FORMATS, Cursor, Reader, Source
from agentrt.run import Run

RULES = b'{"rules.yaml": "rules: [{when: args.cents > 100}]"}'


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


async def filled(url: str) -> AuditStore:
    store = AuditStore(url)
    loaded = BundleLoaded(bundle="b" * 64, service="here", files=RULES)
    await store.append(Run("store"), [loaded])
    for number in range(3):
        user = {"user": User(name="mona"), "user_ref": store.ref("mona")}
        reply = replied(use("pay", payee="bob", cents=number))
        begun = Run(f"r_{number:016x}")
        run = await store.append(begun, [started("pay the bill", **user), asked(), reply])
        run = await store.append(run, [decided(run.calls[0], labels=("egress",))])
        run = await store.append(run, [began(run.calls[0])])
        await store.append(run, [finished(run.calls[0], "all is done")])
    return store


def found(store: AuditStore, line: str, sort: str = "newest") -> list[str]:
    catch_up(store)
    with store.reading() as connection:
        query = parse(line, now=store.clock())
        return [
            each.run
            for each in search(connection, query, ref=store.ref, limit=9, sort=sort).entries
        ]


async def test_questions_are_answered_on_postgresql_as_they_are_on_sqlite(server: str) -> None:
    with await filled(server) as store:
        zero, one, two = (f"r_{number:016x}" for number in range(3))
        for line, runs in {
            "user:mona tool:pa* outcome:ok": [two, one, zero],
            "args.cents:>0": [two, one],
            '"is done" bo*': [two, one, zero],
            "is:run bill": [two, one, zero],
            "-label:egress": [],
            "bundle:bbb* run:r_*1 since:9999d": [one],
            "it's": [],
        }.items():
            assert found(store, line) == runs, line
        assert found(store, "", "-args.cents") == [zero, one, two]
        answers_and_exports(store)
        nothing_but_reading(store)
        nothing_outlives_content(store, one, [two, zero])


def answers_and_exports(store: AuditStore) -> None:
    for name in VIEWS:
        ask_sql(store, f"SELECT * FROM {name}", limit=5)
    for each in QUESTIONS.values():
        each.answer(store, Asked(by=(each.groups or ("",))[0]))
    for form in FORMATS.values():
        lines = Reader(Source(store), Cursor(store.id, 0), form.lines).read()
        assert lines is not None
        assert len(lines) == (0 if form.name == "otel" else 19)


def nothing_but_reading(store: AuditStore) -> None:
    for statement in (
        "DELETE FROM run",
        "SELECT 1; DELETE FROM run",
        "COMMIT; DELETE FROM run",
        "DROP VIEW audit_calls",
        "CREATE TABLE mine (x int)",
        "COMMIT",
    ):
        with pytest.raises(QueryInvalid):
            ask_sql(store, statement, limit=5)
    assert ask_sql(store, "SELECT count(*) FROM run", limit=5).rows == [(4,)]
    assert ask_sql(store, "SELECT 5 % 3, 'a:b'", limit=5).rows == [(2, "a:b")]


def nothing_outlives_content(store: AuditStore, gone: str, kept: list[str]) -> None:
    def forget(connection: Connection) -> None:
        connection.exec_driver_sql(f"DELETE FROM content WHERE run = '{gone}'")

    store.derive(forget)
    words = "SELECT count(*) FROM search_text t JOIN search_entry e USING (n) WHERE e.run = "
    assert ask_sql(store, f"{words}'{gone}'", limit=1).rows == [(0,)]
    assert found(store, "is:run bill") == kept
    rebuild(store)
    assert found(store, "is:run bill") == kept
    assert found(store, "tool:pay") == [kept[0], gone, kept[1]]
