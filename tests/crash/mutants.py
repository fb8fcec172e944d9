"""Deliberate bugs, each of which the crash tests must find.

`python -m tests.crash.mutants` puts each into the processes that are killed, strikes worlds of the
kind that should find it, and prints what found it. `--quick` strikes where it is known to be found.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentrt.approvals import ApprovalQueue, verdicts
from agentrt.audit import AuditStore, Draft, sqlite
from agentrt.errors import CarriedElsewhere, Conflict
from agentrt.events import CallDoubted, CallFinished, CallSettled
from agentrt.loop import carry, deciding
from agentrt.loop.calls import call_for, enter
from agentrt.loop.carry import Carry
from agentrt.loop.fence import Fence
from agentrt.run.replacing import replace as replaced
from tests.crash.children import ended, fork
from tests.crash.ground import Ground, ground
from tests.crash.kinds import strike
from tests.crash.points import Point

evolve = sys.modules["agentrt.run.evolve"]  # the package has a function of this name

__all__ = ["MUTANTS", "Mutant", "find"]

WORLDS_MAX = 24
"""How many worlds may be struck before a mutant counts as not found."""


@dataclass(frozen=True)
class Mutant:
    """A bug, the kind of strikes that finds it, and the one strike that is enough."""

    apply: Callable[[], None]
    kind: str
    at: Point

    @property
    def name(self) -> str:
        return self.apply.__name__.replace("_", " ")


# --- bugs ------------------------------------------------------------------------------


def start_recorded_after_the_call() -> None:
    save = Carry._save

    async def late(self: Carry, **options: Any) -> None:
        if "not_after" not in options:  # only a start has one
            await save(self, **options)

    _put(Carry, "_save", late)


def an_irreversible_call_retried() -> None:
    _put(Carry, "_may_run_again", lambda _self, _call: True)


def a_started_call_assumed_done() -> None:
    async def done(self: Carry, call: Any) -> Sequence[Any]:
        finished = CallFinished(
            cause=call.started_seq,
            call=call.id,
            attempt=call.attempt,
            outcome="ok",
            duration_ms=0,
            result='"sent"',
        )
        return [finished]

    _put(Carry, "_orphaned", done)


def a_started_call_assumed_undone() -> None:
    async def undone(self: Carry, call: Any) -> Sequence[Any]:
        where = {"cause": call.started_seq, "call": call.id, "attempt": call.attempt}
        doubt = CallDoubted(**where, reason="Its process died.")
        settled = CallSettled(**where, happened=False, method="check", reason="Surely not.")
        return [doubt, settled]

    _put(Carry, "_orphaned", undone)


def synchronous_normal() -> None:
    set_pragmas = sqlite._set_pragmas

    def normal(connection: Any, record: Any) -> None:
        set_pragmas(connection, record)
        connection.execute("PRAGMA synchronous=NORMAL")

    _put(sqlite, "_set_pragmas", normal)


def no_fence() -> None:
    save = Carry._save

    async def heedless(self: Carry, **options: Any) -> None:
        try:
            await save(self, **options)
        except (Conflict, CarriedElsewhere):
            if "not_after" not in options:
                raise

    _put(Carry, "_save", heedless)
    _open_fence()


def the_lease_trusted_instead_of_the_position() -> None:
    commit = AuditStore.commit

    async def appended_anyhow(self: AuditStore, draft: Draft, **options: Any) -> Any:
        try:
            return await commit(self, draft, **options)
        except (Conflict, CarriedElsewhere):
            options.pop("process", None)
            now = Draft.of(self.load(draft.before.id))
            events = [record.event for record in draft.records]
            return await commit(self, now.plus(events, at=self.clock()), **options)

    _put(AuditStore, "commit", appended_anyhow)
    _open_fence()


def an_approval_not_bound_to_the_arguments() -> None:
    async def always(_self: Any, *_: Any, **__: Any) -> bool:
        return True

    _put(verdicts, "_check_says", lambda _said, **_: None)
    _put(deciding.Deciding, "is_current", always)


def an_approval_used_twice() -> None:
    _put(verdicts, "_check_unused", lambda *_: None)


def a_decision_not_durable_before_the_call() -> None:
    decide = Carry._decide

    async def eager(self: Carry, calls: Sequence[Any]) -> None:
        await decide(self, calls)
        for call in self.run.calls:
            if call.status == "allowed":
                await enter(call, self._tool(call), call_for(self.run, call))

    _put(Carry, "_decide", eager)


def expiry_not_checked_in_the_transaction() -> None:
    commit = AuditStore.commit

    async def at_any_time(self: AuditStore, draft: Draft, **options: Any) -> Any:
        return await commit(self, draft, **{**options, "not_after": None})

    _put(AuditStore, "commit", at_any_time)


def not_happened_believed_while_the_process_lives() -> None:
    doubted = Carry._doubted

    async def believing(self: Carry, *arguments: Any, **options: Any) -> Any:
        return await doubted(self, *arguments, **{**options, "may_be_running": False})

    _put(Carry, "_doubted", believing)
    _put(ApprovalQueue, "_check_dead", lambda _self, _call: None)


def a_held_call_runs() -> None:
    weighed = evolve._weighed

    def at_once(call: Any) -> Any:
        after = weighed(call)
        return replaced(after, status="approved") if after.status == "held" else after

    _put(evolve, "_weighed", at_once)


def one_approval_is_enough() -> None:
    weighed = evolve._weighed

    def soon(call: Any) -> Any:
        after = weighed(call)
        enough = after.status == "held" and after.approvals
        return replaced(after, status="approved") if enough else after

    _put(evolve, "_weighed", soon)


def a_denied_call_runs() -> None:
    decided = evolve._decided

    def allowed(call: Any, event: Any, record: Any) -> Any:
        after = decided(call, event, record)
        return replaced(after, status="allowed") if after.status == "denied" else after

    _put(evolve, "_decided", allowed)


def a_new_key_for_each_attempt() -> None:
    started = carry.started

    def fresh(*arguments: Any, **options: Any) -> Any:
        event = started(*arguments, **options)
        return event.model_copy(update={"key": f"{event.key}:{event.attempt}"})

    _put(carry, "started", fresh)


def _open_fence() -> None:
    async def open_to_all(_self: Fence) -> None:
        pass

    _put(Fence, "check", open_to_all)
    _put(Fence, "check_time", lambda _self: None)


def _put(where: Any, name: str, other: Any) -> None:
    """In the place of what must be there: a bug in nothing would be found by nobody."""
    getattr(where, name)
    setattr(where, name, other)


MUTANTS = (
    Mutant(start_recorded_after_the_call, "send", Point("after the effect", 1)),
    Mutant(an_irreversible_call_retried, "send", Point("after the effect", 3)),
    Mutant(a_started_call_assumed_done, "send", Point("before sending", 3)),
    Mutant(a_started_call_assumed_undone, "send", Point("after the effect", 3)),
    Mutant(synchronous_normal, "power", Point("after the effect", 3)),
    Mutant(no_fence, "stopped", Point("after commit", 6)),
    Mutant(the_lease_trusted_instead_of_the_position, "stopped", Point("after commit", 6)),
    Mutant(an_approval_not_bound_to_the_arguments, "forger", Point("before sending", 4)),
    Mutant(an_approval_used_twice, "forger", Point("before sending", 4)),
    Mutant(a_decision_not_durable_before_the_call, "send", Point("before sending", 2)),
    Mutant(expiry_not_checked_in_the_transaction, "clock", Point("before sending", 4)),
    Mutant(not_happened_believed_while_the_process_lives, "stopped", Point("before sending", 3)),
    Mutant(a_held_call_runs, "commit", Point("after commit", 8)),
    Mutant(one_approval_is_enough, "commit", Point("after commit", 20)),
    Mutant(a_denied_call_runs, "commit", Point("after commit", 8)),
    Mutant(a_new_key_for_each_attempt, "send", Point("after the effect", 2)),
)


# --- finding them ------------------------------------------------------------------------


def find(mutant: Mutant, made: Ground, *, quick: bool) -> tuple[int, str] | None:
    """The world that shows the bug, and what is wrong there; None when none does."""
    assert ended(fork(mutant.apply)) == 0, f"what {mutant.name} would change is not there"
    mutated = replace(made, mutate=mutant.apply)
    for number in range(WORLDS_MAX):
        only = mutant.at if quick else None
        strikes = strike(mutant.kind, mutated, number, until_wrong=True, only=only)
        # A process that fails is loud: what counts is what nobody would have noticed.
        told = [wrong.partition(": ")[2] for wrong in strikes.wrong]
        if quiet := [wrong for wrong in told if not wrong.startswith("a process ended")]:
            return number, quiet[0]
    return None


def _lines(made: Ground, chosen: Sequence[Mutant], *, quick: bool) -> Iterator[tuple[bool, str]]:
    for mutant in chosen:
        found = find(mutant, made, quick=quick)
        told = f"world {found[0]}: {found[1]}" if found else "NOT FOUND"
        yield found is not None, f"{mutant.name:46} {mutant.kind:9} {told}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.mutants")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="those whose name holds this")
    parser.add_argument("--part", default="0/1", help="which of how many parts: 0/4")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    logging.getLogger("agentrt").setLevel(logging.CRITICAL)
    chosen = [m for m in MUTANTS if not options.only or options.only in m.name][part::parts]
    good = True
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as made:
        for found, line in _lines(made, chosen, quick=options.quick):
            print(line, flush=True)
            good &= found
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
