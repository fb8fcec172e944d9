from dataclasses import replace
from typing import Any

import pytest
from worlds import Desk, began, decided, doubted, settled, use

from agentrt.approvals import KeyFile, make_key
from agentrt.approvals.verdicts import check_approvals, check_may_decide, check_may_settle
from agentrt.errors import Expired, NotAllowed, NotHeld
from agentrt.events import AnyEvent, Approver, RunCancelled, User
from agentrt.policy import Reviewer
from agentrt.run import Run, ToolCall

Keys = dict[str, KeyFile]


# --- who may decide --------------------------------------------------------------------


def person(desk: Desk, name: str) -> Reviewer:
    found = desk.policy.reviewers.get(name)
    assert found is not None
    return found


async def held(desk: Desk, **terms: Any) -> tuple[Run, ToolCall]:
    """A held call that asks for these terms."""
    call = await desk.hold(user=User(name="bob"))
    run = desk.store.load("r_0000000000000001")
    assert call.approver is not None
    return run, replace(call, approver=call.approver.model_copy(update=terms))


async def test_a_reviewer_decides_what_is_held(desk: Desk) -> None:
    run, call = await held(desk)
    check_may_decide(run, call, person(desk, "bob"), reason="", at=desk.clock())


async def test_a_role_that_is_asked_for_is_needed_and_an_owner_has_it(desk: Desk) -> None:
    run, call = await held(desk, roles=("lead", "finance"))
    with pytest.raises(NotAllowed, match="bob lacks the role finance"):
        check_may_decide(run, call, person(desk, "bob"), reason="", at=desk.clock())
    check_may_decide(run, call, person(desk, "ana"), reason="", at=desk.clock())


async def test_four_eyes_are_not_those_of_the_user(desk: Desk) -> None:
    run, call = await held(desk, four_eyes=True)
    with pytest.raises(NotAllowed, match="somebody else"):
        check_may_decide(run, call, person(desk, "bob"), reason="", at=desk.clock())
    check_may_decide(run, call, person(desk, "ana"), reason="", at=desk.clock())


async def test_a_reason_is_asked_for_where_the_rule_wants_one(desk: Desk) -> None:
    run, call = await held(desk, reason_required=True)
    for nothing in ("", "  \n"):
        with pytest.raises(NotAllowed, match="asks for a reason"):
            check_may_decide(run, call, person(desk, "ana"), reason=nothing, at=desk.clock())
    check_may_decide(run, call, person(desk, "ana"), reason="due", at=desk.clock())


async def test_the_time_to_decide_ends(desk: Desk) -> None:
    run, call = await held(desk)
    assert call.expires_at is not None
    check_may_decide(run, call, person(desk, "ana"), reason="", at=call.expires_at - 1)
    with pytest.raises(Expired):
        check_may_decide(run, call, person(desk, "ana"), reason="", at=call.expires_at)


async def test_keys_that_are_not_valid_now_decide_nothing(desk: Desk) -> None:
    run, call = await held(desk)
    gone = person(desk, "ana").model_copy(update={"valid_before": _moment(desk.clock())})
    with pytest.raises(NotAllowed, match="not valid at this time"):
        check_may_decide(run, call, gone, reason="", at=desk.clock())


def _moment(at: int) -> Any:
    from agentrt.run.state import moment

    return moment(at)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("approved", "was approved already"),
        ("started", "is started"),
        ("rejected", "was rejected already by ana"),
        ("expired", "it counts as rejected"),
        ("cancelled", "never ran"),
        ("in doubt", "agentrt settle"),
        ("denied", "is denied and waits for nobody"),
        ("requested", "is requested and waits for nobody"),
    ],
)
async def test_whoever_comes_too_late_is_told_how_things_stand(
    desk: Desk, keys: Keys, status: Any, words: str
) -> None:
    run, call = await held(desk)
    by = "ana" if status == "rejected" else ""
    yes = desk.signed(run, call, keys["bob"], "bob")
    run = await desk.store.append(run, [yes])
    given = run.calls[0].approvals if status == "approved" else ()
    late = replace(call, status=status, closed_by=by, approvals=given)
    with pytest.raises(NotHeld, match=words):
        check_may_decide(run, late, person(desk, "ana"), reason="", at=desk.clock())


async def test_a_call_of_a_run_that_is_over_is_not_decided(desk: Desk) -> None:
    run, call = await held(desk)
    over = await desk.store.append(run, [RunCancelled(by="a", by_ref="b", reason="c")])
    with pytest.raises(NotHeld):
        check_may_decide(over, call, person(desk, "ana"), reason="", at=desk.clock())


async def test_only_a_doubt_is_settled_by_whoever_may_decide(desk: Desk) -> None:
    run, call = await held(desk, roles=("finance",))
    with pytest.raises(NotHeld, match="is held"):
        check_may_settle(run, call, person(desk, "ana"), at=desk.clock())
    doubt = replace(call, status="in doubt")
    with pytest.raises(NotAllowed, match="finance"):
        check_may_settle(run, doubt, person(desk, "bob"), at=desk.clock())
    check_may_settle(run, doubt, person(desk, "ana"), at=desk.clock())


# --- which approvals hold --------------------------------------------------------------


async def approvals_of(desk: Desk, run: Run, *events: AnyEvent) -> list[str]:
    """Who has approved, as the runtime sees it, after somebody wrote these into the store."""
    after = await desk.store.append(run, events) if events else run
    return good(desk, after)


def good(desk: Desk, run: Run, *, call: ToolCall | None = None) -> list[str]:
    found = check_approvals(
        run,
        call or run.calls[0],
        reviewers=desk.policy.reviewers,
        store=desk.store.id,
        heads={record.hash.hex() for record in desk.store.records(run.id)},
        at=desk.clock(),
    )
    return [approval.by for approval in found]


async def test_an_approval_by_a_reviewers_key_holds(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    assert await approvals_of(desk, run, desk.signed(run, call, keys["bob"], "bob")) == ["bob"]


async def test_an_approval_that_no_reviewers_key_signed_is_worth_nothing(
    desk: Desk, keys: Keys
) -> None:
    run, call = await held(desk)
    assert await approvals_of(desk, run, desk.signed(run, call, keys["eve"], "ana")) == []


async def test_an_approval_in_anothers_name_is_worth_nothing(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    assert await approvals_of(desk, run, desk.signed(run, call, keys["bob"], "ana")) == []


async def test_who_is_said_to_have_approved_is_who_signed(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk, roles=("finance",))
    forged = desk.signed(run, call, keys["bob"], "bob").model_copy(update={"by": "ana"})
    after = await desk.store.append(run, [forged])
    asked = replace(after.calls[0], approver=Approver(roles=("finance",)))
    assert good(desk, after, call=asked) == []


async def test_one_approval_written_twice_under_two_names_counts_once(
    desk: Desk, keys: Keys
) -> None:
    call = await desk.hold(cents=5)
    run = desk.store.load("r_0000000000000001")
    run = await desk.store.append(
        run, [desk.revision(run, call).model_copy(update={"approver": Approver(quorum=2)})]
    )
    call = run.calls[0]
    yes = desk.signed(run, call, keys["bob"], "bob")
    run = await desk.store.append(run, [yes, yes.model_copy(update={"by": "ana"})])
    assert run.calls[0].status == "approved"  # the fold believes what is written
    assert good(desk, run) == ["bob"]  # the runtime does not


TAMPERED: list[dict[str, Any]] = [
    {"verdict": "reject"},
    {"verdict": "happened"},
    {"store": "s_another"},
    {"run": "r_another"},
    {"call": "c_another"},
    {"tool": "read_note"},
    {"tool_digest": "0" * 64},
    {"arguments_digest": "0" * 64},
    {"rules_digest": "0" * 64},
    {"head": "0" * 64},
    {"expires_at": 1},
]


@pytest.mark.parametrize("changes", TAMPERED, ids=lambda changes: next(iter(changes)))
async def test_an_approval_of_anything_else_is_worth_nothing(
    desk: Desk, keys: Keys, changes: dict[str, Any]
) -> None:
    """Signed by a reviewer, but of another call, of another store, of another history, ..."""
    run, call = await held(desk)
    assert (
        await approvals_of(desk, run, desk.signed(run, call, keys["ana"], "ana", **changes)) == []
    )


async def test_an_approval_moved_from_another_run_is_worth_nothing(desk: Desk, keys: Keys) -> None:
    other = await desk.hold(run="r_0000000000000002")
    other_run = desk.store.load("r_0000000000000002")
    yes = desk.signed(other_run, other, keys["ana"], "ana")
    run, call = await held(desk)
    moved = yes.model_copy(update={"call": call.id, "cause": call.decided_seq})
    assert await approvals_of(desk, run, moved) == []


async def test_a_statement_that_was_changed_after_signing_is_worth_nothing(
    desk: Desk, keys: Keys
) -> None:
    run, call = await held(desk)
    yes = desk.signed(run, call, keys["ana"], "ana")
    for changed in (
        {"statement": yes.statement.replace(b'"fine"', b'"good"')},
        {"statement": b"{}"},
        {"statement": b""},
        {"signature": ""},
        {"signature": yes.signature[:-60]},
        {"statement_digest": "0" * 64},
    ):
        run = await desk.store.append(run, [yes.model_copy(update=changed)])
        assert good(desk, run) == []
        run = await desk.store.append(run, [desk.revision(run, run.calls[0])])


async def test_an_approval_is_void_when_time_is_over(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    run = await desk.store.append(run, [desk.signed(run, call, keys["ana"], "ana")])
    assert good(desk, run) == ["ana"]
    desk.clock.now = call.expires_at or 0
    assert good(desk, run) == []


async def test_a_reviewer_who_is_one_no_more_has_approved_nothing(
    desk: Desk, keys: Keys, tmp_path: Any
) -> None:
    run, call = await held(desk)
    stranger = make_key(tmp_path / "stranger", comment="stranger")
    assert await approvals_of(desk, run, desk.signed(run, call, stranger, "stranger")) == []


async def test_an_approval_is_good_for_one_attempt(desk: Desk, keys: Keys) -> None:
    """Who can write the store says "it did not happen" and shows the approval once more."""
    run, call = await held(desk)
    yes = desk.signed(run, call, keys["ana"], "ana")
    run = await desk.store.append(run, [yes])
    assert good(desk, run) == ["ana"]
    run = await desk.store.append(run, [began(run.calls[0])])
    run = await desk.store.append(run, [doubted(run.calls[0])])
    run = await desk.store.append(run, [settled(run.calls[0], happened=False)])
    run = await desk.store.append(run, [desk.revision(run, run.calls[0])])
    assert run.calls[0].status == "held"
    again = await desk.store.append(run, [yes])
    assert again.calls[0].status == "approved"  # the fold believes what is written
    assert good(desk, again) == []  # the runtime does not
    rewrapped = yes.model_copy(update={"signature": yes.signature.replace("\n", "\n\n", 1)})
    assert good(desk, await desk.store.append(again, [rewrapped])) == []


async def test_a_fresh_approval_of_a_second_attempt_holds(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    run = await desk.store.append(run, [desk.signed(run, call, keys["ana"], "ana")])
    for event in (began, doubted):
        run = await desk.store.append(run, [event(run.calls[0])])
    run = await desk.store.append(run, [settled(run.calls[0], happened=False)])
    run = await desk.store.append(run, [desk.revision(run, run.calls[0])])
    fresh = desk.signed(run, run.calls[0], keys["ana"], "ana")
    assert await approvals_of(desk, run, fresh) == ["ana"]


async def test_a_changed_decision_leaves_no_approval_behind(desk: Desk, keys: Keys) -> None:
    run, call = await held(desk)
    run = await desk.store.append(run, [desk.signed(run, call, keys["ana"], "ana")])
    other = decided(run.calls[0], "hold", arguments_digest="9" * 64, approvals=(run.seq,))
    assert good(desk, await desk.store.append(run, [other])) == []


async def test_a_call_that_nobody_approved_has_no_approvals(desk: Desk) -> None:
    run = await desk.ask_for(use("read_note", name="a"))
    assert good(desk, run) == []
