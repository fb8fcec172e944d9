"""The processes of the fleet: workers, reviewers, who starts runs, and the scripted Claude."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentrt import AuditStore
from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.claude import Claude
from agentrt.errors import AgentrtError
from agentrt.runtime import Load
from agentrt.testing import ScriptedClaude
from tests.crash.fleet.world import SCRIPT, USERS, World, say

__all__ = ["review", "serve_claude", "start_runs", "work"]


def serve_claude(urls: Any) -> None:
    with ScriptedClaude(SCRIPT) as claude:
        urls.put(claude.url)
        signal.pause()


def work(world: World) -> None:
    """A worker: until it is killed, or told to stop."""
    asyncio.run(_work(world))


async def _work(world: World) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    claude = Claude.scripted(world.claude)
    async with world.runtime(Load(runs_at_once=world.at_once), claude) as runtime:
        broken = asyncio.ensure_future(runtime.until_broken())
        told = asyncio.ensure_future(stop.wait())
        await asyncio.wait({told, broken}, return_when=asyncio.FIRST_COMPLETED)
        if broken.done():
            broken.result()
        broken.cancel()
    await claude.close()


def start_runs(world: World, count: int) -> None:
    asyncio.run(_start_runs(world, count))


async def _start_runs(world: World, count: int) -> None:
    claude = Claude.scripted(world.claude)
    load = Load(runs_at_once=0, runs_waiting=10 * count)
    async with world.runtime(load, claude) as runtime:
        for start in range(0, count, 50):
            numbers = range(start, min(start + 50, count))
            going = (
                runtime.start(world.agent, f"Pay ({number}).", user=USERS[number % len(USERS)])
                for number in numbers
            )
            await asyncio.gather(*going)
    await claude.close()


def review(world: World, name: str, seed: int) -> None:
    """A reviewer: approves or rejects what is held, in no order, until it is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(_review(world, name, random.Random(seed)))


async def _review(world: World, name: str, chance: random.Random) -> None:
    key = KeyFile(Path(world.keys[name][0]))
    with AuditStore(world.store) as store:
        carrier = world.carrier()
        store.bell = carrier
        queue = ApprovalQueue(store, world.policy.reviewers)
        while True:
            held = store.calls(status=("held", "in doubt"), limit=60)
            for row in chance.sample(held, k=min(20, len(held))):
                with suppress(AgentrtError):  # another reviewer was quicker
                    await _decide(world, queue, row.id, row.status, key, chance)
            await asyncio.sleep(0.02 if held else 0.1)


async def _decide(
    world: World, queue: ApprovalQueue, call: str, status: str, key: KeyFile, chance: random.Random
) -> None:
    if status == "in doubt":
        asked = queue.view(call)
        happened = bool(say(world.effects, "ask", f"{asked.run.id}:{call}"))
        await queue.settle(call, happened=happened, signer=key, reason="The server says so.")
    elif chance.random() < 0.15:
        await queue.reject(call, signer=key, reason="Not today.")
    else:
        await queue.approve(call, signer=key, reason="Right.")
