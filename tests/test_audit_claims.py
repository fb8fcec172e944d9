"""Claims: one process takes a run at a time, users take turns, limits hold, the dead have none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from worlds import Desk, asked, started

from agentrt.audit import AuditStore, Wanted
from agentrt.audit import claims as claims_file
from agentrt.events import User
from agentrt.run import Run

ALL = Wanted(agents=("desk", "other"), simulated=False)


async def ready(store: AuditStore, id: str, *, user: str | None = None, **options: Any) -> str:
    """A run that could go on."""
    who = {"user": User(name=user), "user_ref": store.ref(user)} if user else {}
    agent = options.pop("agent", "desk")
    await store.append(Run(id), [started("Go.", agent=agent, **who, **options)])
    return id


@pytest.fixture
def other(store: AuditStore) -> Iterator[AuditStore]:
    with AuditStore(store.path) as opened:
        yield opened


async def test_a_ready_run_is_taken_once(store: AuditStore, other: AuditStore) -> None:
    await ready(store, "r_1")
    assert await store.claims.take(ALL, 5) == ["r_1"]
    assert await other.claims.take(ALL, 5) == []
    assert store.carrier("r_1") == store.process


async def test_two_who_take_at_once_share_and_never_take_the_same(
    store: AuditStore, other: AuditStore
) -> None:
    for number in range(40):
        await ready(store, f"r_{number}")

    def take(mine: AuditStore) -> list[str]:
        async def all_of_it() -> list[str]:
            taken: list[str] = []
            while more := await mine.claims.take(replace(ALL, but=taken), 3):
                taken += more
            return taken

        return asyncio.run(all_of_it())

    with ThreadPoolExecutor() as threads:
        one, two = threads.map(take, (store, other))
    assert sorted(one + two) == sorted(f"r_{number}" for number in range(40))


async def test_what_was_let_go_can_be_taken_again(store: AuditStore, other: AuditStore) -> None:
    await ready(store, "r_1")
    await store.claims.take(ALL, 1)
    await store.release("r_1")
    assert await other.claims.take(ALL, 1) == ["r_1"]


async def test_a_lease_that_its_holder_let_fall_is_taken_again_by_it(store: AuditStore) -> None:
    await ready(store, "r_1")
    await store.claims.take(ALL, 1)
    carried = Wanted(agents=("desk",), simulated=False, but=("r_1",))
    assert await store.claims.take(carried, 1) == []
    assert await store.claims.take(ALL, 1) == ["r_1"]


async def test_runs_of_a_dead_process_are_taken_at_once(store: AuditStore) -> None:
    await ready(store, "r_1")
    with AuditStore(store.path) as dying:
        await dying.claims.take(ALL, 1)
        assert not store.claims.findable(ALL)
    assert store.claims.findable(ALL)
    assert await store.claims.take(ALL, 1) == ["r_1"]


async def test_runs_of_a_process_that_is_silent_go_on_elsewhere(
    store: AuditStore, other: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready(store, "r_1")
    await attend(other)
    await other.claims.take(ALL, 1)
    assert await store.claims.take(ALL, 1) == []
    monkeypatch.setattr(claims_file, "SILENT_S", -1)
    assert await store.claims.take(ALL, 1) == ["r_1"]
    assert [each.alive for each in store.claims.present()] == [False]


async def attend(store: AuditStore, **options: Any) -> None:
    said = {
        "service": "agentrt worker",
        "host": "here",
        "pid": 1,
        "version": "0",
        "agents": ("desk",),
        "simulated": False,
        "room": 3,
    }
    await store.claims.attend(**{**said, **options})


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(agents=("other",), simulated=False),
        Wanted(agents=("desk",), simulated=True),
        Wanted(agents=("desk",), simulated=False, but=("r_1",)),
        Wanted(agents=("desk",), simulated=False, only=("r_2",)),
    ],
    ids=["agent", "simulated", "but", "only"],
)
async def test_what_a_process_cannot_carry_it_does_not_take(
    store: AuditStore, wanted: Wanted
) -> None:
    await ready(store, "r_1")
    assert not store.claims.findable(wanted)
    assert await store.claims.take(wanted, 1) == []


async def test_a_run_that_waits_is_not_taken(desk: Desk) -> None:
    await desk.hold()
    wanted = Wanted(agents=(desk.store.runs()[0].agent,), simulated=False)
    assert await desk.store.claims.take(wanted, 1) == []
    assert desk.store.claims.ready(most=10) == 0
    assert desk.store.claims.waiting() == 1


async def test_a_user_with_a_thousand_runs_does_not_keep_another_waiting(
    store: AuditStore,
) -> None:
    for number in range(30):
        await ready(store, f"r_many_{number:02}", user="mona")
    await ready(store, "r_one", user="tom")
    taken = await one_after_another(store, 3)
    assert "r_one" in taken[:2]
    assert [run for run in taken if run != "r_one"] == ["r_many_00", "r_many_01"]


async def one_after_another(store: AuditStore, count: int) -> list[str]:
    taken: list[str] = []
    for _ in range(count):
        taken += await store.claims.take(replace(ALL, but=taken), 1)
    return taken


async def test_whoever_was_served_longest_ago_is_next(store: AuditStore) -> None:
    for user in ("ana", "bob", "cid"):
        for number in range(3):
            await ready(store, f"r_{user}_{number}", user=user)
    order = [run.split("_")[1] for run in await one_after_another(store, 9)]
    assert all(len(set(order[start : start + 3])) == 3 for start in (0, 3, 6))


async def test_no_more_runs_of_a_user_than_the_limit_are_carried_by_all_together(
    store: AuditStore, other: AuditStore
) -> None:
    for number in range(6):
        await ready(store, f"r_mona_{number}", user="mona")
    await ready(store, "r_tom", user="tom")
    limited = Wanted(agents=("desk",), simulated=False, per_user=2)
    assert sorted(await store.claims.take(limited, 10)) == ["r_mona_0", "r_mona_1", "r_tom"]
    assert await other.claims.take(limited, 10) == []
    await store.release("r_mona_0")
    await store.append(store.load("r_mona_0"), [asked()])
    assert await other.claims.take(limited, 10) == ["r_mona_0"]


async def test_no_more_runs_of_an_agent_than_the_limit_are_carried(
    store: AuditStore, other: AuditStore
) -> None:
    for number in range(3):
        await ready(store, f"r_desk_{number}")
        await ready(store, f"r_other_{number}", agent="other")
    limited = Wanted(agents=("desk", "other"), simulated=False, per_agent=2)
    taken = await store.claims.take(limited, 10)
    assert sorted(run.split("_")[1] for run in taken) == ["desk", "desk", "other", "other"]
    assert await other.claims.take(limited, 10) == []


async def test_who_is_there_is_told_with_what_it_carries(
    store: AuditStore, other: AuditStore
) -> None:
    await ready(store, "r_1")
    await attend(store, agents=("desk", "other"))
    await store.claims.take(ALL, 1)
    (present,) = other.claims.present()
    assert present.process == store.process
    assert present.agents == ("desk", "other")
    assert present.carries == ("r_1",)
    assert present.alive
    assert not present.draining
    await store.claims.drain()
    assert other.claims.present()[0].draining
    await store.claims.leave()
    assert other.claims.present() == []


async def test_a_word_from_a_thread_is_heard(store: AuditStore) -> None:
    await attend(store)
    (before,) = store.claims.present()
    await asyncio.sleep(0.01)
    await asyncio.to_thread(lambda: store.claims.beat().result(timeout=10))
    (after,) = store.claims.present()
    assert after.seen_at > before.seen_at


async def test_the_dead_are_forgotten_when_another_comes(store: AuditStore) -> None:
    with AuditStore(store.path) as dying:
        await attend(dying)
    assert [each.alive for each in store.claims.present()] == [False]
    await attend(store)
    assert [each.process for each in store.claims.present()] == [store.process]


@pytest.mark.sqlite
async def test_whose_turn_it_is_is_looked_up_in_an_index_user_by_user(
    store: AuditStore,
) -> None:
    await ready(store, "r_1", user="mona")
    with store._reading() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {_sql(claims_file.USERS)}").all()
    told = [step[-1] for step in steps]
    assert len([step for step in told if step.startswith("SEARCH run USING COVERING")]) == 2
    assert not [step for step in told if step.startswith("SCAN run")]


def _sql(query: Any) -> str:
    from sqlalchemy.dialects import sqlite

    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    return str(compiled)
