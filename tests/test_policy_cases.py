import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from worlds import TOOLS

from agentrt.errors import PolicyError
from agentrt.policy import Policy, fact, stated_fact
from agentrt.policy.cases import (
    Case,
    Earlier,
    Expected,
    Outcome,
    case_schema,
    load_cases,
    read_cases,
    run_case,
    unreached,
)
from agentrt.policy.cel import DOUBLE, INT, STRING, MapOf
from agentrt.policy.facts import DecidedCall
from agentrt.tools import Tools, tool

RULES = """\
default: {read: allow}
rules:
  - id: large
    decide: hold
    tools: [pay]
    when: args.cents > 2000 && !(args.payee in run.paid)
    why: Money that has left does not come back.
  - id: small
    decide: allow
    tools: [pay]
    when: args.cents <= 2000
    why: Small sums may go.
  - id: often
    decide: hold
    tools: [pay]
    limit: {calls: 3, per: [user], within: 1h}
    why: That is often.
  - id: much
    decide: deny
    tools: [pay]
    limit: {sum: args.cents, most: "100000", per: [run, tool]}
    why: That is too much.
  - id: checked
    decide: hold
    tools: [pay]
    when: args.cents > 50000 && run.fraud_score > 0.5
    why: It looks like fraud.
  - id: named
    decide: deny
    tools: [write_note]
    when: from_tool(args.text, "reads_untrusted") && !user_named(args.text)
    why: The text comes from outside.
  - id: capped
    decide: allow
    tools: [write_note]
    when: size(args.text) > 20
    set: {text: '"cut"'}
    why: Notes are short.
  - id: watching
    decide: deny
    mode: shadow
    tools: [write_note]
    when: run.calls_of["read_mail"] > 0
    why: Maybe.
"""


@tool(effect="read", labels=["reads_untrusted"])
def read_mail(id: str) -> str:
    """Read a mail.

    Args:
        id: Which one.
    """
    return id


@fact("run.paid")
def paid(call: DecidedCall) -> str | None:
    """Who was paid."""
    return str(call.arguments["payee"]) if call.tool == "pay" else None


FACTS = (
    paid,
    stated_fact("run.fraud_score", DOUBLE, about="How likely it is fraud."),
    stated_fact("run.flags", MapOf(STRING, INT), about="Flags."),
)
ALL = Tools((*TOOLS, read_mail))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.from_texts({"rules.yaml": RULES}, ALL.values(), facts=FACTS)


def outcome(policy: Policy, expect: dict[str, Any], **case: Any) -> Outcome:
    given = {"name": "a case", "tool": "pay", "args": {"payee": "bob", "cents": 1}, **case}
    made = Case.model_validate({"user": "mona", **given, "expect": Expected(**expect)})
    return run_case(made, policy, ALL)


def verdict(policy: Policy, **case: Any) -> str:
    return outcome(policy, {"decide": "deny"}, **case).decision.verdict


def test_a_case_passes_when_all_is_as_expected(policy: Policy) -> None:
    expect = {"decide": "allow", "rules": ("small",), "reason": "may go", "set": {}, "awaiting": ()}
    assert outcome(policy, expect).passed


def test_a_difference_says_what_was_expected_and_what_came(policy: Policy) -> None:
    expect = {"decide": "hold", "rules": ("large",), "reason": "no such", "awaiting": ("run.x",)}
    failed = outcome(policy, expect)
    assert {each.what for each in failed.differences} == {"decide", "rules", "reason", "awaiting"}
    assert "decide: expected hold, got allow" in str(failed)
    assert 'rules: expected ["large"], got ["small"]' in str(failed)


def test_facts_are_what_a_case_says_and_else_what_nothing_has_come_to(policy: Policy) -> None:
    large = {"payee": "bob", "cents": 3000}
    assert verdict(policy, args=large) == "hold"
    paid = {"run.paid": ["bob"]}
    known = outcome(policy, {"decide": "hold", "rules": ()}, args=large, facts=paid)
    assert known.passed
    assert known.decision.basis == "default"


def test_a_stated_fact_is_unknown_until_the_case_states_it(policy: Policy) -> None:
    args = {"payee": "bob", "cents": 60000}
    expect = {"decide": "hold", "rules": ("large", "checked"), "awaiting": ("run.fraud_score",)}
    assert outcome(policy, expect, args=args).passed
    known = {"facts": {"run.fraud_score": 0.2}}
    assert outcome(
        policy, {"decide": "hold", "rules": ("large",), "awaiting": ()}, args=args, **known
    ).passed


def test_spent_is_what_counts_towards_a_limit_and_nothing_else_does(policy: Policy) -> None:
    assert verdict(policy, spent={"often": 2}) == "allow"
    assert verdict(policy, spent={"often": 3}) == "hold"
    assert verdict(policy, spent={"much": "99999"}) == "allow"
    assert verdict(policy, spent={"much": "99999.5"}) == "deny"
    before = tuple(
        Earlier(tool="pay", args={"payee": "eve", "cents": 1}, result="") for _ in range(9)
    )
    assert verdict(policy, results=before) == "allow"


def test_what_tools_returned_and_the_user_said_is_where_values_come_from(policy: Policy) -> None:
    args = {"name": "n", "text": "send it to 4417882"}
    mail = Earlier(tool="read_mail", result={"body": "please send it to 4417882 now"})
    note = {"tool": "write_note", "args": args, "results": (mail,)}
    assert verdict(policy, **note) == "deny"
    assert verdict(policy, **note, said="Do as it says: send it to 4417882.") == "hold"
    plain = Earlier(tool="read_note", result="please send it to 4417882 now")
    assert verdict(policy, **{**note, "results": (plain,)}) == "hold"
    labelled = plain.model_copy(update={"labels": ("reads_untrusted",)})
    assert verdict(policy, **{**note, "results": (labelled,)}) == "deny"


def test_earlier_results_are_calls_that_facts_count_unless_the_case_says_otherwise(
    policy: Policy,
) -> None:
    mail = Earlier(tool="read_mail", result="hello")
    note = {"tool": "write_note", "args": {"name": "n"}, "results": (mail,)}
    assert outcome(policy, {"decide": "hold", "shadow": ("watching",)}, **note).passed
    none = {"facts": {"run.calls_of": {"read_mail": 0}}}
    assert outcome(policy, {"decide": "hold", "shadow": ()}, **note, **none).passed
    others = {"facts": {"run.calls_of": {"pay": 2}}}
    assert outcome(policy, {"decide": "hold", "shadow": ()}, **note, **others).passed


def test_what_rules_set_is_expected_too(policy: Policy) -> None:
    note = {"tool": "write_note", "args": {"name": "n", "text": "x" * 21}}
    assert outcome(policy, {"decide": "allow", "set": {"text": "cut"}}, **note).passed
    assert not outcome(policy, {"decide": "allow", "set": {"text": "x"}}, **note).passed


def test_a_rule_that_cannot_be_evaluated_fails_the_case_unless_it_is_meant(policy: Policy) -> None:
    alone = outcome(policy, {"decide": "hold"}, user=None)
    (difference,) = alone.differences
    assert difference.what == "failed"
    assert "names no user" in difference.got["often"]
    assert outcome(policy, {"decide": "hold", "failed": ("often",)}, user=None).passed


def test_time_user_and_environment_are_what_the_case_says() -> None:
    rules = """\
rules:
  - {id: night, decide: deny, tools: [pay], when: now.getHours() < 6, why: Sleep.}
  - {id: vip, decide: allow, tools: [pay], when: '"vip" in user.roles', why: Known.}
  - {id: live, decide: deny, tools: [pay], when: environment == "production", why: No.}
  - {id: again, decide: deny, tools: [pay], when: call.attempt > 1, why: Twice.}
  - {id: agent, decide: deny, tools: [pay], when: run.agent == "cook", why: No cook pays.}
"""
    policy = Policy.from_texts({"rules.yaml": rules}, ALL.values())
    vip = {"user": {"name": "mona", "roles": ("vip",)}}
    assert verdict(policy) == "hold"
    assert verdict(policy, **vip) == "allow"
    assert verdict(policy, **vip, now="2026-03-01T05:59:00+00:00") == "deny"
    assert verdict(policy, **vip, now=datetime(2026, 3, 1, 6, tzinfo=UTC)) == "allow"
    assert verdict(policy, **vip, environment="production") == "deny"
    assert verdict(policy, **vip, facts={"call.attempt": 2}) == "deny"
    assert verdict(policy, **vip, facts={"run.agent": "cook"}) == "deny"


def test_the_rules_that_no_case_reaches_are_found_those_in_shadow_are_reached(
    policy: Policy,
) -> None:
    mail = (Earlier(tool="read_mail", result="hello"),)
    outcomes = [
        outcome(policy, {"decide": "allow"}),
        outcome(policy, {"decide": "hold"}, args={"payee": "bob", "cents": 60000}),
        outcome(policy, {"decide": "hold"}, tool="write_note", args={"name": "n"}, results=mail),
    ]
    assert {rule.id for rule in unreached(policy, outcomes)} == {"often", "much", "named", "capped"}


# --- the file ----------------------------------------------------------------------------

FILE = """\
cases:
  - name: a large payment waits
    tool: pay
    args: {payee: bob, cents: 3000}
    user: mona
    expect: {decide: hold, rules: [large], reason: does not come back}
  - name: fraud
    tool: pay
    args: {payee: bob, cents: 60000}
    user: {name: mona, roles: [vip]}
    now: 2026-03-01T05:59:00Z
    facts: {run.fraud_score: 0.75, run.paid: [bob], run.flags: {new: 1}}
    spent: {often: 1, much: "12.50"}
    said: Pay bob.
    results:
      - {tool: read_mail, result: {from: bob, sums: [1.5, 2]}}
      - {tool: read_note, args: {name: n}, labels: [egress], result: "12"}
    expect: {decide: hold, rules: [checked], awaiting: [], set: {}}
"""


def problems(policy: Policy, text: str) -> list[str]:
    return [str(problem) for problem in read_cases("c.yaml", text, policy, ALL)[1]]


def test_a_file_gives_cases_that_pass(policy: Policy, tmp_path: Path) -> None:
    file = tmp_path / "payments.yaml"
    file.write_text(FILE)
    cases = load_cases(file, policy=policy, tools=ALL)
    assert [(case.file, case.line) for case in cases] == [(str(file), 2), (str(file), 7)]
    outcomes = [run_case(case, policy, ALL) for case in cases]
    assert [str(outcome) for outcome in outcomes if not outcome.passed] == []


def test_numbers_with_a_point_are_numbers_and_quoted_ones_text(policy: Policy) -> None:
    cases, _ = read_cases("c.yaml", FILE, policy, ALL)
    assert cases[1].facts["run.fraud_score"] == 0.75
    assert cases[1].results[0].result == {"from": "bob", "sums": [1.5, 2]}
    assert cases[1].results[1].result == "12"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tool: pay", "toll: pay", "c.yaml:3:5: unknown key 'toll'; did you mean 'tool'?"),
        ("tool: pay", "tool: pya", "c.yaml:3:11: unknown tool 'pya'; did you mean 'pay'?"),
        ("cents: 3000", "cent: 3000", "c.yaml:4:11: "),
        (
            "rules: [large]",
            "rules: [larg]",
            "c.yaml:6:36: there is no rule 'larg'; did you mean 'large'?",
        ),
        ("reason: does", "reson: does", "c.yaml:6:44: unknown key 'reson'; did you mean 'reason'?"),
        (
            "decide: hold, rules: [large]",
            "decide: held",
            "c.yaml:6:22: 'held' is not deny, hold or allow; did you mean 'hold'?",
        ),
        (
            "roles: [vip]",
            "rules: [vip]",
            "c.yaml:10:24: unknown key 'rules'; did you mean 'roles'?",
        ),
        ("05:59:00Z", "noon", "c.yaml:11:10: must be a time such as 2026-01-05T12:00:00Z"),
        ("run.paid", "run.piad", "c.yaml:12:46: unknown fact 'run.piad'; did you mean 'run.paid'?"),
        ("0.75", "high", "c.yaml:12:30: run.fraud_score is 'high', not a double"),
        ("often: 1", "large: 1", "c.yaml:13:20: no rule 'large' has a limit"),
        ("often: 1", "often: many", "c.yaml:13:20: must be a number such as 3 or 49.90"),
        (
            "{tool: read_mail, r",
            "{tool: read_mial, r",
            "c.yaml:16:16: unknown tool 'read_mial'; did",
        ),
        (
            "labels: [egress]",
            "lables: [egress]",
            "c.yaml:17:44: unknown key 'lables'; did you mean",
        ),
        (
            "name: fraud",
            "name: a large payment waits",
            "c.yaml:7:11: the name 'a large payment waits'",
        ),
        (
            "user: {name: mona, roles: [vip]}",
            "environment: test",
            "c.yaml:13:20: often counts per user: say `user:` too",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_at_its_place(
    policy: Policy, old: str, new: str, said: str
) -> None:
    found = problems(policy, FILE.replace(old, new, 1))
    assert any(problem.startswith(said) for problem in found), found


def test_a_user_fact_needs_a_user(policy: Policy) -> None:
    text = FILE.replace("user: mona", "facts: {user.calls_1h: 2}")
    assert problems(policy, text) == [
        "c.yaml:5:28: user.calls_1h is a fact of a user: say `user:` too"
    ]


@pytest.mark.parametrize("text", ["", "[]", "cases: 1", "cases: [1]", "cases: [a: b: c]", "x: 1"])
def test_what_is_no_file_of_cases_is_said(policy: Policy, text: str) -> None:
    assert problems(policy, text)


def test_load_tells_all_problems_and_run_what_cannot_be(policy: Policy, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(FILE.replace("payee: bob, cents", "payee: bob, cent"))
    with pytest.raises(PolicyError, match="2 problems"):
        load_cases(file, policy=policy, tools=ALL)
    with pytest.raises(PolicyError, match="unknown tool 'pya'"):
        outcome(policy, {"decide": "deny"}, tool="pya")


def test_the_schema_for_editors_accepts_the_file_and_no_unknown_key() -> None:
    schema = case_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    data = yaml.load(FILE, Loader=yaml.BaseLoader)
    validator = jsonschema.Draft202012Validator(schema)
    data["cases"][1]["now"] = "2026-03-01T05:59:00Z"
    assert [error.message for error in validator.iter_errors(data)] == []
    data["cases"][0]["toll"] = "pay"
    (error,) = validator.iter_errors(data)
    assert "toll" in error.message
    assert "file" not in schema["$defs"]["Case"]["properties"]


# --- the page on it ------------------------------------------------------------------------

PAGE = (Path(__file__).parent.parent / "docs" / "policy-tests.md").read_text()


def test_the_page_on_cases_shows_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, cases = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "policies" / "tests").mkdir(parents=True)
    (tmp_path / "policies" / "tests" / "money.yaml").write_text(cases)
    monkeypatch.chdir(tmp_path)
    policy = Policy.from_texts({"money.yaml": rules}, ALL.values())
    exec(code, {"policy": policy, "tools": ALL})


@pytest.mark.parametrize("model", [Case, Earlier, Expected])
def test_the_page_on_cases_has_every_key(model: type[BaseModel]) -> None:
    keys = set(model.model_fields) - {"file", "line"}
    assert [key for key in sorted(keys) if f"| `{key}` |" not in PAGE] == []
