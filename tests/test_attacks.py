"""A catalogue of attacks by whoever owns the database, each found, or it is said what it takes.

The table in docs/security.md is held by these tests: what stands there is what finds each attack.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from everything import everything
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from worlds import Desk, asked, began, doubted, replied, said, settled, started, use

from agentrt.approvals import KeyFile
from agentrt.approvals.verdicts import check_approvals
from agentrt.audit import AuditStore
from agentrt.audit.keys import SigningKey
from agentrt.audit.merkle import Frontier
from agentrt.audit.notes import Checkpoint, Note
from agentrt.audit.rebuild import rebuild_lists
from agentrt.audit.records import canonical, record_hash
from agentrt.audit.sealer import Sealer
from agentrt.audit.sealing import newest_checkpoint, origin_of
from agentrt.audit.seen import Seen
from agentrt.audit.sqlite import sqlite_module
from agentrt.audit.tree import Leaf
from agentrt.audit.verify import Trust, verify
from agentrt.errors import StoreCorrupt
from agentrt.events import CallApproved
from agentrt.run import Run, ToolCall

DOCS = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
LONG_RUN = "r_0123456789abcdef"
LATER, LAST = "r_1111111111111111", "r_2222222222222222"

VERIFY, KEY, MEMORY, USE = (
    "`agentrt audit verify`",
    "the runtime's public key",
    "a remembered checkpoint",
    "refused when it is used",
)
NOTHING = "nothing: see below"


# --- a store and its past ----------------------------------------------------------------


@dataclass
class World:
    """A store with two checkpoints, what it was at the first, its key, and a memory of it."""

    path: Path
    yesterday: Path
    other: Path
    key: SigningKey
    thief: SigningKey
    seen: Seen
    id: str = ""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("attacks")
    world = World(
        path=folder / "agentrt.db",
        yesterday=folder / "yesterday.db",
        other=folder / "other.db",
        key=SigningKey.at(folder / "keys" / "runtime"),
        thief=SigningKey.at(folder / "keys" / "thief"),
        seen=Seen(folder / "seen"),
    )
    asyncio.run(_live(world))
    return world


async def _live(world: World) -> None:
    with AuditStore(world.path) as store:
        for story in everything():
            await store.append(Run(story.run.id), [record.event for record in story.records])
        await Sealer(store, world.key).seal()
        world.id = store.id
    shutil.copy(world.path, world.yesterday)
    with AuditStore(world.path) as store:
        await store.append(Run(LATER), [started(), asked(), replied(said("Hello"))])
        await Sealer(store, world.key).seal()
        await store.append(Run(LAST), [started(), asked(), replied(said("Hello"))])
    with AuditStore(world.other) as store:
        await store.append(Run(LATER), [started(), asked()])
        await Sealer(store, world.key).seal()


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy that its owner has in hand: nothing is refused any more."""
    shutil.copytree(made.path.parent, tmp_path / "owned")
    folder = tmp_path / "owned"
    copy = World(
        folder / "agentrt.db",
        folder / "yesterday.db",
        folder / "other.db",
        SigningKey(folder / "keys" / "runtime"),
        SigningKey(folder / "keys" / "thief"),
        Seen(folder / "seen"),
        made.id,
    )
    for path in (copy.path, copy.other):
        with AuditStore(path, read_only=True) as store:
            copy.seen.look(store)
    with owned(copy) as connection:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in connection.execute(triggers).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
    return copy


class owned:  # noqa: N801 - reads as the condition it is
    """The file in the hands of its owner."""

    def __init__(self, world: World) -> None:
        self.connection: sqlite3.Connection = sqlite_module().connect(world.path)

    def __enter__(self) -> sqlite3.Connection:
        return self.connection

    def __exit__(self, *_error: object) -> None:
        self.connection.commit()
        self.connection.close()


def found_by(world: World) -> str:
    """The least that finds what was done to the store."""
    with AuditStore(world.path, read_only=True) as store:
        if not store.verify().ok:
            return VERIFY
        if not store.verify(trust=Trust(keys=[world.key.raw])).ok:
            return KEY
        try:
            world.seen.look(store)
        except StoreCorrupt:
            return MEMORY
    return NOTHING


# --- the tools of the trade --------------------------------------------------------------


def change(world: World, sql: str, *values: Any) -> None:
    with owned(world) as connection:
        assert connection.execute(sql, values).rowcount > 0


def drop_unique_indexes(connection: sqlite3.Connection) -> None:
    for index in ("event_place", "event_decided", "event_started", "event_finished"):
        connection.execute(f"DROP INDEX {index}")


def header_of(connection: sqlite3.Connection, run: str, seq: int) -> dict[str, Any]:
    query = "SELECT header FROM event WHERE run = ? AND seq = ?"
    (text,) = connection.execute(query, (run, seq)).fetchone()
    data: dict[str, Any] = json.loads(text)
    return data


def rechain(world: World, run: str, edited: int, **fields: Any) -> None:
    """Edit a record and make the chain anew from there, heads in the lists included."""
    with owned(world) as connection:
        query = "SELECT pos, header, hash FROM event WHERE run = ? AND seq >= ? ORDER BY seq"
        prev = ""
        for pos, text, _ in connection.execute(query, (run, edited)).fetchall():
            data = json.loads(text)
            data |= fields if data["seq"] == edited else {"prev": prev}
            raw = canonical(data)
            prev = record_hash(raw).hex()
            statement = "UPDATE event SET header = ?, hash = ? WHERE pos = ?"
            connection.execute(statement, (raw.decode(), bytes.fromhex(prev), pos))
        connection.execute("UPDATE run SET head_hash = ? WHERE id = ?", (bytes.fromhex(prev), run))


def reseal(world: World, key: SigningKey | None) -> None:
    """Make leaves, tree and checkpoints anew to fit the records, signed if there is a key."""
    with owned(world) as connection:
        leaves = connection.execute("SELECT idx, run, seq FROM leaf ORDER BY idx").fetchall()
        kept = []
        for _, run, seq in leaves:
            query = "SELECT hash FROM event WHERE run = ? AND seq = ?"
            row = connection.execute(query, (run, seq)).fetchone()
            kept += [Leaf(run, seq, row[0])] if row else []
        sizes = connection.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
        for table in ("leaf", "node", "checkpoint"):
            connection.execute(f"DELETE FROM {table}")
        frontier, roots = Frontier(), {}
        for leaf in kept:
            row = (frontier.size, leaf.run, leaf.seq, leaf.head)
            connection.execute("INSERT INTO leaf (idx, run, seq, head) VALUES (?, ?, ?, ?)", row)
            frontier, new = frontier.plus(leaf.hash)
            connection.executemany("INSERT INTO node VALUES (?, ?, ?)", new)
            roots[frontier.size] = frontier.root
        for size, text in sizes:
            at = min(size, frontier.size)
            checkpoint = Checkpoint(origin_of(world.id), at, roots[at])
            signatures = Note.parse(text).signatures
            if key is not None:
                signatures = (key.signed(checkpoint.text, name=checkpoint.origin),)
            row = (at, str(Note(checkpoint.text, signatures)))
            connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, 0, 0)", row)


def take_away(world: World, run: str) -> None:
    with owned(world) as connection:
        for table in ("event", "content", "model_call", "approval", "call"):
            connection.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
        connection.execute("DELETE FROM run WHERE id = ?", (run,))


def cut(world: World, run: str, after: int) -> None:
    """Take the end of a run away, and make its lists as they were before."""
    with owned(world) as connection:
        for table in ("event", "content", "model_call", "approval"):
            connection.execute(f"DELETE FROM {table} WHERE run = ? AND seq > ?", (run, after))
        connection.execute("DELETE FROM call WHERE run = ?", (run,))
        connection.execute("DELETE FROM run WHERE id = ?", (run,))
    lists_anew(world)


def lists_anew(world: World) -> None:
    with AuditStore(world.path) as store:
        asyncio.run(rebuild_lists(store))


# --- the attacks -------------------------------------------------------------------------


def edit_a_record(world: World) -> None:
    with owned(world) as connection:
        data = header_of(connection, LONG_RUN, 8)
        raw = canonical(data | {"verdict": "allow"}).decode()
    change(world, "UPDATE event SET header = ? WHERE run = ? AND seq = 8", raw, LONG_RUN)


def edit_a_list(world: World) -> None:
    change(world, "UPDATE call SET status = 'held' WHERE status = 'rejected'")


def edit_content(world: World) -> None:
    change(world, "UPDATE content SET body = CAST('\"mona\"' AS BLOB) WHERE part = 'by'")


def delete_content(world: World) -> None:
    change(world, "DELETE FROM content WHERE run = ? AND part = 'arguments'", LONG_RUN)


def edit_a_policy_text(world: World) -> None:
    change(world, "UPDATE shared SET body = CAST('{}' AS BLOB)")


def delete_a_record(world: World) -> None:
    change(world, "DELETE FROM event WHERE run = ? AND seq = 9", LONG_RUN)


def insert_a_record(world: World) -> None:
    with owned(world) as connection:
        data = header_of(connection, LONG_RUN, 9)
        raw = canonical(data | {"seq": 9, "at": data["at"] + 1})
        drop_unique_indexes(connection)
        row = (raw.decode(), record_hash(raw))
        connection.execute("INSERT INTO event (header, hash) VALUES (?, ?)", row)


def swap_records(world: World) -> None:
    with owned(world) as connection:
        drop_unique_indexes(connection)
        rows = connection.execute(
            "SELECT pos, header, hash FROM event WHERE run = ? AND seq IN (8, 9)", (LONG_RUN,)
        ).fetchall()
        for (pos, _, _), (_, header, digest) in zip(rows, rows[::-1], strict=True):
            statement = "UPDATE event SET header = ?, hash = ? WHERE pos = ?"
            connection.execute(statement, (header, digest, pos))


def duplicate_a_record(world: World) -> None:
    with owned(world) as connection:
        drop_unique_indexes(connection)
    change(
        world,
        "INSERT INTO event (header, hash) SELECT header, hash FROM event WHERE run = ? AND seq = 9",
        LONG_RUN,
    )


def cut_a_sealed_run(world: World) -> None:
    cut(world, LATER, 2)


def take_a_sealed_run_away(world: World) -> None:
    take_away(world, LATER)


def make_a_chain_anew(world: World) -> None:
    rechain(world, LATER, 2, model="claude-other")
    lists_anew(world)


def make_the_tree_anew(world: World) -> None:
    make_a_chain_anew(world)
    reseal(world, None)


def make_all_anew_with_the_key(world: World) -> None:
    make_a_chain_anew(world)
    reseal(world, world.key)


SEALED_FIRST = len(everything())
"""Heads under the first checkpoint."""


def take_a_run_and_its_leaves_away(world: World) -> None:
    take_away(world, LATER)
    with owned(world) as connection:
        connection.execute("DELETE FROM leaf WHERE idx >= ?", [SEALED_FIRST])
        connection.execute("DELETE FROM checkpoint WHERE size > ?", [SEALED_FIRST])
        connection.execute("DELETE FROM node WHERE (n + 1) << level > ?", [SEALED_FIRST])


def roll_back(world: World) -> None:
    shutil.copy(world.yesterday, world.path)


def swap_stores(world: World) -> None:
    shutil.copy(world.other, world.path)
    world.id = "another"


def replace_the_key(world: World) -> None:
    reseal(world, world.thief)


def damage_the_tree(world: World) -> None:
    change(world, "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND n = 0")


def take_checkpoints_away(world: World) -> None:
    change(world, "DELETE FROM checkpoint WHERE size > 4")


def cut_what_no_checkpoint_covers(world: World) -> None:
    cut(world, LAST, 1)


STORE_ATTACKS: dict[str, tuple[Callable[[World], None], str]] = {
    "edit a field of a record": (edit_a_record, VERIFY),
    "edit a list (projection)": (edit_a_list, VERIFY),
    "edit content": (edit_content, VERIFY),
    "delete content": (delete_content, VERIFY),
    "edit the text of a policy": (edit_a_policy_text, VERIFY),
    "delete a record": (delete_a_record, VERIFY),
    "insert a record": (insert_a_record, VERIFY),
    "swap two records": (swap_records, VERIFY),
    "duplicate a record": (duplicate_a_record, VERIFY),
    "cut the end of a sealed run": (cut_a_sealed_run, VERIFY),
    "take a sealed run away whole": (take_a_sealed_run_away, VERIFY),
    "make a run's chain anew": (make_a_chain_anew, VERIFY),
    "damage the tree": (damage_the_tree, VERIFY),
    "take checkpoints away": (take_checkpoints_away, VERIFY),
    "make chain and tree anew, without the key": (make_the_tree_anew, KEY),
    "sign all checkpoints with another key": (replace_the_key, KEY),
    "make all anew with the stolen key": (make_all_anew_with_the_key, MEMORY),
    "take a run, its leaves and checkpoints away": (take_a_run_and_its_leaves_away, MEMORY),
    "roll back to yesterday's file": (roll_back, MEMORY),
    "put another store in its place": (swap_stores, MEMORY),
    "cut what no checkpoint covers yet": (cut_what_no_checkpoint_covers, NOTHING),
}

APPROVAL_ATTACKS = (
    "forge an approval",
    "approve in another's name",
    "replay an approval for a second attempt",
    "transplant an approval to another call",
    "transplant an approval to another run",
    "transplant an approval to another store",
    "change the arguments after approval",
)


def test_the_store_as_it_is_has_nothing_to_find(world: World) -> None:
    assert found_by(world) == NOTHING


@pytest.mark.parametrize("attack", STORE_ATTACKS)
def test_an_attack_is_found_by_what_the_documentation_says(world: World, attack: str) -> None:
    do, expected = STORE_ATTACKS[attack]
    do(world)
    assert found_by(world) == expected


def test_the_table_in_the_documentation_is_this_catalogue() -> None:
    rows = dict(re.findall(r"^\| ([a-z][^|]*?) \| ([^|]*?) \|$", DOCS, re.MULTILINE))
    del rows["what is done"]
    expected = {name: by for name, (_, by) in STORE_ATTACKS.items()}
    expected |= dict.fromkeys(APPROVAL_ATTACKS, USE)
    assert rows == expected


def test_what_was_kept_elsewhere_finds_it_too(world: World, tmp_path: Path) -> None:
    with AuditStore(world.path, read_only=True) as store, store.reading() as connection:
        kept = newest_checkpoint(connection)
    assert kept is not None
    for do in (roll_back, swap_stores):
        do(world)
        with AuditStore(world.path, read_only=True) as store:
            assert store.verify().ok
            assert not store.verify(lists=False, trust=Trust(notes=[kept])).ok


# --- every field ------------------------------------------------------------------------


@pytest.fixture
def connection(world: World) -> Iterator[Connection]:
    with AuditStore(world.path) as store, store.reading() as opened:
        yield opened


def test_an_edit_of_any_field_of_any_record_is_found(connection: Connection) -> None:
    rows = connection.exec_driver_sql("SELECT pos, header FROM event").all()
    tried = 0
    for pos, text in rows:
        data = json.loads(text)
        for name, value in data.items():
            changed = canonical(data | {name: _another(value)}).decode()
            if _changed(connection, "UPDATE event SET header = ? WHERE pos = ?", changed, pos):
                tried += 1
                found = verify(connection, lists=False)
                assert not found.ok, (pos, name)
                connection.rollback()
    assert tried > 500


def test_an_edit_of_any_column_of_any_list_is_found(connection: Connection) -> None:
    for table in ("run", "call", "model_call", "approval"):
        names = [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]
        for name in names:
            query = f'SELECT rowid, "{name}" FROM {table} ORDER BY rowid DESC LIMIT 1'
            rowid, value = connection.exec_driver_sql(query).one()
            sql = f'UPDATE {table} SET "{name}" = ? WHERE rowid = ?'
            if _changed(connection, sql, _another(value), rowid):
                assert not verify(connection).ok, (table, name)
                connection.rollback()


def test_an_edit_of_any_content_or_its_salt_is_found(connection: Connection) -> None:
    rows = connection.exec_driver_sql("SELECT rowid, salt, body FROM content").all()
    for rowid, salt, body in rows:
        for name, value in (("salt", salt), ("body", body)):
            sql = f"UPDATE content SET {name} = ? WHERE rowid = ?"
            assert _changed(connection, sql, _another(value), rowid)
            assert not verify(connection, lists=False).ok, (rowid, name)
            connection.rollback()


def _changed(connection: Connection, sql: str, *values: Any) -> bool:
    """Whether the database let it happen; an index of ours may refuse it already."""
    try:
        connection.exec_driver_sql(sql, values)
    except DBAPIError:
        connection.rollback()
        return False
    return True


def _another(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x"
        case bytes():
            return value + b"x"
        case list():
            return [*value, "x"]
        case dict():
            return value | {"x": "x"}
        case _:
            return "x"


# --- approvals --------------------------------------------------------------------------

Keys = dict[str, KeyFile]


def good(desk: Desk, run: Run, call: ToolCall, *, store: str | None = None) -> list[str]:
    heads = {record.hash.hex() for record in desk.store.records(run.id)}
    found = check_approvals(
        run,
        call,
        reviewers=desk.policy.reviewers,
        store=store or desk.store.id,
        heads=heads,
        at=desk.clock(),
    )
    return [approval.by for approval in found]


async def held(desk: Desk, id: str = "r_0000000000000001") -> tuple[Run, ToolCall]:
    run = await desk.store.append(
        Run(id),
        [started(bundle=desk.policy.bundle), asked(), replied(use("pay", payee="b", cents=5))],
    )
    run = await desk.decide(run)
    return run, run.calls[0]


async def said_yes(desk: Desk, run: Run, yes: CallApproved) -> tuple[Run, ToolCall]:
    run = await desk.store.append(run, [yes])
    return run, run.calls[0]


async def test_a_genuine_approval_is_good_for_its_call(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    run, call = await said_yes(desk, run, desk.signed(run, call, keys["ana"], "ana"))
    assert good(desk, run, call) == ["ana"]


async def test_a_forged_approval_is_refused(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    for key, name in ((keys["eve"], "eve"), (keys["eve"], "ana"), (keys["bob"], "ana")):
        run, call = await said_yes(desk, run, desk.signed(run, call, key, name))
    assert good(desk, run, call) == []


async def test_a_replayed_approval_is_refused(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    yes = desk.signed(run, call, keys["ana"], "ana")
    run, call = await said_yes(desk, run, yes)
    run = await desk.store.append(run, [began(call)])
    run = await desk.store.append(run, [doubted(run.calls[0])])
    run = await desk.store.append(run, [settled(run.calls[0], happened=False)])
    run = await desk.decide(run)
    assert run.calls[0].status == "held"
    run, call = await said_yes(desk, run, yes)
    assert good(desk, run, call) == []


async def test_a_transplanted_approval_is_refused(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    other_run, other = await held(desk, "r_0000000000000002")
    yes = desk.signed(run, call, keys["ana"], "ana")
    moved = yes.model_copy(update={"call": other.id})
    other_run, other = await said_yes(desk, other_run, moved)
    assert good(desk, other_run, other) == []
    run, call = await said_yes(desk, run, yes)
    assert good(desk, run, call, store="s_another") == []


async def test_arguments_changed_after_approval_are_refused(desk: Desk, keys: Keys) -> None:
    from dataclasses import replace

    run, call = await held(desk)
    run, call = await said_yes(desk, run, desk.signed(run, call, keys["ana"], "ana"))
    more = replace(call, arguments=b'{"cents":5000,"payee":"b"}')
    assert good(desk, run, more) == []
