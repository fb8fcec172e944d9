"""Who can write the database still cannot approve, decide or change what was approved."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NoReturn

import pytest
from worlds import Desk, a_policy, approved, began, doubted, settled, use

from agentrt.approvals import KeyFile
from agentrt.approvals.histories import Histories
from agentrt.events import Approver, CallDecided, CallSettled
from agentrt.loop import Carry, Surroundings
from agentrt.run import Run
from agentrt.tools import Tools, tool

Keys = dict[str, KeyFile]
RUN = "r_0000000000000001"

HOLD = """
default: {read: allow}
rules:
  - id: payments
    decide: hold
    tools: [pay]
    why: Money leaves.
    approve: {roles: [lead], expires: 1h}
  - id: notes
    decide: hold
    tools: [write_note]
    why: Notes are read.
    approve: {expires: 5m}
"""


class Claudes(Exception):
    """The run has come so far that Claude would be asked."""


class Paying(Desk):
    """A desk whose tools note down what they did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.done: list[Any] = []

        @tool(effect="irreversible")
        def pay(payee: str, cents: int) -> str:
            """Pay somebody.

            Args:
                payee: Whom.
                cents: How much.
            """
            self.done.append((payee, cents))
            return "paid"

        @tool(effect="write", idempotent_for="1h")
        def write_note(name: str, text: str = "") -> str:
            """Write a note.

            Args:
                name: Which one.
                text: What to write.
            """
            self.done.append(name)
            return "written"

        self.tools = Tools([pay, write_note])

    async def carry(self) -> Run:
        """Carry the run on, as a runtime of another process would."""
        await self.store.claim(RUN)
        histories = Histories(self.store, self.policy)
        around = Surroundings(
            store=self.store, histories=lambda: histories, tools=self.tools, claude=_no_claude
        )
        try:
            return await Carry(self.store.load(RUN), around).on()
        except Claudes:
            return self.store.load(RUN)

    def own(self, statement: str, *values: Any) -> None:
        """Change the file as its owner can."""
        with self.store._engine.begin() as connection:
            for name in ("content_update", "event_update"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            connection.exec_driver_sql(statement, values)


def _no_claude() -> NoReturn:
    raise Claudes


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Any:
    people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("clerk",))}
    opened = Paying(tmp_path / "desk.db", a_policy(people, HOLD))
    yield opened
    opened.store.close()


async def test_what_was_approved_runs_once(desk: Paying, keys: Keys) -> None:
    call = await desk.hold(cents=5)
    assert (await desk.carry()).status == "waiting"
    await desk.queue.approve(call.id, signer=keys["ana"])
    await desk.carry()
    await desk.carry()
    assert desk.done == [("bob", 5)]


async def test_an_approval_that_nobody_signed_runs_nothing(desk: Paying) -> None:
    call = await desk.hold()
    run = await desk.store.append(desk.store.load(RUN), [approved(call)])
    assert run.calls[0].status == "approved"
    run = await desk.carry()
    assert (run.calls[0].status, desk.done) == ("held", [])


async def test_an_approval_runs_nothing_twice(desk: Paying, keys: Keys) -> None:
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    yes = desk.store.records(RUN)[-1].event
    run = await desk.store.append(run, [began(run.calls[0])])
    run = await desk.store.append(run, [doubted(run.calls[0])])
    run = await desk.store.append(run, [settled(run.calls[0], happened=False)])
    run = await desk.carry()
    assert run.calls[0].status == "held"
    await desk.store.append(run, [yes])
    run = await desk.carry()
    assert (run.calls[0].status, desk.done) == ("held", [])


def forged(run: Run, **changes: Any) -> CallDecided:
    """The recorded decision once more, with something changed."""
    call = run.calls[0]
    fields = {name: getattr(call, name) for name in CallDecided.model_fields if hasattr(call, name)}
    fields |= {"type": "call.decided", "call": call.id, "revision": call.revision + 1}
    fields |= {"approvals": tuple(approval.seq for approval in call.approvals)}
    return CallDecided.model_validate(fields | changes)


async def test_a_decision_that_policy_did_not_take_runs_nothing(desk: Paying) -> None:
    await desk.hold()
    run = desk.store.load(RUN)
    allowed = forged(run, verdict="allow", approver=None)
    assert (await desk.store.append(run, [allowed])).calls[0].status == "allowed"
    run = await desk.carry()
    assert (run.calls[0].status, desk.done) == ("held", [])


async def test_a_decision_that_asks_for_less_than_the_policy_runs_nothing(
    desk: Paying, keys: Keys
) -> None:
    """Somebody lets a reviewer approve who lacks the role that the rule asks for."""
    await desk.hold()
    run = desk.store.load(RUN)
    terms = Approver(expires_at=run.calls[0].expires_at)
    run = await desk.store.append(run, [forged(run, approver=terms)])
    run = await desk.queue.approve(run.calls[0].id, signer=keys["bob"])
    assert run.calls[0].status == "approved"
    run = await desk.carry()
    assert (run.calls[0].status, desk.done) == ("held", [])


OTHER = b'{"cents":99999,"payee":"eve"}'


@pytest.mark.sqlite
async def test_arguments_that_were_changed_after_the_approval_do_not_run(
    desk: Paying, keys: Keys
) -> None:
    call = await desk.hold(cents=5)
    await desk.queue.approve(call.id, signer=keys["ana"])
    desk.own("UPDATE content SET body = ? WHERE part = 'arguments'", OTHER)
    assert desk.store.load(RUN).calls[0].arguments == OTHER
    await desk.carry()
    assert all(payee != "eve" for payee, _ in desk.done)


@pytest.mark.parametrize("digest", ["old", "new"])
async def test_a_decision_on_other_arguments_does_not_inherit_an_approval(
    desk: Paying, keys: Keys, digest: str
) -> None:
    call = await desk.hold(cents=5)
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    named = call.arguments_digest if digest == "old" else hashlib.sha256(OTHER).hexdigest()
    changed = forged(run, arguments=OTHER, arguments_digest=named, editor="ana")
    await desk.store.append(run, [changed])
    run = await desk.carry()
    assert (run.calls[0].status, desk.done) == ("held", [])


async def test_what_a_reviewer_wrote_runs_as_the_reviewer_wrote_it(
    desk: Paying, keys: Keys
) -> None:
    call = await desk.hold(cents=500)
    await desk.queue.edit(
        call.id,
        {"payee": "bob", "cents": 5},
        signer=keys["ana"],
        reason="less",
        tools=desk.tools,
        policy=desk.policy,
    )
    await desk.carry()
    assert desk.done == [("bob", 5)]


async def test_a_harmless_call_runs_again_after_its_approval_has_expired(
    desk: Paying, keys: Keys
) -> None:
    """It was used in time: the second attempt is the same act under the same key."""
    run = await desk.ask_for(use("write_note", name="a"))
    run = await desk.queue.approve(run.calls[0].id, signer=keys["ana"])
    await desk.store.append(run, [began(run.calls[0])])
    desk.clock.now += 10 * 60_000
    await desk.carry()
    assert desk.done == ["a"]


# --- settlements -----------------------------------------------------------------------


async def in_doubt(desk: Paying, keys: Keys) -> Run:
    """A payment that a process which is gone had started."""
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    run = await desk.store.append(run, [began(run.calls[0])])
    return await desk.store.append(run, [doubted(run.calls[0])])


def said_by(desk: Paying, run: Run, key: KeyFile, by: str, /, **more: Any) -> CallSettled:
    """What `by` says became of the payment, the statement changed by `more`."""
    call, happened = run.calls[0], more.pop("happened", True)
    verdict = "happened" if happened else "did_not_happen"
    said = desk.statement(run, call, by).model_copy(update={"verdict": verdict, **more})
    return CallSettled(
        cause=run.seq,
        call=call.id,
        attempt=call.attempt,
        happened=happened,
        method="person",
        statement_digest=said.digest,
        by=by,
        reason=said.reason,
        statement=said.to_bytes(),
        signature=key.sign(said.to_bytes()),
    )


async def test_what_a_reviewer_settled_stands_and_claude_is_told(desk: Paying, keys: Keys) -> None:
    run = await in_doubt(desk, keys)
    await desk.queue.settle(
        run.calls[0].id, happened=True, signer=keys["ana"], reason="seen", result="paid"
    )
    run = await desk.carry()
    assert run.calls == ()
    assert [call.result for call in run.past_calls] == ["paid"]
    assert b"paid" in run.messages[len(run.messages) - 1]


@pytest.mark.parametrize("happened", [True, False])
async def test_who_can_write_the_database_cannot_settle(
    desk: Paying, keys: Keys, happened: bool
) -> None:
    run = await in_doubt(desk, keys)
    forged = said_by(desk, run, keys["eve"], "ana", happened=happened)
    run = await desk.store.append(run, [forged])
    assert run.status == "running"  # the fold takes it at its word; whoever carries it does not
    run = await desk.carry()
    assert (run.status, run.calls[0].status) == ("waiting", "in doubt")
    assert "does not count" in run.calls[0].doubt
    assert len(run.messages) == 2  # what was asked, and the reply: Claude was told nothing
    assert desk.done == []


async def test_what_was_said_of_one_attempt_is_not_said_of_the_next(
    desk: Paying, keys: Keys
) -> None:
    run = await in_doubt(desk, keys)
    await desk.queue.settle(
        run.calls[0].id, happened=False, signer=keys["ana"], reason="not in the ledger"
    )
    said = desk.store.records(RUN)[-1].event
    run = await desk.carry()
    assert run.calls[0].status == "held"
    await desk.queue.approve(run.calls[0].id, signer=keys["ana"])
    run = desk.store.load(RUN)
    run = await desk.store.append(run, [began(run.calls[0])])
    run = await desk.store.append(run, [doubted(run.calls[0])])
    again = said.model_copy(update={"attempt": 2})
    await desk.store.append(run, [again])
    run = await desk.carry()
    assert (run.calls[0].status, run.calls[0].attempt) == ("in doubt", 2)
    assert desk.done == []


async def test_a_settlement_of_somebody_who_may_not_decide_does_not_count(
    desk: Paying, keys: Keys
) -> None:
    run = await in_doubt(desk, keys)
    await desk.store.append(run, [said_by(desk, run, keys["bob"], "bob")])
    run = await desk.carry()
    assert run.calls[0].status == "in doubt"
    assert "lacks the role lead" in run.calls[0].doubt


@pytest.mark.parametrize(
    "changed",
    [{"result": "another"}, {"store": "s_other"}, {"arguments_digest": "0" * 64}, {"run": "r_2"}],
)
async def test_a_settlement_says_just_this_of_just_this(
    desk: Paying, keys: Keys, changed: dict[str, str]
) -> None:
    run = await in_doubt(desk, keys)
    await desk.store.append(run, [said_by(desk, run, keys["ana"], "ana", **changed)])
    run = await desk.carry()
    assert run.calls[0].status == "in doubt"


async def test_a_doubt_is_settled_after_a_settlement_that_did_not_count(
    desk: Paying, keys: Keys
) -> None:
    run = await in_doubt(desk, keys)
    await desk.store.append(run, [said_by(desk, run, keys["eve"], "ana")])
    run = await desk.carry()
    await desk.queue.settle(run.calls[0].id, happened=True, signer=keys["ana"], reason="seen")
    run = await desk.carry()
    assert [call.status for call in run.all_calls] == ["finished"]
    assert not desk.store.verify().findings
