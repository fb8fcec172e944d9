import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from worlds import AT, HOUR_MS, Desk, a_policy, began, doubted, finished, use

from agentrt.approvals import ApprovalQueue, KeyFile, Shown
from agentrt.approvals.verdicts import check_approvals
from agentrt.audit.processes import Process
from agentrt.errors import (
    ApprovalError,
    ArgumentsInvalid,
    Conflict,
    Expired,
    NotAllowed,
    NotFound,
    NotHeld,
    Stale,
)
from agentrt.events import CallApproved, CallDecided, CallRejected, RunCancelled, User
from agentrt.run import Run, ToolCall

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
LEADS = TWO.replace("{quorum: 2}", "{roles: [lead], four_eyes: true, reason: required}")


def at_desk(desk: Desk, keys: Keys, rules: str) -> Desk:
    """The same desk under other rules."""
    people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
    desk.policy = a_policy(people, rules)
    return desk


def holds(desk: Desk, run: Run) -> list[str]:
    """Whose approvals of the first call the runtime accepts."""
    found = check_approvals(
        run,
        run.calls[0],
        reviewers=desk.policy.reviewers,
        store=desk.store.id,
        heads={record.hash.hex() for record in desk.store.records(run.id)},
        at=desk.clock(),
    )
    return [approval.by for approval in found]


# --- what waits ------------------------------------------------------------------------


async def test_the_queue_holds_what_waits_riskiest_first_then_what_expires_first(
    desk: Desk, keys: Keys
) -> None:
    late = await desk.hold(run="r_late")
    note = (await desk.ask_for(use("write_note", name="a"), run="r_note")).calls[0]
    desk.clock.now -= 1000
    soon = await desk.hold(run="r_soon")
    assert [row.id for row in desk.queue.held()] == [soon.id, late.id, note.id]
    await desk.queue.reject(soon.id, signer=keys["ana"], reason="no")
    assert [row.id for row in desk.queue.held()] == [late.id, note.id]


async def test_a_call_is_viewed_as_it_stands(desk: Desk) -> None:
    call = await desk.hold()
    shown = desk.queue.view(call.id)
    assert shown == Shown(desk.store.load(RUN), call)
    assert desk.queue.view(call.id[:8]) == shown
    with pytest.raises(NotFound):
        desk.queue.view("c_nowhere")


# --- approve ---------------------------------------------------------------------------


async def test_an_approval_is_signed_over_what_was_shown(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    head = desk.store.load(RUN).head
    run = await desk.queue.approve(call.id, signer=keys["ana"], reason="due")
    (event,) = [r.event for r in desk.store.records(RUN) if isinstance(r.event, CallApproved)]
    said = json.loads(event.statement)
    assert said["verdict"] == "approve"
    assert (said["store"], said["run"], said["call"]) == (desk.store.id, RUN, call.id)
    assert said["arguments_digest"] == call.arguments_digest
    assert said["head"] == head.hex()
    assert (said["reviewer"], said["reason"], said["signed_at"]) == ("ana", "due", AT)
    assert said["expires_at"] == call.expires_at
    assert event.cause == call.decided_seq
    assert run.calls[0].status == "approved"
    assert holds(desk, run) == ["ana"]
    assert [row.by for row in desk.store.approvals(call.id)] == ["ana"]


async def test_no_header_names_the_reviewer(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    await desk.queue.approve(call.id, signer=keys["ana"], reason="says ana")
    newest = desk.store.records(RUN)[-1]
    assert b"ana" not in newest.header
    (found,) = desk.store.search(reviewer="ana")
    assert found == newest


async def test_a_key_nobody_knows_approves_nothing_and_is_told_where_to_go(
    desk: Desk, keys: Keys
) -> None:
    call = await desk.hold()
    with pytest.raises(NotAllowed, match=r"policies/reviewers\.yaml"):
        await desk.queue.approve(call.id, signer=keys["eve"])
    assert desk.store.load(RUN).calls[0].status == "held"


async def test_roles_four_eyes_and_reasons_are_asked_for(desk: Desk, keys: Keys) -> None:
    at_desk(desk, keys, LEADS)
    call = await desk.hold(user=User(name="bob"))
    with pytest.raises(NotAllowed, match="somebody else"):
        await desk.queue.approve(call.id, signer=keys["bob"], reason="due")
    with pytest.raises(NotAllowed, match="asks for a reason"):
        await desk.queue.approve(call.id, signer=keys["ana"], reason=" ")
    run = await desk.queue.approve(call.id, signer=keys["ana"], reason="due")
    assert run.calls[0].status == "approved"


async def test_a_reviewer_without_the_role_is_refused(desk: Desk, keys: Keys) -> None:
    at_desk(desk, keys, LEADS.replace("[lead]", "[finance]"))
    call = await desk.hold()
    with pytest.raises(NotAllowed, match="bob lacks the role finance"):
        await desk.queue.approve(call.id, signer=keys["bob"], reason="due")


async def test_a_quorum_takes_two_people(desk: Desk, keys: Keys) -> None:
    at_desk(desk, keys, TWO)
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    assert run.calls[0].status == "held"
    with pytest.raises(NotHeld, match=r"ana has approved .* already; it waits for 1 more"):
        await desk.queue.approve(call.id, signer=keys["ana"])
    run = await desk.queue.approve(call.id, signer=keys["bob"])
    assert run.calls[0].status == "approved"
    assert holds(desk, run) == ["ana", "bob"]


async def test_one_no_is_enough_where_two_must_say_yes(desk: Desk, keys: Keys) -> None:
    at_desk(desk, keys, TWO)
    call = await desk.hold()
    await desk.queue.approve(call.id, signer=keys["ana"])
    run = await desk.queue.reject(call.id, signer=keys["bob"], reason="no")
    assert next(iter(run.past_calls)).status == "rejected"


@pytest.mark.parametrize("digest", ["0" * 12, "x", "0" * 64])
async def test_an_approval_of_other_arguments_than_those_in_mind_is_stale(
    desk: Desk, keys: Keys, digest: str
) -> None:
    call = await desk.hold()
    digest = digest if not call.arguments_digest.startswith(digest) else "f" * 12
    with pytest.raises(Stale, match="look at it again"):
        await desk.queue.approve(call.id, signer=keys["ana"], arguments=digest)
    assert desk.store.load(RUN).calls[0].status == "held"


async def test_the_arguments_in_mind_may_be_named_by_the_beginning_of_their_digest(
    desk: Desk, keys: Keys
) -> None:
    call = await desk.hold()
    digest = call.arguments_digest[:8]
    run = await desk.queue.approve(call.id, signer=keys["ana"], arguments=digest)
    assert run.calls[0].status == "approved"


async def test_a_call_that_changed_since_it_was_shown_is_stale(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    shown = desk.queue.view(call.id)
    run = desk.store.load(RUN)
    changed = desk.revision(run, run.calls[0], edited={"payee": "eve", "cents": 9})
    await desk.store.append(run, [changed])
    for decide in (desk.queue.approve, desk.queue.reject):
        with pytest.raises(Stale, match="revision 2"):
            await decide(shown, signer=keys["ana"], reason="x")


async def test_a_run_that_moved_on_elsewhere_does_not_make_a_decision_stale(
    desk: Desk, keys: Keys
) -> None:
    run = await desk.ask_for(
        use("pay", payee="bob", cents=5), use("read_note", id="toolu_2", name="a")
    )
    shown = desk.queue.view(run.calls[0].id)
    run = await desk.store.append(run, [began(run.calls[1])])
    await desk.store.append(run, [finished(run.calls[1])])
    decided = await desk.queue.approve(shown, signer=keys["ana"])
    assert decided.calls[0].status == "approved"
    assert holds(desk, decided) == ["ana"]


# --- reject ----------------------------------------------------------------------------


async def test_a_rejection_tells_claude_why(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    run = await desk.queue.reject(call.id, signer=keys["ana"], reason="too much")
    (closed,) = run.past_calls
    assert "too much" in closed.result
    assert closed.closed_by == "ana"
    (event,) = [r.event for r in desk.store.records(RUN) if isinstance(r.event, CallRejected)]
    assert json.loads(event.statement)["verdict"] == "reject"


async def test_a_rejection_needs_a_reason(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    with pytest.raises(NotAllowed, match="needs a reason"):
        await desk.queue.reject(call.id, signer=keys["ana"], reason="  ")


# --- expiry ----------------------------------------------------------------------------


async def test_a_decision_that_comes_too_late_is_refused(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    desk.clock.now = call.expires_at or 0
    with pytest.raises(Expired):
        await desk.queue.approve(call.id, signer=keys["ana"])
    with pytest.raises((Expired, NotHeld)):
        await desk.queue.reject(call.id, signer=keys["ana"], reason="no")


async def test_a_signature_that_took_too_long_is_not_recorded(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()

    class Slow:
        """Somebody who looks for the key until the time is over."""

        public_key = keys["ana"].public_key

        def sign(self, statement: bytes) -> str:
            desk.clock.now = call.expires_at or 0
            return keys["ana"].sign(statement)

    with pytest.raises(Expired):
        await desk.queue.approve(call.id, signer=Slow())
    assert [call.status for call in desk.store.load(RUN).all_calls] == ["expired"]
    assert desk.store.approvals(call.id) == []


async def test_a_sweep_closes_what_is_due_and_nothing_else(desk: Desk) -> None:
    call = await desk.hold()
    desk.clock.now += HOUR_MS
    await desk.hold(run="r_0000000000000002")
    assert await desk.queue.expire_due() == []
    desk.clock.now = call.expires_at or 0
    assert await desk.queue.expire_due() == [RUN]
    assert [c.status for c in desk.store.load(RUN).all_calls] == ["expired"]
    assert [row.run for row in desk.queue.held()] == ["r_0000000000000002"]
    assert await desk.queue.expire_due() == []


async def test_a_sweep_passes_over_what_was_decided_meanwhile(
    desk: Desk, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await desk.hold()
    rows = desk.queue.held()
    await desk.queue.approve(call.id, signer=keys["ana"])
    desk.clock.now = call.expires_at or 0
    monkeypatch.setattr(ApprovalQueue, "held", lambda _self: rows)
    assert await desk.queue.expire_due() == []


# --- edit ------------------------------------------------------------------------------


async def edit(desk: Desk, call: ToolCall | Shown, key: KeyFile, **arguments: Any) -> Run:
    return await desk.queue.edit(
        call if isinstance(call, Shown) else call.id,
        arguments,
        signer=key,
        reason="less",
        tools=desk.tools,
        policy=desk.policy,
    )


async def test_an_edit_approves_other_arguments_and_records_both(desk: Desk, keys: Keys) -> None:
    call = await desk.hold(cents=500)
    run = await edit(desk, call, keys["ana"], payee="bob", cents=5)
    now = run.calls[0]
    assert (now.status, now.revision, now.editor) == ("approved", 2, "ana")
    assert now.arguments_data == {"payee": "bob", "cents": 5}
    assert holds(desk, run) == ["ana"]
    decided = [r.event for r in desk.store.records(RUN) if isinstance(r.event, CallDecided)]
    assert [json.loads(event.arguments)["cents"] for event in decided] == [500, 5]


async def test_an_edit_that_does_not_fit_changes_nothing(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    with pytest.raises(ArgumentsInvalid):
        await edit(desk, call, keys["ana"], payee="bob", cents="much")
    with pytest.raises(ArgumentsInvalid):
        await edit(desk, call, keys["ana"])
    assert desk.store.load(RUN).calls[0] == call


async def test_an_edit_that_policy_denies_changes_nothing(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    at_desk(desk, keys, TWO.replace("hold", "deny").replace("    approve: {quorum: 2}\n", ""))
    with pytest.raises(NotAllowed, match="Policy denies these arguments: Money leaves"):
        await edit(desk, call, keys["ana"], payee="bob", cents=1)
    assert desk.store.load(RUN).calls[0] == call


async def test_an_edit_is_bound_to_the_yes_even_where_policy_would_allow_it(
    desk: Desk, keys: Keys
) -> None:
    call = await desk.hold()
    at_desk(desk, keys, TWO.replace("hold", "allow").replace("    approve: {quorum: 2}\n", ""))
    run = await edit(desk, call, keys["ana"], payee="bob", cents=1)
    assert run.calls[0].verdict == "hold"
    assert holds(desk, run) == ["ana"]


async def test_an_edit_voids_the_approvals_of_the_old_arguments(desk: Desk, keys: Keys) -> None:
    at_desk(desk, keys, TWO)
    call = await desk.hold()
    await desk.queue.approve(call.id, signer=keys["ana"])
    run = await edit(desk, call, keys["bob"], payee="bob", cents=1)
    assert run.calls[0].status == "held"
    assert [approval.by for approval in run.calls[0].approvals] == ["bob"]
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    assert run.calls[0].status == "approved"
    assert sorted(holds(desk, run)) == ["ana", "bob"]


async def test_an_edit_must_be_allowed_by_the_rules_of_now(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    at_desk(desk, keys, LEADS.replace("[lead]", "[finance]"))
    with pytest.raises(NotAllowed, match="bob lacks the role finance"):
        await edit(desk, call, keys["bob"], payee="bob", cents=1)


async def test_an_edit_of_what_changed_since_it_was_shown_is_stale(desk: Desk, keys: Keys) -> None:
    at_desk(desk, keys, TWO)
    call = await desk.hold()
    shown = desk.queue.view(call.id)
    await edit(desk, call, keys["ana"], payee="bob", cents=1)
    with pytest.raises(Stale):
        await edit(desk, shown, keys["bob"], payee="eve", cents=1)


# --- two at once -----------------------------------------------------------------------


def decision(desk: Desk, shown: Shown, key: KeyFile, kind: str) -> Coroutine[Any, Any, Run]:
    match kind:
        case "approve":
            return desk.queue.approve(shown, signer=key, reason="b")
        case "reject":
            return desk.queue.reject(shown, signer=key, reason="b")
        case _:
            return edit(desk, shown, key, payee="eve", cents=1)


@pytest.mark.parametrize("second", ["approve", "reject", "edit"])
async def test_of_two_reviewers_at_once_one_wins_and_the_other_is_told(
    desk: Desk, keys: Keys, second: str
) -> None:
    for number in range(17):
        call = await desk.hold(run=f"r_{number:016x}")
        shown = desk.queue.view(call.id)
        first = desk.queue.approve(shown, signer=keys["ana"], reason="a")
        other = decision(desk, shown, keys["bob"], second)
        order = [first, other] if number % 2 else [other, first]
        outcomes = await asyncio.gather(*order, return_exceptions=True)
        losers = [outcome for outcome in outcomes if isinstance(outcome, ApprovalError)]
        assert [type(outcome) for outcome in outcomes].count(Run) == 1
        assert len(losers) == 1
        assert isinstance(losers[0], NotHeld | Stale)
        assert "already" in str(losers[0]) or "changed" in str(losers[0])
        assert len(desk.store.approvals(call.id)) == 1
    assert desk.store.verify().ok


async def test_one_decision_taken_twice_counts_once(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    shown = desk.queue.view(call.id)
    outcomes = await asyncio.gather(
        *(desk.queue.approve(shown, signer=keys["ana"]) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Run) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NotHeld) for outcome in outcomes) == 2
    assert len(desk.store.approvals(call.id)) == 1


async def test_a_decision_on_what_is_held_no_more_says_how_things_stand(
    desk: Desk, keys: Keys
) -> None:
    call = await desk.hold()
    await desk.queue.approve(call.id, signer=keys["ana"])
    with pytest.raises(NotHeld, match="approved already by ana"):
        await desk.queue.reject(call.id, signer=keys["bob"], reason="no")
    run = desk.store.load(RUN)
    await desk.store.append(run, [began(run.calls[0])])
    with pytest.raises(NotHeld, match="it is started now"):
        await desk.queue.approve(call.id, signer=keys["bob"])


async def test_a_call_of_a_cancelled_run_is_not_decided(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    await desk.store.append(
        desk.store.load(RUN), [RunCancelled(by="ana", by_ref="r", reason="stop")]
    )
    with pytest.raises(NotHeld, match="never ran"):
        await desk.queue.approve(call.id, signer=keys["ana"])
    assert desk.queue.held() == []


# --- settle ----------------------------------------------------------------------------


async def in_doubt(desk: Desk, keys: Keys, process: str = "p_gone") -> ToolCall:
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    run = await desk.store.append(run, [began(run.calls[0], process=process)])
    run = await desk.store.append(run, [doubted(run.calls[0])])
    return run.calls[0]


async def test_a_person_says_that_it_happened(desk: Desk, keys: Keys) -> None:
    call = await in_doubt(desk, keys)
    assert [row.id for row in desk.queue.in_doubt()] == [call.id]
    run = await desk.queue.settle(
        call.id, happened=True, signer=keys["ana"], reason="the bank says so", result="paid"
    )
    (closed,) = run.past_calls
    assert (closed.status, closed.result, closed.closed_by) == ("finished", "paid", "ana")
    assert desk.queue.in_doubt() == []


async def test_a_person_says_that_it_did_not_happen_and_it_is_decided_anew(
    desk: Desk, keys: Keys
) -> None:
    call = await in_doubt(desk, keys)
    run = await desk.queue.settle(
        call.id, happened=False, signer=keys["ana"], reason="no trace of it"
    )
    assert (run.calls[0].status, run.calls[0].approvals) == ("requested", ())
    run = await desk.decide(run)
    assert run.calls[0].status == "held"
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    assert holds(desk, run) == ["ana"]


@pytest.mark.sqlite
async def test_nobody_says_that_it_did_not_happen_while_it_may_yet(
    desk: Desk, keys: Keys, tmp_path: Path
) -> None:
    worker = Process(desk.path.with_name("desk.db-processes"))
    call = await in_doubt(desk, keys, process=worker.id)
    with pytest.raises(NotAllowed, match="still alive"):
        await desk.queue.settle(call.id, happened=False, signer=keys["ana"], reason="no")
    assert desk.store.load(RUN).calls[0].status == "in doubt"
    worker.end()
    run = await desk.queue.settle(call.id, happened=False, signer=keys["ana"], reason="no")
    assert run.calls[0].status == "requested"


async def test_what_happened_can_be_said_while_the_process_lives(desk: Desk, keys: Keys) -> None:
    worker = Process(desk.path.with_name("desk.db-processes"))
    call = await in_doubt(desk, keys, process=worker.id)
    run = await desk.queue.settle(call.id, happened=True, signer=keys["ana"], reason="seen")
    worker.end()
    assert run.calls == ()


async def test_only_a_reviewer_settles_and_only_a_doubt(desk: Desk, keys: Keys) -> None:
    call = await in_doubt(desk, keys)
    with pytest.raises(NotAllowed):
        await desk.queue.settle(call.id, happened=True, signer=keys["eve"], reason="x")
    other = await desk.hold(run="r_0000000000000002")
    with pytest.raises(NotHeld, match="is held"):
        await desk.queue.settle(other.id, happened=True, signer=keys["ana"], reason="x")


async def test_a_doubt_is_settled_once(desk: Desk, keys: Keys) -> None:
    call = await in_doubt(desk, keys)
    outcomes = await asyncio.gather(
        *(
            desk.queue.settle(call.id, happened=happened, signer=keys["ana"], reason="looked")
            for happened in (True, False)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Run) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NotHeld) for outcome in outcomes) == 1


async def test_a_key_is_asked_once_however_often_the_run_moves_on_meanwhile(
    desk: Desk, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    signatures: list[bytes] = []

    class Counted:
        public_key = keys["ana"].public_key

        def sign(self, statement: bytes) -> str:
            signatures.append(statement)
            return keys["ana"].sign(statement)

    held = await desk.hold()
    commit, refused = desk.store.commit, iter([True, True, False])

    async def busy(*arguments: Any, **options: Any) -> Run:
        if next(refused):
            raise Conflict
        return await commit(*arguments, **options)

    monkeypatch.setattr(desk.store, "commit", busy)
    await desk.queue.approve(held.id, signer=Counted(), reason="A reason that is long enough.")
    assert len(signatures) == 1
