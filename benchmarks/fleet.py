"""The processes that `benchmarks.workers` measures: workers, who starts runs, who approves."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

MODEL = "claude-sonnet-5-5"
TASK = "nothing"
QUEUE = "empty"
USERS = ("mona", "tom", "li")
KEY = Path(tempfile.gettempdir()) / "agentrt-benchmark-key"


def say(text: object) -> None:
    print(text, flush=True)


def heard() -> None:
    """Wait for a line on standard input."""
    if not sys.stdin.readline():
        sys.exit(0)


# --- what all have in common -----------------------------------------------------------------


def tools() -> tuple[Any, ...]:
    from agentrt import tool

    @tool(effect="read")
    def look_up(name: str) -> str:
        """Look somebody up."""
        return name

    @tool(effect="irreversible")
    def send_money(cents: int) -> str:
        """Send money."""
        return f"sent {cents}"

    return look_up, send_money


def script() -> Any:
    from agentrt.testing import Script, Text, ToolUse, Turn, When

    pays = Turn(when=When(turn=0, user="pay"), reply=(ToolUse("send_money", {"cents": 950}),))
    looks = Turn(when=When(turn=0), reply=(ToolUse("look_up", {"name": "ana"}),))
    return Script(turns=(pays, looks, Turn(reply=(Text("Done."),))))


def policy() -> Any:
    from agentrt import Policy
    from agentrt.approvals import KeyFile, make_key

    key = KeyFile(KEY) if KEY.exists() else make_key(KEY, comment="ada")
    people = f"reviewers:\n  - {{name: ada, roles: [owner], keys: ['{key.public_key}']}}\n"
    texts = {"rules.yaml": "default: {read: allow}\nrules: []\n", "reviewers.yaml": people}
    return Policy.from_texts(texts, tools())


def agent() -> Any:
    from agentrt import Agent

    return Agent(name="clerk", model=MODEL, instructions="Help.", tools=tools())


def runtime(url: str, claude: Any, at_once: int) -> Any:
    from agentrt import Runtime
    from agentrt.carriers.procrastinate import Procrastinate
    from agentrt.runtime import Load

    return Runtime(
        store=url,
        policy=policy(),
        agents=[agent()],
        claude=claude,
        load=Load(runs_at_once=at_once, runs_waiting=1_000_000),
        carrier=Procrastinate(url),
        service="benchmark",
    )


# --- processes -------------------------------------------------------------------------------


def claude() -> None:
    from agentrt.testing import serve

    serve(script(), announce=say)


async def serve_runs(url: str, claude_url: str, at_once: str) -> None:
    """A worker: it begins when it is told to."""
    from agentrt.claude import Claude

    scripted = Claude.scripted(claude_url)
    made = runtime(url, scripted, int(at_once))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    say("ready")
    await asyncio.to_thread(heard)
    async with made:
        await stop.wait()
    await scripted.close()


async def record(url: str, claude_url: str, count: str, prompt: str) -> None:
    """Runs that nobody carries yet."""
    from agentrt.claude import Claude

    scripted = Claude.scripted(claude_url)
    who = agent()
    async with runtime(url, scripted, 0) as made:
        for start in range(0, int(count), 100):
            numbers = range(start, min(start + 100, int(count)))
            users = (USERS[number % len(USERS)] for number in numbers)
            await asyncio.gather(*(made.start(who, prompt, user=user) for user in users))
    await scripted.close()
    say("done")


async def approve(url: str, count: str) -> None:
    """Approve so many calls one after the other; seconds until the function of each is entered.

    The newest are taken, so that what is parked stays so.
    """
    from agentrt import AuditStore
    from agentrt.approvals import ApprovalQueue, KeyFile
    from agentrt.carriers.procrastinate import Procrastinate

    took = []
    with AuditStore(url) as store:
        store.bell = Procrastinate(url)
        queue = ApprovalQueue(store, policy().reviewers)
        await _until(lambda: not _running(store))
        held = store.calls(status=("held",), limit=int(count))
        for row in held:
            await queue.approve(row.id, signer=KeyFile(KEY), reason="Right.")
            await _until(partial(_started, store, row.run))
            at = {record.event.type: record.at for record in store.records(row.run)}
            took.append((at["call.started"] - at["call.approved"]) / 1000)
    say(json.dumps(took))


def _running(store: Any) -> bool:
    return any(row.id != "store" for row in store.runs(status=("running",), limit=2))


def _started(store: Any, run: str) -> bool:
    return any(record.event.type == "call.started" for record in store.records(run, after=4))


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the benchmark came to no end")


async def park(url: str, claude_url: str, count: str) -> None:
    """Runs that wait for a person: one as it came to it, the others with the same events."""
    from agentrt.claude import Claude

    scripted = Claude.scripted(claude_url)
    async with runtime(url, scripted, 1) as made:
        run = await made.run(agent(), "Pay.")
        *before, decided = [record.event for record in made.store.records(run.id)]
        for start in range(1, int(count), 1000):
            numbers = range(start, min(start + 1000, int(count)))
            await asyncio.gather(
                *(_park(made.store, f"sim_r_{number:016}", before, decided) for number in numbers)
            )
    await scripted.close()
    say("done")


async def _park(store: Any, id: str, before: list[Any], decided: Any) -> None:
    from agentrt import Run
    from agentrt.audit import Draft

    draft = Draft.of(Run(id)).plus(before, at=store.clock())
    (call,) = draft.after.calls
    await store.commit(draft.plus([decided.model_copy(update={"call": call.id})], at=store.clock()))


async def hold(url: str, count: str) -> None:
    """Take so many runs, and do nothing until it is killed; says under which name."""
    from agentrt import AuditStore
    from agentrt.audit import Wanted

    with AuditStore(url) as store:
        await store.claims.take(Wanted(agents=("clerk",), simulated=True), int(count))
        say(store.process)
        await asyncio.to_thread(heard)


async def defer(url: str, count: str) -> None:
    """Jobs of Procrastinate that do nothing."""
    from agentrt.carriers.procrastinate import make_schema

    make_schema(url)
    app = _empty_app(url)
    async with app.open_async():
        jobs: list[dict[str, Any]] = [{} for _ in range(int(count))]
        await app.configure_task(TASK, queue=QUEUE).batch_defer_async(*jobs)
    say("done")


async def empty(url: str) -> None:
    """A worker for them, with as many at once as ours; it ends when there are none."""
    app = _empty_app(url)
    say("ready")
    await asyncio.to_thread(heard)
    async with app.open_async():
        await app.run_worker_async(
            queues=[QUEUE],
            concurrency=20,
            wait=False,
            listen_notify=False,
            delete_jobs="always",
            install_signal_handlers=False,
        )


def _empty_app(url: str) -> Any:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=20))

    @app.task(name=TASK, queue=QUEUE)
    async def nothing() -> None:
        pass

    return app


ROLES: Mapping[str, Callable[..., Any]] = {
    "claude": claude,
    "serve": serve_runs,
    "record": record,
    "approve": approve,
    "park": park,
    "hold": hold,
    "defer": defer,
    "empty": empty,
}


if __name__ == "__main__":
    done = ROLES[sys.argv[1]](*sys.argv[2:])
    if done is not None:
        asyncio.run(done)
