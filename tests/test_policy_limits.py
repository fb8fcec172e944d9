"""Limits: what counts, for whom, since when; and that no order of events gets past one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from test_policy_facts import a_decision, a_start
from till import Till, cap, refund, send_mail
from worlds import AT, HOUR_MS

from agentrt.approvals import KeyFile
from agentrt.errors import PolicyError
from agentrt.events import CallExpired, Record, RunCancelled
from agentrt.policy import Decision, Known, Policy, Question
from agentrt.policy.facts import History

Keys = dict[str, KeyFile]
MakeTill = Callable[..., Till]


@pytest.fixture
def till(tmp_path: Path, keys: Keys) -> Iterator[MakeTill]:
    opened: list[Till] = []

    def make(rules: str, **more: Any) -> Till:
        people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
        opened.append(Till(tmp_path / "till.db", rules, people, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.store.close()


# --- how much ----------------------------------------------------------------------------


async def test_a_sum_may_reach_the_most_and_not_exceed_it(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100}"))
    for index, cents in enumerate((60, 41, 40, 1)):
        await desk.run(f"r_{index}", refund(cents))
    assert desk.done == [60, 40]
    assert desk.stands("r_0", "r_1", "r_2", "r_3") == ["finished", "denied", "finished", "denied"]


async def test_so_many_calls_pass_and_the_next_does_not(till: MakeTill) -> None:
    desk = till(cap("{calls: 2}"))
    for index in range(4):
        await desk.run(f"r_{index}", refund(index))
    assert desk.done == [0, 1]


async def test_a_limit_of_no_calls_at_all_lets_none_pass(till: MakeTill) -> None:
    desk = till(cap("{calls: 0}"))
    await desk.run("r_1", refund(1))
    assert desk.stands("r_1") == ["denied"]


async def test_tenths_add_up_exactly(till: MakeTill) -> None:
    desk = till(cap("{sum: args.usd, most: 0.3}"))
    for index in range(4):
        await desk.run(f"r_{index}", refund(index, usd=0.1))
    assert desk.done == [0, 1, 2]


async def test_a_huge_amount_that_was_refused_does_not_wipe_out_what_was_spent(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.usd, most: 100}", "hold"))
    await desk.run("r_1", refund(1, usd=90))
    await desk.run("r_2", refund(2, usd=9e15))
    await desk.queue.reject(desk.call("r_2").id, signer=keys["ana"], reason="No.")
    await desk.run("r_3", refund(3, usd=90))
    assert desk.done == [1]
    assert desk.stands("r_3") == ["held"]


# --- whose -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "passes"),
    [
        ("[user]", {"same user", "other user"}),
        ("[run]", {"same user", "other user", "other run"}),
        ("[]", {"same user"}),
        ("[tool]", {"same user", "other tool"}),
        ("[user, tool]", {"same user", "other user", "other tool"}),
    ],
)
async def test_each_user_run_or_tool_has_a_limit_of_its_own_where_the_rule_says_so(
    till: MakeTill, per: str, passes: set[str]
) -> None:
    rules = cap(f"{{calls: 1, per: {per}}}").replace(
        "tools: [refund], limit", "tools: ['*'], limit"
    )
    desk = till(rules)
    mail = send_mail("bob")
    runs = {
        "same user": (refund(1), "mona"),
        "other user": (refund(2), "omar"),
        "other run": (refund(3), "mona"),
        "other tool": (mail, "mona"),
    }
    for index, (asked_for, user) in enumerate(runs.values()):
        await desk.run(f"r_{index}", asked_for, user=user)
    stands = dict(zip(runs, desk.stands("r_0", "r_1", "r_2", "r_3"), strict=True))
    in_one_run = per == "[run]"
    expected = passes | ({"other tool"} if in_one_run else set())
    assert {name for name, status in stands.items() if status == "finished"} == expected


async def test_a_limit_of_a_run_holds_for_all_of_its_turns(till: MakeTill) -> None:
    desk = till(cap("{calls: 2, per: [run]}"))
    await desk.run("r_1", refund(1), refund(2))
    await desk.reply("r_1", refund(3))
    assert desk.stands("r_1") == ["finished", "finished", "denied"]


async def test_who_is_not_named_cannot_be_counted_and_does_not_pass(till: MakeTill) -> None:
    desk = till(cap("{calls: 5, per: [user]}"))
    await desk.run("r_1", refund(1), user=None)
    call = desk.call("r_1")
    assert (call.status, desk.done) == ("denied", [])
    assert "the run names no user" in call.reason


async def test_a_call_that_does_not_meet_the_condition_is_not_counted(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100}, when: args.cents > 10"))
    for index in range(20):
        await desk.run(f"r_{index}", refund(10))
    assert len(desk.done) == 20
    await desk.run("r_a", refund(100))
    await desk.run("r_b", refund(11))
    await desk.run("r_c", refund(10))
    assert desk.stands("r_a", "r_b", "r_c") == ["finished", "denied", "finished"]


async def test_what_counts_is_what_runs_and_what_is_asked_for_has_to_fit(till: MakeTill) -> None:
    """A rule that lowers the amount does not take back that another denies what was asked for."""
    rules = cap("{sum: args.cents, most: 100}")
    clamp = "  - {id: clamp, decide: allow, tools: [refund], when: args.cents > 30, "
    desk = till(f'{rules}{clamp}set: {{cents: "30"}}, why: At most 30.}}\n')
    for index, cents in enumerate((60, 60, 60, 40)):
        await desk.run(f"r_{index}", refund(cents))
    assert desk.done == [30, 30, 30]
    assert desk.stands("r_2") == ["denied"]


def test_a_limit_speaks_of_arguments_and_tools_only() -> None:
    for condition in ("run.calls > 1", "user_named(args.to)", "now > now"):
        with pytest.raises(PolicyError, match="asked of earlier calls too"):
            a_policy(cap(f"{{calls: 1}}, when: {condition}"))


# --- since when --------------------------------------------------------------------------


async def test_within_a_time_what_was_done_before_it_no_longer_counts(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100, within: 1h}"))
    await desk.run("r_1", refund(100))
    desk.clock.now += HOUR_MS - 1
    await desk.run("r_2", refund(1))
    desk.clock.now += 1
    await desk.run("r_3", refund(100))
    assert desk.stands("r_1", "r_2", "r_3") == ["finished", "denied", "finished"]


async def test_what_was_approved_late_counts_from_when_it_is_done(
    till: MakeTill, keys: Keys
) -> None:
    """Held for two hours, it is not in the last hour by its decision; by its deed it is."""
    rules = cap("{sum: args.cents, most: 100, within: 1h}") + EVES
    desk = till(rules)
    await desk.run("r_1", refund(80, to="eve"))
    desk.clock.now += 2 * HOUR_MS
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.carry("r_1")
    desk.clock.now += 1000
    await desk.run("r_2", refund(80))
    assert desk.done == [80]
    assert desk.stands("r_1", "r_2") == ["finished", "denied"]


EVES = "  - {id: eve, decide: hold, tools: [refund], when: args.to == 'eve', why: Ask.}\n"


async def test_an_approved_call_whose_room_was_used_up_meanwhile_does_not_run(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.cents, most: 100, within: 1h}") + EVES)
    await desk.run("r_1", refund(80, to="eve"))
    desk.clock.now += 2 * HOUR_MS
    await desk.run("r_2", refund(80))
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.carry("r_1")
    assert desk.done == [80]
    assert desk.stands("r_1", "r_2") == ["denied", "finished"]
    assert desk.call("r_1").revision == 2


# --- what gives room back ----------------------------------------------------------------


async def test_what_is_held_counts(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100}") + EVES)
    await desk.run("r_1", refund(80, to="eve"))
    await desk.run("r_2", refund(80))
    assert desk.stands("r_1", "r_2") == ["held", "denied"]


@pytest.mark.parametrize("how", ["rejected", "expired", "cancelled", "denied by a later policy"])
async def test_what_is_refused_gives_its_room_back(till: MakeTill, keys: Keys, how: str) -> None:
    desk = till(cap("{sum: args.cents, most: 100}") + EVES)
    run = await desk.run("r_1", refund(80, to="eve"))
    call = desk.call("r_1")
    if how == "rejected":
        await desk.queue.reject(call.id, signer=keys["ana"], reason="No.")
    elif how == "expired":
        desk.clock.now += 24 * HOUR_MS
        await desk.queue.expire_due()
    elif how == "cancelled":
        await desk.store.append(run, [RunCancelled(by="ana", by_ref="ref", reason="No.")])
    else:
        rules = desk.rules
        desk.reread(rules.replace("id: eve, decide: hold", "id: eve, decide: deny"))
        await desk.queue.approve(call.id, signer=keys["ana"])
        await desk.carry("r_1")
    await desk.run("r_2", refund(80))
    assert desk.done == [80]


async def test_a_call_that_ran_and_said_it_did_nothing_still_counts(till: MakeTill) -> None:
    """Nobody but the tool's author knows what it did before it said so."""
    desk = till(cap("{calls: 1}"))
    await desk.run("r_1", refund(1))
    assert desk.stands("r_1") == ["finished"]
    await desk.run("r_2", refund(1))
    assert desk.stands("r_2") == ["denied"]


# --- what cannot be counted --------------------------------------------------------------


async def test_an_amount_that_lowers_the_sum_does_not_pass_nor_make_room(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.cents, most: 100}", "hold"))
    await desk.run("r_1", refund(100))
    await desk.run("r_2", refund(-100))
    assert "must not be negative" in desk.call("r_2").reason
    await desk.run("r_3", refund(50))
    await desk.queue.approve(desk.call("r_2").id, signer=keys["ana"])
    await desk.carry("r_2")
    await desk.run("r_4", refund(50))
    assert desk.stands("r_1", "r_2", "r_3", "r_4") == ["finished", "finished", "held", "held"]


async def test_while_an_uncountable_call_waits_the_limit_cannot_be_told_and_then_it_can(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.cents, most: 100}", "hold"))
    await desk.run("r_1", refund(-1))
    await desk.run("r_2", refund(1))
    assert desk.stands("r_1", "r_2") == ["held", "held"]
    assert "cannot be told" in desk.call("r_2").reason
    await desk.run("r_3", refund(1), user="omar")
    for run in ("r_1", "r_2"):
        await desk.queue.reject(desk.call(run).id, signer=keys["ana"], reason="No.")
    await desk.run("r_4", refund(1))
    assert desk.stands("r_3", "r_4") == ["finished", "finished"]


# --- several at once ---------------------------------------------------------------------


@pytest.mark.parametrize("decide", ["deny", "hold"])
@pytest.mark.parametrize("per", ["[user]", "[run]", "[]", "[tool]"])
async def test_of_the_calls_of_a_turn_the_first_that_fit_pass(
    till: MakeTill, decide: str, per: str
) -> None:
    desk = till(cap(f"{{sum: args.cents, most: 100, per: {per}}}", decide))
    await desk.run("r_1", *(refund(cents) for cents in (60, 50, 30, 20, 10)))
    refused = "denied" if decide == "deny" else "held"
    # What is held reserves: somebody may yet say yes to it.
    passing = [60, 30, 10] if decide == "deny" else [60]
    assert desk.done == passing
    assert [call.status for call in desk.store.load("r_1").all_calls] == [
        "finished" if cents in passing else refused for cents in (60, 50, 30, 20, 10)
    ]


async def test_what_a_person_let_pass_beyond_a_limit_counts_for_the_next(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.cents, most: 100}", "hold"))
    await desk.run("r_1", refund(60))
    await desk.run("r_2", refund(60))
    await desk.queue.approve(desk.call("r_2").id, signer=keys["ana"])
    await desk.carry("r_2")
    await desk.run("r_3", refund(1))
    assert desk.done == [60, 60]
    assert desk.stands("r_3") == ["held"]


async def test_a_limit_that_has_room_again_lets_an_approved_call_run(
    till: MakeTill, keys: Keys
) -> None:
    """It was held for want of room; by now there is some, which is no reason not to run it."""
    desk = till(cap("{sum: args.cents, most: 100}", "hold") + EVES)
    await desk.run("r_1", refund(60, to="eve"))
    await desk.run("r_2", refund(60))
    assert desk.stands("r_1", "r_2") == ["held", "held"]
    await desk.queue.approve(desk.call("r_2").id, signer=keys["ana"])
    await desk.queue.reject(desk.call("r_1").id, signer=keys["ana"], reason="No.")
    await desk.carry("r_2")
    assert desk.done == [60]


async def test_a_decision_records_how_much_of_a_limit_was_used_up(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100}"))
    await desk.run("r_1", refund(60))
    await desk.run("r_2", refund(60))
    decisions = [
        json.loads(record.event.facts or b"{}")
        for run in ("r_1", "r_2")
        for record in desk.store.records(run)
        if record.event.type == "call.decided"
    ]
    assert [read["limits"]["cap"] for read in decisions] == [
        "0 and 60 more, of at most 100",
        "60 and 60 more, of at most 100",
    ]


# --- a law -------------------------------------------------------------------------------


def a_policy(rules: str) -> Policy:
    return Policy.from_texts({"rules.yaml": rules}, TOOLS)


def _tools() -> list[Any]:
    import tempfile

    with (
        tempfile.TemporaryDirectory() as folder,
        Till(Path(folder) / "a.db", cap("{calls: 1}")) as t,
    ):
        return list(t.tools.values())


TOOLS = _tools()
REFUND = next(tool for tool in TOOLS if tool.name == "refund")
HOURLY = a_policy(cap("{sum: args.cents, most: 100, within: 1h}", "hold"))


class World:
    """Calls of one user that are decided, started and refused one after the other."""

    def __init__(self) -> None:
        self.now = AT
        self.history = History.of(HOURLY.needs.user)
        self.cents: dict[str, int] = {}
        self.open: dict[str, str] = {}
        self.spent: list[tuple[int, int]] = []
        """When, and how much, without a person having been asked."""

    def tell(self, event: Any) -> None:
        self.history = self.history.evolve(Record("r_1", 1, self.now, event, b"", b""))

    def judged(self, call: str, *, starting: bool) -> Decision:
        apart = self.history.at_start if starting else self.history.without
        known = Known(user=apart("r_1", call, at=self.now), now=self.now)
        arguments = {"cents": self.cents[call], "to": "bob", "usd": 0}
        return HOURLY.decide(Question(HOURLY.seen(REFUND), arguments, known))

    def decide(self, call: str) -> None:
        verdict = self.judged(call, starting=False).verdict
        self.tell(a_decision(call, arguments={"cents": self.cents[call]}, verdict=verdict))
        self.open[call] = verdict

    def start(self, call: str) -> None:
        """A held call starts because a person said yes; then it is theirs to answer for."""
        verdict = self.judged(call, starting=True).verdict
        if verdict != self.open[call]:
            self.decide(call)
            return
        self.tell(a_start(call))
        if self.open.pop(call) == "allow":
            self.spent.append((self.now, self.cents[call]))

    def refuse(self, call: str) -> None:
        self.tell(CallExpired(call=call, revision=1))
        del self.open[call]


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "start", "start", "refuse"]),
        st.integers(0, 70),
        st.sampled_from([0, 0, 1, HOUR_MS // 3, HOUR_MS - 1, HOUR_MS]),
    ),
    max_size=30,
)


@settings(max_examples=examples(300), deadline=None)
@given(steps)
def test_in_no_hour_is_more_done_unasked_than_the_limit_says(
    taken: list[tuple[str, int, int]],
) -> None:
    world = World()
    for step, number, later_ms in taken:
        world.now += later_ms
        if step == "ask":
            call = f"c_{len(world.cents)}"
            world.cents[call] = number
            world.decide(call)
        elif world.open:
            chosen = list(world.open)[number % len(world.open)]
            (world.start if step == "start" else world.refuse)(chosen)
    for end, _ in world.spent:
        assert sum(cents for at, cents in world.spent if end - HOUR_MS < at <= end) <= 100


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.integers(0, 70), max_size=12))
def test_what_was_allowed_starts_when_nothing_was_done_in_between(amounts: list[int]) -> None:
    """Reservations that come later take no room away: somebody can always go on."""
    world = World()
    for index, cents in enumerate(amounts):
        world.cents[f"c_{index}"] = cents
        world.decide(f"c_{index}")
    for call in [call for call, verdict in world.open.items() if verdict == "allow"]:
        world.start(call)
        assert call not in world.open
