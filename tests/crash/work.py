"""What the processes that are killed do: carry runs on, decide what is held, settle doubts."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from agentrt import AuditStore, Runtime
from agentrt.approvals import ApprovalQueue
from agentrt.errors import (
    AgentrtError,
    CarriedElsewhere,
    Conflict,
    NotAllowed,
    NotHeld,
    RunOver,
)
from agentrt.events import AnyEvent, CallApproved, CallDecided, Record
from agentrt.run import Run, ToolCall
from tests.crash.world import FOLLOW_UP, PROMPT, World

__all__ = ["carry_on", "decide", "forge", "prepare"]


def carry_on(world: World, *, alone: bool = True) -> None:
    """Carry the world's runs as far as they go; alone: decide what is held, too."""
    asyncio.run(_carry_on(world, alone))


def decide(world: World) -> None:
    """What reviewers do who never carry a run."""

    async def deciding() -> None:
        with world.open() as store:
            queue = ApprovalQueue(store, world.policy.reviewers)
            for row in store.runs(user=world.user):
                await _answer(world, queue, store.load(row.id))

    asyncio.run(deciding())


def prepare(world: World) -> None:
    """Make the store."""
    world.open().close()


def forge(world: World) -> None:
    """What somebody does who can write into the database and has no reviewer's key.

    An approval that was used up is written once more, and one of a payment is left standing
    when its arguments are changed.
    """

    async def forging() -> None:
        with world.open() as store:
            for row in store.runs(user=world.user):
                run = store.load(row.id)
                if forged := list(_forged(run, store.records(run.id))):
                    await store.append(run, forged)

    asyncio.run(forging())


def _forged(run: Run, records: Sequence[Record]) -> Iterator[AnyEvent]:
    for call in run.calls:
        last = {record.event.by: record.event for record in _approvals(call, records)}
        if call.status == "held" and call.used:
            for event in last.values():
                yield event.model_copy(update={"revision": call.revision})
        elif call.status == "approved" and call.tool == "send_money":
            decided = [r.event for r in records if r.seq == call.decided_seq]
            yield from (_with_more_money(event, call) for event in decided)


def _approvals(call: ToolCall, records: Sequence[Record]) -> Iterator[Record]:
    for record in records:
        if isinstance(record.event, CallApproved) and record.event.call == call.id:
            yield record


def _with_more_money(event: Any, call: ToolCall) -> CallDecided:
    arguments = to_json({**call.arguments_data, "cents": 99_999})
    changed = {
        "revision": event.revision + 1,
        "arguments": arguments,
        "arguments_digest": hashlib.sha256(arguments).hexdigest(),
        "approvals": tuple(approval.seq for approval in call.approvals),
    }
    forged: CallDecided = event.model_copy(update=changed)
    return forged


async def _carry_on(world: World, alone: bool) -> None:
    with world.open() as store:
        async with world.runtime(store) as runtime:
            await _first(world, runtime, alone)
            await _second(world, runtime, alone)


async def _first(world: World, runtime: Runtime, alone: bool) -> None:
    if not runtime.store.runs(user=world.user):
        await runtime.start(world.agent, PROMPT, user=world.user)
    await _carry(world, runtime, _oldest(world, runtime.store), alone)


async def _second(world: World, runtime: Runtime, alone: bool) -> None:
    """The follow-up, once there is something to follow."""
    first = runtime.store.load(_oldest(world, runtime.store))
    if first.status != "finished":
        return
    runs = [row.id for row in runtime.store.runs(user=world.user)]
    if not runtime.store.parents(runs):
        await runtime.start(world.agent, FOLLOW_UP, user=world.user, parent=first.id)
    for row in runtime.store.runs(user=world.user):
        await _carry(world, runtime, row.id, alone)


def _oldest(world: World, store: AuditStore) -> str:
    return store.runs(user=world.user)[-1].id


async def _carry(world: World, runtime: Runtime, id: str, alone: bool) -> None:
    run = runtime.store.load(id)
    while not run.over:
        before = run.seq
        if alone:
            await _answer(world, runtime.approvals, run)
        with suppress(CarriedElsewhere, RunOver):
            run = await runtime.resume(id)
        run = runtime.store.load(id)
        if run.seq == before and (run.held or run.in_doubt or not alone):
            return  # only somebody else can take it further


async def _answer(world: World, queue: ApprovalQueue, run: Run) -> None:
    """Decide and settle as people would, who look at the world before they say what happened."""
    for call in run.held:
        for key in world.keys.values():
            with suppress(AgentrtError):  # enough have approved it, or another was quicker
                if _is_refused(world, call):
                    await queue.reject(call.id, signer=key, reason="Not this one.")
                else:
                    await queue.approve(call.id, signer=key, reason="Right.")
    for call in run.in_doubt:
        happened = world.effects.count(call.key) > 0
        signer = world.keys["ana"]
        # Who started it may still be alive and do it; or another was quicker.
        with suppress(NotAllowed, NotHeld, Conflict):
            await queue.settle(call.id, happened=happened, signer=signer, reason="I looked.")


def _is_refused(world: World, call: ToolCall) -> bool:
    """Some are rejected, in each world the same ones whoever looks."""
    return zlib.crc32(f"{world.user}/{call.turn}/{call.index}".encode()) % 8 == 0
