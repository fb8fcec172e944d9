"""The recorded decision: everything that decided it, nothing personal in what stays, no way in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json
from test_loop_carry import forged
from till import ALLOW, Till, cap, read_mail, refund, send_mail

from agentrt.approvals import KeyFile
from agentrt.events import CallDecided, RuleRef
from agentrt.loop import state
from agentrt.policy import Fact, stated_fact
from agentrt.policy.cel import BOOL, INT, STRING, Failed

Keys = dict[str, KeyFile]
MakeTill = Callable[..., Till]

SCORE = stated_fact("run.score", INT, about="x")
NOTE = stated_fact("run.note", STRING, about="x")
CLEARED = stated_fact("run.cleared", BOOL, about="x")


def _breaks(_state: Any, _now: int) -> int:
    raise Failed("it broke")


ODD = Fact("run.odd", INT, "x", (), None, lambda state, _: state, _breaks, source="x")

RULES = f"""rules:
{ALLOW}
  - {{id: small, decide: deny, tools: [refund], when: args.cents > 1000, why: Large.}}
  - {{id: noted, decide: deny, tools: [refund], when: run.calls > 5, why: Busy., mode: shadow}}
  - {{id: tried, decide: hold, tools: [refund], when: args.cents > 5, why: Tried., mode: shadow}}
  - {{id: odd, decide: hold, tools: [refund], when: run.odd > 1, why: Odd.}}
  - {{id: named, decide: hold, tools: [send_mail], when: '!user_named(args.to)', why: Named.}}
"""


@pytest.fixture
def till(tmp_path: Path, keys: Keys) -> Iterator[MakeTill]:
    opened: list[Till] = []

    def make(rules: str = RULES, **more: Any) -> Till:
        people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
        more = {"facts": [ODD, SCORE, NOTE, CLEARED], **more}
        opened.append(Till(tmp_path / "till.db", rules, people, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.store.close()


def decision(desk: Till, run: str = "r_1", index: int = 0) -> CallDecided:
    events = [record.event for record in desk.store.records(run)]
    return [event for event in events if isinstance(event, CallDecided)][index]


def ids(refs: tuple[RuleRef, ...]) -> list[str]:
    return [ref.id for ref in refs]


# --- what is recorded --------------------------------------------------------------------


async def test_every_rule_on_the_tool_is_recorded_as_matched_considered_or_in_shadow(
    till: MakeTill,
) -> None:
    desk = till()
    await desk.run("r_1", refund(50))
    event = decision(desk)
    assert ids(event.rules) == ["odd", "go"]
    assert ids(event.considered) == ["noted", "small"]
    assert ids(event.shadow) == ["tried"]
    assert event.failed == ("odd",)
    assert {(ref.file, ref.line) for ref in event.rules} == {("rules.yaml", 2), ("rules.yaml", 7)}
    assert (event.verdict, event.basis) == ("hold", "rules")


async def test_what_rules_read_is_recorded_by_the_words_of_the_condition(till: MakeTill) -> None:
    desk = till()
    await desk.run("r_1", refund(50))
    read = json.loads(decision(desk).facts or b"{}")
    assert read["values"]["args.cents"] == 50
    assert read["values"]["run.calls"] == 0
    assert "it broke" in read["values"]["run.odd"]
    assert "it broke" in read["errors"]["odd"]


async def test_where_a_value_was_found_is_recorded(till: MakeTill) -> None:
    desk = till()
    await desk.run("r_1", send_mail("bob@example.com"), prompt="Write to bob@example.com.")
    read = json.loads(decision(desk).facts or b"{}")
    ((what, where),) = read["found"].items()
    assert "bob@example.com" in what
    assert "user" in where


async def test_a_decision_by_default_records_no_rules_and_no_facts(till: MakeTill) -> None:
    desk = till("rules: []\n")
    await desk.run("r_1", refund(50))
    event = decision(desk)
    assert (event.rules, event.considered, event.facts) == ((), (), None)
    assert event.basis == "default"


async def test_values_that_are_long_are_cut(till: MakeTill) -> None:
    desk = till(
        "rules:\n"
        + ALLOW
        + "  - {id: l, decide: deny, tools: [refund], when: args.to == 'x', why: L.}\n"
    )
    await desk.run("r_1", refund(5, to="y" * 50_000))
    assert len(decision(desk).facts or b"") < 2_000


# --- what stays --------------------------------------------------------------------------

SECRETS = ["mona-lisa", "leonardo", "vinci@example.com", "987654", "because-of-this", "noted-down"]


async def test_no_name_argument_reason_or_value_of_a_fact_is_in_a_header(
    till: MakeTill, keys: Keys
) -> None:
    why = "why: because-of-this"
    rules = cap("{sum: args.cents, most: 1000000, per: [user]}", "hold") + (
        f"  - {{id: n, decide: hold, tools: [refund], when: run.note != 'x', {why}}}\n"
        f"  - {{id: t, decide: hold, tools: [refund], when: user_named(args.to), {why}}}\n"
        f'  - {{id: s, decide: hold, tools: [refund], set: {{usd: "9.5"}}, {why}}}\n'
    )
    desk = till(rules)
    prompt = "Give 987654 to vinci@example.com."
    await desk.run("r_1", refund(987654, to="vinci@example.com"), user="mona-lisa", prompt=prompt)
    await state(desk.store, desk.policy, "r_1", "run.note", "noted-down", by="leonardo")
    await desk.carry("r_1")
    await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"], reason="because-of-this")
    await desk.carry("r_1")
    assert desk.done == [987654]
    records = desk.store.records("r_1")
    content = b"".join(body for r in records for body in r.event.parts().values())
    for secret in SECRETS:
        assert secret.encode() in content, secret
    for record in records:
        shared = json.loads(record.header)["shared"]
        parts = record.event.parts()
        kept = record.header + b"".join(parts[name] for name in shared)
        for secret in SECRETS:
            assert secret.encode() not in kept, (record.event.type, secret)


async def test_a_header_names_rules_facts_and_arguments_and_no_values(till: MakeTill) -> None:
    rules = RULES + '  - {id: s, decide: allow, tools: [refund], set: {usd: "9.5"}, why: S.}\n'
    desk = till(rules.replace("run.odd > 1", "run.score > 1"))
    await desk.run("r_1", refund(50))
    record = next(r for r in desk.store.records("r_1") if isinstance(r.event, CallDecided))
    header = json.loads(record.header)
    assert header["awaiting"] == ["run.score"]
    assert header["changed"] == ["usd"]
    assert {"facts", "asked", "arguments", "reason"} <= set(header["parts"])
    assert not {"facts", "asked", "arguments", "reason"} & set(header)
    assert "9.5" not in record.header.decode()


# --- no way in ---------------------------------------------------------------------------

GUARD = f"""rules:
{ALLOW}
  - {{id: score, decide: hold, tools: [refund], when: run.score > 50, why: Odd.}}
  - {{id: busy, decide: hold, tools: [refund], when: user.calls_1h > 0, why: Busy.}}
"""


async def held_for(desk: Till, why: str) -> Any:
    """A call that is held because of a fact, and its run."""
    if why == "busy":
        await desk.run("r_0", read_mail())
    run = await desk.run("r_1", refund(5))
    if why == "odd":
        await state(desk.store, desk.policy, "r_1", "run.score", 99, by="ana")
        run = await desk.carry("r_1")
    assert run.calls[0].status == "held"
    return run


@pytest.mark.parametrize("why", ["unknown", "odd", "busy"])
@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "allow", "approver": None},
        {"verdict": "allow", "approver": None, "awaiting": (), "until": None},
        {
            "verdict": "allow",
            "approver": None,
            "facts": to_json({"values": {"run.score": 0, "user.calls_1h": 0}}),
            "failed": (),
        },
        {"verdict": "allow", "approver": None, "basis": "default", "rules": ()},
        {"verdict": "allow", "approver": None, "effect": "read", "repeatable": True},
    ],
)
async def test_a_forged_decision_with_laxer_facts_runs_nothing(
    till: MakeTill, why: str, changes: dict[str, Any]
) -> None:
    desk = till(GUARD)
    run = await held_for(desk, why)
    run = await desk.store.append(run, [forged(run, **changes)])
    assert run.calls[0].status == "allowed"
    run = await desk.carry("r_1")
    assert (run.calls[0].status, desk.done) == ("held", [])


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": b'{"cents":1,"to":"bob","usd":0}'},
        {"changed": ("cents",), "asked": b'{"cents":1,"to":"bob","usd":0}'},
        {"asked": None, "changed": ()},
    ],
)
async def test_a_forged_setting_runs_nothing_else_than_policy_sets(
    till: MakeTill, keys: Keys, changes: dict[str, Any]
) -> None:
    clamp = 'when: args.cents > 50, set: {cents: "50"}'
    rules = f"rules:\n  - {{id: s, decide: hold, tools: [refund], {clamp}, why: S.}}\n"
    desk = till(rules)
    run = await desk.run("r_1", refund(500))
    run = await desk.queue.approve(run.calls[0].id, signer=keys["ana"])
    await desk.store.append(run, [forged(run, verdict="hold", **changes)])
    run = await desk.carry("r_1")
    assert set(desk.done) <= {50}
    assert desk.done == [50] or run.calls[0].status == "held"


async def test_a_deferral_that_was_shortened_in_the_store_lets_nothing_run_unasked(
    till: MakeTill,
) -> None:
    desk = till(GUARD)
    run = await desk.run("r_1", refund(5))
    assert run.calls[0].awaiting == ("run.score",)
    await desk.store.append(run, [forged(run, until=0)])
    await desk.carry("r_1")
    assert (desk.stands("r_1"), desk.done) == (["held"], [])


@pytest.mark.sqlite
async def test_facts_that_were_changed_in_the_store_are_told_and_decide_nothing(
    till: MakeTill,
) -> None:
    desk = till(GUARD)
    await held_for(desk, "odd")
    lower = to_json({"values": {"run.score": 0}})
    with desk.store._engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER content_update")
        connection.exec_driver_sql("UPDATE content SET body = ? WHERE part = 'facts'", (lower,))
    assert not desk.store.verify("r_1").ok
    await desk.carry("r_1")
    assert (desk.stands("r_1"), desk.done) == (["held"], [])
