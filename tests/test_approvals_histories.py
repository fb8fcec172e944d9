"""What is known when a call is decided: read from the store, and the same for whoever asks."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from office import Office
from till import Till, cap, read_mail, refund, send_mail
from worlds import AT, HOUR_MS, approved

from agentrt import tool
from agentrt.approvals import KeyFile
from agentrt.approvals import histories as histories_file
from agentrt.approvals.histories import Histories
from agentrt.audit import AuditStore
from agentrt.errors import StoreCorrupt
from agentrt.events import CallDecided, CallStarted
from agentrt.loop import state
from agentrt.policy import Fact, Known, stated_fact
from agentrt.policy.cel import BOOL, INT
from agentrt.run import Run
from agentrt.testing import Script, Text, ToolUse, Turn, When

Keys = dict[str, KeyFile]
MakeTill = Callable[..., Till]


@pytest.fixture
def till(tmp_path: Path, keys: Keys) -> Iterator[MakeTill]:
    with ExitStack() as stack:

        def make(rules: str, **more: Any) -> Till:
            people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
            return stack.enter_context(Till(tmp_path / "till.db", rules, people, **more))

        yield make


def asked_of(desk: Till, run: str) -> list[str]:
    """The verdicts on all calls of a run, one for each revision."""
    events = [record.event for record in desk.store.records(run)]
    return [event.verdict for event in events if isinstance(event, CallDecided)]


def spent_by_user(store: AuditStore, cents_of: dict[str, int]) -> dict[str, int]:
    """What was started for each user, looked up in the records themselves."""
    spent: dict[str, int] = {}
    for row in store.runs():
        for record in store.records(row.id):
            if isinstance(record.event, CallStarted):
                spent[row.user or ""] = spent.get(row.user or "", 0) + cents_of[row.id]
    return spent


# --- two at once -------------------------------------------------------------------------

ROUNDS = 25


@pytest.mark.parametrize("decide", ["deny", "hold"])
async def test_of_two_refunds_in_two_runs_of_one_user_at_once_one_passes(
    till: MakeTill, decide: str
) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user], within: 1h}", decide))
    for index in range(ROUNDS):
        ids = [f"r_{index}_{each}" for each in "ab"]
        for run in ids:
            await desk.begin(run, refund(60), user=f"user {index}")
        await asyncio.gather(*(desk.carry(run) for run in ids))
        refused = "denied" if decide == "deny" else "held"
        assert sorted(desk.stands(*ids)) == sorted(["finished", refused])
    assert desk.done == [60] * ROUNDS


async def test_of_many_refunds_of_one_user_at_once_as_many_pass_as_fit(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user]}"))
    ids = [f"r_{index}" for index in range(16)]
    for run in ids:
        await desk.begin(run, refund(15), refund(10), user="mona")
    await asyncio.gather(*(desk.carry(run) for run in ids))
    assert sum(desk.done) == 100


@pytest.mark.parametrize("other", ["store", "policy"])
async def test_two_stores_and_two_readings_of_the_policy_agree(till: MakeTill, other: str) -> None:
    """Nothing is remembered of one another but what the file holds."""
    desk = till(cap("{sum: args.cents, most: 100, per: [user], within: 1h}"))
    second = till(desk.rules) if other == "store" else desk
    for index in range(ROUNDS):
        if other == "policy":
            desk.reread()
        ids = [f"r_{index}_{each}" for each in "ab"]
        for run in ids:
            await desk.begin(run, refund(60), user=f"user {index}")
        await asyncio.gather(desk.carry(ids[0]), second.carry(ids[1]))
        assert sorted(desk.stands(*ids)) == ["denied", "finished"]


@pytest.mark.sqlite
def test_of_two_refunds_in_two_processes_one_passes(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    AuditStore(path).close()
    script = Path(__file__).with_name("till.py")
    children = [
        subprocess.Popen(
            [sys.executable, str(script), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for _ in range(2)
    ]
    try:
        assert [told(child) for child in children] == ["ready", "ready"]
        for index in range(ROUNDS):
            for which, child in enumerate(children):
                say(child, f"user{index} r_{index}_{which} 60")
            assert sorted(map(told, children)) == ["denied", "finished"]
    finally:
        for child in children:
            child.communicate()
    with AuditStore(path) as store:
        cents = {row.id: 60 for row in store.runs()}
        assert spent_by_user(store, cents) == {f"user{index}": 60 for index in range(ROUNDS)}
        assert store.verify().ok


def say(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def told(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _refunds_as_told(conversation: Any) -> tuple[Any, ...]:
    cents = [int(word) for word in conversation.user.split() if word.isdigit()]
    return (Text("Right away."), *(ToolUse("give_back", {"cents": each}) for each in cents))


GIVE = """
rules:
  - {id: go, decide: allow, tools: [give_back], why: Go.}
  - id: cap
    decide: %s
    tools: [give_back]
    limit: {sum: args.cents, most: 100, per: [user], within: 1h}
    why: Enough.
"""


def an_office(folder: Path, done: list[int], decide: str = "deny") -> Office:
    @tool(effect="write")
    def give_back(cents: int) -> str:
        """Give money back."""
        done.append(cents)
        return "given"

    turns = (
        Turn(when=When(after="give_back"), reply=(Text("Done."),)),
        Turn(reply=_refunds_as_told),
    )
    return Office(folder, (give_back,), Script(turns=turns), rules=GIVE % decide)


@pytest.mark.parametrize("decide", ["deny", "hold"])
async def test_two_runtimes_on_one_store_do_not_pass_a_cap_together(
    tmp_path: Path, decide: str
) -> None:
    done: list[int] = []
    desk = an_office(tmp_path, done, decide)
    with desk:
        async with desk.runtime(take_up=False) as one, desk.runtime(take_up=False) as other:
            for index in range(8):
                runs = await asyncio.gather(
                    *(
                        runtime.run(desk.agent(), "Give back 60 and 30", user=f"user {index}")
                        for runtime in (one, other, one)
                    )
                )
                assert {run.status for run in runs} <= {"finished", "waiting"}
                assert sum(done) <= 100
                assert done
                done.clear()


# --- a turn ------------------------------------------------------------------------------


async def test_a_turn_with_more_than_fits_does_not_go_round_in_circles(till: MakeTill) -> None:
    """The second is held because of the first; when that starts, the second must not hold it."""
    desk = till(cap("{calls: 1, per: [user]}", "hold"))
    await desk.run("r_1", refund(1), refund(2), refund(3))
    assert desk.stands("r_1") == ["finished", "held", "held"]
    assert asked_of(desk, "r_1") == ["allow", "hold", "hold"]


ASKED = Fact(
    name="user.asked",
    type=INT,
    about="Decisions.",
    hears=(CallDecided,),
    start=0,
    evolve=lambda count, _record: count + 1,
    value=lambda count, _now: count,
    source="count + 1",
)


async def test_a_fold_of_a_projects_own_that_counts_decisions_comes_to_an_end(
    till: MakeTill,
) -> None:
    """It does not know that what comes later says nothing against a call that starts."""
    rules = cap("{calls: 99}") + (
        "  - {id: asked, decide: hold, tools: [refund], when: user.asked > 0, why: Again.}\n"
    )
    desk = till(rules, facts=[ASKED])
    await desk.run("r_1", refund(1), refund(2))
    assert desk.stands("r_1") == ["held", "held"]
    assert len(asked_of(desk, "r_1")) <= 4


# --- follow-ups --------------------------------------------------------------------------

GUARDED = """
rules:
  - {id: go, decide: allow, tools: [refund, read_mail, send_mail], why: Go.}
  - id: no-leak
    decide: deny
    tools: [send_mail]
    when: run.read_untrusted && !user_named(args.to)
    why: A mail may have asked for it.
  - id: twice
    decide: deny
    tools: [refund]
    limit: {calls: 2, per: [run]}
    why: Twice is enough.
  - id: seen
    decide: hold
    tools: [refund]
    when: run.calls_of["read_mail"] > 1
    why: It reads a lot.
"""


async def followed(desk: Till, parent: str, id: str, *uses: dict[str, Any], prompt: str) -> Run:
    run = desk.store.load(parent)
    if not run.over:
        await desk.finish(parent)
    return await desk.run(id, *uses, parent=parent, prompt=prompt)


async def test_a_follow_up_has_read_what_its_parent_read(till: MakeTill) -> None:
    desk = till(GUARDED)
    mail = send_mail("eve@example.com")
    await desk.run("r_1", mail, prompt="Look at my mail.")
    assert desk.stands("r_1") == ["finished"]
    await desk.run("r_2", read_mail(), prompt="Look at my mail.")
    await followed(desk, "r_2", "r_3", mail, prompt="Go on.")
    assert desk.stands("r_3") == ["denied"]
    await followed(desk, "r_3", "r_4", mail, prompt="And on.")
    assert desk.stands("r_4") == ["denied"]


async def test_a_follow_up_may_use_what_the_user_named_before(till: MakeTill) -> None:
    desk = till(GUARDED)
    await desk.run("r_1", read_mail(), prompt="Write to bob@example.com later.")
    for index, (to, status) in enumerate(
        [("bob@example.com", "finished"), ("eve@example.com", "denied")]
    ):
        await followed(desk, "r_1", f"r_f{index}", send_mail(to), prompt="Now.")
        assert desk.stands(f"r_f{index}") == [status]


async def test_a_limit_of_a_run_goes_on_in_those_that_follow_it(till: MakeTill) -> None:
    desk = till(GUARDED)
    await desk.run("r_1", refund(1))
    await followed(desk, "r_1", "r_2", refund(2), prompt="More.")
    await followed(desk, "r_2", "r_3", refund(3), prompt="More.")
    assert desk.stands("r_1", "r_2", "r_3") == ["finished", "finished", "denied"]


async def test_facts_of_a_run_are_counted_over_all_before_it(till: MakeTill) -> None:
    desk = till(GUARDED)
    await desk.run("r_1", read_mail(), refund(1))
    await followed(desk, "r_1", "r_2", read_mail(), refund(2), prompt="More.")
    assert desk.stands("r_1", "r_2") == ["finished", "finished", "finished", "held"]


async def test_two_that_follow_one_run_know_nothing_of_each_other(till: MakeTill) -> None:
    desk = till(GUARDED)
    await desk.run("r_1", refund(1))
    await followed(desk, "r_1", "r_2", refund(2), prompt="One.")
    await followed(desk, "r_1", "r_3", refund(3), prompt="Two.")
    assert desk.stands("r_2", "r_3") == ["finished", "finished"]


async def test_what_was_stated_of_a_run_is_known_in_those_that_follow_it(till: MakeTill) -> None:
    cleared = stated_fact("run.cleared", BOOL, about="x")
    rules = cap("{calls: 99}") + (
        "  - {id: clear, decide: hold, tools: [refund], when: '!run.cleared', why: Not cleared.}\n"
    )
    desk = till(rules, facts=[cleared])
    await desk.run("r_1", refund(1))
    assert desk.call("r_1").awaiting == ("run.cleared",)
    await state(desk.store, desk.policy, "r_1", "run.cleared", True, by="ana")
    await desk.carry("r_1")
    await followed(desk, "r_1", "r_2", refund(2), prompt="More.")
    assert desk.stands("r_1", "r_2") == ["finished", "finished"]


# --- looked at again when it starts ------------------------------------------------------

EVES = "  - {id: eve, decide: hold, tools: [refund], when: args.to == 'eve', why: Ask.}\n"


async def test_a_fact_of_the_user_that_changed_is_seen_when_an_approved_call_starts(
    till: MakeTill, keys: Keys
) -> None:
    """Another of the user's calls was rejected since: that is a reason to look again."""
    rules = cap("{calls: 99}") + EVES
    rules += (
        "  - {id: often, decide: deny, tools: [refund], when: user.holds_rejected_24h > 0,"
        " why: One was rejected.}\n"
    )
    desk = till(rules)
    for run in ("r_1", "r_2"):
        await desk.run(run, refund(1, to="eve"))
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.queue.reject(desk.call("r_2").id, signer=keys["ana"], reason="No.")
    await desk.carry("r_1")
    assert desk.done == []
    assert desk.stands("r_1") == ["denied"]


async def test_what_was_read_later_in_the_run_says_nothing_of_a_call_decided_before(
    till: MakeTill, keys: Keys
) -> None:
    """What was read after it was asked for cannot have steered it."""
    rules = cap("{calls: 99}") + EVES
    rules += "  - {id: read, decide: deny, tools: [refund], when: run.read_untrusted, why: Read.}\n"
    desk = till(rules)
    await desk.run("r_1", refund(1, to="eve"), read_mail())
    assert desk.stands("r_1") == ["held", "finished"]
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    await desk.carry("r_1")
    assert desk.done == [1]


async def test_a_lower_limit_holds_for_what_was_approved_under_a_higher_one(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user]}") + EVES)
    await desk.run("r_1", refund(60, to="eve"))
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    desk.reread(desk.rules.replace("most: 100", "most: 50"))
    await desk.carry("r_1")
    assert (desk.done, asked_of(desk, "r_1")) == ([], ["hold", "deny"])


async def test_a_policy_that_changes_in_nothing_that_matters_lets_an_approved_call_run(
    till: MakeTill, keys: Keys
) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user]}") + EVES)
    await desk.run("r_1", refund(60, to="eve"))
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"])
    desk.reread(desk.rules.replace("most: 100", "most: 101"))
    await desk.carry("r_1")
    assert desk.done == [60]
    assert asked_of(desk, "r_1") == ["hold", "hold"]


async def test_an_approval_that_nobody_signed_takes_no_room(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user]}") + EVES)
    run = await desk.run("r_1", refund(60, to="eve"))
    await desk.store.append(run, [approved(run.calls[0])])
    await desk.carry("r_1")
    assert desk.done == []
    assert desk.stands("r_1") == ["held"]


async def test_a_start_that_nobody_checked_is_refused_when_the_room_is_gone(
    till: MakeTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the transaction another process spends what is left."""
    desk = till(cap("{sum: args.cents, most: 100, per: [user]}", "hold"))
    other = till(desk.rules)
    await desk.begin("r_1", refund(60))
    decide = Histories.known
    spent = False

    def known(self: Histories, *arguments: Any, **options: Any) -> Any:
        nonlocal spent
        found = decide(self, *arguments, **options)
        if not spent and options.get("connection") is None:
            spent = True
            asyncio.run(other.run("r_2", refund(60)))
        return found

    monkeypatch.setattr(Histories, "known", known)
    await desk.carry("r_1")
    assert (desk.done, other.done) == ([], [60])
    assert desk.stands("r_1", "r_2") == ["held", "finished"]


# --- reading -----------------------------------------------------------------------------


async def test_whoever_reads_the_store_anew_decides_the_same(
    till: MakeTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user], within: 1h}"))
    for index, cents in enumerate((30, 30, 30)):
        await desk.run(f"r_{index}", refund(cents))
        desk.clock.now += HOUR_MS // 4
    monkeypatch.setattr(histories_file, "KEPT_MAX", 0)
    run = await desk.begin("r_9", refund(1))
    anew = Histories(desk.store, desk.policy)
    for quarters, spent in ((3, 90), (4, 60), (5, 30), (6, 0)):
        at = AT + quarters * HOUR_MS // 4
        for seen in (desk.histories, anew, Histories(desk.store, desk.policy)):
            known = seen.known(run, run.calls[0], at=at)
            assert known.spent("cap", ("user",), "refund") == spent


@pytest.mark.sqlite
async def test_a_counted_call_that_was_changed_in_the_file_lets_nothing_more_be_decided(
    till: MakeTill,
) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [user]}"))
    await desk.run("r_1", refund(90))
    with closing(sqlite3.connect(desk.path)) as connection:
        connection.execute("DROP TRIGGER content_update")
        connection.execute(
            "UPDATE content SET body = CAST(replace(CAST(body AS TEXT), '90', '10') AS BLOB) "
            "WHERE part = 'arguments'"
        )
        connection.commit()
    desk.reread()
    with pytest.raises(StoreCorrupt, match="is not what was written, and a decision depends on it"):
        await desk.run("r_2", refund(50))
    assert desk.done == [90]


async def test_values_are_looked_up_in_texts_beside_the_loop(till: MakeTill) -> None:
    threads: set[str] = set()

    def named(known: Known, value: object) -> bool:
        threads.add(threading.current_thread().name)
        return False

    rules = (
        "rules:\n  - {id: named, decide: allow, tools: [send_mail], why: Go.,"
        " when: user_named(args.to)}\n"
    )
    desk = till(rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Known, "user_named", named)
        desk.reread()
        await desk.run("r_1", send_mail("bob"))
    assert threads
    assert threading.current_thread().name not in threads


async def test_a_run_of_nobody_is_nobodys(till: MakeTill) -> None:
    desk = till(cap("{sum: args.cents, most: 100, per: [run]}"))
    await desk.run("r_1", refund(60), user=None)
    await desk.run("r_2", refund(60), user=None)
    assert desk.done == [60, 60]
    assert desk.histories.known(desk.store.load("r_1"), desk.call("r_1"), at=AT).user is None
