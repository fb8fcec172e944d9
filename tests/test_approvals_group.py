"""Calls of a turn that belong together: one decision, one signature, each bound to its digest."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from office import Office, in_one_turn
from worlds import HOUR_MS, Desk, a_policy, began, doubted, settled, use

from agentrt import AuditStore, tool
from agentrt.approvals import (
    ApprovalQueue,
    Covered,
    KeyFile,
    Shown,
    Statement,
    group_digest,
)
from agentrt.approvals.verdicts import check_approvals
from agentrt.cli.telling import Teller
from agentrt.errors import (
    ApprovalError,
    Expired,
    NotAllowed,
    NotHeld,
    SignatureInvalid,
    Stale,
)
from agentrt.events import Approver, CallApproved, CallDecided, CallRejected
from agentrt.run import Run, ToolCall, explain
from agentrt.testing import ToolUse
from agentrt.tools import Tools

Keys = dict[str, KeyFile]
RUN = "r_0000000000000001"

TWO = """
rules:
  - id: payments
    decide: hold
    tools: [pay]
    why: Money leaves.
    approve: {quorum: 2}
"""


async def hold_together(desk: Desk, *cents: int, run: str = RUN, **changes: Any) -> Run:
    """Payments of one turn that wait, each with these changes to its decision."""
    uses = [use("pay", id=f"toolu_{n}", payee="bob", cents=each) for n, each in enumerate(cents)]
    held = await desk.ask_for(*uses, run=run)
    return await decide_again(desk, held, held.calls, **changes)


async def decide_again(
    desk: Desk, run: Run, calls: Sequence[ToolCall], *, edited: Any = None, **changes: Any
) -> Run:
    """New revisions of these calls, as a rule with `group: run` would hold them."""
    revisions = [
        desk.revision(run, call, edited=edited).model_copy(update={"group": "g_1", **changes})
        for call in calls
    ]
    return await desk.store.append(run, revisions)


def ids(group: Sequence[Shown]) -> list[str]:
    return [shown.call.id for shown in group]


def statuses(run: Run) -> list[str]:
    return [call.status for call in run.all_calls]


def good(desk: Desk, run: Run, index: int) -> list[str]:
    """Whose approvals of a call the runtime accepts."""
    found = check_approvals(
        run,
        run.all_calls[index],
        reviewers=desk.policy.reviewers,
        store=desk.store.id,
        heads={record.hash.hex() for record in desk.store.records(run.id)},
        at=desk.clock(),
    )
    return [approval.by for approval in found]


class Counted:
    """Somebody who counts how often they are asked to sign."""

    def __init__(self, key: KeyFile) -> None:
        self.key = key
        self.signed: list[bytes] = []

    @property
    def public_key(self) -> str:
        return self.key.public_key

    def sign(self, statement: bytes) -> str:
        self.signed.append(statement)
        return self.key.sign(statement)


# --- what belongs together -------------------------------------------------------------


async def test_the_held_calls_of_a_group_are_found_from_each_of_them_in_turn_order(
    desk: Desk,
) -> None:
    run = await hold_together(desk, 5, 6, 7)
    expected = [call.id for call in run.calls]
    for call in run.calls:
        group = desk.queue.group(call.id)
        assert ids(group) == expected
        assert all(shown.run == run for shown in group)
        assert desk.queue.group(desk.queue.view(call.id)) == group


async def test_a_call_whose_rules_ask_for_a_decision_on_each_is_alone(desk: Desk) -> None:
    run = await hold_together(desk, 5, 6, group=None)
    assert ids(desk.queue.group(run.calls[0].id)) == [run.calls[0].id]


async def test_calls_under_other_rules_or_of_another_group_do_not_belong(desk: Desk) -> None:
    run = await hold_together(desk, 5, 6, 7)
    run = await decide_again(desk, run, [run.calls[1]], group="g_2")
    run = await decide_again(desk, run, [run.calls[2]], rules_digest="0" * 64)
    for call in run.calls:
        assert ids(desk.queue.group(call.id)) == [call.id]


async def test_a_call_that_waits_for_a_fact_first_is_alone(desk: Desk) -> None:
    run = await hold_together(desk, 5, 6, 7)
    until = desk.clock() + 1000
    run = await decide_again(desk, run, [run.calls[1]], awaiting=("risk",), until=until)
    first, second, third = [call.id for call in run.calls]
    assert ids(desk.queue.group(first)) == [first, third]
    assert ids(desk.queue.group(second)) == [second]


async def test_what_is_held_no_more_belongs_to_no_group(desk: Desk, keys: Keys) -> None:
    run = await hold_together(desk, 5, 6, 7)
    first, second, third = [call.id for call in run.calls]
    await desk.queue.reject(second, signer=keys["ana"], reason="no")
    assert ids(desk.queue.group(first)) == [first, third]
    assert ids(desk.queue.group(second)) == [second]


# --- one decision ----------------------------------------------------------------------


async def test_one_signature_approves_all_calls_of_a_group_each_with_its_own_record(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6, 7)
    ana = Counted(keys["ana"])
    group = desk.queue.group(run.calls[1].id)
    after = await desk.queue.approve_group(group, signer=ana, reason="all due")
    assert len(ana.signed) == 1
    assert statuses(after) == ["approved"] * 3
    assert [good(desk, after, index) for index in range(3)] == [["ana"]] * 3
    events = [record.event for record in desk.store.records(RUN, after=run.seq)]
    approvals = [event for event in events if isinstance(event, CallApproved)]
    assert [event.call for event in approvals] == ids(group)
    assert [event.cause for event in approvals] == [call.decided_seq for call in run.calls]
    assert {event.statement for event in approvals} == set(ana.signed)
    assert len({(event.signature, event.statement_digest) for event in approvals}) == 1


async def test_the_statement_names_each_call_exactly_as_it_was_shown(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    ana = Counted(keys["ana"])
    await desk.queue.approve_group(desk.queue.group(run.calls[0].id), signer=ana)
    said = Statement.from_bytes(ana.signed[0])
    assert (said.run, said.head) == (RUN, run.head.hex())
    for covered, call in zip(said.covered, run.calls, strict=True):
        assert (covered.call, covered.revision, covered.tool) == (call.id, call.revision, "pay")
        assert covered.arguments_digest == call.arguments_digest
        assert covered.tool_digest == call.tool_digest
        assert covered.rules_digest == call.rules_digest
        assert covered.expires_at == call.expires_at


async def test_a_decision_on_one_call_of_a_group_is_on_that_call_alone(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    ana = Counted(keys["ana"])
    after = await desk.queue.approve(run.calls[0].id, signer=ana)
    assert statuses(after) == ["approved", "held"]
    assert "also" not in json.loads(ana.signed[0])


async def test_one_signature_rejects_all_and_claude_is_told_the_reason_of_each(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6, 7)
    ana, group = Counted(keys["ana"]), desk.queue.group(run.calls[0].id)
    with pytest.raises(NotAllowed, match="needs a reason"):
        await desk.queue.reject_group(group, signer=ana, reason=" ")
    after = await desk.queue.reject_group(group, signer=ana, reason="no invoice")
    assert len(ana.signed) == 1
    assert statuses(after) == ["rejected"] * 3
    assert all("no invoice" in call.result for call in after.past_calls)
    events = [record.event for record in desk.store.records(RUN, after=run.seq)]
    assert [type(event) for event in events] == [CallRejected] * 3


async def test_some_of_the_calls_that_were_shown_can_be_decided_together(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6, 7)
    first, _, third = desk.queue.group(run.calls[0].id)
    after = await desk.queue.approve_group([first, third], signer=keys["ana"])
    assert statuses(after) == ["approved", "held", "approved"]


async def test_each_call_needs_its_own_quorum(desk: Desk, keys: Keys) -> None:
    desk.policy = a_policy({"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}, TWO)
    run = await hold_together(desk, 5, 6)
    run = await desk.queue.approve_group(desk.queue.group(run.calls[0].id), signer=keys["ana"])
    assert statuses(run) == ["held", "held"]
    group = desk.queue.group(run.calls[0].id)
    with pytest.raises(NotHeld, match=r"ana has approved .* already"):
        await desk.queue.approve_group(group, signer=keys["ana"])
    run = await desk.queue.approve_group(group, signer=keys["bob"])
    assert statuses(run) == ["approved", "approved"]
    assert [good(desk, run, index) for index in range(2)] == [["ana", "bob"]] * 2


# --- exactly what was shown, or nothing ------------------------------------------------


async def nothing_decided(desk: Desk, run: Run) -> bool:
    now = desk.store.load(run.id)
    return not any(desk.store.approvals(call.id) for call in now.all_calls)


async def test_one_call_that_changed_makes_the_whole_decision_stale(desk: Desk, keys: Keys) -> None:
    run = await hold_together(desk, 5, 6, 7)
    group = desk.queue.group(run.calls[0].id)
    run = await decide_again(desk, run, [run.calls[2]], edited={"payee": "eve", "cents": 9})
    for decide in (desk.queue.approve_group, desk.queue.reject_group):
        with pytest.raises(Stale, match=f"{run.calls[2].id} has changed"):
            await decide(group, signer=keys["ana"], reason="x")
    assert await nothing_decided(desk, run)


async def test_one_call_that_was_decided_meanwhile_refuses_the_whole_decision(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    group = desk.queue.group(run.calls[0].id)
    await desk.queue.reject(run.calls[1].id, signer=keys["bob"], reason="no")
    with pytest.raises(NotHeld, match="rejected already by bob"):
        await desk.queue.approve_group(group, signer=keys["ana"])
    assert statuses(desk.store.load(RUN)) == ["held", "rejected"]


async def test_one_call_whose_time_is_over_refuses_the_whole_decision(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    soon = Approver(expires_at=desk.clock() + 1000)
    run = await decide_again(desk, run, [run.calls[1]], approver=soon)
    group = desk.queue.group(run.calls[0].id)
    desk.clock.now += 1000
    with pytest.raises(Expired):
        await desk.queue.approve_group(group, signer=keys["ana"])
    assert statuses(desk.store.load(RUN)) == ["held", "expired"]
    assert await nothing_decided(desk, run)
    left = desk.queue.group(run.calls[0].id)
    after = await desk.queue.approve_group(left, signer=keys["ana"])
    assert statuses(after) == ["approved", "expired"]


async def test_a_signature_that_took_longer_than_one_of_the_calls_waits_is_not_recorded(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    soon = Approver(expires_at=desk.clock() + 1000)
    run = await decide_again(desk, run, [run.calls[1]], approver=soon)

    class Slow(Counted):
        def sign(self, statement: bytes) -> str:
            desk.clock.now += 1000
            return super().sign(statement)

    with pytest.raises(Expired):
        await desk.queue.approve_group(desk.queue.group(run.calls[0].id), signer=Slow(keys["ana"]))
    assert statuses(desk.store.load(RUN)) == ["held", "expired"]
    assert await nothing_decided(desk, run)


async def test_the_terms_of_every_call_are_asked_of_the_reviewer(desk: Desk, keys: Keys) -> None:
    run = await hold_together(desk, 5, 6)
    asks: list[tuple[dict[str, Any], str]] = [
        ({"roles": ("finance",)}, "bob lacks the role finance"),
        ({"reason_required": True}, f"reason to decide {run.calls[1].id}"),
    ]
    for terms, said in asks:
        asked = Approver(expires_at=run.calls[1].expires_at, **terms)
        run = await decide_again(desk, run, [run.calls[1]], approver=asked)
        with pytest.raises(NotAllowed, match=said):
            await desk.queue.approve_group(desk.queue.group(run.calls[0].id), signer=keys["bob"])
    assert await nothing_decided(desk, run)


async def test_a_call_that_joined_after_the_others_were_shown_is_not_covered(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6, 7)
    run = await decide_again(desk, run, [run.calls[2]], group=None)
    shown = desk.queue.group(run.calls[0].id)
    run = await decide_again(desk, run, [run.calls[2]])
    assert len(desk.queue.group(run.calls[0].id)) == 3
    after = await desk.queue.approve_group(shown, signer=keys["ana"])
    assert statuses(after) == ["approved", "approved", "held"]


async def test_calls_that_do_not_belong_together_are_decided_each_by_itself(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    alone = await hold_together(desk, 5, 6, run="r_0000000000000002", group=None)
    elsewhere = await hold_together(desk, 5, run="r_0000000000000003")
    first, _ = desk.queue.group(run.calls[0].id)
    for others in (
        [desk.queue.view(call.id) for call in alone.calls],
        [first, *desk.queue.group(elsewhere.calls[0].id)],
    ):
        with pytest.raises(NotAllowed, match="does not belong together"):
            await desk.queue.approve_group(others, signer=keys["ana"])
    for each in (run, alone, elsewhere):
        assert await nothing_decided(desk, each)


async def test_calls_that_were_shown_at_different_moments_are_not_decided_together(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    first = desk.queue.view(run.calls[0].id)
    await decide_again(desk, run, [run.calls[1]])
    with pytest.raises(NotAllowed, match="not shown together"):
        await desk.queue.approve_group(
            [first, desk.queue.view(run.calls[1].id)], signer=keys["ana"]
        )


async def test_one_digest_names_the_arguments_of_a_whole_group(desk: Desk, keys: Keys) -> None:
    run = await hold_together(desk, 5, 6)
    group = desk.queue.group(run.calls[0].id)
    with pytest.raises(Stale, match="these 2 calls"):
        await desk.queue.approve_group(
            group, signer=keys["ana"], arguments=run.calls[0].arguments_digest
        )
    assert group_digest(group) != group_digest(group[::-1])
    assert group_digest(group[:1]) == run.calls[0].arguments_digest
    digest = group_digest(group)[:8]
    after = await desk.queue.approve_group(group, signer=keys["ana"], arguments=digest)
    assert statuses(after) == ["approved", "approved"]


async def test_more_calls_than_a_statement_can_name_are_refused_before_anything_is_signed(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, *range(200))
    ana = Counted(keys["ana"])
    with pytest.raises(SignatureInvalid, match="too long"):
        await desk.queue.approve_group(desk.queue.group(run.calls[0].id), signer=ana)
    assert ana.signed == []
    assert await nothing_decided(desk, run)


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_of_a_group_and_one_of_its_calls_decided_at_once_one_wins(
    desk: Desk, keys: Keys, verdict: str
) -> None:
    for number in range(9):
        run = await hold_together(desk, 5, 6, 7, run=f"r_{number:016x}")
        group = desk.queue.group(run.calls[0].id)
        one = desk.queue.approve if verdict == "approve" else desk.queue.reject
        at_once = [
            desk.queue.approve_group(group, signer=keys["ana"], reason="a"),
            one(group[1], signer=keys["bob"], reason="b"),
        ]
        outcomes = await asyncio.gather(
            *(at_once if number % 2 else at_once[::-1]), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes].count(Run) == 1
        assert sum(isinstance(outcome, ApprovalError) for outcome in outcomes) == 1
        said = [len(desk.store.approvals(call.id)) for call in run.calls]
        assert said in ([1, 1, 1], [0, 1, 0])
    assert desk.store.verify().ok


# --- what a statement on several calls is good for -------------------------------------


def forged(
    desk: Desk, run: Run, calls: Sequence[ToolCall], keys: Keys, /, **changes: Any
) -> CallApproved:
    """A yes of ana's to the first of `calls` that covers the others too, changed by `changes`."""
    also = tuple(Covered(**_named(desk, run, call)) for call in calls[1:])
    return desk.signed(run, calls[0], keys["ana"], "ana", **{"also": also, **changes})


def _named(desk: Desk, run: Run, call: ToolCall) -> dict[str, Any]:
    said = desk.statement(run, call, "ana")
    return {name: getattr(said, name) for name in Covered.model_fields}


def on(event: CallApproved, call: ToolCall) -> CallApproved:
    """The same yes, recorded for another call: what an attacker would append."""
    changes = {"call": call.id, "revision": call.revision, "cause": call.decided_seq}
    return event.model_copy(update=changes)


async def test_a_statement_on_two_calls_does_not_approve_a_third(desk: Desk, keys: Keys) -> None:
    run = await hold_together(desk, 5, 6, 7)
    yes = forged(desk, run, run.calls[:2], keys)
    run = await desk.store.append(run, [on(yes, call) for call in run.calls])
    assert statuses(run) == ["approved"] * 3  # the fold believes what is written
    assert [good(desk, run, index) for index in range(3)] == [["ana"], ["ana"], []]


async def test_equal_arguments_do_not_make_a_covered_call_of_another(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 5, 5)
    yes = forged(desk, run, run.calls[:2], keys)
    run = await desk.store.append(run, [on(yes, run.calls[2])])
    assert good(desk, run, 2) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"call": "c_another"},
        {"tool": "read_note"},
        {"tool_digest": "0" * 64},
        {"arguments_digest": "0" * 64},
        {"rules_digest": "0" * 64},
        {"expires_at": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_covered_call_is_bound_to_all_that_is_said_of_it(
    desk: Desk, keys: Keys, changes: dict[str, Any]
) -> None:
    run = await hold_together(desk, 5, 6)
    other = Covered(**_named(desk, run, run.calls[1])).model_copy(update=changes)
    yes = forged(desk, run, run.calls[:1], keys, also=(other,))
    run = await desk.store.append(run, [yes, on(yes, run.calls[1])])
    assert good(desk, run, 1) == []
    # Calls under different rules make no statement at all; otherwise the first is as approved.
    assert good(desk, run, 0) == ([] if "rules_digest" in changes else ["ana"])


@pytest.mark.parametrize(
    "changes",
    [{"store": "s_another"}, {"run": "r_another"}, {"head": "0" * 64}, {"verdict": "reject"}],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_statement_from_elsewhere_approves_none_of_its_calls(
    desk: Desk, keys: Keys, changes: dict[str, Any]
) -> None:
    run = await hold_together(desk, 5, 6)
    yes = forged(desk, run, run.calls, keys, **changes)
    run = await desk.store.append(run, [on(yes, call) for call in run.calls])
    assert [good(desk, run, index) for index in range(2)] == [[], []]


async def test_a_group_approval_moved_from_another_run_is_worth_nothing(
    desk: Desk, keys: Keys
) -> None:
    other = await hold_together(desk, 5, 6, run="r_0000000000000002")
    yes = forged(desk, other, other.calls, keys)
    run = await hold_together(desk, 5, 6)
    run = await desk.store.append(run, [on(yes, call) for call in run.calls])
    assert [good(desk, run, index) for index in range(2)] == [[], []]


async def test_where_rules_ask_for_a_decision_on_each_a_statement_on_several_is_worth_nothing(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6, group=None)
    yes = forged(desk, run, run.calls, keys)
    run = await desk.store.append(run, [on(yes, call) for call in run.calls])
    assert [good(desk, run, index) for index in range(2)] == [[], []]


async def test_arguments_that_changed_after_a_group_was_approved_are_not_covered(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    group = desk.queue.group(run.calls[0].id)
    run = await desk.queue.approve_group(group, signer=keys["ana"])
    seqs = tuple(approval.seq for approval in run.calls[1].approvals)
    other = {"payee": "eve", "cents": 6}
    run = await decide_again(desk, run, [run.calls[1]], edited=other, approvals=seqs)
    assert statuses(run) == ["approved", "approved"]  # the fold believes what is written
    assert [good(desk, run, index) for index in range(2)] == [["ana"], []]


async def test_an_edit_leaves_the_others_of_a_group_as_they_were_approved(
    desk: Desk, keys: Keys
) -> None:
    desk.policy = a_policy({"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}, TWO)
    run = await hold_together(desk, 5, 6)
    group = desk.queue.group(run.calls[0].id)
    await desk.queue.approve_group(group, signer=keys["ana"])
    run = await desk.queue.edit(
        group[1].call.id,
        {"payee": "bob", "cents": 1},
        signer=keys["bob"],
        reason="less",
        tools=desk.tools,
        policy=desk.policy,
    )
    assert [good(desk, run, index) for index in range(2)] == [["ana"], ["bob"]]


async def test_a_group_approval_is_good_for_one_attempt_of_each_call(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    yes = forged(desk, run, run.calls, keys)
    run = await desk.store.append(run, [on(yes, call) for call in run.calls])
    run = await desk.store.append(run, [began(run.calls[0]), doubted(began_call(run, 0))])
    run = await desk.store.append(run, [settled(run.calls[0], happened=False)])
    run = await decide_again(desk, run, [run.calls[0]])
    run = await desk.store.append(run, [on(yes, run.calls[0])])
    assert run.calls[0].status == "approved"  # the fold believes what is written
    assert [good(desk, run, index) for index in range(2)] == [[], ["ana"]]


def began_call(run: Run, index: int) -> ToolCall:
    return replace(run.calls[index], attempt=1)


async def test_a_new_revision_with_nothing_else_new_keeps_its_part_of_a_group_approval(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    run = await desk.queue.approve_group(desk.queue.group(run.calls[0].id), signer=keys["ana"])
    run = await decide_again(desk, run, [run.calls[1]])
    assert statuses(run) == ["approved", "approved"]
    assert good(desk, run, 1) == ["ana"]


# --- what is told ----------------------------------------------------------------------


async def test_why_says_which_calls_were_decided_together(desk: Desk, keys: Keys) -> None:
    run = await hold_together(desk, 5, 6, 7)
    first, second, third = [call.id for call in run.calls]
    await desk.queue.approve_group(desk.queue.group(first)[:2], signer=keys["ana"])
    await desk.queue.reject(third, signer=keys["bob"], reason="no")
    records = desk.store.records(RUN)
    assert f"ana approved it together with {second}" in "\n".join(explain(records, first).lines())
    assert f"ana approved it together with {first}" in "\n".join(explain(records, second).lines())
    assert "bob rejected it\n" in "\n".join(explain(records, third).lines())
    assert "together" not in json.dumps(explain(records, third).data())


async def test_a_yes_recorded_for_a_call_that_it_does_not_name_is_not_told_as_common(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6, 7)
    yes = on(forged(desk, run, run.calls[:2], keys), run.calls[2])
    await desk.store.append(run, [yes])
    told = "\n".join(explain(desk.store.records(RUN), run.calls[2].id).lines())
    assert "ana approved it\n" in told


async def test_the_story_of_a_run_says_which_calls_were_decided_together(
    desk: Desk, keys: Keys
) -> None:
    run = await hold_together(desk, 5, 6)
    first, second = [call.id for call in run.calls]
    await desk.queue.reject_group(desk.queue.group(first), signer=keys["ana"], reason="no")
    teller = Teller(RUN, now=desk.clock())
    told = [line for record in desk.store.records(RUN) for line in teller.tell(record.event)]
    assert f'  = {first} rejected by ana: "no", together with {second}' in told
    assert f'  = {second} rejected by ana: "no", together with {first}' in told


# --- through the runtime ---------------------------------------------------------------

REFUNDS = """
default: {read: allow}
rules:
  - id: refunds
    decide: hold
    group: run
    tools: [refund]
    why: Money that has left does not come back.
    approve: {expires: 1h}
  - {id: mails, decide: hold, tools: [send_mail], why: A mail cannot be called back.}
"""


class Clock:
    """The time, moved on when a test says so."""

    ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


class Counter:
    """A counter at which money is paid back, and a clock that a payment may take time on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paid: list[int] = []
        self.clock = Clock()
        self.takes_ms = 0

    def office(self, *uses: ToolUse, rules: str = REFUNDS) -> Office:
        @tool(effect="irreversible")
        def refund(cents: int) -> str:
            """Pay money back."""
            self.paid.append(cents)
            self.clock.ahead_ms += self.takes_ms
            return "paid back"

        @tool(effect="irreversible")
        def send_mail(text: str) -> str:
            """Send a mail."""
            return "sent"

        script = in_one_turn(*uses)
        return Office(self.folder, (refund, send_mail), script, rules=rules)

    def store(self) -> AuditStore:
        return AuditStore(self.folder / "agentrt.db", clock=self.clock)


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    return Counter(tmp_path)


def refunds(*cents: int) -> list[ToolUse]:
    return [ToolUse("refund", {"cents": each}) for each in cents]


async def test_three_refunds_of_a_turn_are_approved_with_one_signature_and_each_runs_once(
    counter: Counter,
) -> None:
    with counter.office(*refunds(100, 200, 300)) as office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Pay it back.")
        ana = Counted(office.keys["ana"])
        with office.store() as store:
            queue = ApprovalQueue(store, office.policy.reviewers)
            await queue.approve_group(queue.group(run.held[1].id), signer=ana)
        for _ in range(2):
            async with office.runtime() as runtime:
                run = await runtime.wait(run.id)
    assert len(ana.signed) == 1
    assert (run.status, counter.paid) == ("finished", [100, 200, 300])
    assert [len(call.used) for call in run.all_calls] == [1, 1, 1]


async def test_what_another_rule_holds_in_the_turn_is_decided_by_itself(counter: Counter) -> None:
    mail = ToolUse("send_mail", {"text": "It is on its way."})
    with counter.office(*refunds(100, 200), mail) as office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Pay it back.")
            group = runtime.approvals.group(run.held[0].id)
            assert [shown.call.tool for shown in group] == ["refund", "refund"]
            assert len(runtime.approvals.group(run.held[2].id)) == 1
            await runtime.approvals.approve_group(group, signer=office.keys["ana"])
            run = await runtime.resume(run.id)
    assert counter.paid == [100, 200]
    assert [call.tool for call in run.held] == ["send_mail"]


async def test_a_refund_that_was_edited_after_a_group_approval_runs_only_as_it_was_edited(
    counter: Counter,
) -> None:
    rules = REFUNDS.replace("{expires: 1h}", "{quorum: 2}")
    with counter.office(*refunds(100, 200), rules=rules) as office:
        office.reviewer("ben", "owner")
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Pay it back.")
            queue = runtime.approvals
            first, second = queue.group(run.held[0].id)
            await queue.approve_group([first, second], signer=office.keys["ana"])
            await queue.edit(
                second.call.id,
                {"cents": 20},
                signer=office.keys["ben"],
                reason="too much",
                tools=Tools(office.tools),
                policy=office.policy,
            )
            await queue.approve(first.call.id, signer=office.keys["ben"])
            run = await runtime.resume(run.id)
            assert (run.status, counter.paid) == ("waiting", [100])
            await queue.approve(second.call.id, signer=office.keys["ana"])
            run = await runtime.wait(run.id)
    assert (run.status, counter.paid) == ("finished", [100, 20])


async def test_a_group_whose_time_is_over_is_not_approved_and_nothing_of_it_runs(
    counter: Counter,
) -> None:
    with counter.office(*refunds(100, 200)) as office, counter.store() as store:
        async with office.runtime(store=store) as runtime:
            run = await runtime.run(office.agent(), "Pay it back.")
        counter.clock.ahead_ms = HOUR_MS
        queue = ApprovalQueue(store, office.policy.reviewers)
        with pytest.raises(Expired):
            await queue.approve_group(queue.group(run.held[0].id), signer=office.keys["ana"])
        run = store.load(run.id)
    assert (statuses(run), counter.paid) == (["expired", "expired"], [])


async def test_a_group_approval_that_expires_while_its_first_call_runs_starts_no_other(
    counter: Counter,
) -> None:
    counter.takes_ms = HOUR_MS
    with counter.office(*refunds(100, 200)) as office, counter.store() as store:
        async with office.runtime(store=store) as runtime:
            run = await runtime.run(office.agent(deadline_s=2 * 3600), "Pay it back.")
            group = runtime.approvals.group(run.held[0].id)
            await runtime.approvals.approve_group(group, signer=office.keys["ana"])
            run = await runtime.wait(run.id)
    assert (statuses(run), counter.paid) == (["finished", "expired"], [100])


async def test_a_group_approval_is_void_for_all_when_the_rule_asks_for_each_from_now_on(
    counter: Counter,
) -> None:
    with counter.office(*refunds(100, 200)) as office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Pay it back.")
        with office.store() as store:
            queue = ApprovalQueue(store, office.policy.reviewers)
            await queue.approve_group(queue.group(run.held[0].id), signer=office.keys["ana"])
        office.rules = REFUNDS.replace("    group: run\n", "")
        async with office.runtime() as runtime:
            run = await runtime.resume(run.id)
            assert (run.status, counter.paid) == ("waiting", [])
            await runtime.approvals.approve(run.held[0].id, signer=office.keys["ana"])
            run = await runtime.resume(run.id)
    assert (statuses(run), counter.paid) == (["finished", "held"], [100])


async def test_calls_that_somebody_put_together_in_the_store_are_not_run_by_one_decision(
    counter: Counter,
) -> None:
    rules = REFUNDS.replace("    group: run\n", "")
    with counter.office(*refunds(100, 200), rules=rules) as office:
        async with office.runtime() as runtime:
            run = await runtime.run(office.agent(), "Pay it back.")
        with office.store() as store:
            decided = [record.event for record in store.records(run.id)]
            forged = [
                event.model_copy(update={"revision": 2, "group": "g_forged"})
                for event in decided
                if isinstance(event, CallDecided)
            ]
            run = await store.append(store.load(run.id), forged)
            queue = ApprovalQueue(store, office.policy.reviewers)
            await queue.approve_group(queue.group(run.held[0].id), signer=office.keys["ana"])
        async with office.runtime() as runtime:
            run = await runtime.resume(run.id)
    assert (run.status, counter.paid) == ("waiting", [])
