"""The support desk: the agent, its policy and its audit store, put together in one folder."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentrt import Agent, Policy, Run, Runtime
from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore
from agentrt.claude import Claude
from agentrt.events import CallDecided
from agentrt.tools import Tools, discover
from examples.support_desk.world import CUSTOMER, World

__all__ = ["Desk", "work_alone"]


@dataclass(frozen=True)
class Desk:
    """What works in a world. It holds nothing open: each runtime opens what it needs."""

    world: World
    claude_url: str | None = None
    """Where a scripted Claude listens; None: the real API."""

    @cached_property
    def tools(self) -> Tools:
        """The tools of the folder."""
        return discover(self.world.folder / "tools")

    @cached_property
    def policy(self) -> Policy:
        """The rules and reviewers of the folder."""
        return Policy.load(self.world.folder / "policies", self.tools.values())

    @cached_property
    def agent(self) -> Agent:
        """As agentrt.toml says it, so that the command line has the same one."""
        file = self.world.folder / "agentrt.toml"
        said: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["agents"]["support"]
        instructions = file.with_name(said.pop("instructions_file")).read_text(encoding="utf-8")
        tools = [self.tools[name] for name in said.pop("tools")]
        return Agent(name="support", instructions=instructions, tools=tools, **said)

    def store(self) -> AuditStore:
        """The audit store, opened; the caller closes it."""
        return AuditStore(self.world.folder / "agentrt.db")

    def queue(self, store: AuditStore) -> ApprovalQueue:
        """The approval queue of `store`, for the reviewers of the folder."""
        return ApprovalQueue(store, self.policy.reviewers)

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        """A runtime at work. Raises CredentialsMissing without a key for the real API."""
        claude = Claude.scripted(self.claude_url) if self.claude_url else Claude()
        try:
            async with Runtime(
                store=self.world.folder / "agentrt.db",
                policy=self.policy,
                agents=[self.agent],
                claude=claude,
            ) as runtime:
                yield runtime
        finally:
            await claude.close()


async def work_alone(desk: Desk) -> Run:
    """Carry the customer's message to its end without a person, from wherever it stands.

    The first call starts the run, a later one takes it up; what is held, the demo reviewer
    approves. A process in which this runs can be killed at any moment and started again.
    """
    async with desk.runtime() as runtime:
        known = [row.id for row in runtime.store.runs()]
        run = known[0] if known else await _started(desk, runtime)
        async for item in runtime.follow(run):
            if isinstance(item, CallDecided) and item.verdict == "hold":
                await _approve_held(desk, runtime.approvals)
        return runtime.store.load(run)


async def _started(desk: Desk, runtime: Runtime) -> str:
    return await runtime.start(desk.agent, desk.world.message, user=CUSTOMER)


async def _approve_held(desk: Desk, queue: ApprovalQueue) -> None:
    for row in queue.held():
        await queue.approve(row.id, signer=desk.world.key, reason="approved without a person")
