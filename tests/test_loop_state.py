"""Stated facts: a call that needs one waits for it, then for a person, and not for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from office import Office, in_one_turn, one_call, only_call
from till import ALLOW, Till, read_mail, refund, send_mail
from worlds import AT

from agentrt import tool
from agentrt.approvals import KeyFile
from agentrt.errors import NotFound, NotHeld, RunError, RunOver
from agentrt.events import CallDecided, CallFinished, CallSettled, FactStated, Record
from agentrt.loop import state
from agentrt.policy import Fact, stated_fact
from agentrt.policy.cel import ANY, BOOL, INT, STRING, ListOf, Unknown
from agentrt.run import Run, explain
from agentrt.testing import ScriptedClaude, ToolUse

Keys = dict[str, KeyFile]
MakeTill = Callable[..., Till]

MINUTE_MS = 60_000
CLEARED = stated_fact("run.cleared", BOOL, about="Whether somebody looked at it.")
SCORE = stated_fact("run.score", INT, about="How it looks.")
RULES = f"""rules:
{ALLOW}
  - id: clear
    decide: deny
    tools: [refund]
    when: "!run.cleared"
    why: Not cleared.
    defer: 10m
"""
BOTH = RULES + (
    "  - {id: score, decide: hold, tools: [refund], when: run.score > 50, why: Odd., defer: 2m}\n"
)


@pytest.fixture
def till(tmp_path: Path, keys: Keys) -> Iterator[MakeTill]:
    opened: list[Till] = []

    def make(rules: str = RULES, **more: Any) -> Till:
        people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
        more = {"facts": [CLEARED, SCORE], **more}
        opened.append(Till(tmp_path / "till.db", rules, people, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.store.close()


def stands(desk: Till, index: int = 0) -> str:
    return desk.call("r_1", index).status


def decisions(desk: Till) -> list[CallDecided]:
    events = [record.event for record in desk.store.records("r_1")]
    return [event for event in events if isinstance(event, CallDecided)]


async def say(desk: Till, name: str, value: Any) -> Run:
    return await state(desk.store, desk.policy, "r_1", name, value, by="ana")


# --- it waits ----------------------------------------------------------------------------


async def test_a_call_that_needs_an_unknown_fact_waits_for_it(till: MakeTill) -> None:
    desk = till()
    run = await desk.run("r_1", refund(5))
    (decided,) = decisions(desk)
    assert (decided.verdict, decided.awaiting) == ("hold", ("run.cleared",))
    assert decided.until == decided_at(desk) + 10 * MINUTE_MS
    assert "It waits for run.cleared." in decided.reason
    assert (run.status, desk.done) == ("waiting", [])
    assert json.loads(decided.facts or b"{}")["waits"] == {"clear": "run.cleared"}


def decided_at(desk: Till, index: int = 0) -> int:
    return desk.call("r_1", index).decided_at


async def test_while_it_waits_for_a_fact_nobody_is_asked(till: MakeTill, keys: Keys) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    call = desk.call("r_1")
    assert desk.queue.held() == []
    assert [row.id for row in desk.queue.deferred()] == [call.id]
    for decide in (desk.queue.approve, desk.queue.reject):
        with pytest.raises(NotHeld, match=r"waits for run\.cleared until .*; then a person is"):
            await decide(call.id, signer=keys["ana"], reason="Now.")
    assert "agentrt runs state r_1 run.cleared VALUE" in await refusal(desk, keys)
    assert len(desk.store.records("r_1")) == desk.store.load("r_1").seq


async def refusal(desk: Till, keys: Keys) -> str:
    with pytest.raises(NotHeld) as refused:
        await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    return str(refused.value)


@pytest.mark.parametrize(("value", "status"), [(True, "finished"), (False, "denied")])
async def test_once_it_is_stated_the_call_is_decided_again(
    till: MakeTill, value: bool, status: str
) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    run = await say(desk, "run.cleared", value)
    assert (run.status, run.calls[0].status) == ("running", "requested")
    await desk.carry("r_1")
    assert stands(desk) == status
    assert [event.revision for event in decisions(desk)] == [1, 2]
    assert json.loads(decisions(desk)[-1].facts or b"{}")["values"]["run.cleared"] is value


async def test_another_fact_changes_nothing_for_a_call_that_does_not_wait_for_it(
    till: MakeTill,
) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    run = await say(desk, "run.score", 3)
    assert (run.status, run.calls[0].status) == ("waiting", "held")


async def test_a_call_that_waits_for_two_facts_runs_once_both_are_known(till: MakeTill) -> None:
    desk = till(BOTH)
    await desk.run("r_1", refund(5))
    assert desk.call("r_1").awaiting == ("run.cleared", "run.score")
    assert desk.call("r_1").until == decided_at(desk) + 2 * MINUTE_MS
    await say(desk, "run.score", 3)
    await desk.carry("r_1")
    assert desk.call("r_1").awaiting == ("run.cleared",)
    await say(desk, "run.cleared", True)
    await desk.carry("r_1")
    assert stands(desk) == "finished"


async def test_what_another_rule_denies_waits_for_nothing(till: MakeTill) -> None:
    rules = RULES + "  - {id: no, decide: deny, tools: [refund], when: args.cents > 5, why: No.}\n"
    desk = till(rules)
    await desk.run("r_1", refund(6))
    assert stands(desk) == "denied"


async def test_an_allow_rule_that_needs_an_unknown_fact_allows_nothing_and_waits_for_nothing(
    till: MakeTill,
) -> None:
    desk = till(
        "rules:\n  - {id: go, decide: allow, tools: [refund], when: run.cleared, why: Go.}\n"
    )
    await desk.run("r_1", refund(5))
    call = desk.call("r_1")
    assert (call.status, call.awaiting) == ("held", ())
    assert [row.id for row in desk.queue.held()] == [call.id]


async def test_what_others_of_the_turn_do_goes_on_meanwhile(till: MakeTill) -> None:
    desk = till()
    await desk.run("r_1", refund(5), read_mail(), send_mail("bob"))
    assert [call.status for call in desk.store.load("r_1").calls] == ["held", "finished", "allowed"]
    await say(desk, "run.cleared", True)
    await desk.carry("r_1")
    assert [call.status for call in desk.store.load("r_1").all_calls] == ["finished"] * 3


# --- then a person is asked --------------------------------------------------------------


async def test_when_its_time_is_over_a_person_is_asked(till: MakeTill, keys: Keys) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    call = desk.call("r_1")
    desk.clock.now = (call.until or 0) - 1
    assert desk.queue.held() == []
    desk.clock.now += 1
    assert [(row.id, row.status) for row in desk.queue.held()] == [(call.id, "held")]
    assert desk.queue.deferred() == []
    await desk.queue.approve(call.id, signer=keys["ana"])
    await desk.carry("r_1")
    assert (desk.done, len(decisions(desk))) == ([5], 1)


async def test_a_person_may_say_no_then(till: MakeTill, keys: Keys) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    desk.clock.now += 10 * MINUTE_MS
    await desk.queue.reject(desk.call("r_1").id, signer=keys["ana"], reason="No.")
    assert stands(desk) == "rejected"


async def test_it_can_still_be_stated_while_a_person_is_asked(till: MakeTill) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    desk.clock.now += 11 * MINUTE_MS
    await say(desk, "run.cleared", True)
    await desk.carry("r_1")
    assert stands(desk) == "finished"


async def test_when_nobody_says_anything_it_counts_as_rejected(till: MakeTill) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    call = desk.call("r_1")
    assert call.expires_at == (call.until or 0) + 24 * 60 * MINUTE_MS
    desk.clock.now = (call.expires_at or 0) - 1
    assert await desk.queue.expire_due() == []
    desk.clock.now += 1
    assert await desk.queue.expire_due() == ["r_1"]
    assert (stands(desk), desk.done) == ("expired", [])
    run = await desk.carry("r_1")
    assert (run.status, run.calls) == ("running", ())


async def test_the_time_it_waits_runs_on_through_revisions(till: MakeTill) -> None:
    """A result of another call is a reason to look again, and none to wait longer."""
    desk = till(took_ms=MINUTE_MS)
    await desk.run("r_1", refund(5), read_mail())
    first, again = decisions(desk)[0], decisions(desk)[-1]
    assert (again.call, again.revision) == (first.call, 2)
    assert again.until == first.until == AT + 10 * MINUTE_MS


async def test_a_call_that_waited_for_a_fact_is_decided_by_itself(
    till: MakeTill, keys: Keys
) -> None:
    """Nobody was shown it together with others: it came later."""
    rules = RULES.replace("decide: deny", "decide: hold\n    group: run")
    desk = till(rules)
    await desk.run("r_1", refund(5), refund(6))
    desk.clock.now += 10 * MINUTE_MS
    assert len(desk.queue.group(desk.call("r_1").id)) == 1
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.carry("r_1")
    assert desk.done == [5]


# --- another call may make it known ------------------------------------------------------


def _from_result(seen: str | None, record: Record) -> str | None:
    event = record.event
    return event.result if isinstance(event, CallFinished | CallSettled) else seen


def _known(seen: str | None, _now: int) -> bool:
    if seen is None:
        raise Unknown("run.cleared")
    return "mail" in seen


READ = Fact(
    name="run.cleared",
    type=BOOL,
    about="Whether a mail was read.",
    hears=(CallFinished, CallSettled),
    start=None,
    evolve=_from_result,
    value=_known,
    source="_known",
)


async def test_a_result_that_makes_the_fact_known_has_the_call_decided_again(
    till: MakeTill,
) -> None:
    desk = till(facts=[READ, SCORE])
    await desk.run("r_1", refund(5), read_mail())
    assert [event.verdict for event in decisions(desk)] == ["hold", "allow", "allow"]
    assert desk.done == [5]


async def test_so_does_a_doubt_that_turns_out_to_have_happened(till: MakeTill, keys: Keys) -> None:
    desk = till(facts=[READ, SCORE], broken=frozenset({"send_mail"}))
    await desk.run("r_1", send_mail("bob"), refund(5))
    assert [call.status for call in desk.store.load("r_1").calls] == ["in doubt", "held"]
    (doubt,) = desk.queue.in_doubt()
    await desk.queue.settle(
        doubt.id, happened=True, result="mail sent", signer=keys["ana"], reason="It is there."
    )
    await desk.carry("r_1")
    assert desk.done == [5]


# --- saying it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("run.cleard", True, r"no fact that is stated; did you mean 'run.cleared'\? There are: "),
        ("run.calls", 5, "no fact that is stated"),
        ("run.cleared", "yes", "of type bool: the value is 'yes', not a bool"),
        ("run.cleared", None, "of type bool"),
        ("run.score", 5.5, "of type int"),
        ("run.score", 2**60, "of type int"),
        ("run.score", float("nan"), "of type int"),
        ("run.score", object(), "cannot be that"),
        ("run.score", "\ud800", "cannot be that"),
    ],
)
async def test_what_is_no_such_fact_or_no_such_value_is_refused(
    till: MakeTill, name: str, value: Any, said: str
) -> None:
    desk = till()
    run = await desk.run("r_1", refund(5))
    with pytest.raises(RunError, match=said):
        await say(desk, name, value)
    assert desk.store.load("r_1").seq == run.seq


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [70, 199, 220, 300, 5_000])
async def test_a_value_that_nests_too_deep_is_refused(till: MakeTill, levels: int) -> None:
    names = stated_fact("run.cleared", ANY, about="x")
    desk = till("rules:\n" + ALLOW, facts=[names])
    await desk.run("r_1", refund(5))
    with pytest.raises(RunError, match=r"run\.cleared"):
        await say(desk, "run.cleared", deep(levels))


async def test_a_list_can_be_stated(till: MakeTill) -> None:
    names = stated_fact("run.names", ListOf(STRING), about="x")
    rules = "rules:\n" + ALLOW
    rules += (
        "  - {id: n, decide: deny, tools: [refund], when: '!(args.to in run.names)', why: N.}\n"
    )
    desk = till(rules, facts=[names])
    await desk.run("r_1", refund(5, to="bob"), refund(6, to="eve"))
    await say(desk, "run.names", ["ana", "bob"])
    await desk.carry("r_1")
    assert [call.status for call in desk.store.load("r_1").all_calls] == ["finished", "denied"]


async def test_a_run_that_is_over_or_not_there_is_told_nothing(till: MakeTill) -> None:
    desk = till("rules:\n" + ALLOW)
    await desk.run("r_1", refund(5))
    await desk.finish("r_1")
    with pytest.raises(RunOver):
        await say(desk, "run.cleared", True)
    with pytest.raises(NotFound):
        await state(desk.store, desk.policy, "r_9", "run.cleared", True, by="ana")


async def test_many_at_once_are_all_recorded_and_the_last_one_counts(till: MakeTill) -> None:
    desk = till(BOTH)
    await desk.run("r_1", refund(5))
    await asyncio.gather(*(say(desk, "run.score", number) for number in range(20)))
    events = [record.event for record in desk.store.records("r_1")]
    stated = [event for event in events if isinstance(event, FactStated)]
    assert sorted(int(event.value) for event in stated) == list(range(20))
    await say(desk, "run.score", 99)
    await say(desk, "run.cleared", True)
    await desk.carry("r_1")
    assert stands(desk) == "held"
    assert json.loads(decisions(desk)[-1].facts or b"{}")["values"]["run.score"] == 99


async def test_who_said_what_is_in_the_story_and_not_in_the_header(till: MakeTill) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    await say(desk, "run.cleared", True)
    await desk.carry("r_1")
    record = next(r for r in desk.store.records("r_1") if isinstance(r.event, FactStated))
    header = json.loads(record.header)
    assert header["name"] == "run.cleared"
    assert header["by_ref"] == desk.store.ref("ana")
    assert {"by", "value"} <= set(header["parts"])
    assert b"ana" not in record.header
    assert desk.store.verify().ok
    assert explain(desk.store.records("r_1"), desk.call("r_1").id)


# --- with a runtime ----------------------------------------------------------------------


def counter(folder: Path, done: list[int]) -> Office:
    @tool(effect="write")
    def give_back(cents: int) -> str:
        """Give back."""
        done.append(cents)
        return "given"

    rules = RULES.replace("refund, send_mail, read_mail", "give_back").replace(
        "refund", "give_back"
    )
    script = one_call("give_back", cents=5)
    return Office(folder, (give_back,), script, rules=rules, facts=(CLEARED,))


async def test_a_runtime_takes_the_run_up_as_soon_as_the_fact_is_stated(tmp_path: Path) -> None:
    done: list[int] = []
    desk = counter(tmp_path, done)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Please.")
            assert (run.status, only_call(run).awaiting) == ("waiting", ("run.cleared",))
            assert runtime.approvals.held() == []
            await runtime.state(run.id, "run.cleared", True, by="ana")
            run = await asyncio.wait_for(runtime.wait(run.id), timeout=20)
    assert (run.status, done) == ("finished", [5])


async def test_what_another_process_states_is_heard(tmp_path: Path) -> None:
    done: list[int] = []
    desk = counter(tmp_path, done)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Please.")
            with desk.store() as store:
                await state(store, desk.policy, run.id, "run.cleared", True, by="ana")
            run = await asyncio.wait_for(runtime.wait(run.id), timeout=20)
    assert (run.status, done) == ("finished", [5])


async def test_what_was_stated_while_nobody_carried_the_run_counts_for_the_next_who_does(
    tmp_path: Path,
) -> None:
    done: list[int] = []
    desk = counter(tmp_path, done)
    with desk:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent(), "Please.")
        with desk.store() as store:
            await state(store, desk.policy, run.id, "run.cleared", True, by="ana")
        async with desk.runtime() as runtime:
            run = await asyncio.wait_for(runtime.wait(run.id), timeout=20)
    assert (run.status, done) == ("finished", [5])


async def test_a_fact_that_is_stated_while_other_calls_run_disturbs_none_of_them(
    tmp_path: Path,
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    @tool(effect="read")
    async def look_up(name: str) -> str:
        """Look up."""
        entered.set()
        await leave.wait()
        return name

    desk = counter(tmp_path, done)
    desk.tools = (*desk.tools, look_up)
    desk.rules = desk.rules.replace("rules:", "default: {read: allow}\nrules:", 1)
    both = in_one_turn(ToolUse("give_back", {"cents": 5}), ToolUse("look_up", {"name": "x"}))
    desk.claude = ScriptedClaude(both)
    with desk:
        async with desk.runtime(agent=desk.agent()) as runtime:
            started = await runtime.start(desk.agent(), "Please.")
            await asyncio.wait_for(entered.wait(), timeout=20)
            await runtime.state(started, "run.cleared", True, by="ana")
            leave.set()
            run = await asyncio.wait_for(runtime.wait(started), timeout=20)
    assert [call.status for call in run.all_calls] == ["finished", "finished"]
    assert done == [5]
