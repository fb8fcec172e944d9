"""Calls of a turn that belong together, decided at the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.audit import AuditStore
from agentrt.cli.exits import Exit

SCRIPT = """\
turns:
  - when: {turn: 0}
    reply:
      - tool_use: {name: refund_order, input: {order_id: "4417", amount_cents: 100}}
      - tool_use: {name: refund_order, input: {order_id: "4417", amount_cents: 200}}
      - tool_use: {name: refund_order, input: {order_id: "4417", amount_cents: 300}}
  - when: {error: true}
    reply: I could not refund them.
  - reply: All refunds are on their way.
"""


@pytest.fixture(scope="module")
def held_once(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = a_shop(tmp_path_factory.mktemp("held"))
    Path(shop.script).write_text(SCRIPT)
    policy = shop.folder / "policies" / "default.yaml"
    policy.write_text(
        policy.read_text().replace("  - id: refunds\n", "  - id: refunds\n    group: run\n")
    )
    result = shop.say("run", PROMPT, "--simulated", shop.script)
    assert result.exit_code == Exit.WAITING, result.stderr
    return shop


@pytest.fixture
def held(held_once: Shop, tmp_path: Path) -> Shop:
    """A shop with three refunds of one turn that wait for its owner."""
    shutil.copytree(held_once.folder, tmp_path / "desk")
    return Shop(tmp_path / "desk", held_once.key)


def calls(shop: Shop) -> list[str]:
    """The ids of the calls, in turn order."""
    with AuditStore(shop.folder / "agentrt.db", create=False, read_only=True) as store:
        return [call.id for call in store.load(shop.run().id).all_calls]


def statuses(shop: Shop) -> list[str]:
    with AuditStore(shop.folder / "agentrt.db", create=False, read_only=True) as store:
        return [call.status for call in store.load(shop.run().id).all_calls]


def group_digest(shop: Shop) -> str:
    digest: str = shop.json("approvals", "view", "@next", "--group")["arguments_digest"]
    return digest


def test_view_says_that_a_call_belongs_to_others_and_where_to_see_them_all(held: Shop) -> None:
    first, second, third = calls(held)
    shown = held.say("approvals", "view", second).stdout
    assert "one of 3 calls that belong together" in shown
    assert f"{first}  refund_order" in shown
    assert f"{third}  refund_order" in shown
    assert f"agentrt approvals view {second} --group" in shown
    assert held.json("approvals", "view", second)["together_with"] == [first, third]


def test_view_of_a_group_shows_every_call_whole_and_one_digest_of_them_all(held: Shop) -> None:
    shown = held.say("approvals", "view", "@next", "--group").stdout
    for call, cents in zip(calls(held), (100, 200, 300), strict=True):
        assert f"{call}  refund_order  held  HIGH" in shown
        assert f'"amount_cents": {cents}' in shown
    digest = group_digest(held)
    assert f"{digest} (of all 3)" in shown
    assert f"--group --arguments {digest[:12]}" in shown
    data = held.json("approvals", "view", "@next", "--group")
    assert [call["id"] for call in data["calls"]] == calls(held)
    assert [call["arguments"]["amount_cents"] for call in data["calls"]] == [100, 200, 300]


def test_a_script_approves_all_calls_of_a_group_by_their_digest_and_each_runs_once(
    held: Shop,
) -> None:
    digest = group_digest(held)
    approved = held.say(
        "approve", calls(held)[1], "--group", "--arguments", digest[:12], "--reason", "all due"
    )
    assert approved.exit_code == 0, approved.stderr
    for call in calls(held):
        assert f"{call} is approved" in approved.stderr
    resumed = held.say("runs", "resume", "--simulated", held.script)
    assert resumed.exit_code == 0, resumed.stderr
    assert "All refunds are on their way." in resumed.stdout
    assert [refund["amount_cents"] for refund in held.refunds] == [100, 200, 300]
    assert len({refund["key"] for refund in held.refunds}) == 3
    assert f"approved it together with {calls(held)[0]}" in held.say("why", calls(held)[1]).stdout
    assert held.say("audit", "verify").exit_code == 0


@pytest.mark.parametrize(("verb", "status"), [("approve", "approved"), ("reject", "rejected")])
def test_without_group_only_the_one_call_is_decided(held: Shop, verb: str, status: str) -> None:
    decided = held.say(verb, "@next", "--arguments", held.digest(), "--reason", "this one")
    assert decided.exit_code == 0, decided.stderr
    assert statuses(held) == [status, "held", "held"]


def test_a_script_rejects_all_and_claude_is_told(held: Shop) -> None:
    digest = group_digest(held)
    rejected = held.say("reject", "@next", "--group", "--arguments", digest, "--reason", "paid")
    assert rejected.exit_code == 0, rejected.stderr
    assert statuses(held) == ["rejected"] * 3
    resumed = held.say("runs", "resume", "@last", "--simulated", held.script)
    assert "I could not refund them." in resumed.stdout
    assert held.refunds == []


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_script_decides_no_group_that_it_does_not_name(held: Shop, verb: str) -> None:
    blind = held.say(verb, "@next", "--group", "--reason", "all of them")
    assert blind.exit_code == Exit.USAGE
    assert "--group` prints" in blind.stderr
    one = held.say(verb, "@next", "--group", "--arguments", held.digest(), "--reason", "sure")
    assert one.exit_code == Exit.STALE
    assert "these 3 calls" in one.stderr
    assert statuses(held) == ["held"] * 3


def test_a_group_that_has_changed_since_it_was_shown_is_not_decided(held: Shop) -> None:
    digest = group_digest(held)
    assert held.say("reject", "@next", "--reason", "not this one").exit_code == 0
    late = held.say("approve", "@next", "--group", "--arguments", digest, "--reason", "due")
    assert late.exit_code == Exit.STALE
    assert statuses(held) == ["rejected", "held", "held"]


def test_at_a_terminal_all_calls_are_shown_before_one_question(
    held: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrt.cli.reviewing.at_terminal", lambda: True)
    refused = held.say("approve", "@next", "--group", input="checked the ledger\nno\n")
    assert refused.exit_code == Exit.INTERRUPTED
    assert statuses(held) == ["held"] * 3
    approved = held.say("approve", "@next", "--group", input="checked the ledger\nyes\n")
    assert approved.exit_code == 0, approved.stderr
    for cents in (100, 200, 300):
        assert f'"amount_cents": {cents}' in approved.stderr
    assert statuses(held) == ["approved"] * 3


def test_at_a_terminal_a_group_is_shown_before_it_is_rejected_with_a_given_reason(
    held: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrt.cli.reviewing.at_terminal", lambda: True)
    rejected = held.say("reject", "@next", "--group", "--reason", "paid already")
    assert rejected.exit_code == 0, rejected.stderr
    assert '"amount_cents": 300' in rejected.stderr
    assert statuses(held) == ["rejected"] * 3


def test_the_story_of_the_run_says_what_was_decided_together(held: Shop) -> None:
    digest = group_digest(held)
    held.say("approve", "@next", "--group", "--arguments", digest, "--reason", "due")
    first, second, third = calls(held)
    told = held.say("runs", "view", "@last").stdout
    assert f"= {first} approved by" in told
    assert f"together with {second}, {third}" in told


def test_a_call_that_belongs_to_no_other_is_its_own_group(held: Shop) -> None:
    for _ in range(2):
        assert held.say("reject", "@next", "--reason", "no").exit_code == 0
    assert group_digest(held) == held.digest()
    options = ("--group", "--arguments", held.digest(), "--reason", "due")
    assert held.say("approve", "@next", *options).exit_code == 0
    assert statuses(held) == ["rejected", "rejected", "approved"]
