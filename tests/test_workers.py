"""Workers: they carry what others start, drain when told, and leave what they had to the next."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import PROMPT, Shop, a_shop
from office import Office, one_call

from agentrt import tool
from agentrt.audit import AuditStore
from agentrt.audit.records import canonical, record_hash
from agentrt.errors import Overloaded
from agentrt.runtime import Load
from agentrt.testing import Script, Text, Turn

SAID = Script(turns=(Turn(reply=(Text("There."),)),))


@pytest.fixture
def office(tmp_path: Path) -> Callable[..., Office]:
    def make(*tools: Any, script: Script = SAID, **options: Any) -> Office:
        return Office(tmp_path, tools, script, **options)

    return make


async def becomes(true: Callable[[], bool]) -> None:
    """Wait until it is true, half a minute at most."""
    for _ in range(3_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not become true")


async def test_a_run_that_is_started_elsewhere_is_carried_by_the_worker(
    office: Callable[..., Office],
) -> None:
    desk = office()
    with desk:
        async with (
            desk.runtime(load=Load(runs_at_once=0)) as backend,
            desk.runtime() as worker,
        ):
            run = await asyncio.wait_for(backend.run(desk.agent(), "Hello."), timeout=30)
            assert run.status == "finished"
            assert [each.process for each in backend.store.claims.present()] == [
                worker.store.process
            ]


async def test_items_of_a_run_that_another_carries_are_told_to_who_started_it(
    office: Callable[..., Office],
) -> None:
    desk = office()
    with desk:
        async with desk.runtime(load=Load(runs_at_once=0)) as backend, desk.runtime():
            async with asyncio.timeout(30):
                items = [item async for item in backend.stream(desk.agent(), "Hello.")]
    assert [item.type for item in items] == [  # type: ignore[union-attr]
        "run.started",
        "claude.asked",
        "claude.replied",
        "run.finished",
    ]


async def test_no_more_runs_than_said_are_carried_at_once_and_all_are_carried(
    office: Callable[..., Office],
) -> None:
    at_once, most, leave = 0, 0, asyncio.Event()

    @tool(effect="read")
    async def look_up(name: str) -> str:
        """Look up."""
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await leave.wait()
        at_once -= 1
        return name

    desk = office(look_up, script=one_call("look_up", name="x"))
    with desk:
        async with desk.runtime(load=Load(runs_at_once=2)) as runtime:
            runs = [await runtime.start(desk.agent(), "Look.") for _ in range(5)]
            async with asyncio.timeout(30):
                await becomes(lambda: at_once == 2)
                leave.set()
                ended = [await runtime.wait(run) for run in runs]
    assert most == 2
    assert {run.status for run in ended} == {"finished"}


async def test_a_run_too_many_is_refused_before_anything_is_recorded(
    office: Callable[..., Office],
) -> None:
    desk = office()
    with desk:
        async with desk.runtime(load=Load(runs_at_once=0, runs_waiting=2)) as runtime:
            for _ in range(2):
                await runtime.start(desk.agent(), "Hello.")
            with pytest.raises(Overloaded, match="2 runs wait to be carried on"):
                await runtime.start(desk.agent(), "Hello.")
            assert len(runtime.store.runs()) == 2


async def test_appends_too_many_are_refused_before_anything_is_recorded(
    office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = office()
    with desk:
        async with desk.runtime(load=Load(appends_waiting=7)) as runtime:
            monkeypatch.setattr(type(runtime.store), "appends_waiting", 7)
            with pytest.raises(Overloaded, match="7 appends wait"):
                await runtime.start(desk.agent(), "Hello.")
            assert runtime.store.runs() == []


async def test_limits_of_a_user_hold_for_runs_that_are_started_here(
    office: Callable[..., Office],
) -> None:
    entered: list[str] = []
    leave = asyncio.Event()

    @tool(effect="read")
    async def look_up(name: str) -> str:
        """Look up."""
        entered.append(name)
        await leave.wait()
        return name

    desk = office(look_up, script=one_call("look_up", name="x"))
    with desk:
        async with desk.runtime(load=Load(runs_per_user=1)) as runtime:
            runs = [await runtime.start(desk.agent(), "Look.", user="mona") for _ in range(2)]
            runs.append(await runtime.start(desk.agent(), "Look.", user="tom"))
            async with asyncio.timeout(30):
                await becomes(lambda: len(entered) == 2)
                await asyncio.sleep(0.3)  # the second of mona's has time to be wrongly begun
                assert len(entered) == 2
                leave.set()
                for run in runs:
                    await runtime.wait(run)
    assert len(entered) == 3


async def test_a_worker_that_is_told_to_stop_begins_nothing_and_lets_what_runs_end(
    office: Callable[..., Office],
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    @tool(effect="read")
    async def look_up(name: str) -> str:
        """Look up."""
        entered.set()
        await leave.wait()
        return name

    desk = office(look_up, script=one_call("look_up", name="x"))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.start(desk.agent(), "Look.")
            await asyncio.wait_for(entered.wait(), timeout=20)
            draining = asyncio.create_task(runtime.drain(within_s=30))
            await becomes(lambda: runtime.store.claims.present()[0].draining)
            later = await runtime.start(desk.agent(), "Look.")
            leave.set()
            await asyncio.wait_for(draining, timeout=20)
            assert runtime.store.load(run).status == "finished"
            assert runtime.store.load(later).seq == 1
        async with desk.runtime() as next_one:
            ended = await asyncio.wait_for(next_one.wait(later), timeout=20)
    assert ended.status == "finished"


async def test_what_does_not_end_within_the_grace_time_is_left_to_be_found(
    office: Callable[..., Office],
) -> None:
    turns = (
        Turn(when={"turn": 0}, reply=one_call("look_up", name="x").turns[0].reply),  # type: ignore[arg-type]
        Turn(reply=(Text("Done."),), delay_s=1),
    )

    @tool(effect="read")
    async def look_up(name: str) -> str:
        """Look up."""
        await asyncio.sleep(0.5)
        return name

    desk = office(look_up, script=Script(turns=turns))
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.start(desk.agent(), "Look.")
            await runtime.drain(within_s=0)
        with desk.store() as store:
            assert store.load(run).status == "running"
            assert store.carrier(run) is None
        async with desk.runtime() as next_one:
            ended = await asyncio.wait_for(next_one.wait(run), timeout=20)
    assert ended.status == "finished"


@pytest.mark.sqlite
async def test_a_run_that_a_newer_version_wrote_is_left_alone_and_the_others_go_on(
    office: Callable[..., Office], caplog: pytest.LogCaptureFixture
) -> None:
    desk = office()
    with desk:
        async with desk.runtime(load=Load(runs_at_once=0)) as backend:
            newer = await backend.start(desk.agent(), "Hello.")
            known = await backend.start(desk.agent(), "Hello.")
        with desk.store() as store:
            _write_as_a_newer_version(store, newer)
        async with desk.runtime() as old:
            ended = await asyncio.wait_for(old.wait(known), timeout=20)
            await becomes(lambda: f"{newer} is left alone" in caplog.text)
            assert old.store.carrier(newer) is None
            (row,) = old.store.runs(ids=[newer])
    assert ended.status == "finished"
    assert (row.status, row.head_seq) == ("running", 2)


def _write_as_a_newer_version(store: AuditStore, run: str) -> None:
    """Append a record of a type that this version does not know, as it would be written."""
    import json

    (record,) = store.records(run)
    header = canonical(
        {
            **{name: json.loads(record.header)[name] for name in ("v", "run", "at")},
            "type": "call.pondered",
            "cause": 1,
            "seq": 2,
            "prev": record.hash.hex(),
            "parts": {},
            "shared": {},
        }
    )

    def work(connection: Any) -> None:
        connection.exec_driver_sql(
            "INSERT INTO event (header, hash) VALUES (?, ?)",
            (header.decode(), record_hash(header)),
        )
        connection.exec_driver_sql(
            "UPDATE run SET head_seq = 2, head_hash = ? WHERE id = ?", (record_hash(header), run)
        )

    store._submit(work).result(timeout=10)


# --- at the command line ---------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = a_shop(tmp_path)
    AuditStore(made.folder / "agentrt.db").close()
    return made


def until(true: Callable[[], Any], what: str) -> Any:
    """What it gives once it is true. A test waits a hundred seconds for it at most."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within a hundred seconds: {what}")


def test_workers_says_that_nobody_is_there(shop: Shop) -> None:
    result = shop.say("workers")
    assert result.exit_code == 0
    assert "Nobody is there to carry runs." in result.stderr
    assert "0 runs are ready and not carried; 0 wait for a person" in result.stderr
    assert shop.json("workers") == []


@pytest.mark.sqlite
def test_a_worker_carries_detached_runs_goes_on_after_an_approval_and_drains_on_sigterm(
    shop: Shop,
) -> None:
    with shop.started("worker", "--simulated", shop.script, "--concurrency", "3") as worker:
        (there,) = until(lambda: shop.json("workers"), "a worker")
        assert (there["state"], there["runs_at_once"], there["carries"]) == ("alive", 3, [])
        detached = shop.say("run", PROMPT, "--simulated", shop.script, "--detach")
        assert detached.exit_code == 0, detached.stderr
        run = detached.stdout.strip()
        until(lambda: shop.run().status == "waiting", "a held call")
        call = shop.call()
        digest = shop.json("approvals", "view", call.id)["arguments_digest"]
        shop.say("approve", call.id, "--arguments", digest, "--reason", "Right.")
        until(lambda: shop.run().status == "finished", "the end of the run")
        assert len(shop.refunds) == 1
        worker.send_signal(signal.SIGTERM)
        _, told = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert f"{run} waits for a person" in told
    assert f"{run} finished" in told
    assert "stopping: nothing new is begun" in told
    assert shop.json("workers") == []


@pytest.mark.sqlite
def test_the_runs_of_a_killed_worker_move_to_another(shop: Shop) -> None:
    script = shop.folder / "slow.yaml"
    script.write_text("turns:\n  - {reply: Done., delay_s: 3600}\n")
    quick = shop.folder / "quick.yaml"
    quick.write_text("turns:\n  - {reply: Done.}\n")
    with shop.started("worker", "--simulated", str(script)) as first:
        (there,) = until(lambda: shop.json("workers"), "a worker")
        shop.say("run", PROMPT, "--simulated", str(script), "--detach")
        until(lambda: shop.json("workers")[0]["carries"], "the run carried")
        with shop.started("worker", "--simulated", str(quick)):
            until(lambda: len(shop.json("workers")) == 2, "another worker")
            first.kill()
            first.wait(timeout=20)
            until(lambda: shop.run().status == "finished", "the end of the run")
            states = {each["process"]: each["state"] for each in shop.json("workers")}
    assert states[there["process"]] == "dead"
    assert sorted(states.values()) == ["alive", "dead"]


@pytest.mark.sqlite
def test_the_second_signal_stops_a_worker_at_once_and_nothing_is_lost(shop: Shop) -> None:
    script = shop.folder / "slow.yaml"
    script.write_text("turns:\n  - {reply: Done., delay_s: 3600}\n")
    with shop.started("worker", "--simulated", str(script), "--grace", "1h") as worker:
        until(lambda: shop.json("workers"), "a worker")
        shop.say("run", PROMPT, "--simulated", str(script), "--detach")
        until(lambda: shop.json("workers")[0]["carries"], "the run carried")
        worker.send_signal(signal.SIGTERM)
        until(lambda: shop.json("workers")[0]["state"] == "draining", "draining")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 130
    assert shop.run().status == "running"
    with AuditStore(shop.folder / "agentrt.db", create=False) as store:
        assert store.carrier(shop.run().id) is None


def test_a_worker_of_an_agent_or_script_that_is_not_here_says_so(shop: Shop) -> None:
    unknown = shop.say("worker", "--agent", "cook")
    assert unknown.exit_code == 5
    assert "has no agent 'cook'" in unknown.stderr
    missing = shop.say("worker", "--simulated", "nowhere.yaml")
    assert missing.exit_code == 1
    assert "There is no script nowhere.yaml." in missing.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[limits]\nruns_waiting = 0", "[limits] runs_waiting is 0, and must be more."),
        ("[limits]\nruns_per_users = 2", "did you mean 'runs_per_user'?"),
        ("[workers]\ncarrier = 'pigeon'", "carrier is 'pigeon', not one of"),
        ("[workers]\nconcurrency = 'ten'", "[workers] concurrency must be a whole number."),
    ],
)
def test_a_limit_that_cannot_be_is_a_mistake_in_the_file(
    shop: Shop, text: str, problem: str
) -> None:
    file = shop.folder / "agentrt.toml"
    file.write_text(f"{file.read_text()}\n{text}\n")
    result = shop.say("workers")
    assert result.exit_code == 1
    assert problem in result.stderr


def test_a_run_too_many_is_answered_with_try_again(shop: Shop) -> None:
    file = shop.folder / "agentrt.toml"
    file.write_text(f"{file.read_text()}\n[limits]\nruns_waiting = 1\n")
    with AuditStore(shop.folder / "agentrt.db") as store:
        from worlds import started

        from agentrt.run import Run

        asyncio.run(store.append(Run("r_1"), [started(agent="nobody_has_it")]))
    result = shop.say("run", PROMPT, "--simulated", shop.script)
    assert result.exit_code == 3
    assert "1 runs wait to be carried on, and 1 may: nothing was recorded" in result.stderr
