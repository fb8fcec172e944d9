"""The policy that a runtime goes by: read again when its files change, and recorded."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from pydantic_core import to_json

from agentrt.approvals import ApprovalQueue
from agentrt.audit import STORE_CHAIN, AuditStore
from agentrt.errors import Conflict, NotFound, PolicyError
from agentrt.events import BundleLoaded, BundleRefused
from agentrt.loop import InForce
from agentrt.policy import Policy
from agentrt.run import Run

__all__ = ["PolicyWatch"]

logger = logging.getLogger("agentrt")

POLICY_LOOK_S = 1.0
"""How often the policy's folder is looked at for changes."""


class PolicyWatch:
    """Keeps to the policy's folder: what it says takes effect, and the store says since when."""

    def __init__(
        self, in_force: InForce, store: AuditStore, approvals: ApprovalQueue, *, service: str
    ) -> None:
        self._in_force = in_force
        self._store = store
        self._approvals = approvals
        self._service = service
        self._next_look = 0.0

    @property
    def policy(self) -> Policy:
        """The policy that holds now."""
        return self._in_force.policy

    async def look(self) -> None:
        """Read the policy again when its files have changed; a broken one changes nothing."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + POLICY_LOOK_S
        if await asyncio.to_thread(self._in_force.has_changed):
            try:
                if await self.reload():
                    logger.info("policy %s holds from now on", self.policy.bundle[:12])
            except PolicyError as error:
                stays = self.policy.bundle[:12]
                logger.error("the changed policy is refused, and %s stays: %s", stays, error)  # noqa: TRY400

    async def reload(self) -> bool:
        """Read the folder again; whether the policy is another now. Raises PolicyError."""
        try:
            changed = await asyncio.to_thread(self._in_force.reload)
        except PolicyError as error:
            await self._record_refusal(error)
            raise
        if changed:
            self._approvals.reviewers_are(self.policy.reviewers)
            await self.record()
        return changed

    async def record(self) -> None:
        """The policy's text goes into the store's own chain, once for each time it changes."""
        while True:
            chain = self._chain()
            if chain.bundle == self.policy.bundle:
                return
            loaded = BundleLoaded(
                bundle=self.policy.bundle,
                service=self._service,
                files=to_json(dict(self.policy.files)),
            )
            with suppress(Conflict):
                await self._store.append(chain, [loaded])

    async def _record_refusal(self, error: PolicyError) -> None:
        """A policy that was refused, and why, in the store's own chain."""
        while True:
            refused = BundleRefused(
                bundle=self.policy.bundle,
                service=self._service,
                problems=to_json(str(error).splitlines()),
            )
            with suppress(Conflict):
                await self._store.append(self._chain(), [refused])
                return

    def _chain(self) -> Run:
        try:
            return self._store.load(STORE_CHAIN)
        except NotFound:
            return Run(STORE_CHAIN)
