"""The reviewer: approves whatever is held, on a machine that carries no run."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from agentrt import AuditStore
from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.errors import AgentrtError
from examples.two_machines.desk import Desk


async def review(desk: Desk, key: KeyFile) -> None:
    """Look at the queue several times a second, until this process is ended."""
    with AuditStore(desk.store) as store:
        store.bell = desk.carrier()  # so that a decision rings in its own transaction
        queue = ApprovalQueue(store, desk.policy.reviewers)
        while True:
            for held in queue.held():
                with suppress(AgentrtError):  # its run may move on at this moment
                    await queue.approve(held.id, signer=key, reason="The invoice is right.")
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    secret, *places = sys.argv[1:]
    asyncio.run(review(Desk(*places), KeyFile(Path(secret))))
