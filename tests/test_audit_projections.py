"""Store and fold agree after any sequence of operations."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from walks import next_facts
from worlds import HOUR_MS, Desk, a_policy, began, doubted, finished, use

from agentrt.approvals import KeyFile, make_key
from agentrt.approvals.verdicts import check_approvals
from agentrt.audit.projections import PROJECTIONS, project
from agentrt.audit.tables import CallRow, columns
from agentrt.errors import ApprovalError, ArgumentsInvalid, Conflict
from agentrt.events import RunCancelled
from agentrt.run import Run, ToolCall, fold

RULES = """
default: {read: allow}
rules:
  - id: payments
    decide: hold
    tools: [pay]
    why: Money leaves.
    approve: {quorum: 2, expires: 4h}
"""
PEOPLE = st.sampled_from(["ana", "bob", "eve"])
INDEX = st.integers(0, 1_000)


class StoreAndFold(RuleBasedStateMachine):
    """Several runs, appended to by a loop, by reviewers and by people who come too late."""

    runs = Bundle("runs")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.keys: dict[str, KeyFile] = {
            name: make_key(self.folder / name, comment=name) for name in ("ana", "bob", "eve")
        }
        people = {"ana": (self.keys["ana"], ("owner",)), "bob": (self.keys["bob"], ("lead",))}
        self.desk = Desk(self.folder / "desk.db", a_policy(people, RULES))
        self.loop = asyncio.Runner()
        self.folds: dict[str, Run] = {}
        self.past: dict[str, list[Run]] = {}

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.store.close()
            self.loop.close()
            shutil.rmtree(self.folder)

    # --- what people and loops do ------------------------------------------------------

    @rule(target=runs, index=INDEX)
    def start(self, index: int) -> Any:
        if len(self.folds) >= 4:
            return multiple()
        name = f"r_{len(self.folds):016x}"
        uses = [
            [use("pay", payee="bob", cents=index)],
            [use("pay", payee="bob", cents=1), use("read_note", id="b", name="x")],
            [use("read_note", name="x"), use("pay", id="b", payee="eve", cents=2)],
        ][index % 3]
        self.done(self.await_(self.desk.ask_for(*uses, run=name)))
        return name

    @rule(id=runs, index=INDEX)
    def go_on(self, id: str, index: int) -> None:
        """Whatever may come next, as a loop would append it."""
        run = self.folds[id]
        facts = list(next_facts(run))
        if facts:
            self.done(self.await_(self.desk.store.append(run, [facts[index % len(facts)]])))

    @rule(id=runs, index=INDEX)
    def come_too_late(self, id: str, index: int) -> None:
        """An append to a fold of the past is a conflict, and nothing is written."""
        past = self.past[id]
        run = past[index % len(past)]
        if run.seq == self.folds[id].seq:
            return
        fact = next(iter(next_facts(run)), None)
        if fact is not None:
            with suppress(Conflict):
                self.await_(self.desk.store.append(run, [fact]))
                raise AssertionError("a stale fold was appended to")

    @rule(id=runs, who=PEOPLE, index=INDEX)
    def approve(self, id: str, who: str, index: int) -> None:
        call = self.held(id, index)
        if call is not None:
            self.decide(self.desk.queue.approve(call.id, signer=self.keys[who], reason="due"))

    @rule(id=runs, who=PEOPLE, index=INDEX)
    def reject(self, id: str, who: str, index: int) -> None:
        call = self.held(id, index)
        if call is not None:
            self.decide(self.desk.queue.reject(call.id, signer=self.keys[who], reason="no"))

    @rule(id=runs, who=PEOPLE, index=INDEX, cents=st.integers(0, 99) | st.text(max_size=3))
    def edit(self, id: str, who: str, index: int, cents: Any) -> None:
        call = self.held(id, index)
        if call is not None:
            self.decide(
                self.desk.queue.edit(
                    call.id,
                    {"payee": "ulf", "cents": cents},
                    signer=self.keys[who],
                    reason="less",
                    tools=self.desk.tools,
                    policy=self.desk.policy,
                )
            )

    @rule(id=runs, who=PEOPLE, happened=st.booleans())
    def settle(self, id: str, who: str, happened: bool) -> None:
        for call in self.folds[id].in_doubt[:1]:
            settling = self.desk.queue.settle(
                call.id, happened=happened, signer=self.keys[who], reason="looked"
            )
            self.decide(settling)

    @rule(id=runs)
    def start_and_doubt(self, id: str) -> None:
        run = self.folds[id]
        for call in [call for call in run.calls if call.ready][:1]:
            begun = self.await_(self.desk.store.append(run, [began(call)]))
            started = next(one for one in begun.calls if one.id == call.id)
            self.done(begun)
            self.done(self.await_(self.desk.store.append(begun, [doubted(started)])))

    @rule(id=runs)
    def report_late(self, id: str) -> None:
        run = self.folds[id]
        for call in run.in_doubt[:1]:
            self.done(self.await_(self.desk.store.append(run, [finished(call, "late")])))

    @rule(id=runs)
    def decide_anew(self, id: str) -> None:
        run = self.folds[id]
        waiting = [call for call in run.calls if call.status in ("requested", "held", "approved")]
        if waiting and not run.over:
            revisions = [self.desk.revision(run, call) for call in waiting]
            self.done(self.await_(self.desk.store.append(run, revisions)))

    @rule(id=runs)
    def cancel(self, id: str) -> None:
        run = self.folds[id]
        if not run.over and len(self.folds) > 2:
            event = RunCancelled(by="ana", by_ref=self.desk.store.ref("ana"), reason="stop")
            self.done(self.await_(self.desk.store.append(run, [event])))

    @rule(hours=st.integers(1, 3))
    def wait(self, hours: int) -> None:
        self.desk.clock.now += hours * HOUR_MS
        for name in self.await_(self.desk.queue.expire_due()):
            self.done(self.desk.store.catch_up(self.folds[name]))

    @precondition(lambda self: hasattr(self, "desk"))
    @rule()
    def restart(self) -> None:
        self.desk.store.close()
        self.desk = Desk(self.desk.path, self.desk.policy, clock=self.desk.clock)

    # --- what must hold ----------------------------------------------------------------

    @invariant()
    def a_load_is_the_fold(self) -> None:
        for name, run in getattr(self, "folds", {}).items():
            assert self.desk.store.load(name) == run
            for past in self.past[name][-3:]:
                assert self.desk.store.catch_up(past) == run

    @invariant()
    def the_projections_are_those_of_the_fold(self) -> None:
        for run in getattr(self, "folds", {}).values():
            records = self.desk.store.records(run.id)
            expected = [(table, row) for table, row in project(Run(run.id), run, records)]
            for table in PROJECTIONS:
                rows = [row for kind, row in expected if kind is table]
                assert self.stored(table, run.id) == sorted(rows, key=repr)

    @invariant()
    def the_queue_is_what_is_held(self) -> None:
        if hasattr(self, "desk"):
            held = {call.id for run in self.folds.values() for call in run.held}
            assert {row.id for row in self.desk.queue.held()} == held
            doubts = {call.id for run in self.folds.values() for call in run.in_doubt}
            assert {row.id for row in self.desk.queue.in_doubt()} == doubts

    @invariant()
    def the_store_verifies(self) -> None:
        if hasattr(self, "desk"):
            found = self.desk.store.verify()
            assert found.ok, found.findings

    @invariant()
    def nothing_that_reviewers_did_approve_is_forged(self) -> None:
        """Approvals that came through the queue are accepted; those of `go_on` never are."""
        for run in getattr(self, "folds", {}).values():
            for call in run.calls:
                good = check_approvals(
                    run,
                    call,
                    reviewers=self.desk.policy.reviewers,
                    store=self.desk.store.id,
                    heads={record.hash.hex() for record in self.desk.store.records(run.id)},
                    at=self.desk.clock(),
                )
                assert all(approval.signature != "none" for approval in good)

    # --- how ---------------------------------------------------------------------------

    def stored(self, table: Any, run: str) -> list[dict[str, Any]]:
        at = columns(table)
        key = at.id if table.__tablename__ == "run" else at.run
        with self.desk.store._engine.connect() as connection:
            rows = connection.execute(at_rows(table).where(key == run))
            return sorted((dict(row._mapping) for row in rows), key=repr)

    def await_(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(work)

    def decide(self, work: Coroutine[Any, Any, Run]) -> None:
        """What a reviewer does succeeds, or is refused and changes nothing but what is due."""
        try:
            self.done(self.await_(work))
        except (ApprovalError, ArgumentsInvalid):
            for run in list(self.folds.values()):
                newer = self.desk.store.records(run.id, after=run.seq)
                assert {record.event.type for record in newer} <= {"call.expired"}
                self.done(self.desk.store.catch_up(run))

    def done(self, run: Run) -> None:
        self.past.setdefault(run.id, []).append(run)
        self.folds[run.id] = run
        assert run == fold(self.desk.store.records(run.id))

    def held(self, id: str, index: int) -> ToolCall | None:
        held = self.folds[id].held
        return held[index % len(held)] if held else None


def at_rows(table: Any) -> Any:
    from sqlalchemy import select

    return select(*columns(table))


TestStoreAndFold = StoreAndFold.TestCase
TestStoreAndFold.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


async def test_an_append_projects_only_what_it_changed(desk: Desk) -> None:
    run = await desk.ask_for(
        use("pay", payee="bob", cents=1), use("pay", id="b", payee="eve", cents=2)
    )
    after = await desk.store.append(run, [began(run.calls[0])])
    tables = [table for table, _ in project(run, after, ())]
    assert tables.count(CallRow) == 1
