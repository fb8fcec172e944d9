"""Who signs here, and how a decision is signed and sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from agentrt.approvals import ApprovalQueue, KeyFile, Shown, Signer
from agentrt.errors import ApprovalError
from agentrt.policy import Reviewer
from agentrt.run import Run

__all__ = ["Signing"]


@dataclass(frozen=True)
class Signing:
    """The reviewer at these screens, or why nobody decides here."""

    queue: ApprovalQueue
    signer: Signer | None
    reviewer: Reviewer | None
    nobody: str = ""

    @classmethod
    def of(cls, queue: ApprovalQueue, signer: Signer | None, *, read_only: bool) -> Self:
        """Find out whose key it is."""
        if read_only:
            return cls(queue, None, None, "these screens were opened to be read only")
        if signer is None:
            return cls(queue, None, None, "there is no key to sign with")
        try:
            return cls(queue, signer, queue.reviewer(signer))
        except ApprovalError as error:
            return cls(queue, None, None, str(error))

    @property
    def name(self) -> str:
        """The reviewer, for the head of the screens."""
        if self.reviewer is None:
            return "read only"
        roles = ", ".join(self.reviewer.roles)
        return f"{self.reviewer.name} ({roles})" if roles else self.reviewer.name

    async def send(
        self,
        shown: Sequence[Shown],
        verdict: str,
        *,
        reason: str,
        aside: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Sign and append, away from the screen, which `aside` takes down for a key that asks.

        `shown` is a call, or several that belong together. Raises as `ApprovalQueue.approve`
        and `reject` do; then nothing was decided.
        """

        def decide() -> Run:
            # Its own loop in its own thread: signing may block for as long as a person takes.
            return asyncio.run(self._decide(shown, verdict, reason))

        if not (isinstance(self.signer, KeyFile) and self.signer.asks):
            await asyncio.to_thread(decide)
            return
        # ssh-keygen asks at the terminal; that nothing is drawn meanwhile is the point.
        with aside(), ThreadPoolExecutor(1) as pool:
            pool.submit(decide).result()

    async def _decide(self, shown: Sequence[Shown], verdict: str, reason: str) -> Run:
        if self.signer is None:
            raise ApprovalError(f"Nothing was decided: {self.nobody}.")
        if verdict == "approve":
            return await self.queue.approve_group(shown, signer=self.signer, reason=reason)
        return await self.queue.reject_group(shown, signer=self.signer, reason=reason)
