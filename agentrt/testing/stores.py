"""A check for stores: what a runtime relies on, whatever database is behind it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from agentrt.agent import Agent
from agentrt.audit import AuditStore, Draft
from agentrt.errors import AgentrtError, CarriedElsewhere, Conflict, Expired, StoreError
from agentrt.events import (
    AnyEvent,
    Approver,
    CallDecided,
    CallStarted,
    ClaudeAsked,
    ClaudeReplied,
    RunCancelled,
    RunStarted,
    Usage,
    User,
)
from agentrt.run import Run
from agentrt.run.state import call_id

__all__ = ["STORE_CHECKS", "check_store"]

Make = Callable[[], AuditStore]

MACHINES = 4
"""Stores that are open at once where machines race."""

ROUNDS = 10

CAP = 5

AGENT = Agent(name="check", model="a-model")

HOUR_MS = 3_600_000

PROMPT = "Zürich 東京 🙂 \x00 \\ \" ' %s :x ; --\r\n"
"""What quoting, encodings and ends of strings go wrong with."""


async def check_store(make: Make) -> tuple[str, ...]:
    """Hold a store to what a runtime relies on, and return the names of the checks.

    `make` opens the store, each time in the same place, where nobody else writes meanwhile; all
    that are open at once count as processes of their own. Raises AssertionError with the name of
    the first check that fails.
    """
    for name, check in STORE_CHECKS.items():
        try:
            await check(make)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        except AgentrtError as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    return tuple(STORE_CHECKS)


# --- append ------------------------------------------------------------------------------


async def _what_is_appended_is_read_by_all(make: Make) -> None:
    with make() as one, make() as other:
        new = _new()
        events = _until_held(new)
        run = await one.append(new, events)
        kept = one.records(run.id)
        _must(len(kept) == run.seq, "not every record that was appended is there")
        _must(other.records(run.id) == kept, "another reads other records")
        _must(other.load(run.id) == run, "the records fold to another run than was returned")
        _must([r.event for r in kept] == events, "the events read back differently")
        _must(one.ref("mona") == other.ref("mona"), "two have two references for one name")


async def _an_append_is_kept_when_the_store_is_opened_again(make: Make) -> None:
    with make() as store:
        run = await _append_held(store)
        before, kept = store.id, store.records(run.id)
    with make() as store:
        _must(store.id == before, "it is another store than before")
        _must(store.records(run.id) == kept, "the records are not as they were")


async def _who_read_too_early_appends_nothing(make: Make) -> None:
    with make() as one, make() as other:
        stale = await one.append(_new(), [_started()])
        now = await other.append(stale, [_asked(1)])
        for late in (stale, Run(stale.id), Run(stale.id, seq=2, head=bytes(32))):
            await _refuses(Conflict, one.append(late, [_asked(2)]))
        _must(one.load(stale.id) == now, "a refused append left something behind")


async def _of_those_that_append_to_one_run_at_once_one_wins(make: Make) -> None:
    with _several(make) as stores:
        run = await stores[0].append(_new(), [_started()])
        for ask in range(1, ROUNDS + 1):
            outcomes = await _at_once(each.append(run, [_asked(ask)]) for each in stores)
            run = _only_one(outcomes, Conflict)
        _must(stores[0].load(run.id) == run, "the run is not what the winners made of it")
        _must(stores[0].verify(run.id).ok, "the chain is broken")


async def _of_those_that_begin_one_run_at_once_one_wins(make: Make) -> None:
    with _several(make) as stores:
        for _ in range(ROUNDS):
            new = _new()
            outcomes = await _at_once(each.append(new, [_started()]) for each in stores)
            run = _only_one(outcomes, Conflict)
            _must(stores[-1].load(new.id) == run, "the run is not what the winner began")


async def _all_events_of_an_append_are_recorded_or_none(make: Make) -> None:
    with make() as store:
        run = await _append_held(store)
        start = _call_started(run)
        await _refuses(StoreError, store.append(run, [start, start]))
        _must(store.load(run.id) == run, "half an append was recorded")
        await store.append(run, [start])


async def _who_is_refused_disturbs_nobody(make: Make) -> None:
    with make() as store:
        stale = await store.append(_new(), [_started()])
        await store.append(stale, [_asked(1)])
        appends = [store.append(_new(), [_started()]) for _ in range(ROUNDS)]
        outcomes = await _at_once([*appends, store.append(stale, [_asked(2)])])
        _must(isinstance(outcomes.pop(), Conflict), "what came too late was appended")
        for outcome in outcomes:
            _must(isinstance(outcome, Run), f"an append failed with another's: {outcome!r}")


async def _what_comes_after_its_time_is_refused(make: Make) -> None:
    with make() as store:
        run = await store.append(_new(), [_started()])
        await _refuses(Expired, store.append(run, [_asked(1)], not_after=store.clock()))
        _must(store.load(run.id) == run, "it was appended all the same")
        await store.append(run, [_asked(1)], not_after=store.clock() + HOUR_MS)


async def _what_is_recorded_cannot_be_changed(make: Make) -> None:
    with make() as store:
        run = await _append_held(store)
        kept = store.records(run.id)
        for change in CHANGES:
            with store.reading() as connection, suppress(DBAPIError):
                connection.execute(text(change), {"run": run.id})
                connection.commit()
                raise AssertionError(f"it let this pass: {change}")
        _must(store.records(run.id) == kept, "a record was changed")


async def _the_store_verifies(make: Make) -> None:
    with make() as store:
        await _append_held(store)
        found = store.verify()
        _must(found.records > 0, "nothing was verified")
        _must(found.ok, f"the store does not verify: {found.findings[:1]}")


# --- order across runs -------------------------------------------------------------------


async def _of_those_that_count_at_once_none_passes_a_cap(make: Make) -> None:
    """What is counted in the transaction is everything that was recorded, and stays so."""
    user_ref = secrets.token_hex(12)
    with _several(make) as stores:
        tries = [_begin_below_cap(each, user_ref) for each in stores for _ in range(CAP)]
        outcomes = await _at_once(tries)
        passed = sum(isinstance(outcome, Run) for outcome in outcomes)
        for outcome in outcomes:
            _must(isinstance(outcome, Run | _Capped), f"an append failed: {outcome!r}")
        _must(passed == CAP, f"{passed} passed a cap of {CAP}")


async def _begin_below_cap(store: AuditStore, user_ref: str) -> Run:
    def check(connection: Any) -> None:
        _, found = store.records_since(
            0, types=["run.started"], user_ref=user_ref, connection=connection
        )
        if len(found) >= CAP:
            raise _Capped

    draft = Draft.of(_new()).plus([_started(user_ref=user_ref)], at=store.clock())
    return await store.commit(draft, check=check)


async def _who_reads_on_from_a_place_misses_nothing(make: Make) -> None:
    user_ref = secrets.token_hex(12)
    with _several(make) as stores, make() as reader:
        writers = [_Writer(each, user_ref) for each in stores]
        heard: list[str] = []
        place, ended = 0, False
        while not ended:
            ended = not any(writer.is_alive() for writer in writers)  # and then looks once more
            place, records = await asyncio.to_thread(
                reader.records_since, place, types=["run.started"], user_ref=user_ref
            )
            heard += [record.run for record in records]
    wrote = [run for writer in writers for run in writer.wrote]
    _must(len(wrote) == len(stores) * ROUNDS * 2, "an append failed")
    _must(len(heard) == len(set(heard)), "a record was read twice")
    missed = len(set(wrote) - set(heard))
    _must(not missed, f"{missed} of {len(wrote)} records were missed")


class _Writer(threading.Thread):
    """A machine that begins run after run."""

    def __init__(self, store: AuditStore, user_ref: str) -> None:
        super().__init__(daemon=True)
        self._store, self._user_ref = store, user_ref
        self.wrote: list[str] = []
        self.start()

    def run(self) -> None:
        asyncio.run(self._write())

    async def _write(self) -> None:
        for _ in range(ROUNDS * 2):
            run = await self._store.append(_new(), [_started(user_ref=self._user_ref)])
            self.wrote.append(run.id)


# --- who carries a run -------------------------------------------------------------------


async def _a_run_is_carried_by_one_process(make: Make) -> None:
    with make() as one, make() as other:
        run = await one.append(_new(), [_started()])
        await one.claim(run.id)
        await one.claim(run.id)
        _must(other.carrier(run.id) == one.process, "others do not see who carries it")
        await _refuses(CarriedElsewhere, other.claim(run.id))
        await _refuses(CarriedElsewhere, other.append(run, [_asked(1)], process=other.process))
        run = await one.append(run, [_asked(1)], process=one.process)
        await one.release(run.id)
        _must(other.carrier(run.id) is None, "it was let go, and is carried all the same")
        await other.claim(run.id)
        await _refuses(CarriedElsewhere, one.append(run, [_asked(2)], process=one.process))


async def _of_those_that_claim_a_run_at_once_one_carries_it(make: Make) -> None:
    with _several(make) as stores:
        for _ in range(ROUNDS):
            run = await stores[0].append(_new(), [_started()])
            outcomes = await _at_once(each.claim(run.id) for each in stores)
            _only_one(outcomes, CarriedElsewhere)


async def _who_ended_carries_nothing_and_runs_nothing(make: Make) -> None:
    with make() as store:
        later = store.clock() + HOUR_MS
        with make() as other:
            gone = other.process
            run = await other.append(_new(), [_started()])
            await other.claim(run.id)
            _must(gone != store.process, "two processes have one name")
            _must(store.is_alive(gone), "a living process is taken for dead")
            _must(store.may_run(gone, until=later), "what a living process runs is ruled out")
            _must(other.is_alive(gone), "a process takes itself for dead")
        _must(not store.is_alive(gone), "a process that ended is taken for alive")
        _must(not store.may_run(gone, until=later), "a process that ended may run on")
        await store.claim(run.id)


# --- reads -------------------------------------------------------------------------------


async def _lists_say_what_the_records_say(make: Make) -> None:
    with make() as store:
        run = await _append_held(store)
        (row,) = store.runs(ids=[run.id])
        _must((row.status, row.head_seq) == (run.status, run.seq), "a run is listed differently")
        (call,) = store.calls(run=run.id)
        _must((call.id, call.status) == (run.calls[0].id, "held"), "a call is listed differently")
        _must(store.find_run(run.id[:-1]) == run.id, "a run is not found by how its id begins")
        _must(len(store.search(call=call.id)) == 1, "a record is not found by its call")
        ended = await store.append(
            run, [RunCancelled(by="ana", by_ref=store.ref("ana"), reason="Enough.")]
        )
        (row,) = store.runs(ids=[run.id])
        _must(row.status == ended.status == "cancelled", "a list is behind the records")


async def _a_watch_sees_what_others_write(make: Make) -> None:
    with make() as one, make() as other:
        watch = one.watch()
        try:
            watch.changed()
            await other.append(_new(), [_started()])
            _must(watch.changed(), "what another wrote was not seen")
        finally:
            watch.close()


STORE_CHECKS: Mapping[str, Callable[[Make], Awaitable[None]]] = MappingProxyType(
    {
        check.__name__.strip("_").replace("_", " "): check
        for check in (
            _what_is_appended_is_read_by_all,
            _an_append_is_kept_when_the_store_is_opened_again,
            _who_read_too_early_appends_nothing,
            _of_those_that_append_to_one_run_at_once_one_wins,
            _of_those_that_begin_one_run_at_once_one_wins,
            _all_events_of_an_append_are_recorded_or_none,
            _who_is_refused_disturbs_nobody,
            _what_comes_after_its_time_is_refused,
            _what_is_recorded_cannot_be_changed,
            _the_store_verifies,
            _of_those_that_count_at_once_none_passes_a_cap,
            _who_reads_on_from_a_place_misses_nothing,
            _a_run_is_carried_by_one_process,
            _of_those_that_claim_a_run_at_once_one_carries_it,
            _who_ended_carries_nothing_and_runs_nothing,
            _lists_say_what_the_records_say,
            _a_watch_sees_what_others_write,
        )
    }
)
"""The checks by their names, each to be run on its own: for `pytest.mark.parametrize`."""

CHANGES = (
    "UPDATE event SET hash = hash WHERE run = :run",
    "DELETE FROM event WHERE run = :run",
    "UPDATE content SET body = salt WHERE run = :run",
    "UPDATE shared SET digest = digest || :run",
    "UPDATE store SET id = :run",
    "INSERT INTO event (header, hash) SELECT header, hash FROM event WHERE run = :run",
)
"""What nobody may do with a record, by accident or by an injected statement."""


# --- how the checks speak ----------------------------------------------------------------


class _Capped(AgentrtError):
    """There are enough."""


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


async def _refuses(kind: type[AgentrtError], append: Awaitable[Any]) -> None:
    with suppress(kind):
        await append
        raise AssertionError(f"nothing raised {kind.__name__}")


async def _at_once(work: Iterable[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


def _only_one(outcomes: Sequence[Any], refusal: type[Exception]) -> Any:
    """What the only one that succeeded came to, the others being refused."""
    for outcome in outcomes:
        failed = isinstance(outcome, BaseException) and not isinstance(outcome, refusal)
        _must(not failed, f"it raised {outcome!r} where {refusal.__name__} was due")
    won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    _must(len(won) == 1, f"{len(won)} of {len(outcomes)} succeeded at once")
    return won[0]


@contextmanager
def _several(make: Make) -> Iterator[list[AuditStore]]:
    with ExitStack() as stack:
        yield [stack.enter_context(make()) for _ in range(MACHINES)]


# --- what the checks record --------------------------------------------------------------


def _new() -> Run:
    return Run(f"r_{secrets.token_hex(8)}")


async def _append_held(store: AuditStore) -> Run:
    """A run that asked for a call, which a person has to approve."""
    new = _new()
    return await store.append(new, _until_held(new))


def _until_held(run: Run) -> list[AnyEvent]:
    return [_started(), _asked(1), _replied(), _held(run)]


def _started(*, user_ref: str | None = None) -> RunStarted:
    return RunStarted(
        agent=AGENT.name,
        model=AGENT.model,
        bundle="b" * 64,
        environment="test",
        service="check_store",
        simulated=True,
        turns_max=20,
        deadline_ms=HOUR_MS,
        user_ref=user_ref,
        definition=AGENT.definition(),
        prompt=PROMPT,
        user=User(name="mona"),
    )


def _asked(ask: int) -> ClaudeAsked:
    return ClaudeAsked(
        turn=1, ask=ask, model="a-model", messages=1, tokens_max=100, request_digest="d" * 64
    )


def _replied() -> ClaudeReplied:
    use = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {"to": PROMPT}}
    return ClaudeReplied(
        turn=1,
        message_id="msg_1",
        model="a-model",
        stop_reason="tool_use",
        usage=Usage(input_tokens=10, output_tokens=5),
        latency_ms=1,
        blocks=to_json([use]),
    )


def _held(run: Run) -> CallDecided:
    arguments = to_json({"to": PROMPT})
    return CallDecided(
        call=call_id(run.id, 1, 0),
        revision=1,
        tool="pay",
        verdict="hold",
        basis="rules",
        rules_digest="c" * 64,
        bundle="b" * 64,
        effect="irreversible",
        repeatable=False,
        tool_digest="e" * 64,
        arguments_digest=hashlib.sha256(arguments).hexdigest(),
        approver=Approver(),
        arguments=arguments,
        reason="A rule says so.",
    )


def _call_started(run: Run) -> CallStarted:
    (call,) = run.calls
    return CallStarted(
        call=call.id,
        revision=call.revision,
        attempt=1,
        key="a key",
        process="p_check",
        deadline_at=run.at + HOUR_MS,
        arguments_digest=call.arguments_digest or "",
        tool_digest=call.tool_digest or "",
        bundle="b" * 64,
    )
