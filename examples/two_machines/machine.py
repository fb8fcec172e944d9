"""A machine: a worker in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys

from agentrt import Runtime
from agentrt.claude import Claude
from agentrt.runtime import Load
from agentrt.workers import Worker
from examples.two_machines.desk import Desk


async def serve(desk: Desk) -> None:
    """Carry runs until SIGTERM."""
    claude = Claude.scripted(desk.claude)
    runtime = Runtime(
        store=desk.store,
        policy=desk.policy,
        agents=[desk.agent],
        claude=claude,
        load=Load(runs_at_once=8),
        carrier=desk.carrier(),
        service=desk.machine,
    )
    worker = Worker(runtime)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.serve()
    await claude.close()


if __name__ == "__main__":
    machine, store, bank, claude_url, key = sys.argv[1:]
    asyncio.run(serve(Desk(store, bank, claude_url, key, machine)))
