"""The contenders: each gets ready once, and then does a job as often as it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.connection import Sent, connect
from benchmarks.job import FUNCTIONS, INSTRUCTIONS, MODEL, TOKENS_MAX, Job

__all__ = ["CONTENDERS", "Carry", "governed"]

Carry = Callable[[Job], Awaitable[None]]
Contender = Callable[[str, Path, list[Sent]], AbstractAsyncContextManager[Carry]]

POLICY = """
rules:
  - id: look-things-up
    decide: allow
    tools: [get_order, get_shipment]
    why: Looking an order up changes nothing.
"""


@asynccontextmanager
async def bare(url: str, _folder: Path, sent: list[Sent]) -> AsyncIterator[Carry]:
    """The hand-written loop."""
    from benchmarks import bare as loop

    async with connect(url, sent) as client:

        async def carry(job: Job) -> None:
            _expect(job, await loop.carry(client, job.prompt))

        yield carry


@asynccontextmanager
async def governed(url: str, folder: Path, sent: list[Sent]) -> AsyncIterator[Carry]:
    """agentrt with a policy, and an audit store on the disk."""
    from agentrt import Agent, Policy, Runtime, tool
    from agentrt.claude import Claude

    tools = [tool(effect="read")(function) for function in FUNCTIONS]
    policy = Policy.from_texts({"shop.yaml": POLICY}, tools)
    agent = Agent(
        name="shop",
        model=MODEL,
        instructions=INSTRUCTIONS,
        tools=tools,
        tokens_max=TOKENS_MAX,
        turns_max=1000,
    )
    async with connect(url, sent) as client:
        claude = Claude(client, simulated=True)
        store = folder / "agentrt.db"
        async with Runtime(store=store, policy=policy, agents=[agent], claude=claude) as runtime:

            async def carry(job: Job) -> None:
                _expect(job, (await runtime.run(agent, job.prompt, user="ann")).output)

            yield carry


@asynccontextmanager
async def requests(url: str, _folder: Path, sent: list[Sent]) -> AsyncIterator[Carry]:
    """No loop at all: bodies that the hand-written loop sent before are sent again.

    What this costs, every contender pays: the SDK's transport, and the stand-in's time.
    """
    import httpx2

    from benchmarks import bare as loop

    async with connect(url, sent) as client:
        bodies: dict[Job, list[bytes]] = {}

        async def carry(job: Job) -> None:
            if job not in bodies:
                begin = len(sent)
                await loop.carry(client, job.prompt)
                bodies[job] = [request.body for request in sent[begin:]]
                return
            for body in bodies[job]:
                await client.post(
                    "/v1/messages", cast_to=httpx2.Response, content=body, options=JSON
                )

        yield carry


JSON: Any = {"headers": {"content-type": "application/json"}}

CONTENDERS: Mapping[str, Contender] = {"bare": bare, "agentrt": governed, "requests": requests}


def _expect(job: Job, answer: str | None) -> None:
    if answer != job.answer:
        raise RuntimeError(f"The job was not done: {answer!r} is not {job.answer!r}.")
