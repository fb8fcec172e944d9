from typing import Any

import pytest
from worlds import AGENT, asked, replied, said, started

from agentrt.audit import AuditStore
from agentrt.errors import StoreCorrupt
from agentrt.events import RunFinished, RunStarted
from agentrt.run import Run, begin_after

ONE, TWO, THREE = "r_0000000000000001", "r_0000000000000002", "r_0000000000000003"
LAST_WORD = (
    asked(),
    replied(said("Paid.")),
    RunFinished(stop_reason="end_turn", output="Paid."),
)


async def a_run(store: AuditStore, id: str, first: RunStarted) -> Run:
    return await store.append(Run(id), [first, *LAST_WORD])


async def three_runs(store: AuditStore) -> list[Run]:
    """Three runs, each of which follows the one before."""
    one = await a_run(store, ONE, started())
    two = await a_run(store, TWO, begin_after(one, started("And then?")))
    return [one, two, await a_run(store, THREE, begin_after(two, started("And now?")))]


def changed(store: AuditStore, statement: str) -> None:
    with store._engine.begin() as connection:
        for name in ("event_delete", "content_update"):
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql(statement)


def findings(store: AuditStore, run: str | None = None) -> list[tuple[str, int | None]]:
    return [(found.run, found.seq) for found in store.verify(run).findings]


async def test_ancestors_are_told_oldest_first_and_parents_by_run(store: AuditStore) -> None:
    await three_runs(store)
    assert [store.ancestors(run) for run in (ONE, TWO, THREE)] == [[], [ONE], [ONE, TWO]]
    assert store.parents([ONE, TWO, THREE, "r_none"]) == {TWO: ONE, THREE: TWO}
    assert store.ancestors("r_none") == []
    assert store.ancestors("store") == []


async def test_runs_that_follow_each_other_are_ok_together_and_one_by_one(
    store: AuditStore,
) -> None:
    runs = await three_runs(store)
    assert store.verify().ok
    for run in runs:
        assert store.verify(run.id).ok
        assert store.load_intact(run.id) == run


async def test_a_store_can_be_asked_for_the_lineage_of_very_many_runs(store: AuditStore) -> None:
    await three_runs(store)
    assert store.parents([*(f"r_{number}" for number in range(40_000)), TWO]) == {TWO: ONE}


@pytest.mark.sqlite
async def test_a_parent_that_was_cut_off_shows_in_what_follows_it(store: AuditStore) -> None:
    """Even if its row in the list of runs is put right: a chain cannot know how long it was."""
    await three_runs(store)
    changed(store, f"DELETE FROM event WHERE run = '{ONE}' AND seq = 4")
    assert (TWO, 1) in findings(store)
    assert (TWO, 1) in findings(store, TWO)
    for run in (TWO, THREE):
        with pytest.raises(StoreCorrupt):
            store.load_intact(run)


@pytest.mark.sqlite
async def test_content_of_a_parent_that_is_gone_is_told_of_the_parent_alone(
    store: AuditStore,
) -> None:
    await three_runs(store)
    changed(store, f"DELETE FROM content WHERE run = '{ONE}' AND part = 'blocks'")
    assert findings(store) == [(ONE, 3)]
    assert store.verify(TWO).ok


@pytest.mark.sqlite
async def test_a_parent_whose_words_were_changed_is_told_of_both(store: AuditStore) -> None:
    await three_runs(store)
    words = "CAST(replace(CAST(body AS TEXT), 'Paid.', 'Owed.') AS BLOB)"
    changed(store, f"UPDATE content SET body = {words} WHERE run = '{ONE}'")
    assert {(ONE, 3), (TWO, 1)} <= set(findings(store))
    with pytest.raises(StoreCorrupt, match=ONE):
        store.load_intact(THREE)


async def test_a_run_can_be_followed_at_its_ends_only(store: AuditStore) -> None:
    one = await store.append(Run(ONE), [started()])
    begun = begin_after(await store.append(one, LAST_WORD), started("And then?"))
    await a_run(store, TWO, begun.model_copy(update={"parent_head": one.head.hex()}))
    assert findings(store) == findings(store, TWO) == [(TWO, 1)]


@pytest.mark.parametrize("parents", [(ONE,), (TWO, ONE), (TWO, THREE, ONE)])
async def test_a_circle_is_no_lineage(store: AuditStore, parents: tuple[str, ...]) -> None:
    said: dict[str, Any] = {"parent_head": "0" * 64, "definition": AGENT.definition()}
    for run, parent in zip((ONE, TWO, THREE), parents, strict=False):
        await store.append(Run(run), [started(parent=parent, **said)])
    with pytest.raises(StoreCorrupt, match="follows itself"):
        store.ancestors(ONE)
    assert (ONE, 1) in findings(store, ONE)
