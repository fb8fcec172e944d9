"""Agents, governed: what most programs import."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic_core import to_json

from agentrt.agent import Agent
from agentrt.approvals import ApprovalQueue
from agentrt.audit import STORE_CHAIN, AuditStore, Watch
from agentrt.claude import Claude
from agentrt.errors import (
    AgentrtError,
    CarriedElsewhere,
    ClaudeError,
    Conflict,
    NotFound,
    PolicyError,
    ProjectError,
    RunError,
    RunOver,
    StoreCorrupt,
)
from agentrt.events import BundleLoaded, BundleRefused, RunResumed, RunStarted, User
from agentrt.loop import Carry, InForce, Item, Surroundings, cancel, state
from agentrt.policy import Fact, Policy
from agentrt.policy.bundle import stamp_of
from agentrt.run import Run, begin_after
from agentrt.tools import Tool, Tools

__all__ = ["Runtime"]

logger = logging.getLogger("agentrt")

POLICY_LOOK_S = 1.0
"""How often the policy's folder is looked at for changes."""

TICK_S = 0.1
"""How often the store is looked at for what others wrote; a look costs microseconds."""


@dataclass(slots=True)
class _Listener:
    """Who follows a run, and how far it was told."""

    queue: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    seq: int = 0
    early: dict[int, Item] = field(default_factory=dict)
    """Facts that were heard of while those before them were still being read."""

    def tell(self, seq: int, item: Item) -> None:
        """Facts are told once each and in order, whichever way they are heard of first."""
        if not hasattr(item, "type"):
            self.queue.put_nowait(item)
            return
        if seq > self.seq:
            self.early[seq] = item
        while (following := self.early.pop(self.seq + 1, None)) is not None:
            self.seq += 1
            self.queue.put_nowait(following)


class Runtime:
    """Runs agents under one policy into one audit store.

    Use it as an `async with` block. On entry it takes up the runs that a dead process left
    behind; while it lives it carries on whatever becomes ready, for instance by an approval
    in another process; on exit it finishes the calls under way and begins nothing new.
    """

    def __init__(
        self,
        *,
        store: AuditStore | Path | str,
        policy: Policy | Path | str,
        agents: Iterable[Agent] = (),
        tools: Iterable[Tool[..., Any]] = (),
        facts: Iterable[Fact] = (),
        policy_folder: Path | None = None,
        claude: Claude | None = None,
        environment: str = "development",
        service: str = "agentrt",
        take_up: bool = True,
    ) -> None:
        """`tools` are further ones that the policy may speak of, `facts` the project's own.

        A `policy` that is a folder is read again when its YAML files change, and one that was
        loaded is when `policy_folder` says from where. Raises PolicyError.
        Without `take_up` it carries only the runs that it started or was told to resume.
        """
        self._take_up_all = take_up
        self._own: set[str] = set()
        self._agents = {agent.name: agent for agent in agents}
        self._owns_store = not isinstance(store, AuditStore)
        known = Tools([*tools, *(tool for agent in agents for tool in agent.toolset.values())])
        folder = policy_folder if isinstance(policy, Policy) else Path(policy)
        stamp = stamp_of(folder) if folder is not None else ()
        facts = tuple(facts)
        if not isinstance(policy, Policy):
            policy = Policy.load(policy, known.values(), facts=facts)
        self.store = store if isinstance(store, AuditStore) else AuditStore(store)
        self._in_force = InForce(
            self.store, policy, folder=folder, stamp=stamp, tools=known.values(), facts=facts
        )
        self.approvals = ApprovalQueue(self.store, self.policy.reviewers)
        self._environment = environment
        self._service = f"{service}@{socket.gethostname()}:{os.getpid()}"
        self._claude = claude
        self._owns_claude = claude is None
        self._closing = threading.Event()
        self._carried: dict[str, Carry] = {}
        self._tasks: dict[str, asyncio.Task[Run]] = {}
        self._listeners: dict[str, list[_Listener]] = {}
        self._given_up: set[str] = set()
        """Runs that could not be carried on here: they go on when they are told to."""
        self._next_expiry = math.inf
        self._next_policy_look = 0.0
        self._changed = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None

    @property
    def policy(self) -> Policy:
        """The policy that holds now."""
        return self._in_force.policy

    async def __aenter__(self) -> Self:
        await self._record_bundle()
        self._ticker = asyncio.create_task(self._tick_for_ever(), name="agentrt-ticker")
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        if self._owns_claude and self._claude is not None:
            await self._claude.close()
        if self._owns_store:
            self.store.close()

    # --- runs -----------------------------------------------------------------------------

    async def start(
        self,
        agent: Agent,
        prompt: str,
        *,
        user: User | str | None = None,
        parent: str | None = None,
    ) -> str:
        """Record a run and begin to carry it on; its id.

        With `parent`, the id of a run of the same agent for the same user that is over, it
        goes on with that one's conversation; `user` is then its user unless said. Raises
        RunError when the parent cannot be followed, NotFound, or StoreCorrupt when records of
        it or of a run before it were changed.
        """
        run = await self._started(agent, prompt, user, parent)
        self._carry(run)
        return run.id

    async def run(
        self,
        agent: Agent,
        prompt: str,
        *,
        user: User | str | None = None,
        parent: str | None = None,
        wait: bool = False,
    ) -> Run:
        """Carry a prompt to its output, or to where it waits for a person.

        With `wait` it returns only when the run is over. `run.status`, `run.output`,
        `run.held` and `run.error` say how it went; a run that failed does not raise.
        `parent` as for `start`.
        """
        run = await self.start(agent, prompt, user=user, parent=parent)
        return await self._until_still(run, wait=wait)

    async def stream(
        self,
        agent: Agent,
        prompt: str,
        *,
        user: User | str | None = None,
        parent: str | None = None,
        wait: bool = False,
    ) -> AsyncIterator[Item]:
        """The same, as it happens: pieces of text and thinking, and every event of the run.

        It ends when the run is over, or waits for a person and `wait` is False.
        """
        run = await self._started(agent, prompt, user, parent)
        async with aclosing(self._follow(run.id, wait=wait, carry=run)) as items:
            async for item in items:
                yield item

    async def follow(self, run: str, *, wait: bool = True) -> AsyncIterator[Item]:
        """The events of a run that was started anywhere, from its first on, as they come."""
        async with aclosing(self._follow(run, wait=wait)) as items:
            async for item in items:
                yield item

    async def resume(self, run: str, *, by: str | None = None, wait: bool = False) -> Run:
        """Carry a run on from where it stands: after a crash, an approval or an outage.

        Raises RunOver, NotFound, ProjectError when its agent is not here, CarriedElsewhere when
        a living process carries it, or StoreCorrupt when its records were changed.
        """
        now = await asyncio.to_thread(self.store.load_intact, run)
        if now.over and not now.resumable:
            raise RunOver(f"{run} is over: {now.status}.")
        self._agent_of(now)  # before anything is written, or kept from those who have it
        if now.over:
            name = by or self._service
            resumed = RunResumed(cause=now.seq, by=name, by_ref=self.store.ref(name))
            now = await self.store.append(now, [resumed])
        if run not in self._tasks:
            await self.store.claim(run)
            if run not in self._tasks:  # the ticker may have taken it up in the meantime
                self._carry(now)
        return await self._until_still(run, wait=wait)

    async def cancel(self, run: str, *, by: str, reason: str) -> Run:
        """Stop a run, whoever carries it: calls that have not started never will.

        Raises NotFound or RunOver.
        """
        return await cancel(self.store, run, by=by, reason=reason)

    async def state(self, run: str, fact: str, value: Any, *, by: str) -> Run:
        """Tell a run a fact that its policy asks for; what waited for it is decided again.

        Raises NotFound, RunOver, and RunError when the policy knows no such fact or its value
        has another type.
        """
        return await state(self.store, self.policy, run, fact, value, by=by)

    async def reload_policy(self) -> bool:
        """Read the policy's folder again; whether it is another now.

        It holds for what is decided from then on. Raises PolicyError when it cannot be used:
        then the one before stays, and the store says so.
        """
        try:
            changed = await asyncio.to_thread(self._in_force.reload)
        except PolicyError as error:
            await self._record_refusal(error)
            raise
        if changed:
            self.approvals.reviewers_are(self.policy.reviewers)
            await self._record_bundle()
        return changed

    async def wait(self, run: str) -> Run:
        """The run when it is over."""
        return await self._until_still(run, wait=True)

    # --- carry ----------------------------------------------------------------------------

    async def _started(
        self, agent: Agent, prompt: str, user: User | str | None, parent: str | None
    ) -> Run:
        _check_prompt(prompt)
        followed: Run | None = None
        if parent is not None:
            followed = await asyncio.to_thread(self.store.load_intact, parent)
        who = _user(user, followed)
        simulated = self._client().simulated
        run = Run(f"{'sim_' if simulated else ''}r_{secrets.token_hex(8)}")
        event = RunStarted(
            agent=agent.name,
            model=agent.model,
            bundle=self.policy.bundle,
            environment=self._environment,
            service=self._service,
            simulated=simulated,
            turns_max=agent.turns_max,
            deadline_ms=int(agent.deadline_s * 1000),
            user_ref=self.store.ref(who.name) if who else None,
            definition=agent.definition(),
            prompt=prompt,
            user=who,
        )
        if followed is not None:
            event = begin_after(followed, event)
        self._agents.setdefault(agent.name, agent)
        await self.store.claim(run.id)
        return await self.store.append(run, [event], process=self.store.process)

    def _carry(self, run: Run, *, stream: bool = False) -> None:
        """Carry the run on in a task of its own, unless one does already."""
        if run.id in self._tasks:
            return
        self._own.add(run.id)
        carry = Carry(run, self._surroundings(run, stream=stream))
        self._carried[run.id] = carry
        task = asyncio.create_task(self._carry_on(carry), name=f"carry {run.id}")
        task.add_done_callback(self._note_failure)
        self._tasks[run.id] = task

    def _note_failure(self, task: asyncio.Task[Run]) -> None:
        """A run that nobody waits for must not fail unheard."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s stopped: %s", task.get_name(), error)

    def _agent_of(self, run: Run) -> Agent:
        agent = self._agents.get(run.agent)
        if agent is None:
            raise ProjectError(
                f"{run.id} is a run of the agent {run.agent!r}, which this project does not have. "
                f"It has: {', '.join(self._agents) or 'none'}."
            )
        return agent

    def _surroundings(self, run: Run, *, stream: bool) -> Surroundings:
        return Surroundings(
            store=self.store,
            histories=lambda: self._in_force.histories,
            tools=self._agent_of(run).toolset,
            claude=lambda: self._client_for(run),
            show=self._show,
            stream=stream,
            closing=self._closing,
        )

    async def _carry_on(self, carry: Carry) -> Run:
        try:
            return await carry.on()
        except Exception:
            self._given_up.add(carry.run.id)
            raise
        finally:
            await self._let_go(carry.run.id)

    async def _let_go(self, run: str) -> None:
        """Give the lease back before the run can be taken up again, here or elsewhere."""
        try:
            await self.store.release(run)
        finally:
            del self._carried[run]
            del self._tasks[run]
            self._notify()

    def _client(self) -> Claude:
        if self._claude is None:
            self._claude = Claude()
        return self._claude

    def _client_for(self, run: Run) -> Claude:
        client = self._client()
        if run.simulated != client.simulated:
            kind = "simulated" if run.simulated else "real"
            raise RunError(f"{run.id} is a {kind} run: carry it on with the same kind of Claude.")
        return client

    async def _until_still(self, run: str, *, wait: bool) -> Run:
        """The run when nothing moves it on any more (with `wait`: when it is over)."""
        while True:
            task = self._tasks.get(run)
            now = await (asyncio.shield(task) if task else asyncio.to_thread(self.store.load, run))
            if now.over or (now.status == "waiting" and not wait) or self._closing.is_set():
                return now
            await self._next_change()

    # --- follow ---------------------------------------------------------------------------

    async def _follow(
        self, run: str, *, wait: bool, carry: Run | None = None
    ) -> AsyncGenerator[Item, None]:
        listener = _Listener()
        self._listeners.setdefault(run, []).append(listener)
        try:
            await self._tell_past(run, listener)
            if carry is not None:
                self._carry(carry, stream=True)
            still = self._until_still(run, wait=wait)
            async with aclosing(_until_done(listener.queue, still)) as items:
                async for item in items:
                    yield item
            await self._tell_past(run, listener)
            while not listener.queue.empty():
                yield listener.queue.get_nowait()
        finally:
            self._forget(run, listener)

    def _forget(self, run: str, listener: _Listener) -> None:
        self._listeners[run].remove(listener)
        if not self._listeners[run]:
            del self._listeners[run]

    async def _tell_past(self, run: str, listener: _Listener) -> None:
        for record in await asyncio.to_thread(self.store.records, run, after=listener.seq):
            listener.tell(record.seq, record.event)

    def _show(self, run: str, seq: int, item: Item) -> None:
        for listener in self._listeners.get(run, ()):
            listener.tell(seq, item)

    # --- look around ----------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        watch = self.store.watch()
        try:
            await self._look_around(watch)
            while True:
                await asyncio.sleep(TICK_S)
                with suppress(AgentrtError):  # a store that is away may come back
                    await self._tick(watch)
        finally:
            watch.close()

    async def _look_at_policy(self) -> None:
        """Read the policy again when its files have changed; a broken one changes nothing."""
        now = time.monotonic()
        if now < self._next_policy_look:
            return
        self._next_policy_look = now + POLICY_LOOK_S
        if await asyncio.to_thread(self._in_force.has_changed):
            try:
                if await self.reload_policy():
                    logger.info("policy %s holds from now on", self.policy.bundle[:12])
            except PolicyError as error:
                stays = self.policy.bundle[:12]
                logger.error("the changed policy is refused, and %s stays: %s", stays, error)  # noqa: TRY400

    async def _tick(self, watch: Watch) -> None:
        await self._look_at_policy()
        if self._next_expiry <= self.store.clock():
            await self.approvals.expire_due()
        if watch.changed():
            await self._look_around(watch)
            self._notify()

    async def _look_around(self, watch: Watch) -> None:
        """See what expires next and what was ended from outside; take up what is ready."""
        self._next_expiry = watch.next_expiry()
        for run, carry in list(self._carried.items()):
            if watch.status(run) == "cancelled":
                carry.ended.set()
        for run, agent in watch.running():
            if agent in self._agents and (self._take_up_all or run in self._own):
                await self._take_up(run)
        for run, listeners in list(self._listeners.items()):
            if run not in self._tasks:
                for listener in listeners:
                    await self._tell_past(run, listener)

    async def _take_up(self, run: str) -> None:
        if run in self._tasks or run in self._given_up or self._closing.is_set():
            return
        if self.store.carrier(run) not in (None, self.store.process):
            return
        with suppress(CarriedElsewhere, ClaudeError, ProjectError, NotFound):
            await self.store.claim(run)
            now = await self._intact(run)
            if now.simulated == self._client().simulated:
                self._carry(now, stream=bool(self._listeners.get(run)))

    async def _intact(self, run: str) -> Run:
        try:
            return await asyncio.to_thread(self.store.load_intact, run)
        except StoreCorrupt as error:
            logger.warning("%s", error)
            self._given_up.add(run)
            await self.store.release(run)
            raise

    def _notify(self) -> None:
        """Wake everybody who waits for a change: each waits for an event that is set once."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        if self._ticker is not None and self._ticker.done():
            self._ticker.result()  # nobody looks around any more: say why
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._changed.wait()

    async def _record_bundle(self) -> None:
        """The policy's text goes into the store's own chain, once for each time it changes."""
        while True:
            chain = _store_chain(self.store)
            if chain.bundle == self.policy.bundle:
                return
            loaded = BundleLoaded(
                bundle=self.policy.bundle,
                service=self._service,
                files=to_json(dict(self.policy.files)),
            )
            with suppress(Conflict):
                await self.store.append(chain, [loaded])

    async def _record_refusal(self, error: PolicyError) -> None:
        """A policy that was refused, and why, in the store's own chain."""
        while True:
            refused = BundleRefused(
                bundle=self.policy.bundle,
                service=self._service,
                problems=to_json(str(error).splitlines()),
            )
            with suppress(Conflict):
                await self.store.append(_store_chain(self.store), [refused])
                return


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise RunError("The prompt is empty: say what the agent should do.")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise RunError(f"The prompt is not text that can be written as UTF-8: {error}.") from error


def _user(stated: User | str | None, followed: Run | None) -> User | None:
    """Whom a run works for: who is stated, else the user of the run that it follows."""
    if stated is None and followed is not None and followed.user is not None:
        return followed.user.model_copy(update={"verified": "stated"})  # nobody looked again
    return User(name=stated) if isinstance(stated, str) else stated


def _store_chain(store: AuditStore) -> Run:
    try:
        return store.load(STORE_CHAIN)
    except NotFound:
        return Run(STORE_CHAIN)


async def _until_done(
    queue: asyncio.Queue[Item], work: Coroutine[Any, Any, Any]
) -> AsyncGenerator[Item, None]:
    """What the queue holds, until `work` is done and the queue is empty. Raises what it raises."""
    done = asyncio.ensure_future(work)
    try:
        while not (done.done() and queue.empty()):
            getting = asyncio.ensure_future(queue.get())
            try:
                await asyncio.wait({getting, done}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    yield getting.result()
            finally:
                getting.cancel()
        await done
    finally:
        done.cancel()  # who stops listening leaves no task behind
