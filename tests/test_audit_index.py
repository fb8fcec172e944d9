"""The index finds what the records say, forgets what is deleted, and can be made again."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from worlds import AT, Desk, asked, began, decided, expired, finished, rejected, replied, said, use
from worlds import started as run_started

from agentrt.approvals import KeyFile
from agentrt.audit import AuditStore
from agentrt.audit.answers import answer
from agentrt.audit.index import Found, catch_up, rebuild, search, standing
from agentrt.audit.index.entries import named_in, scalars
from agentrt.audit.index.views import VIEWS
from agentrt.audit.query import parse
from agentrt.errors import QueryInvalid
from agentrt.events import BundleLoaded, RunCancelled, User
from agentrt.run import Run

RULES = b'{"rules.yaml": "rules: [{when: args.cents > 100 && args.payee != \'x\'}]"}'


def ask(store: AuditStore, line: str, **more: Any) -> Found:
    catch_up(store)
    query = parse(line, now=store.clock())
    with store.reading() as connection:
        return search(connection, query, ref=store.ref, **{"limit": 50, **more})


def ids(store: AuditStore, line: str, **more: Any) -> list[str]:
    return [each.id for each in ask(store, line, **more).entries]


async def load_bundle(store: AuditStore) -> None:
    event = BundleLoaded(bundle="b" * 64, service="here", files=RULES)
    await store.append(Run("store"), [event])


async def a_call(store: AuditStore, number: int, *, user: str | None = None, **more: Any) -> Run:
    """A run with one call that policy has decided."""
    run = Run(f"r_{number:016x}")
    tool, verdict = more.pop("tool", "pay"), more.pop("verdict", "hold")
    arguments = more.pop("arguments", {"payee": "bob", "cents": number})
    begun = await store.append(
        run,
        [
            run_started(
                "pay the bill",
                user=User(name=user) if user else None,
                user_ref=store.ref(user) if user else None,
            ),
            asked(),
            replied(said("I look."), use(tool, **arguments)),
        ],
    )
    return await store.append(begun, [decided(begun.calls[0], verdict, **more)])


async def test_calls_are_found_by_what_their_headers_say(store: AuditStore) -> None:
    await load_bundle(store)
    mona = (await a_call(store, 1, user="mona", labels=("egress",))).calls[0].id
    read = (await a_call(store, 2, tool="read_note", verdict="allow", arguments={})).calls[0].id
    bob = (await a_call(store, 3, user="bob", verdict="deny")).all_calls[0].id
    for line, found in {
        "": [bob, read, mona],
        "tool:pay": [bob, mona],
        "tool:read_*,nothing": [read],
        "-tool:pay": [read],
        "user:mona": [mona],
        "-user:mona,bob": [read],
        "effect:irreversible decision:hold": [mona],
        "decision:deny": [bob],
        "outcome:denied,waiting": [bob, mona],
        "label:egress": [mona],
        "agent:desk model:claude-*": [bob, read, mona],
        "bundle:bbbb*": [bob, read, mona],
        f"bundle:{'b' * 64}": [bob, read, mona],
        "run:r_*2": [read],
        "args.cents:>2": [bob],
        "args.cents:>=1 args.cents:<3": [mona],
        "args.cents:1.0": [mona],
        "args.payee:bo*": [bob, mona],
        "args.payee:Bob": [],
        "simulated:no environment:test": [bob, read, mona],
    }.items():
        assert ids(store, line) == found, line


async def test_what_happens_later_is_found_too(desk: Desk, keys: dict[str, KeyFile]) -> None:
    call = await desk.hold(user=User(name="mona"))
    store = desk.store
    assert ids(store, "outcome:waiting") == [call.id]
    run = await desk.queue.approve(call.id, signer=keys["ana"], reason="invoice seven")
    assert ids(store, "reviewer:ana decision:approved -outcome:waiting") == [call.id]
    run = await store.append(run, [began(run.calls[0])])
    assert ids(store, "outcome:running") == [call.id]
    await store.append(run, [finished(run.calls[0], "no such payee", outcome="error")])
    assert ids(store, "outcome:error") == [call.id]
    assert ids(store, 'outcome:running,waiting,ok "invoice seven"') == []
    assert ids(store, '"invoice seven" payee*') == [call.id]


async def test_a_cancelled_run_cancels_its_calls_in_the_index(store: AuditStore) -> None:
    run = await a_call(store, 1)
    catch_up(store)
    ended = RunCancelled(by_ref="x", by="ops", reason="a drill")
    await store.append(run, [ended])
    assert ids(store, "outcome:cancelled") == [run.calls[0].id]
    assert ids(store, "is:run outcome:cancelled drill") == [run.id]


async def test_rejected_and_expired_calls_are_found(store: AuditStore) -> None:
    one, two = await a_call(store, 1), await a_call(store, 2)
    await store.append(one, [rejected(one.calls[0], reason="not this month")])
    await store.append(two, [expired(two.calls[0])])
    assert ids(store, "decision:rejected month") == [one.calls[0].id]
    assert ids(store, "outcome:expired") == [two.calls[0].id]


async def test_runs_are_found_by_their_words(store: AuditStore) -> None:
    run = await a_call(store, 1)
    assert ids(store, 'is:run "pay the bill"') == [run.id]
    assert ids(store, '"pay the bill"') == []


async def test_times_bound_the_answer_on_both_sides(desk: Desk) -> None:
    made = []
    for hour in range(3):
        desk.clock.now = AT + hour * 3_600_000
        made.append((await desk.hold(run=f"r_{hour:016x}")).id)
    assert ids(desk.store, "since:1h") == [made[2], made[1]]
    assert ids(desk.store, "since:1h until:1m") == [made[1]]
    assert ids(desk.store, "until:2026-05-28T20:26:40") == []


async def test_pages_go_on_where_the_last_one_ended_while_calls_come_in(store: AuditStore) -> None:
    for number in range(1, 8):
        await a_call(store, number)
    whole = ids(store, "tool:pay")
    first = ask(store, "tool:pay", limit=3)
    assert first.count == 7
    await a_call(store, 8)
    second = ask(store, "tool:pay", limit=3, cursor=first.cursor)
    third = ask(store, "tool:pay", limit=3, cursor=second.cursor)
    assert [e.id for each in (first, second, third) for e in each.entries] == whole
    assert third.cursor is None


async def test_numbers_sort_and_page_by_value(store: AuditStore) -> None:
    await load_bundle(store)
    for number in (5, 20, 1, 20):
        await a_call(store, number + len(store.runs()) * 1_000, arguments={"cents": number})
    first = ask(store, "tool:pay", sort="args.cents", limit=3)
    rest = ask(store, "tool:pay", sort="args.cents", limit=3, cursor=first.cursor)
    assert [e.number for e in (*first.entries, *rest.entries)] == [20, 20, 5, 1]
    assert [e.number for e in ask(store, "", sort="-args.cents").entries] == [1, 5, 20, 20]
    assert ids(store, "", sort="oldest") == list(reversed(ids(store, "")))


async def test_a_cursor_of_another_question_is_refused(store: AuditStore) -> None:
    for number in (1, 2):
        await a_call(store, number)
    cursor = ask(store, "tool:pay", limit=1).cursor
    for bad in (cursor, "x", "bm9uc2Vuc2U="):
        with pytest.raises(QueryInvalid):
            ask(store, "tool:read_note", limit=1, cursor=bad)


async def test_an_order_that_there_is_not_is_refused(store: AuditStore) -> None:
    with pytest.raises(QueryInvalid, match="newest, oldest"):
        ask(store, "", sort="size")


async def test_what_nothing_has_is_hinted_at(store: AuditStore) -> None:
    await load_bundle(store)
    await a_call(store, 1)
    assert "did you mean 'pay'?" in ask(store, "tool:pai").hints[0]
    assert "Did you mean `args.cents`?" in ask(store, "args.cent:>5").hints[0]
    with pytest.raises(QueryInvalid, match="whole names"):
        ask(store, "user:mo*")


async def test_words_are_not_a_language_of_the_database(store: AuditStore) -> None:
    await a_call(store, 1, reason='it said "NEAR(a b)" OR x')
    assert len(ids(store, '"NEAR(a b)" "OR x"')) == 1
    for hostile in ('"x OR reason"', '"words:bill"', '"(" bill', '"\\""', "bill NOT"):
        with suppress(QueryInvalid):
            assert ids(store, hostile) == []


@pytest.mark.sqlite
async def test_the_index_made_at_once_is_the_one_made_in_steps(store: AuditStore) -> None:
    await load_bundle(store)
    dice = random.Random(7)
    for number in range(20):
        run = await a_call(store, number, verdict=dice.choice(("allow", "hold", "deny")))
        if dice.random() < 0.5:
            catch_up(store)
        if run.calls and run.calls[0].verdict == "allow":
            run = await store.append(run, [began(run.calls[0])])
            await store.append(run, [finished(run.calls[0])])
    catch_up(store)
    in_steps = everything(store)
    rebuild(store)
    assert everything(store) == in_steps


def everything(store: AuditStore) -> dict[str, set[tuple[Any, ...]]]:
    statements = {
        "facts": "SELECT e.id, f.name, f.value FROM search_fact f JOIN search_entry e USING (n)",
        "arguments": "SELECT e.id, a.path, a.value FROM search_argument a "
        "JOIN search_entry e USING (n)",
        "words": "SELECT e.id, t.words FROM search_text t JOIN search_entry e ON e.n = t.rowid",
    }
    with store.reading() as connection:
        return {
            name: {tuple(row) for row in connection.exec_driver_sql(statement)}
            for name, statement in statements.items()
        }


@pytest.mark.sqlite
async def test_nothing_in_the_index_outlives_the_content_it_is_about(
    store: AuditStore, tmp_path: Path
) -> None:
    await load_bundle(store)
    gone = await a_call(store, 1, arguments={"payee": "PLANTEDNAME", "cents": 5})
    kept = await a_call(store, 2)
    assert len(ids(store, "plantedname")) == 1
    change(store, "DELETE FROM content WHERE run = ?", gone.id)
    change(store, "UPDATE call SET summary = '' WHERE run = ?", gone.id)
    with store.reading() as connection:
        assert not standing(connection).current
    assert b"plantedname" not in bytes_of(store).lower()
    assert ids(store, "plantedname") == ids(store, "args.payee:PLANTEDNAME") == []
    assert ids(store, "tool:pay") == [kept.calls[0].id, gone.calls[0].id]
    rebuild(store)
    assert ids(store, "plantedname") == []
    assert store.verify().records == 9


def change(store: AuditStore, statement: str, *values: str) -> None:
    """What another part of the program does in the database."""

    def work(connection: Connection) -> None:
        connection.exec_driver_sql(statement, values)

    store.derive(work)


def bytes_of(store: AuditStore) -> bytes:
    """All that is in the files of the store, what was written last included."""
    store.derive(lambda _connection: None)
    with store.reading() as connection:
        connection.rollback()
        own: Any = connection.connection.driver_connection
        assert own.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    files = store.path.parent.glob(f"{store.path.name}*")
    return b"".join(file.read_bytes() for file in files if file.is_file())


@pytest.mark.sqlite
async def test_part_of_a_run_can_go_and_the_rest_is_still_found(store: AuditStore) -> None:
    run = await a_call(store, 1, reason="the reason stays")
    catch_up(store)
    change(store, "DELETE FROM content WHERE run = ? AND part = 'prompt'", run.id)
    assert ids(store, '"reason stays"') == [run.calls[0].id]
    assert ids(store, "is:run bill") == []


@pytest.mark.sqlite
async def test_encrypted_content_is_not_searched(store: AuditStore) -> None:
    run = await a_call(store, 1)
    change(
        store,
        "INSERT INTO content (run, seq, part, salt, body, key_id) "
        "VALUES (?, 9, 'result', x'00', CAST('\"sealed\"' AS BLOB), 4)",
        run.id,
    )
    assert ids(store, "sealed") == []


async def test_another_store_in_the_same_place_gets_an_index_of_its_own(tmp_path: Path) -> None:
    with AuditStore(tmp_path / "a.db") as store:
        await a_call(store, 1)
        await a_call(store, 2)
        catch_up(store)
        change(store, "UPDATE search_mark SET store = 'other'")
        with store.reading() as connection:
            assert not standing(connection).exists
        assert len(ids(store, "")) == 2


async def test_answers_tell_who_approved(desk: Desk, keys: dict[str, KeyFile]) -> None:
    call = await desk.hold()
    await desk.queue.approve(call.id, signer=keys["ana"], reason="fine")
    catch_up(desk.store)
    asked_for = parse("", now=desk.clock())
    found, rows = answer(desk.store, asked_for, limit=5, sort="newest")
    assert found.cursor is None
    assert [(row["call"], row["approved_by"]) for row in rows] == [(call.id, ["ana"])]


def test_arguments_are_named_by_the_rules_that_read_them() -> None:
    rules = "when: args.cents > 5 && args.to[0].name in ['x'] || xargs.no\nargs.  args"
    assert named_in([rules]) == {"cents", "to.name"}


def test_values_of_arguments_are_texts_numbers_and_truths() -> None:
    body = b'{"a": {"b": [1, "x", true, null]}, "c": 1e400, "d": 0.5}'
    found = {(path, value): number for path, value, number in scalars(body)}
    assert found[("a.b", "1")] == 1
    assert found[("a.b", "x")] is None
    assert found[("a.b", "true")] is None
    assert found[("d", "0.5")] == 0.5
    assert found[("c", "Infinity")] is None


@pytest.mark.sqlite
async def test_every_view_can_be_read_by_any_tool(store: AuditStore) -> None:
    await a_call(store, 1)
    catch_up(store)
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as other:
        for name in VIEWS:
            other.execute(f"SELECT * FROM {name}").fetchall()
