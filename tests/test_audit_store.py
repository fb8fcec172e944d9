import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from everything import everything
from sqlalchemy import event
from worlds import (
    AT,
    HOUR_MS,
    Clock,
    Desk,
    Story,
    approved,
    asked,
    began,
    decided,
    finished,
    replied,
    said,
    started,
    use,
)

from agentrt.audit import STORE_CHAIN, AuditStore
from agentrt.audit import store as store_file
from agentrt.errors import (
    CarriedElsewhere,
    ClockWentBack,
    Conflict,
    Expired,
    NotFound,
    StoreUnavailable,
)
from agentrt.events import BundleLoaded, RunCancelled, RunFailed, User
from agentrt.run import Run, fold

RUN = Run("r_0000000000000001")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[AuditStore]:
    with AuditStore(tmp_path / "agentrt.db", clock=clock) as opened:
        yield opened


async def everything_in(store: AuditStore) -> list[Story]:
    stories = everything()
    for story in stories:
        await store.append(Run(story.run.id), [record.event for record in story.records])
    return stories


# --- append and load -------------------------------------------------------------------


async def test_what_an_append_returns_is_what_a_load_folds(store: AuditStore) -> None:
    run = await store.append(RUN, [started()])
    run = await store.append(run, [asked(), replied(use("pay", payee="bob"))])
    run = await store.append(run, [decided(run.calls[0], "hold")])
    assert run == store.load(RUN.id) == fold(store.records(RUN.id))
    assert run.seq == 4


async def test_every_event_reads_back_as_it_was_appended(store: AuditStore) -> None:
    for story in await everything_in(store):
        stored = store.records(story.run.id)
        assert [record.event for record in stored] == [record.event for record in story.records]
        assert [record.seq for record in stored] == list(range(1, len(stored) + 1))


async def test_a_run_catches_up_with_what_others_appended(store: AuditStore) -> None:
    first = await store.append(RUN, [started()])
    newest = await store.append(first, [asked(), replied(said("hi"))])
    assert store.catch_up(first) == newest
    assert store.catch_up(newest) is newest
    assert store.catch_up(Run(RUN.id)) == newest


async def test_runs_that_share_a_past_do_not_share_a_future(store: AuditStore) -> None:
    """A fold that lost a race keeps its own conversation, whoever extended the same list."""
    base = await store.append(RUN, [started(), asked()])
    winner = await store.append(base, [replied(said("one"))])
    with pytest.raises(Conflict):
        await store.append(base, [replied(said("two"))])
    again = await store.append(winner, [asked(2), replied(said("three"), turn=2)])
    assert base == fold(store.records(RUN.id)[:2])
    assert winner == fold(store.records(RUN.id)[:3])
    assert again == store.load(RUN.id)


async def test_an_append_to_a_run_that_moved_on_is_a_conflict_and_writes_nothing(
    store: AuditStore,
) -> None:
    stale = await store.append(RUN, [started()])
    await store.append(stale, [asked()])
    for late in (stale, RUN, Run(RUN.id, seq=2, head=bytes(32)), Run("r_new", seq=1)):
        with pytest.raises(Conflict, match="read it again"):
            await store.append(late, [asked(ask=2)])
    assert store.load(RUN.id).seq == 2
    assert store.verify().ok


@pytest.mark.sqlite
async def test_all_events_of_an_append_are_recorded_or_none(store: AuditStore) -> None:
    run = await store.append(RUN, [started(), asked(), replied(use("pay"))])
    run = await store.append(run, [decided(run.calls[0])])
    start = began(run.calls[0])
    with pytest.raises(StoreUnavailable, match="UNIQUE"):
        await store.append(run, [start, start])
    assert store.load(RUN.id) == run
    assert (await store.append(run, [start])).seq == run.seq + 1


async def test_of_many_who_append_to_one_run_one_wins_each_time(store: AuditStore) -> None:
    run = await store.append(RUN, [started()])
    for turn in range(1, 11):
        outcomes = await asyncio.gather(
            *(store.append(run, [asked(turn, ask)]) for ask in range(1, 9)), return_exceptions=True
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Run)]
        assert len(won) == 1
        assert all(isinstance(other, Run | Conflict) for other in outcomes)
        run = won[0]
    assert store.load(RUN.id) == run
    assert store.verify().ok


async def test_concurrent_appends_share_their_commits(store: AuditStore) -> None:
    runs = [await store.append(Run(f"r_{number:016x}"), [started()]) for number in range(32)]
    commits = 0

    def count(_connection: Any) -> None:
        nonlocal commits
        commits += 1

    event.listen(store._engine, "commit", count)
    for turn in range(1, 11):
        runs = list(await asyncio.gather(*(store.append(run, [asked(turn)]) for run in runs)))
    event.remove(store._engine, "commit", count)
    assert {run.seq for run in runs} == {11}
    assert commits < 160  # one by one it would be 320


async def test_a_refused_append_does_not_disturb_the_others_of_its_commit(
    store: AuditStore,
) -> None:
    runs = [await store.append(Run(f"r_{number:016x}"), [started()]) for number in range(20)]
    stale = Run(runs[0].id)
    attempts = [stale if number % 2 else run for number, run in enumerate(runs)]
    outcomes = await asyncio.gather(
        *(store.append(run, [asked()]) for run in attempts), return_exceptions=True
    )
    assert [isinstance(outcome, Conflict) for outcome in outcomes] == [
        bool(number % 2) for number in range(20)
    ]
    assert store.verify().ok


# --- time ------------------------------------------------------------------------------


async def test_time_never_goes_back_within_a_run(store: AuditStore, clock: Clock) -> None:
    run = await store.append(RUN, [started()])
    clock.now -= 1000
    run = await store.append(run, [asked()])
    clock.now += 5000
    run = await store.append(run, [replied(said("hi"))])
    assert [record.at - AT for record in store.records(RUN.id)] == [0, 0, 4000]


@pytest.mark.parametrize("fact", ["run", "ask", "decide", "approve", "start"])
async def test_nothing_is_decided_or_started_by_a_clock_that_went_back(
    store: AuditStore, clock: Clock, fact: str
) -> None:
    run = await store.append(RUN, [started(), asked(), replied(use("pay", payee="bob"))])
    held = await store.append(run, [decided(run.calls[0], "hold")])
    clock.now -= HOUR_MS
    call = held.calls[0]
    decisive = {
        "run": (Run("r_new"), started()),
        "ask": (held, asked(2)),
        "decide": (held, decided(call)),
        "approve": (held, approved(call)),
        "start": (held, began(call)),
    }
    where, what = decisive[fact]
    with pytest.raises(ClockWentBack, match="3600 s behind"):
        await store.append(where, [what])
    assert store.load(RUN.id) == held


async def test_what_has_happened_is_recorded_whatever_the_clock_says(
    store: AuditStore, clock: Clock
) -> None:
    run = await store.append(RUN, [started(), asked(), replied(use("pay", payee="bob"))])
    run = await store.append(run, [decided(run.calls[0])])
    run = await store.append(run, [began(run.calls[0])])
    clock.now -= HOUR_MS
    run = await store.append(run, [finished(run.calls[0], "paid")])
    assert run.past_calls.since(0)[0].result == "paid"
    await store.append(run, [RunCancelled(by="ana", by_ref="r", reason="clock")])


async def test_a_clock_that_went_back_is_noticed_after_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    with AuditStore(tmp_path / "a.db", clock=clock) as store:
        await store.append(RUN, [started()])
    clock.now -= HOUR_MS
    with AuditStore(tmp_path / "a.db", clock=clock) as store, pytest.raises(ClockWentBack):
        await store.append(Run("r_new"), [started()])


async def test_a_clock_that_is_a_little_behind_is_tolerated(
    store: AuditStore, clock: Clock
) -> None:
    await store.append(RUN, [started()])
    clock.now -= 5000
    await store.append(Run("r_other"), [started()])


async def test_an_append_that_came_too_late_is_refused(store: AuditStore, clock: Clock) -> None:
    run = await store.append(RUN, [started()], not_after=AT + 1)
    with pytest.raises(Expired):
        await store.append(run, [asked()], not_after=AT)
    clock.now += 1
    with pytest.raises(Expired):
        await store.append(run, [asked()], not_after=AT + 1)
    assert store.load(RUN.id) == run


# --- a disk that is full or gone -------------------------------------------------------


@pytest.mark.sqlite
async def test_a_full_disk_is_said_and_nothing_is_half_written(store: AuditStore) -> None:
    run = await store.append(RUN, [started()])
    await set_pages(store, "(SELECT 1)")
    with pytest.raises(StoreUnavailable, match="Make room on the disk"):
        await store.append(run, [asked(), replied(said("x" * 200_000))])
    assert store.load(RUN.id) == run
    await set_pages(store, "1000000")
    run = await store.append(run, [asked(), replied(said("x" * 200_000))])
    assert store.load(RUN.id) == run
    assert store.verify().ok


async def set_pages(store: AuditStore, count: str) -> None:
    """Let the file of the writer's connection have so many pages; never fewer than it has."""
    number = "1" if count.startswith("(") else count

    def limit(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {number}")

    await store._write(limit)


async def test_a_closed_store_takes_nothing_and_closes_again(store: AuditStore) -> None:
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.append(RUN, [started()])
    store.close()


# --- leases ----------------------------------------------------------------------------

CLAIMANT = """
import asyncio, sys
from agentrt.audit import AuditStore
store = AuditStore(sys.argv[1])
asyncio.run(store.claim(sys.argv[2]))
print(store.process, flush=True)
sys.stdin.read()
"""


@contextmanager
def claimed_elsewhere(path: Path, run: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", CLAIMANT, str(path), run]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


@pytest.mark.sqlite
async def test_a_run_is_carried_by_one_living_process(store: AuditStore) -> None:
    run = await store.append(RUN, [started()])
    with claimed_elsewhere(store.path, RUN.id) as (child, holder):
        assert store.carrier(RUN.id) == holder
        with pytest.raises(CarriedElsewhere, match=holder):
            await store.claim(RUN.id)
        with pytest.raises(CarriedElsewhere, match="not by this process"):
            await store.append(run, [asked()], process=store.process)
        assert store.load(RUN.id) == run
        child.kill()
        child.wait()
        assert store.carrier(RUN.id) is None
        assert not store.is_alive(holder)
        await store.claim(RUN.id)
    assert store.carrier(RUN.id) == store.process
    assert (await store.append(run, [asked()], process=store.process)).seq == 2


async def test_a_reviewer_needs_no_lease(store: AuditStore) -> None:
    run = await store.append(RUN, [started()])
    with claimed_elsewhere(store.path, RUN.id):
        await store.append(run, [asked()])


async def test_a_run_that_nobody_claimed_cannot_be_appended_to_as_its_carrier(
    store: AuditStore,
) -> None:
    with pytest.raises(CarriedElsewhere, match="nobody"):
        await store.append(RUN, [started()], process=store.process)


async def test_a_lease_is_released_by_its_holder_only(store: AuditStore, tmp_path: Path) -> None:
    await store.claim(RUN.id)
    await store.claim(RUN.id)
    with AuditStore(store.path) as other:
        await other.release(RUN.id)
        assert store.carrier(RUN.id) == store.process
        await store.release(RUN.id)
        await other.claim(RUN.id)
        assert store.carrier(RUN.id) == other.process
    assert store.carrier(RUN.id) is None


# --- two processes ---------------------------------------------------------------------

WRITER = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[3])
from worlds import asked, started
from agentrt.audit import AuditStore
from agentrt.errors import Conflict
from agentrt.run import Run

async def main():
    with AuditStore(sys.argv[1]) as store:
        own = await store.append(Run(sys.argv[2]), [started()])
        print("ready", flush=True)
        sys.stdin.readline()
        conflicts = 0
        for turn in range(1, 61):
            own = await store.append(own, [asked(turn)])
            shared = store.load("r_shared")
            try:
                await store.append(shared, [asked(shared.turn + 1)])
            except Conflict:
                conflicts += 1
        print(json.dumps(conflicts), flush=True)

asyncio.run(main())
"""


@pytest.mark.sqlite
async def test_two_processes_that_append_to_one_run_never_fork_its_chain(
    store: AuditStore,
) -> None:
    store.clock = lambda: AT
    with AuditStore(store.path.with_name("two.db")) as shared:
        await shared.append(Run("r_shared"), [started()])
        tests = str(Path(__file__).parent)
        children = [_writer(shared.path, f"r_{number}", tests) for number in range(2)]
        for child in children:
            _let_run(child)
        conflicts = [_result(child) for child in children]
        assert shared.load("r_shared").seq == 1 + 120 - sum(conflicts)
        assert [shared.load(f"r_{number}").seq for number in range(2)] == [61, 61]
        assert shared.verify().ok
        assert all(conflict < 60 for conflict in conflicts)  # neither was kept out for long


def _writer(path: Path, run: str, tests: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), run, tests]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True)


def _let_run(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.stdin.write("go\n")
    child.stdin.flush()


def _result(child: subprocess.Popen[str]) -> int:
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    conflicts: int = json.loads(out)
    return conflicts


KILLED = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from worlds import asked, started
from agentrt.audit import AuditStore
from agentrt.run import Run

async def write(store, name):
    run = await store.append(Run(name), [started()])
    print(run.id, run.seq, flush=True)
    for turn in range(1, 100_000):
        run = await store.append(run, [asked(turn)])
        print(run.id, run.seq, flush=True)

async def main():
    store = AuditStore(sys.argv[1])
    names = [f"r_{sys.argv[3]}_{number}" for number in range(4)]
    await asyncio.gather(*(write(store, name) for name in names))

asyncio.run(main())
"""


@pytest.mark.sqlite
@pytest.mark.crash
def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    path = tmp_path / "agentrt.db"
    acknowledged: dict[str, int] = {}
    for kill in range(20):
        command = [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent), str(kill)]
        with subprocess.Popen(command, stdout=-1, text=True) as child:
            assert child.stdout is not None
            for _ in range(10 + kill * 7):
                run, seq = child.stdout.readline().split()
                acknowledged[run] = int(seq)
            child.kill()
            for line in child.stdout:  # what it still said before it died
                if line.endswith("\n"):
                    run, seq = line.split()
                    acknowledged[run] = int(seq)
        with AuditStore(path) as store:
            assert store.verify().ok
            for run, seq in acknowledged.items():
                assert store.load(run).seq >= seq
    assert len(acknowledged) == 80


# --- read ------------------------------------------------------------------------------


async def test_a_run_that_is_not_there_is_not_found(store: AuditStore) -> None:
    with pytest.raises(NotFound, match="r_nowhere"):
        store.load("r_nowhere")
    assert store.records("r_nowhere") == []


async def test_runs_are_listed_newest_first_without_the_stores_own_chain(
    store: AuditStore, clock: Clock
) -> None:
    await store.append(Run(STORE_CHAIN), [BundleLoaded(bundle="b", service="s", files=b"{}")])
    for number in range(3):
        clock.now += 1000
        await store.append(Run(f"r_{number}"), [started(agent=f"agent{number % 2}")])
    assert [row.id for row in store.runs()] == ["r_2", "r_1", "r_0"]
    assert [row.id for row in store.runs(agents=["agent0"], limit=1)] == ["r_2"]
    assert [row.id for row in store.runs(ids=["r_1"])] == ["r_1"]
    assert store.runs(ids=[]) == []
    assert store.runs(agents=[]) == []


async def test_runs_are_found_by_status_and_user(store: AuditStore) -> None:
    mona = await store.append(Run("r_mona"), [started(user=User(name="mona"))])
    await store.append(Run("r_olaf"), [started(user=User(name="olaf"))])
    await store.append(mona, [RunFailed(code="deadline", message="late")])
    assert [(row.id, row.error) for row in store.runs(status=["failed"])] == [
        ("r_mona", "deadline")
    ]
    assert [row.id for row in store.runs(user="olaf")] == ["r_olaf"]


async def test_a_run_or_call_is_found_by_the_beginning_of_its_id(store: AuditStore) -> None:
    for name in ("r_abc1", "r_abd2"):
        await store.append(Run(name), [started()])
    assert store.find_run("r_abc") == "r_abc1"
    with pytest.raises(NotFound, match="more than one"):
        store.find_run("r_ab")
    for prefix in ("r_x", "r%", "_", "%", "store", "\\"):
        with pytest.raises(NotFound, match="no run"):
            store.find_run(prefix)
    with pytest.raises(NotFound, match="no call"):
        store.find_call("c_")


async def test_records_are_searched_by_what_their_headers_say(store: AuditStore) -> None:
    long_run = (await everything_in(store))[1]
    first = next(iter(long_run.run.past_calls))
    kinds = [record.event.type for record in store.search(call=first.id)]
    assert kinds == ["call.finished", "call.started", "call.approved", "call.decided"]
    assert [record.seq for record in store.search(types=["run.resumed", "run.failed"])] == [5, 4]
    assert len(store.search(run=long_run.run.id, limit=3)) == 3
    told = [record for story in everything() for record in story.records]
    paid = [record for record in told if getattr(record.event, "tool", "") == "pay"]
    assert len(store.search(tool="pay")) == len(paid)
    assert store.search(reviewer="nobody") == []
    assert store.search(since=AT + 1) == []
    assert len(store.search(until=AT + 1)) == len(told)


async def test_a_walk_over_all_records_follows_their_arrival_and_holds_few_of_them(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "READ_AT_ONCE", 3)
    one, other = Run("r_0000000000000001"), Run("r_0000000000000002")
    for _ in range(2):
        one = await store.append(one, [started("first") if one.seq == 0 else asked()])
        other = await store.append(other, [started("second") if other.seq == 0 else asked()])
    heard: list[int] = []
    walk = store.in_order(progress=heard.append)
    first = [next(walk) for _ in range(3)]
    assert [(record.run, record.seq) for record in first] == [
        (one.id, 1), (other.id, 1), (one.id, 2),
    ]  # fmt: skip
    assert getattr(first[1].event, "prompt", "") == "second"
    assert heard == []
    await store.append(one, [RunCancelled(by_ref="x", by="x", reason="x")])  # nobody has to wait
    assert [(record.run, record.seq) for record in walk] == [(other.id, 2), (one.id, 3)]
    assert heard == [3, 5]


async def test_people_are_searched_by_their_names_though_no_header_has_one(
    desk: Desk,
) -> None:
    desk_run = await desk.store.append(
        RUN, [started(user=User(name="mona"), user_ref=desk.store.ref("mona"))]
    )
    (record,) = desk.store.search(user="mona")
    assert record.run == desk_run.id
    assert b"mona" not in record.header
    assert desk.store.search(user="olaf") == []


async def test_references_to_names_differ_from_store_to_store(
    store: AuditStore, desk: Desk
) -> None:
    assert store.ref("mona") == store.ref("mona") != desk.store.ref("mona")
    assert store.ref("mona") != store.ref("olaf")


async def test_calls_and_verdicts_are_listed(store: AuditStore) -> None:
    long_run = (await everything_in(store))[1].run
    first = next(iter(long_run.past_calls))
    assert [row.by for row in store.approvals(first.id)] == ["ana"]
    assert [row.id for row in store.calls(status=["expired"])] == [list(long_run.past_calls)[2].id]
    assert len(store.calls(run=long_run.id)) == 5
    assert [row.tool for row in store.calls(tool="write_note")] == ["write_note"]
    row = store.find_call(first.id)
    assert (row.summary, row.severity, row.rule) == ("5 cents", "critical", "payments rules.yaml:3")


async def test_real_and_simulated_requests_are_never_listed_together(store: AuditStore) -> None:
    await everything_in(store)
    real, simulated = store.model_calls(), store.model_calls(simulated=True)
    assert [row.outcome for row in real if row.run == "r_0123456789abcdef"] == [
        *("overloaded", "tool_use", "tool_use", "pause_turn", "end_turn")
    ]
    assert [row.outcome for row in simulated] == ["tool_use"]
    assert sorted(row.cost_usd or "" for row in real) == ["", *(["0.00007"] * 7)]


async def test_a_watch_knows_which_call_expires_first(desk: Desk) -> None:
    watch = desk.store.watch()
    assert watch.next_expiry() == math.inf
    first = await desk.hold()
    desk.clock.now += 1000
    await desk.hold(run="r_0000000000000002")
    assert watch.next_expiry() == first.expires_at
    watch.close()


async def test_a_watch_knows_which_runs_could_go_on(desk: Desk) -> None:
    watch = desk.store.watch()
    run = await desk.store.append(RUN, [started()])
    assert watch.running() == [(run.id, run.agent)]
    assert watch.status(run.id) == "running"
    await desk.hold(run="r_0000000000000002")
    await desk.store.append(run, [RunCancelled(by="ana", by_ref="r", reason="stop")])
    assert watch.running() == []
    assert watch.status(run.id) == "cancelled"
    assert watch.status("r_0000000000000002") == "waiting"
    watch.close()


async def test_the_text_of_a_policy_that_was_loaded_can_be_read(store: AuditStore) -> None:
    files = b'{"rules.yaml":"rules: []"}'
    await store.append(Run(STORE_CHAIN), [BundleLoaded(bundle="b1", service="s", files=files)])
    assert store.bundle("b1") == {"rules.yaml": "rules: []"}
    assert store.bundle("b2") is None


async def test_a_watch_says_once_that_another_has_written(store: AuditStore) -> None:
    watch = store.watch()
    assert not watch.changed()
    await store.append(RUN, [started()])
    assert watch.changed()
    assert not watch.changed()
    with AuditStore(store.path) as other:
        await other.append(other.load(RUN.id), [asked()])
    assert watch.changed()
    watch.close()


@pytest.mark.sqlite
async def test_a_watch_sees_that_the_file_was_replaced(store: AuditStore) -> None:
    watch = store.watch()
    store.path.rename(store.path.with_name("old.db"))
    with pytest.raises(StoreUnavailable, match="no audit store"):
        watch.changed()
    with AuditStore(store.path), pytest.raises(StoreUnavailable, match="replaced"):
        watch.changed()
    watch.close()


async def test_the_process_of_a_store_lives_as_long_as_the_store_is_open(
    tmp_path: Path,
) -> None:
    with AuditStore(tmp_path / "a.db") as store, AuditStore(tmp_path / "a.db") as other:
        process = other.process
        assert process == other.process
        assert store.is_alive(process)
        other.close()
        assert not store.is_alive(process)
