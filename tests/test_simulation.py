"""A deterministic simulation: runs, reviewers, workers, crashes and clocks that jump.

Two workers, reviewers and a clock act in any order that hypothesis comes up with. A tool stops
before its effect and after it, and a request before its answer, until the machine lets them go on;
a crash drops all that a worker had in memory, and only the store stays. The store is a real one.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from crash.account import Comparison
from crash.effects import Effect
from crash.world import REVIEWERS, RULES, Clock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from worlds import replied, started, use

from agentrt import Agent, AuditStore, Call, Policy, tool
from agentrt.approvals import ApprovalQueue, KeyFile, make_key
from agentrt.approvals.histories import Histories
from agentrt.claude.reply import Reply
from agentrt.errors import AgentrtError, CarriedElsewhere, ClockWentBack, Conflict
from agentrt.events import User
from agentrt.loop import Carry, Surroundings
from agentrt.run import Run
from agentrt.tools import Tool, Tools

TURNS: tuple[tuple[dict[str, Any], ...], ...] = (
    (
        use("look_up", name="ana", id="toolu_1"),
        use("write_note", text="paying", id="toolu_2"),
        use("send_money", to="ana", cents=950, id="toolu_3"),
        use("shout", text="PAID", id="toolu_4"),
    ),
    (use("send_fax", to="ana", text="Paid.", id="toolu_5"),),
    (),
)
"""What Claude asks for in each turn; in the last it is done."""

_keys: dict[str, KeyFile] = {}
_folder = tempfile.TemporaryDirectory(prefix="agentrt-simulation-")


def keys() -> dict[str, KeyFile]:
    if not _keys:
        _keys.update(
            {name: make_key(Path(_folder.name) / name, comment=name) for name in REVIEWERS}
        )
    return _keys


class Gates:
    """Where tools and requests wait until the machine lets them go on."""

    def __init__(self) -> None:
        self.closed: list[asyncio.Event] = []
        self.reached = asyncio.Event()

    async def wait(self) -> None:
        gate = asyncio.Event()
        self.closed.append(gate)
        self.reached.set()
        await gate.wait()


class ScriptedReplies:
    """A Claude that answers when its gate is opened."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    async def ask(self, body: bytes, *, deadline_s: float, show: Any = None) -> Reply:
        await self._gates.wait()
        turn = sum(message["role"] == "assistant" for message in json.loads(body)["messages"])
        event = replied(*TURNS[turn])
        return Reply(
            message_id=event.message_id,
            request_id=None,
            model=event.model,
            stop_reason="tool_use" if TURNS[turn] else "end_turn",
            refusal=None,
            usage=event.usage,
            price=None,
            blocks=event.blocks,
            latency_ms=1,
            first_token_ms=None,
            attempts=(),
        )


class World:
    """What outlives every crash: the file, the clock, the effects, the people."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.effects: list[Effect] = []
        self.gates = Gates()
        self.tools = Tools(self._tools())
        people = [
            f"  - {{name: {name}, roles: [owner], keys: ['{key.public_key}']}}"
            for name, key in keys().items()
        ]
        texts = {"rules.yaml": RULES, "reviewers.yaml": "\n".join(["reviewers:", *people, ""])}
        self.policy = Policy.from_texts(texts, self.tools.values())
        self.agent = Agent(
            name="clerk",
            model="claude-sonnet-5-5",
            instructions="Pay.",
            tools=tuple(self.tools.values()),
        )

    def count(self, key: str) -> int:
        return sum(effect.key == key for effect in self.effects)

    async def _do(self, name: str, call: Call, **arguments: Any) -> None:
        await self.gates.wait()
        told = json.dumps(arguments, sort_keys=True)
        now = self.clock()
        self.effects.append(Effect("", call.run, call.id, call.key, name, told, 0, now, now))
        await self.gates.wait()

    def _tools(self) -> Iterator[Tool[..., Any]]:
        @tool(effect="read")
        async def look_up(name: str, call: Call) -> str:
            """Look somebody up."""
            await self._do("look_up", call, name=name)
            return f"{name} is known"

        @tool(effect="write", idempotent_for="24h")
        async def write_note(text: str, call: Call) -> str:
            """Write a note."""
            await self._do("write_note", call, text=text)
            return "written"

        async def find(call: Call) -> str | None:
            """Whether it was sent."""
            return "sent" if self.count(call.key) else None

        @tool(effect="irreversible", check=find)
        async def send_money(to: str, cents: int, call: Call) -> str:
            """Send money."""
            await self._do("send_money", call, to=to, cents=cents)
            return "sent"

        @tool(effect="irreversible")
        async def send_fax(to: str, text: str, call: Call) -> str:
            """Send a fax."""
            await self._do("send_fax", call, to=to, text=text)
            return "sent"

        @tool(effect="write", idempotent_for="24h")
        async def shout(text: str, call: Call) -> str:
            """Shout."""
            await self._do("shout", call, text=text)
            return "shouted"

        return iter((look_up, write_note, send_money, send_fax, shout))


class Worker:
    """A process that carries runs; a crash forgets it, and another is in its place."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.store = AuditStore(world.path, clock=world.clock)
        self._histories = Histories(self.store, world.policy)
        self.carried: dict[str, asyncio.Task[Run]] = {}

    async def begin(self, number: int) -> None:
        user = User(name="mona")
        run = Run(f"r_{number:016x}")
        event = started(
            "Pay.",
            user=user,
            user_ref=self.store.ref(user.name),
            bundle=self._world.policy.bundle,
            definition=self._world.agent.definition(),
        )
        with suppress(ClockWentBack):
            await self.store.append(run, [event])

    async def carry(self, id: str) -> None:
        """Carry the run until it is at a gate, waits or is over, unless another one lives."""
        if id in self.carried:
            return
        try:
            await self.store.claim(id)
        except CarriedElsewhere:
            return
        around = Surroundings(
            store=self.store,
            histories=lambda: self._histories,
            tools=self._world.tools,
            claude=lambda: ScriptedReplies(self._world.gates),  # type: ignore[arg-type,return-value]
        )
        self.carried[id] = asyncio.ensure_future(Carry(self.store.load(id), around).on())
        await self.settle_down()

    async def settle_down(self) -> None:
        """Wait until everything carried here stands still: at a gate, or done."""
        while True:
            for run in [run for run, task in self.carried.items() if task.done()]:
                await self._let_go(run)
            before = len(self._world.gates.closed)
            waiting = [asyncio.ensure_future(self._world.gates.reached.wait())]
            self._world.gates.reached.clear()
            await asyncio.wait(
                {*self.carried.values(), *waiting},
                timeout=0.003,
                return_when=asyncio.FIRST_COMPLETED,
            )
            waiting[0].cancel()
            still = not any(task.done() for task in self.carried.values())
            if still and len(self._world.gates.closed) == before:
                return

    async def _let_go(self, id: str) -> None:
        task = self.carried.pop(id)
        if (error := task.exception()) is not None:
            assert isinstance(error, ClockWentBack | Conflict | CarriedElsewhere), error
        await self.store.release(id)

    async def crash(self) -> None:
        """Drop everything in memory. Its lock is gone with it, and its leases stay."""
        for task in self.carried.values():
            task.cancel()
        await asyncio.gather(*self.carried.values(), return_exceptions=True)
        self.carried.clear()
        self.store.close()


class Simulation(RuleBasedStateMachine):
    """The rules are what can happen; the invariants what must hold whatever does."""

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name) / "agentrt.db")
        self.people = AuditStore(self.world.path, clock=self.world.clock)
        self.queue = ApprovalQueue(self.people, self.world.policy.reviewers)
        self.workers = [self._do(self._worker()) for _ in range(2)]
        self.started = 0
        self.start()

    async def _worker(self) -> Worker:
        return Worker(self.world)

    def _do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def _runs(self) -> list[str]:
        return [row.id for row in self.people.runs(status=("running", "waiting"))]

    # --- what can happen --------------------------------------------------------------------

    @rule()
    def start(self) -> None:
        if self.started < 3:
            self.started += 1
            self._do(self.workers[0].begin(self.started))

    @rule(who=st.integers(0, 1), which=st.integers(0, 2))
    def carry(self, who: int, which: int) -> None:
        if runs := self._runs():
            self._do(self.workers[who].carry(runs[which % len(runs)]))

    @rule(which=st.integers(0, 9))
    def go_on(self, which: int) -> None:
        """One of those who wait at a gate goes through it."""
        if gates := self.world.gates.closed:
            gates.pop(which % len(gates)).set()
            for worker in self.workers:
                self._do(worker.settle_down())

    @rule(who=st.integers(0, 1))
    def crash(self, who: int) -> None:
        self._do(self.workers[who].crash())
        self.workers[who] = self._do(self._worker())

    @rule(who=st.sampled_from(REVIEWERS), yes=st.integers(0, 5))
    def decide(self, who: str, yes: int) -> None:
        for row in self.queue.held()[:1]:
            verb = self.queue.approve if yes else self.queue.reject
            with suppress(AgentrtError):  # they have already, or the clock is wrong
                self._do(verb(row.id, signer=keys()[who], reason="So."))

    @rule(who=st.sampled_from(REVIEWERS))
    def settle(self, who: str) -> None:
        """A person looks at the world, and says what is true."""
        for row in self.queue.in_doubt()[:1]:
            happened = self.world.count(f"{row.run}:{row.id}") > 0
            with suppress(AgentrtError):  # who started it may still be alive
                self._do(
                    self.queue.settle(
                        row.id, happened=happened, signer=keys()[who], reason="I looked."
                    )
                )

    @rule(minutes=st.sampled_from((-1, 1, 61)))
    def jump(self, minutes: int) -> None:
        """The clock jumps: by an hour so that approvals expire, or back."""
        self.world.clock.ahead_ms += minutes * 60_000

    @rule()
    def expire(self) -> None:
        with suppress(ClockWentBack):
            self._do(self.queue.expire_due())

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def store_and_world_agree(self) -> None:
        """Nothing undecided, approved is what ran, irreversible once, no approval twice."""
        if not hasattr(self, "people"):
            return
        for row in self.people.runs():
            records = self.people.records(row.id)
            mine = [effect for effect in self.world.effects if effect.run == row.id]
            run = self.people.load(row.id)
            wrong = list(Comparison(run, records, mine).wrong(final=run.over))
            assert wrong == [], wrong

    def teardown(self) -> None:
        """The chain and every projection are those of the records; then all is let go."""
        if not hasattr(self, "people"):
            return
        assert self.people.verify().findings == []
        for worker in self.workers:
            self._do(worker.crash())
        self.people.close()
        self.loop.close()
        self.folder.cleanup()


Simulation.TestCase.settings = settings(
    max_examples=6,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_runs_reviewers_workers_crashes_and_clocks_agree = Simulation.TestCase
