"""The notifier: finds what is to be told, keeps it until it is delivered, tries again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore
from agentrt.audit.chores import Told
from agentrt.errors import NotDelivered
from agentrt.notifications.finding import notices
from agentrt.notifications.notice import Notice
from agentrt.notifications.targets import Target

__all__ = ["ATTEMPTS_MAX", "Notifier", "wait_ms"]

logger = logging.getLogger("agentrt")

ATTEMPTS_MAX = 10
"""With the waits between them that is about eight hours."""

FIRST_WAIT_MS = 30_000
WAIT_MAX_MS = 2 * 3_600_000


def wait_ms(attempts: int) -> int:
    """How long to wait after so many attempts."""
    return int(min(FIRST_WAIT_MS * 2 ** (attempts - 1), WAIT_MAX_MS))


class Notifier:
    """Tells targets what waits, each thing once; at least once where a process dies meanwhile.

    What is to be told is kept in the store, beside the events and never among them. A target that
    does not answer holds up no run and no other target.
    """

    def __init__(
        self,
        store: AuditStore,
        queue: ApprovalQueue,
        targets: Iterable[Target],
        *,
        environment: str = "",
    ) -> None:
        self._store = store
        self._queue = queue
        self._targets = {target.name: target for target in targets}
        self._environment = environment
        self._known: set[tuple[str, str]] = set()
        """What was kept already: it is not written again at every look."""

    @property
    def has_targets(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._targets)

    @property
    def source(self) -> str:
        """The store, as a CloudEvents source."""
        return f"agentrt:{self._store.id}"

    async def look(self, since: int) -> None:
        """Keep what is new and deliver what is due; `since` is when it was looked last."""
        found = await asyncio.to_thread(self._found, since)
        await self._keep(found)
        await self.deliver()

    def _found(self, since: int) -> list[Notice]:
        now = self._store.clock()
        found = notices(self._store, self._queue, since=since or now, environment=self._environment)
        return list(found)

    async def _keep(self, found: Sequence[Notice]) -> None:
        for target in self._targets.values():
            # What waited before a target was there would come as a flood.
            first = await self._is_first(target)
            state = "before" if first else "due"
            wanted = [notice for notice in found if notice.kind in target.kinds]
            told = [self._kept(target, notice, state) for notice in wanted]
            new = [each for each in told if (each.target, each.id) not in self._known]
            await self._store.notices.queue(new)
            self._known |= {(each.target, each.id) for each in new}
            if first:
                await self._store.chores.done(_first(target), at=self._store.clock())
        current = {(name, notice.id) for name in self._targets for notice in found}
        self._known &= current | {(name, "") for name in self._targets}

    async def _is_first(self, target: Target) -> bool:
        """Whether the target is served for the first time."""
        if (target.name, "") in self._known:
            return False
        done_at = await self._store.chores.take(_first(target), for_s=60)
        self._known.add((target.name, ""))
        return done_at == 0

    def _kept(self, target: Target, notice: Notice, state: str) -> Told:
        now = self._store.clock()
        return Told(target.name, notice.id, state, 0, now, now, notice.to_json())

    async def deliver(self) -> None:
        """Tell what is due, each target by itself."""
        due = await asyncio.to_thread(
            self._store.notices.due, now=self._store.clock(), targets=list(self._targets)
        )
        by_target: dict[str, list[Told]] = {}
        for each in due:
            by_target.setdefault(each.target, []).append(each)
        await asyncio.gather(
            *(self._tell(self._targets[name], told) for name, told in by_target.items())
        )

    async def _tell(self, target: Target, due: Sequence[Told]) -> None:
        for each in due:
            if not await self._tell_one(target, each):
                return  # it does not answer: the others wait for their turn

    async def _tell_one(self, target: Target, each: Told) -> bool:
        attempts, now = each.attempts + 1, self._store.clock()
        try:
            await target.deliver(Notice.from_json(each.body), self.source)
        except Exception as error:  # noqa: BLE001 - somebody else's program, server or mailbox
            again = not isinstance(error, NotDelivered) or error.again
            again = again and attempts < ATTEMPTS_MAX
            said = str(error) if isinstance(error, NotDelivered) else type(error).__name__
            logger.warning("%s was not told of %s: %s", target.name, each.id, said)
            await self._store.notices.change(
                each,
                state="due" if again else "given up",
                attempts=attempts,
                due_at=now + wait_ms(attempts),
            )
            return not again
        await self._store.notices.change(each, state="told", attempts=attempts, due_at=now)
        return True


def _first(target: Target) -> str:
    return f"notify {target.name}"
