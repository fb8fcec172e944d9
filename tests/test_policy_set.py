"""Rules that set arguments: what is recorded, checked, shown, approved and run is one value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from till import ALLOW, Till, read_mail, refund, send_mail

from agentrt.approvals import KeyFile
from agentrt.errors import ArgumentsInvalid, NotAllowed, NotHeld
from agentrt.events import CallDecided, CallStarted
from agentrt.policy import stated_fact
from agentrt.policy.cel import INT
from agentrt.run import ToolCall, explain

Keys = dict[str, KeyFile]
MakeTill = Callable[..., Till]

SCORE = stated_fact("run.score", INT, about="x")


def rule(id: str, decide: str, **fields: Any) -> str:
    """A rule on refunds; JSON is YAML too."""
    entry = {"id": id, "decide": decide, "tools": ["refund"], "why": f"{id}.", **fields}
    return f"  - {json.dumps(entry)}\n"


CLAMP = rule("clamp", "allow", when="args.cents > 50", set={"cents": "50"})
HELD_CLAMP = rule("clamp", "hold", when="args.cents > 50", set={"cents": "50"})


@pytest.fixture
def till(tmp_path: Path, keys: Keys) -> Iterator[MakeTill]:
    opened: list[Till] = []

    def make(*rules: str, **more: Any) -> Till:
        people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
        text = "rules:\n" + "".join(rules)
        opened.append(Till(tmp_path / "till.db", text, people, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.store.close()


def arguments(call: ToolCall) -> dict[str, Any]:
    return call.arguments_data


def revisions(desk: Till, run: str = "r_1") -> list[CallDecided]:
    events = [record.event for record in desk.store.records(run)]
    return [event for event in events if isinstance(event, CallDecided)]


# --- recorded, run -----------------------------------------------------------------------


async def test_what_a_rule_sets_runs_and_what_was_asked_for_is_recorded(till: MakeTill) -> None:
    desk = till(ALLOW, CLAMP)
    await desk.run("r_1", refund(500))
    (decided,) = revisions(desk)
    assert decided.changed == ("cents",)
    assert json.loads(decided.asked or b"") == {"cents": 500, "to": "bob", "usd": 0}
    assert json.loads(decided.arguments) == {"cents": 50, "to": "bob", "usd": 0}
    assert desk.done == [50]
    started = [r.event for r in desk.store.records("r_1") if isinstance(r.event, CallStarted)]
    assert [event.arguments_digest for event in started] == [decided.arguments_digest]
    story = "\n".join(explain(desk.store.records("r_1"), decided.call).lines())
    assert "policy set cents; asked for was" in story
    assert '"cents":500' in story


async def test_claude_is_shown_its_own_words_again_and_not_what_was_set(till: MakeTill) -> None:
    """The conversation goes back as it came; what ran is in the result and in the store."""
    desk = till(ALLOW, CLAMP)
    run = await desk.run("r_1", refund(500))
    assert b'"cents":500' in list(run.messages)[1]
    assert run.all_calls[0].input == b'{"cents":500,"to":"bob"}'


async def test_a_rule_that_does_not_match_sets_nothing(till: MakeTill) -> None:
    desk = till(ALLOW, CLAMP)
    await desk.run("r_1", refund(50))
    (decided,) = revisions(desk)
    assert (decided.changed, decided.asked) == ((), None)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"cents": 7}, {"cents": 7}),
        ({"cents": "args.cents / 2"}, {"cents": 30}),
        ({"to": "args.to == 'bob' ? 'the ' + args.to : args.to"}, {"to": "the bob"}),
        ({"usd": "double(args.cents) / 100.0"}, {"usd": 0.6}),
        ({"usd": "0.5", "to": "'eve'"}, {"usd": 0.5, "to": "eve"}),
    ],
)
async def test_a_setting_is_a_plain_value_or_an_expression(
    till: MakeTill, setting: dict[str, Any], expected: dict[str, Any]
) -> None:
    desk = till(ALLOW, rule("change", "allow", when="args.cents == 60", set=setting))
    await desk.run("r_1", refund(60))
    assert arguments(desk.call("r_1")) == {"cents": 60, "to": "bob", "usd": 0, **expected}
    assert set(desk.call("r_1").changed) == set(setting)


# --- checked -----------------------------------------------------------------------------


async def test_what_does_not_fit_the_tool_holds_the_call_as_it_was_asked_for(
    till: MakeTill,
) -> None:
    desk = till(ALLOW, rule("change", "allow", set={"cents": "args.cents * 9007199254740991"}))
    await desk.run("r_1", refund(60))
    call = desk.call("r_1")
    assert (call.status, desk.done) == ("held", [])
    assert arguments(call)["cents"] == 60
    assert call.changed == ()
    assert "what it sets does not fit" in call.reason


@pytest.mark.parametrize(
    "setting",
    [{"cents": "args.cents / 0"}, {"cents": "int(args.to)"}, {"cents": "run.score"}],
)
async def test_what_cannot_be_evaluated_holds_the_call(
    till: MakeTill, setting: dict[str, Any]
) -> None:
    desk = till(ALLOW, rule("change", "allow", set=setting), facts=[SCORE])
    await desk.run("r_1", refund(60))
    assert desk.stands("r_1") == ["held"]
    assert revisions(desk)[0].failed == ("change",)


async def test_two_rules_that_set_different_values_hold_the_call(
    till: MakeTill, keys: Keys
) -> None:
    one, other = (rule(f"to-{value}", "allow", set={"cents": value}) for value in (10, 20))
    for rules in ((one, other), (other, one)):
        desk = till(ALLOW, *rules)
        run = f"r_{len(desk.store.runs())}"
        await desk.run(run, refund(60))
        call = desk.call(run)
        assert call.status == "held"
        assert arguments(call)["cents"] == 60
        assert "another rule sets cents to something else" in call.reason


async def test_two_rules_that_set_the_same_agree(till: MakeTill) -> None:
    desk = till(ALLOW, *(rule(name, "allow", set={"cents": 10}) for name in ("a", "b")))
    await desk.run("r_1", refund(60))
    assert desk.done == [10]


async def test_rules_that_set_one_another_off_hold_the_call(till: MakeTill) -> None:
    up = rule("up", "allow", when="args.cents < 50", set={"cents": 60})
    down = rule("down", "allow", when="args.cents >= 50", set={"cents": 40})
    desk = till(ALLOW, up, down)
    await desk.run("r_1", refund(45))
    call = desk.call("r_1")
    assert (call.status, arguments(call)["cents"]) == ("held", 45)
    assert "set something else again" in call.reason


# --- never lets run more -----------------------------------------------------------------


@pytest.mark.parametrize(("decide", "status"), [("hold", "held"), ("deny", "denied")])
async def test_setting_never_lets_run_what_another_rule_held_or_denied(
    till: MakeTill, decide: str, status: str
) -> None:
    desk = till(ALLOW, CLAMP, rule("large", decide, when="args.cents > 100"))
    await desk.run("r_1", refund(500))
    assert (desk.stands("r_1"), desk.done) == ([status], [])


@pytest.mark.parametrize(("decide", "status"), [("hold", "held"), ("deny", "denied")])
async def test_what_was_set_is_judged_again(till: MakeTill, decide: str, status: str) -> None:
    desk = till(ALLOW, CLAMP, rule("fifty", decide, when="args.cents == 50"))
    await desk.run("r_1", refund(500))
    assert (desk.stands("r_1"), desk.done) == ([status], [])


async def test_a_rule_that_sets_in_shadow_mode_sets_nothing(till: MakeTill) -> None:
    shadow = rule("clamp", "allow", when="args.cents > 50", set={"cents": "50"}, mode="shadow")
    desk = till(ALLOW, shadow)
    await desk.run("r_1", refund(500))
    assert desk.done == [500]
    assert [ref.id for ref in revisions(desk)[0].shadow] == ["clamp"]


async def test_a_rule_that_allows_and_sets_speaks_for_what_it_made(till: MakeTill) -> None:
    """Its condition is about what was asked for, and need not hold of what it set."""
    desk = till(rule("clamp", "allow", when="args.cents > 50", set={"cents": "50"}))
    await desk.run("r_1", refund(500))
    await desk.run("r_2", refund(40))
    assert desk.stands("r_1", "r_2") == ["finished", "held"]


# --- shown and approved ------------------------------------------------------------------


async def test_a_reviewer_is_shown_and_signs_what_will_run(till: MakeTill, keys: Keys) -> None:
    desk = till(HELD_CLAMP)
    await desk.run("r_1", refund(500))
    shown = desk.queue.view(desk.call("r_1").id)
    assert arguments(shown.call)["cents"] == 50
    await desk.queue.approve(shown, signer=keys["ana"], arguments=shown.call.arguments_digest)
    await desk.carry("r_1")
    await desk.carry("r_1")
    assert desk.done == [50]
    assert [event.revision for event in revisions(desk)] == [1]


async def test_a_held_call_whose_setting_changed_is_decided_and_asked_for_anew(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(HELD_CLAMP)
    await desk.run("r_1", refund(500))
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    desk.reread(desk.rules.replace('"50"', '"40"'))
    await desk.carry("r_1")
    call = desk.call("r_1")
    assert (call.status, arguments(call)["cents"], desk.done) == ("held", 40, [])


async def test_a_call_whose_setting_depends_on_a_fact_runs_with_what_it_was_when_decided(
    till: MakeTill, keys: Keys
) -> None:
    counted = rule("count", "hold", set={"cents": "run.calls_of['read_mail'] + 1"})
    desk = till(ALLOW, counted)
    await desk.run("r_1", read_mail(1), refund(500), read_mail(2))
    await desk.queue.approve(desk.call("r_1", 1).id, signer=keys["ana"])
    await desk.carry("r_1")
    assert desk.done == [2]


async def test_calls_that_one_rule_set_can_be_approved_together(till: MakeTill, keys: Keys) -> None:
    desk = till(
        rule("clamp", "hold", when="args.cents > 50", set={"cents": "50"}, group="run"),
    )
    await desk.run("r_1", refund(500), refund(600))
    group = desk.queue.group(desk.call("r_1").id)
    assert [arguments(shown.call)["cents"] for shown in group] == [50, 50]
    await desk.queue.approve_group(group, signer=keys["ana"])
    await desk.carry("r_1")
    assert desk.done == [50, 50]


async def test_a_second_attempt_is_set_from_what_was_asked_for_and_not_twice(
    till: MakeTill, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = rule("half", "hold", when="args.cents > 60", set={"cents": "args.cents / 2"})
    desk = till(half, broken=frozenset({"refund"}))
    await desk.run("r_1", refund(100))
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.carry("r_1")
    (doubt,) = desk.queue.in_doubt()
    monkeypatch.setattr(desk.store, "is_alive", lambda _process: False)
    await desk.queue.settle(doubt.id, happened=False, signer=keys["ana"], reason="It did not.")
    desk.broken = frozenset()
    await desk.carry("r_1")
    assert arguments(desk.call("r_1"))["cents"] == 50
    assert desk.stands("r_1") == ["held"]
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.carry("r_1")
    assert desk.done == [50]


async def test_a_rule_that_would_change_what_it_made_once_more_holds_the_call(
    till: MakeTill,
) -> None:
    """Nobody could say where it ends: halved once, or until it is small?"""
    desk = till(
        ALLOW, rule("half", "allow", when="args.cents > 10", set={"cents": "args.cents / 2"})
    )
    await desk.run("r_1", refund(100))
    call = desk.call("r_1")
    assert (call.status, arguments(call)["cents"], desk.done) == ("held", 100, [])
    assert "set something else again" in call.reason


# --- edited ------------------------------------------------------------------------------


async def edit(desk: Till, keys: Keys, **written: Any) -> None:
    await desk.queue.edit(
        desk.call("r_1").id,
        {"to": "bob", **written},
        signer=keys["ana"],
        reason="Less.",
        tools=desk.tools,
        policy=desk.policy,
    )
    await desk.carry("r_1")


async def test_what_a_reviewer_writes_within_the_rules_runs_as_written(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(HELD_CLAMP)
    await desk.run("r_1", refund(500))
    await edit(desk, keys, cents=40)
    assert desk.done == [40]
    assert [event.changed for event in revisions(desk)] == [("cents",), ()]


async def test_what_policy_would_set_to_something_else_is_not_signed_unseen(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(HELD_CLAMP)
    await desk.run("r_1", refund(500))
    with pytest.raises(NotAllowed, match=r'Policy sets cents .*\{"cents":50'):
        await edit(desk, keys, cents=80)
    assert desk.stands("r_1") == ["held"]
    await edit(desk, keys, cents=50)
    assert desk.done == [50]


async def test_a_setting_that_comes_to_what_the_reviewer_wrote_is_no_hindrance(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(rule("most", "hold", set={"cents": "args.cents > 50 ? 50 : args.cents"}))
    await desk.run("r_1", refund(500))
    await edit(desk, keys, cents=40)
    assert desk.done == [40]


async def test_what_two_rules_set_differently_a_reviewer_can_write_so_that_neither_does(
    till: MakeTill, keys: Keys
) -> None:
    one, other = (
        rule(f"to-{value}", "hold", when="args.cents > 50", set={"cents": value})
        for value in (10, 20)
    )
    desk = till(one, other, rule("all", "hold"))
    await desk.run("r_1", refund(60))
    assert arguments(desk.call("r_1"))["cents"] == 60
    await edit(desk, keys, cents=15)
    assert desk.done == [15]


async def test_what_a_reviewer_writes_is_denied_and_checked_as_claudes_words_are(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(HELD_CLAMP, rule("no-eve", "deny", when="args.to == 'eve'"))
    await desk.run("r_1", refund(500))
    with pytest.raises(NotAllowed, match="Policy denies these arguments"):
        await edit(desk, keys, cents=5, to="eve")
    with pytest.raises(ArgumentsInvalid):
        await edit(desk, keys, cents="5")
    assert (desk.stands("r_1"), desk.done) == (["held"], [])


async def test_what_a_reviewer_writes_waits_for_the_facts_that_it_needs(
    till: MakeTill, keys: Keys
) -> None:
    odd = rule("odd", "deny", when="args.cents > 50 && run.score > 5", defer="10m")
    desk = till(rule("all", "hold"), odd, facts=[SCORE])
    await desk.run("r_1", refund(5))
    assert desk.call("r_1").awaiting == ()
    with pytest.raises(NotHeld, match=r"waits for run\.score"):
        await edit(desk, keys, cents=80)
    await edit(desk, keys, cents=6)
    assert desk.done == [6]


async def test_another_tool_is_not_touched(till: MakeTill) -> None:
    desk = till(ALLOW, CLAMP)
    await desk.run("r_1", send_mail("bob"), refund(500))
    assert [call.changed for call in desk.store.load("r_1").all_calls] == [(), ("cents",)]
