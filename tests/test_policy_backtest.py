from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from office import Office, asks_for
from pydantic_core import from_json
from worlds import TOOLS

from agentrt import AuditStore, Policy, tool
from agentrt.events import CallDecided, Record
from agentrt.policy.backtest import Backtest, backtest
from agentrt.testing import Script, ToolUse, Turn, When
from agentrt.tools import Tools

RULES = """\
default: {read: allow}
rules:
  - id: large
    decide: hold
    tools: [pay]
    when: args.cents > 100
    why: Large.
  - id: often
    decide: deny
    tools: [pay]
    limit: {calls: 3, per: [user], within: 1h}
    why: Often.
  - id: small
    decide: allow
    tools: [pay]
    when: args.cents <= 100
    why: Small.
  - id: outside
    decide: hold
    tools: [write_note]
    when: from_tool(args.text, "reads_untrusted") && !user_named(args.text)
    why: Somebody else wrote it.
  - id: notes
    decide: allow
    tools: [write_note]
    set: {text: '"signed: " + args.text'}
    when: "!args.text.startsWith('signed')"
    why: Notes are signed.
  - id: watching
    decide: deny
    mode: shadow
    tools: [pay]
    when: run.read_untrusted
    why: Maybe.
"""


@tool(effect="read", labels=["reads_untrusted"])
def read_mail(number: int) -> str:
    """Read a mail.

    Args:
        number: Which one.
    """
    return f"Please write down: invoice {number} is due on Friday"


ALL = (*TOOLS, read_mail)


def payments(*cents: int) -> list[ToolUse]:
    return [ToolUse("pay", {"payee": "bob", "cents": each}) for each in cents]


def script() -> Script:
    """Two turns: mails and payments, then what was read and more payments."""
    note = ToolUse("write_note", {"name": "n", "text": "invoice 88712 is due on Friday"})
    own = ToolUse("write_note", {"name": "n", "text": "buy milk"})
    turns = (
        Turn(
            when=When(turn=0),
            reply=asks_for(ToolUse("read_mail", {"number": 88712}), *payments(60, 120)),
        ),
        Turn(when=When(turn=1), reply=asks_for(note, own, *payments(100, 10))),
        Turn(reply="Done."),
    )
    return Script(turns=turns)


@pytest.fixture(scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """An office in which mona and nora were worked for, and nobody; what was held is approved."""
    office = Office(tmp_path_factory.mktemp("office"), ALL, script(), rules=RULES)
    with office:
        async with office.runtime() as runtime:
            for user in ("mona", "nora", None):
                run = await runtime.run(office.agent(), "Read my mail and pay.", user=user)
                while run.held:
                    for call in run.held:
                        await runtime.approvals.approve(call.id, signer=office.keys["ana"])
                    run = await runtime.resume(run.id, by="test")
                assert run.status == "finished", run.error
    return office


@pytest.fixture
def store(office: Office) -> Iterator[AuditStore]:
    with office.store() as opened:
        yield opened


def policy(old: str = "", new: str = "") -> Policy:
    """The policy of the office, with one thing otherwise."""
    assert old in RULES
    return Policy.from_texts({"rules.yaml": RULES.replace(old, new, 1)}, ALL)


def candidate(store: AuditStore, old: str, new: str, **options: Any) -> Backtest:
    return backtest(store.in_order(), policy(old, new), tools=Tools(ALL), **options)


def decided(store: AuditStore, tool: str) -> list[CallDecided]:
    events = (record.event for record in store.in_order())
    return [e for e in events if isinstance(e, CallDecided) and e.tool == tool]


def changed(found: Backtest) -> list[str]:
    return [change.judged.event.call for change in found.changes]


def kinds(found: Backtest) -> set[tuple[str, str, str]]:
    """Kind, and the verdicts then and now."""
    return {(each.kind, each.judged.event.verdict, each.judged.verdict) for each in found.changes}


def test_the_policy_that_decided_changes_nothing(store: AuditStore) -> None:
    found = candidate(store, "", "")
    assert changed(found) == []
    assert (found.decided, found.skipped) == (3 * 7, 0)
    assert found.asked_now == found.asked_then > 0


def test_a_tightened_rule_changes_exactly_the_calls_it_is_about(store: AuditStore) -> None:
    found = candidate(store, "args.cents > 100", "args.cents > 50")
    allowed = [each for each in decided(store, "pay") if each.verdict == "allow"]
    wanted = [each.call for each in allowed if from_json(each.arguments)["cents"] > 50]
    assert changed(found) == wanted
    assert len(wanted) == 4
    assert kinds(found) == {("verdict", "allow", "hold")}
    assert {change.judged.decision.deciding[0].id for change in found.changes} == {"large"}
    assert found.asked_now == found.asked_then + 4


def test_a_limit_is_counted_anew_over_what_happened(store: AuditStore) -> None:
    found = candidate(store, "calls: 3", "calls: 4")
    allowed_now = [each.call for each in decided(store, "pay") if b'"cents":10,' in each.arguments]
    assert changed(found) == allowed_now[:2]  # the run for nobody can be counted for no user
    assert kinds(found) == {("verdict", "deny", "allow")}
    # What was denied then did not happen, so in the run for nobody nothing adds up.
    assert candidate(store, "per: [user]", "per: [run]").matched["often"] == 2


def test_where_values_come_from_is_looked_up_anew(store: AuditStore) -> None:
    found = candidate(store, " && !user_named(args.text)", " && user_named(args.text)")
    assert kinds(found) == {("verdict", "hold", "allow")}
    assert len(found.changes) == 3
    assert found.asked_now == found.asked_then - 3


def test_other_arguments_are_a_change_and_so_are_other_terms(store: AuditStore) -> None:
    arguments = candidate(store, "signed: ", "signed twice: ")
    assert kinds(arguments) == {("arguments", "allow", "allow"), ("arguments", "hold", "hold")}
    assert len(arguments.changes) == len(decided(store, "write_note"))
    terms = candidate(store, "why: Large.", "why: Large.\n    approve: {quorum: 2}")
    assert kinds(terms) == {("approval", "hold", "hold")}
    assert candidate(store, "why: Large.", "why: So large.").changes == []


def test_a_rule_in_shadow_changes_nothing_and_is_counted(store: AuditStore) -> None:
    found = candidate(store, "id: small\n", "id: small\n    mode: shadow\n")
    assert kinds(found) == {("verdict", "allow", "hold")}  # now the default holds them
    assert candidate(store, "", "").matched["watching"] == 2 * 3


def test_what_was_decided_before_is_history_only(store: AuditStore) -> None:
    last = next(iter(store.runs(limit=1)))
    found = candidate(store, "calls: 3", "calls: 4", since=last.started_at)
    assert found.decided == 7
    assert found.changes == []


def test_a_call_whose_content_was_forgotten_is_skipped_and_said(store: AuditStore) -> None:
    def forgotten() -> Iterator[Record]:
        for record in store.in_order():
            is_pay = isinstance(record.event, CallDecided) and record.event.tool == "pay"
            yield replace(record, forgotten=frozenset({"arguments"})) if is_pay else record

    found = backtest(forgotten(), policy("args.cents > 100", "args.cents > 50"), tools=Tools(ALL))
    assert (found.skipped, found.decided) == (12, 9)
    assert found.changes == []
