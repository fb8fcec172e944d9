"""Agents, governed: what most programs import."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentrt import __version__
from agentrt.agent import Agent
from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore
from agentrt.audit.keys import SigningKey
from agentrt.audit.sealer import Sealer
from agentrt.carriers import Carrier, Embedded
from agentrt.claude import Claude
from agentrt.errors import ProjectError, RunError, RunOver
from agentrt.events import RunResumed, RunStarted, User
from agentrt.housekeeping import Chore, Housekeeping
from agentrt.loop import InForce, Item, Surroundings, cancel, state
from agentrt.notifications import Notifier, Target
from agentrt.policy import Fact, Policy
from agentrt.policy.bundle import stamp_of
from agentrt.policy.keeping import Keeping
from agentrt.privacy import Secrets
from agentrt.run import Run, begin_after
from agentrt.runtime.carrying import Carrying
from agentrt.runtime.followers import Followers
from agentrt.runtime.load import Backlog, Load
from agentrt.runtime.policy_watch import PolicyWatch
from agentrt.runtime.presence import Presence
from agentrt.runtime.rounds import Rounds
from agentrt.tools import Tool, Tools

__all__ = ["Runtime"]

NOTIFY_S = 2.0
"""How often it is looked for what people outside are to be told."""


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
        load: Load | None = None,
        carrier: Carrier | None = None,
        key: SigningKey | Path | str | None = None,
        notify: Iterable[Target] = (),
        chores: Iterable[Chore] = (),
        secrets: Iterable[str] = (),
    ) -> None:
        """`tools` are further ones that the policy may speak of, `facts` the project's own.

        A `policy` that is a folder is read again when its YAML files change, and one that was
        loaded is when `policy_folder` says from where. Raises PolicyError.
        Without `take_up` it carries only the runs that it started or was told to resume; `load`
        says how many at once. The `carrier` tells it, and is told, that a run can go on.
        `notify` are told what waits for people; `chores` are done for the store, by one of the
        processes that serve it at a time.
        With a `key` (or the path of one, which is made if there is none) it signs checkpoints over
        all runs: every minute, when it ends, and at once when a call is held or a run is over.
        `secrets` are values that no tool's result may show: they are masked wherever they turn up.
        """
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
        key = key if isinstance(key, SigningKey) or key is None else SigningKey.at(Path(key))
        self.sealer = Sealer(self.store, key) if key is not None else None
        """Makes the checkpoints; None: nobody does."""
        self._secrets = Secrets(secrets)
        self.approvals = ApprovalQueue(self.store, self.policy.reviewers, known=self._known)
        self._keeping = Keeping(
            lambda: self.policy.privacy,
            key=self.store.keep_key,
            ref=self.store.ref,
            known=self._known,
        )
        self._environment = environment
        self._service = f"{service}@{socket.gethostname()}:{os.getpid()}"
        self._claude = claude
        self._owns_claude = claude is None
        self._closing = threading.Event()
        self._load = load or Load()
        self._carrier = carrier or Embedded()
        self._policy_watch = PolicyWatch(
            self._in_force, self.store, self.approvals, service=self._service
        )
        self._backlog = Backlog(self.store, self._load)
        self._presence = Presence(self.store)
        self._followers = Followers(self.store)
        self._carrying = Carrying(
            self.store,
            self._load,
            agents=lambda: self._agents,
            simulated=lambda: self._simulated,
            surroundings=self._surroundings,
            followed=self._followers.__contains__,
            take_up=take_up,
        )
        self._rounds = Rounds(
            self.store, self.approvals, self._carrying, self._followers, self._policy_watch
        )
        told = Notifier(self.store, self.approvals, notify, environment=environment)
        own = [Chore("notifications", NOTIFY_S, told.look, at_end=True)] if told.has_targets else []
        self._housekeeping = Housekeeping(self.store, [*own, *chores])
        self._serving: list[asyncio.Task[None]] = []

    @property
    def policy(self) -> Policy:
        """The policy that holds now."""
        return self._in_force.policy

    async def __aenter__(self) -> Self:
        await self._policy_watch.record()
        if self.sealer is not None:
            self.sealer.begin()
        if self.store.bell is None:
            self.store.bell = self._carrier
        if self._load.runs_at_once > 0:
            await self._presence.begin(
                service=self._service.partition("@")[0],
                agents=self._agents,
                simulated=self._simulated,
                room=self._load.runs_at_once,
                version=__version__,
            )
        self._serving = [
            asyncio.create_task(self._rounds.for_ever(), name="agentrt-rounds"),
            asyncio.create_task(self._carrying.take_for_ever(), name="agentrt-take"),
            asyncio.create_task(
                self._carrier.serve(self._carrying.advance), name="agentrt-carrier"
            ),
            *self._housekeeping.begin(),
        ]
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._carrying.draining = True
        await self._carrying.still()
        await self._housekeeping.end()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._presence.end()
        if self.sealer is not None:
            await self.sealer.end()
        if self._owns_claude and self._claude is not None:
            await self._claude.close()
        if self.store.bell is self._carrier:
            self.store.bell = None
        if self._owns_store:
            self.store.close()

    async def until_broken(self) -> None:
        """Wait until it cannot look around or hear jobs any more, and raise why."""
        done, _ = await asyncio.wait(self._serving, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def drain(self, *, within_s: float) -> None:
        """Take no further run, and let those under way come to where they wait, for so long.

        What is not there by then stops at its next step when the block is left, and is found by
        others.
        """
        self._carrying.draining = True
        await self._presence.drain()
        await self._carrying.still(within_s=within_s)

    # --- runs -----------------------------------------------------------------------------

    async def start(
        self,
        agent: Agent,
        prompt: str,
        *,
        user: User | str | None = None,
        parent: str | None = None,
    ) -> str:
        """Record a run and begin to carry it on, here or where there is room; its id.

        With `parent`, the id of a run of the same agent for the same user that is over, it
        goes on with that one's conversation; `user` is then its user unless said. Raises
        RunError when the parent cannot be followed, NotFound, StoreCorrupt when records of it or
        of a run before it were changed, or Overloaded, in which case nothing was recorded.
        """
        run, here = await self._started(agent, prompt, user, parent)
        if here:
            self._carrying.carry(run)
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
        run, here = await self._started(agent, prompt, user, parent)
        carry = run if here else None
        async with aclosing(self._follow(run.id, wait=wait, carry=carry)) as items:
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
        if self._load.runs_at_once > 0:
            await self._carrying.resume(now)
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
        return await self._policy_watch.reload()

    async def wait(self, run: str) -> Run:
        """The run when it is over."""
        return await self._until_still(run, wait=True)

    # --- carry ----------------------------------------------------------------------------

    async def _started(
        self, agent: Agent, prompt: str, user: User | str | None, parent: str | None
    ) -> tuple[Run, bool]:
        """The recorded run, and whether this process has a place for it and its lease."""
        _check_prompt(prompt)
        await asyncio.to_thread(self._backlog.check)
        followed: Run | None = None
        if parent is not None:
            followed = await asyncio.to_thread(self.store.load_intact, parent)
        run = Run(f"{'sim_' if self._client().simulated else ''}r_{secrets.token_hex(8)}")
        event = self._keeping.started(self._start_of(agent, prompt, _user(user, followed)))
        if followed is not None:
            event = begin_after(followed, event)
        self._agents.setdefault(agent.name, agent)
        return await self._record(run, event)

    def _start_of(self, agent: Agent, prompt: str, who: User | None) -> RunStarted:
        return RunStarted(
            agent=agent.name,
            model=agent.model,
            bundle=self.policy.bundle,
            environment=self._environment,
            service=self._service,
            simulated=self._client().simulated,
            turns_max=agent.turns_max,
            deadline_ms=int(agent.deadline_s * 1000),
            user_ref=self.store.ref(who.name) if who else None,
            definition=agent.definition(),
            prompt=prompt,
            user=who,
        )

    def _known(self) -> Secrets:
        """The secrets that are known by their value, the key of its own Claude among them."""
        claude = self._claude
        key = claude.key if claude is not None and not claude.simulated else None
        if key is not None and key not in self._secrets.values:
            self._secrets = self._secrets.plus([key])
        return self._secrets

    async def _record(self, run: Run, event: RunStarted) -> tuple[Run, bool]:
        here = self._carrying.place(run.id)
        try:
            if here:
                await self.store.claim(run.id)
            process = self.store.process if here else None
            run = await self.store.append(run, [event], process=process)
        finally:
            self._carrying.give_back(run.id)
        if not here:
            self._backlog.grew()
        return run, here

    def _agent_of(self, run: Run) -> Agent:
        agent = self._agents.get(run.agent)
        if agent is None:
            raise ProjectError(
                f"{run.id} is a run of the agent {run.agent!r}, which this project does not have. "
                f"It has: {', '.join(self._agents) or 'none'}."
            )
        return agent

    def _show(self, run: str, seq: int, item: Item) -> None:
        if self.sealer is not None:
            self.sealer.hear(item)
        self._followers.show(run, seq, item)

    def _surroundings(self, run: Run, stream: bool) -> Surroundings:
        return Surroundings(
            store=self.store,
            histories=lambda: self._in_force.histories,
            tools=self._agent_of(run).toolset,
            keeping=self._keeping,
            claude=lambda: self._client_for(run),
            show=self._show,
            stream=stream,
            closing=self._closing,
        )

    @property
    def _simulated(self) -> bool:
        """Whether its runs are simulated: those of a Claude that it makes itself are not."""
        return self._claude is not None and self._claude.simulated

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
            task = self._carrying.task(run)
            now = await (asyncio.shield(task) if task else asyncio.to_thread(self.store.load, run))
            if now.over or (now.status == "waiting" and not wait) or self._closing.is_set():
                return now
            await self._next_change()

    async def _next_change(self) -> None:
        for task in self._serving:
            if task.done():
                task.result()  # nobody looks around any more: say why
        await self._carrying.next_change()

    async def _follow(
        self, run: str, *, wait: bool, carry: Run | None = None
    ) -> AsyncGenerator[Item, None]:
        def begin() -> None:
            if carry is not None:
                self._carrying.carry(carry, stream=True)

        still = self._until_still(run, wait=wait)
        async with aclosing(self._followers.follow(run, until=still, begin=begin)) as items:
            async for item in items:
                yield item


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
