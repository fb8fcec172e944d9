import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import AT, HOUR_MS, TOOLS, Desk, a_story, began, decided, doubted, pay, settled, use

from agentrt.approvals import KeyFile
from agentrt.approvals.revisions import is_current, revise
from agentrt.errors import ArgumentsInvalid
from agentrt.events import CallDecided
from agentrt.policy import Known, Policy
from agentrt.run import ToolCall
from agentrt.tools import Tools, tool

ALL = Tools(TOOLS)
HOLD = "rules:\n  - id: payments\n    decide: hold\n    tools: [pay]\n    why: Money leaves.\n"
ALLOW = HOLD.replace("hold", "allow")
DENY = HOLD.replace("hold", "deny")
DEFAULT = "default: {read: allow}\nrules: []\n"


def policy(rules: str = DEFAULT) -> Policy:
    return Policy.from_texts({"rules.yaml": rules}, TOOLS)


def decide(
    *uses: dict[str, Any], rules: str = DEFAULT, tools: Tools = ALL, at: int = AT
) -> CallDecided:
    story = a_story(*uses)
    return revise(story.run, story.call(), tools=tools, policy=policy(rules), known=Known(now=at))


PAY = use("pay", payee="bob", cents=5)


# --- the first -------------------------------------------------------------------------


def test_a_read_is_allowed_where_the_policy_lets_reads_run() -> None:
    revision = decide(use("read_note", name="a"))
    assert (revision.verdict, revision.revision, revision.basis) == ("allow", 1, "default")
    assert revision.approver is None


def test_what_no_rule_speaks_of_is_held() -> None:
    revision = decide(PAY)
    assert revision.verdict == "hold"
    assert revision.approver is not None
    assert revision.approver.severity == "high"
    assert revision.approver.expires_at == AT + 24 * HOUR_MS


def test_the_rule_that_decided_is_named_with_its_place() -> None:
    revision = decide(PAY, rules=HOLD)
    assert [(rule.id, rule.file, rule.line) for rule in revision.rules] == [
        ("payments", "rules.yaml", 2)
    ]
    assert revision.reason == "Money leaves."
    assert revision.bundle == policy(HOLD).bundle


def test_the_arguments_are_completed_and_canonical() -> None:
    revision = decide(use("write_note", name="a"))
    assert revision.arguments == b'{"name":"a","text":""}'
    assert revision.arguments_digest == hashlib.sha256(revision.arguments).hexdigest()


def test_an_unknown_tool_is_denied_with_the_names_of_those_there_are() -> None:
    revision = decide(use("format_disk"))
    assert (revision.verdict, revision.basis) == ("deny", "unknown_tool")
    assert "pay, read_note, write_note" in revision.reason
    assert revision.effect == "irreversible"


def test_a_tool_that_was_taken_away_is_denied() -> None:
    revision = decide(PAY, tools=Tools([]))
    assert (revision.verdict, revision.basis) == ("deny", "tool_gone")


@pytest.mark.parametrize("arguments", [{}, {"payee": 5, "cents": 1}, {"payee": "b", "x": 1}])
def test_arguments_that_do_not_fit_are_denied_in_words_for_claude(
    arguments: dict[str, Any],
) -> None:
    revision = decide(use("pay", **arguments), rules=ALLOW)
    assert (revision.verdict, revision.basis) == ("deny", "invalid_arguments")
    assert revision.reason
    assert json.loads(revision.arguments) == arguments


@given(st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=5))
def test_whatever_claude_writes_for_arguments_is_decided(arguments: Any) -> None:
    revision = decide({"type": "tool_use", "id": "t", "name": "pay", "input": arguments})
    assert revision.verdict == "deny"


def test_a_block_without_arguments_is_denied() -> None:
    assert decide({"type": "tool_use", "id": "t", "name": "pay"}).verdict == "deny"


# --- the next --------------------------------------------------------------------------


def test_a_tool_that_became_stricter_counts_as_it_is_now() -> None:
    @tool(effect="irreversible", name="read_note")
    def stricter(name: str) -> str:
        """Read a note.

        Args:
            name: Which one.
        """
        return name

    revision = decide(use("read_note", name="a"), tools=Tools([stricter]))
    assert (revision.effect, revision.verdict, revision.repeatable) == (
        "irreversible",
        "hold",
        False,
    )


def test_a_tool_that_became_milder_counts_as_it_was() -> None:
    @tool(effect="read", name="pay")
    def milder(payee: str, cents: int) -> str:
        """Pay somebody.

        Args:
            payee: Whom.
            cents: How much.
        """
        return payee

    revision = decide(PAY, tools=Tools([milder]))
    assert (revision.effect, revision.verdict, revision.repeatable) == (
        "irreversible",
        "hold",
        False,
    )


async def approved_call(desk: Desk, keys: dict[str, KeyFile]) -> ToolCall:
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"], reason="due")
    assert run.calls[0].status == "approved"
    return run.calls[0]


def next_revision(desk: Desk, call: ToolCall, **changes: Any) -> CallDecided:
    run = desk.store.load("r_0000000000000001")
    surroundings = {
        "tools": desk.tools,
        "policy": desk.policy,
        "known": Known(now=desk.clock()),
        **changes,
    }
    return revise(run, call, **surroundings)


def with_rules(desk: Desk, rules: str) -> Policy:
    return Policy.from_texts({**desk.policy.files, "rules.yaml": rules}, TOOLS)


async def test_an_approval_outlives_a_comment_in_the_policy(
    desk: Desk, keys: dict[str, KeyFile]
) -> None:
    call = await approved_call(desk, keys)
    commented = with_rules(desk, f"# a comment\n{DEFAULT}")
    run = desk.store.load("r_0000000000000001")
    assert not is_current(run, call, tools=desk.tools, policy=commented, known=Known(now=AT))
    revision = next_revision(desk, call, policy=commented)
    assert revision.approvals == (call.approvals[0].seq,)
    assert (await desk.store.append(run, [revision])).calls[0].status == "approved"


@pytest.mark.parametrize("change", ["arguments", "tool", "rules"])
async def test_an_approval_is_void_when_what_it_speaks_of_changes(
    desk: Desk, keys: dict[str, KeyFile], change: str
) -> None:
    @tool(effect="irreversible", name="pay", timeout_s=5)
    def pay_otherwise(payee: str, cents: int) -> str:
        """Pay somebody, otherwise.

        Args:
            payee: Whom.
            cents: How much.
        """
        return payee

    call = await approved_call(desk, keys)
    changes: dict[str, Any] = {
        "arguments": {"edited": {"payee": "bob", "cents": 6}},
        "tool": {"tools": Tools([pay_otherwise])},
        "rules": {"policy": with_rules(desk, HOLD)},
    }[change]
    revision = next_revision(desk, call, **changes)
    assert revision.approvals == ()
    run = await desk.store.append(desk.store.load("r_0000000000000001"), [revision])
    assert run.calls[0].status == "held"


async def test_a_decision_is_current_while_policy_and_tool_are_the_same(
    desk: Desk, keys: dict[str, KeyFile]
) -> None:
    call = await approved_call(desk, keys)
    run = desk.store.load("r_0000000000000001")
    assert is_current(run, call, tools=desk.tools, policy=desk.policy, known=Known(now=AT))
    assert not is_current(run, call, tools=Tools([]), policy=desk.policy, known=Known(now=AT))
    assert not is_current(
        run, call, tools=desk.tools, policy=with_rules(desk, DENY), known=Known(now=AT)
    )


async def test_the_time_to_decide_runs_on_through_revisions_for_the_same_reason(
    desk: Desk,
) -> None:
    call = await desk.hold()
    first = call.expires_at
    for _ in range(3):
        desk.clock.now += HOUR_MS
        run = desk.store.load("r_0000000000000001")
        run = await desk.store.append(run, [desk.revision(run, run.calls[0])])
        assert run.calls[0].expires_at == first


async def test_the_time_to_decide_begins_anew_for_another_reason(desk: Desk) -> None:
    call = await desk.hold()
    desk.clock.now += HOUR_MS
    revision = next_revision(desk, call, policy=with_rules(desk, HOLD))
    assert revision.approver is not None
    assert revision.approver.expires_at == desk.clock() + 24 * HOUR_MS


@pytest.mark.parametrize("rules", [HOLD, ALLOW])
def test_a_second_attempt_of_what_cannot_be_undone_asks_a_person_with_time_to_decide(
    rules: str,
) -> None:
    story = a_story(PAY)
    story.tell(
        revise(story.run, story.call(), tools=ALL, policy=policy(rules), known=Known(now=AT))
    )
    story.tell(began(story.call()))
    story.tell(doubted(story.call()))
    story.tell(settled(story.call(), happened=False))
    later = AT + 48 * HOUR_MS
    revision = revise(
        story.run, story.call(), tools=ALL, policy=policy(rules), known=Known(now=later)
    )
    assert (revision.verdict, revision.basis, revision.revision) == ("hold", "second_attempt", 2)
    assert revision.approver is not None
    assert revision.approver.expires_at == later + 24 * HOUR_MS


def test_a_second_attempt_that_policy_denies_by_now_is_denied() -> None:
    story = a_story(PAY)
    story.tell(
        revise(story.run, story.call(), tools=ALL, policy=policy(ALLOW), known=Known(now=AT))
    )
    story.tell(began(story.call()))
    story.tell(doubted(story.call()))
    story.tell(settled(story.call(), happened=False))
    denied = revise(story.run, story.call(), tools=ALL, policy=policy(DENY), known=Known(now=AT))
    assert denied.verdict == "deny"


# --- edited ----------------------------------------------------------------------------


def test_edited_arguments_are_completed_like_claudes() -> None:
    story = a_story(use("write_note", name="a", text="b"))
    story.tell(decided(story.call(), "hold"))
    revision = revise(
        story.run,
        story.call(),
        tools=ALL,
        policy=policy(),
        known=Known(now=AT),
        edited={"name": "c"},
    )
    assert json.loads(revision.arguments) == {"name": "c", "text": ""}
    assert revision.revision == 2


def test_edited_arguments_that_do_not_fit_are_refused() -> None:
    story = a_story(PAY)
    with pytest.raises(ArgumentsInvalid):
        revise(
            story.run,
            story.call(),
            tools=ALL,
            policy=policy(),
            known=Known(now=AT),
            edited={"payee": 5},
        )


def test_a_revision_after_an_edit_keeps_what_the_reviewer_wrote() -> None:
    story = a_story(PAY)
    edited = {"payee": "eve", "cents": 1}
    revision = revise(
        story.run, story.call(), tools=ALL, policy=policy(), known=Known(now=AT), edited=edited
    )
    story.tell(revision.model_copy(update={"editor": "ana"}))
    again = revise(story.run, story.call(), tools=ALL, policy=policy(HOLD), known=Known(now=AT))
    assert json.loads(again.arguments) == edited
    assert pay.name == again.tool
