"""The office: the clerk, a policy and an audit store, put together in one folder."""

from __future__ import annotations

import os
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from agentrt import Agent, Policy, Run, Runtime, ToolCall
from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore
from agentrt.claude import Claude
from agentrt.testing import Script, ScriptedClaude
from agentrt.tools import Tools, discover
from examples.support_desk.story import Story
from examples.support_desk.world import mail_server
from examples.untrusted_input.world import BUYER, World

__all__ = ["Office", "opened"]


@dataclass(frozen=True)
class Office:
    """What works in a world. It holds nothing open: each runtime opens what it needs."""

    world: World
    tools: Tools
    claude_url: str

    @cached_property
    def policy(self) -> Policy:
        """The rules and reviewers of the folder."""
        return Policy.load(self.world.folder / "policies", self.tools.values())

    @cached_property
    def agent(self) -> Agent:
        """As agentrt.toml says it, so that the command line has the same one."""
        file = self.world.folder / "agentrt.toml"
        said: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["agents"]["clerk"]
        tools = [self.tools[name] for name in said.pop("tools")]
        return Agent(name="clerk", tools=tools, **said)

    def store(self) -> AuditStore:
        """The audit store, opened; the caller closes it."""
        return AuditStore(self.world.folder / "agentrt.db")

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        """A runtime at work."""
        claude = Claude.scripted(self.claude_url)
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

    async def work(self, prompt: str, story: Story) -> Run:
        """Carry a prompt to its end; what is held, the demo reviewer looks at and decides."""
        async with self.runtime() as runtime:
            started = await runtime.start(self.agent, prompt, user=BUYER)
            await story.listen(runtime.follow(started, wait=False))
            while (run := runtime.store.load(started)).held:
                for call in run.held:
                    await self._decide(call, runtime.approvals)
                await story.listen(runtime.follow(started, wait=False))
            return run

    async def _decide(self, held: ToolCall, queue: ApprovalQueue) -> None:
        """As somebody would who reads every question: mail goes to the buyer, or not at all."""
        if from_json(held.arguments).get("to", [BUYER]) == [BUYER]:
            await queue.approve(held.id, signer=self.world.key, reason="as the buyer asked")
        else:
            reason = "nobody of ours asked for this mail"
            await queue.reject(held.id, signer=self.world.key, reason=reason)


@contextmanager
def opened(folder: Path, *, policy: str, script: Script | None = None) -> Iterator[Office]:
    """An office in a new folder, with its mail server and a scripted Claude."""
    world = World.make(folder, policy=policy)
    with ExitStack() as stack:
        os.environ["OFFICE_SMTP"] = stack.enter_context(mail_server(world.mailbox))
        script = script or Script.load(world.folder / "script.yaml")
        claude = stack.enter_context(ScriptedClaude(script))
        yield Office(world, discover(world.folder / "tools"), claude.url)
