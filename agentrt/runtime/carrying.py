"""Which runs this process carries: what is ready, who takes it, how many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from agentrt.audit import AuditStore, Wanted
from agentrt.errors import AgentrtError, NotFound, RecordTooNew, StoreCorrupt
from agentrt.loop import Carry, Surroundings
from agentrt.run import Run
from agentrt.runtime.load import Load

__all__ = ["Carrying"]

logger = logging.getLogger("agentrt")


class Carrying:
    """The runs that this process carries, each in a task of its own.

    Whoever hears that a run could go on has it looked at: what is carried next is chosen by the
    claim, in the store, among all that is ready. A run whose carrying failed here is left to
    others until somebody resumes it.
    """

    def __init__(
        self,
        store: AuditStore,
        load: Load,
        *,
        agents: Callable[[], Iterable[str]],
        simulated: Callable[[], bool],
        surroundings: Callable[[Run, bool], Surroundings],
        followed: Callable[[str], bool],
        take_up: bool,
    ) -> None:
        """Without `take_up` only those are carried that it was told to."""
        self._store = store
        self._load = load
        self._agents = agents
        self._simulated = simulated
        self._surroundings = surroundings
        self._followed = followed
        self._own: set[str] | None = None if take_up else set()
        self._carried: dict[str, Carry] = {}
        self._tasks: dict[str, asyncio.Task[Run]] = {}
        self._starting: set[str] = set()
        """Runs that have a place, and whose first record is being written."""
        self._given_up: set[str] = set()
        """Runs that could not be carried on here: they go on when they are told to."""
        self._look = asyncio.Event()
        self._looking = asyncio.Lock()
        self._changed = asyncio.Event()
        self.draining = False
        """Set when nothing new is to be taken."""

    def __contains__(self, run: object) -> bool:
        """Whether this process carries the run."""
        return run in self._tasks

    @property
    def room(self) -> int:
        """How many more runs it may carry."""
        if self.draining:
            return 0
        return self._load.runs_at_once - len(self._tasks) - len(self._starting)

    def task(self, run: str) -> asyncio.Task[Run] | None:
        """The task that carries the run."""
        return self._tasks.get(run)

    # --- take -----------------------------------------------------------------------------

    async def advance(self, _run: str) -> None:
        """Hear that a run could go on. Which one is taken is chosen among all."""
        self._look.set()

    async def take_for_ever(self) -> None:
        """Take runs whenever there is room and something was heard."""
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await self.take()
            except AgentrtError as error:  # the store is away: the next look tries again
                logger.warning("no run was taken up: %s", error)

    async def sweep(self) -> None:
        """Find what is ready though nobody rang: its bell was lost, or its carrier died."""
        if self.room > 0 and await asyncio.to_thread(self._store.claims.findable, self._wanted()):
            self._look.set()

    async def take(self) -> None:
        """Take what is ready now, as far as there is room."""
        async with self._looking:
            while (room := self.room) > 0:
                taken = await self._store.claims.take(self._wanted(), room)
                for run in taken:
                    await self._begin(run)
                if len(taken) < room:
                    return

    def _wanted(self) -> Wanted:
        return Wanted(
            agents=tuple(self._agents()),
            simulated=self._simulated(),
            only=None if self._own is None else frozenset(self._own),
            but=frozenset((*self._given_up, *self._tasks, *self._starting)),
            per_user=self._load.runs_per_user,
            per_agent=self._load.runs_per_agent,
        )

    async def _begin(self, run: str) -> None:
        try:
            now = await asyncio.to_thread(self._store.load_intact, run)
        except (NotFound, RecordTooNew, StoreCorrupt) as error:
            logger.warning("%s is left alone: %s", run, error)
            self._given_up.add(run)
            await self._store.release(run)
        else:
            self.carry(now, stream=self._followed(run))

    # --- carry ----------------------------------------------------------------------------

    def place(self, run: str) -> bool:
        """Keep a place for a run that is about to start here; whether there is one.

        With limits that all processes share there is none: the claim chooses.
        """
        self.own(run)
        if self._load.shared or self.room <= 0:
            return False
        self._starting.add(run)
        return True

    def give_back(self, run: str) -> None:
        """Give the place of a run back that has begun, or has not."""
        self._starting.discard(run)

    def own(self, run: str) -> None:
        """Let the run be carried here when it is ready."""
        if self._own is not None:
            self._own.add(run)

    async def resume(self, run: Run) -> None:
        """Carry the run on, whatever the limits. Raises CarriedElsewhere."""
        self._given_up.discard(run.id)
        if run.id not in self._tasks:
            await self._store.claim(run.id)
            self.carry(run)

    def carry(self, run: Run, *, stream: bool = False) -> None:
        """Carry the run on in a task of its own, unless one does already."""
        if run.id in self._tasks:
            return
        self.own(run.id)
        carry = Carry(run, self._surroundings(run, stream))
        self._carried[run.id] = carry
        logger.info("%s is carried on", run.id)
        task = asyncio.create_task(self._carry_on(carry), name=f"carry {run.id}")
        task.add_done_callback(_note_failure)
        self._tasks[run.id] = task

    async def _carry_on(self, carry: Carry) -> Run:
        try:
            return await carry.on()
        except Exception:
            self._given_up.add(carry.run.id)
            raise
        finally:
            await self._let_go(carry.run.id)
            if carry.run.status == "running":
                self._store.ring(carry.run.id)  # others go on with it

    async def _let_go(self, run: str) -> None:
        """Give the lease back before the run can be taken up again, here or elsewhere."""
        try:
            await self._store.release(run)
        finally:
            stands = self._carried.pop(run).run
            del self._tasks[run]
            logger.info("%s %s", run, _STANDS.get(stands.status, stands.status))
            self._look.set()
            self.notify()

    # --- look around ----------------------------------------------------------------------

    async def see_what_ended(self) -> None:
        """Stop what was cancelled from outside."""
        if not self._carried:
            return
        ids = list(self._carried)
        rows = await asyncio.to_thread(self._store.runs, ids=ids, status=("cancelled",))
        for row in rows:
            if (carry := self._carried.get(row.id)) is not None:
                carry.ended.set()

    def notify(self) -> None:
        """Wake everybody who waits for a change: each waits for an event that is set once."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def next_change(self) -> None:
        """Wait until something may have changed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._changed.wait()

    async def still(self, *, within_s: float | None = None) -> None:
        """Wait until nothing is carried here any more, at most so long."""
        if tasks := list(self._tasks.values()):
            await asyncio.wait(tasks, timeout=within_s)


_STANDS = {"running": "is left to be taken up", "waiting": "waits for a person"}
"""How a run is said to stand that is carried no longer, where its status says too little."""


def _note_failure(task: asyncio.Task[Run]) -> None:
    """A run that nobody waits for must not fail unheard."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("%s stopped: %s", task.get_name(), error)
