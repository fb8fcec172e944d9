"""The tools for those who write policies, from the check to the backtest."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.cli.exits import Exit
from agentrt.events import RuleRef
from agentrt.policy.explanation import rules_said, why_so

DEFAULT = """\
# Rules of the desk.
default: {read: allow}

rules:
  - id: refunds
    decide: hold
    tools: [refund_order]
    when: args.amount_cents > 2000 && !(args.order_id in run.refunded)
    why: Money that has left does not come back.
    approve: {expires: 4h, quorum: 2, four_eyes: true, reason: required}
    owner: ana
    review_by: 2099-01-01
  - id: scored
    decide: hold
    tools: [refund_order]
    when: run.fraud_score > 50
    why: The risk desk says how likely it is fraud.
    defer: 10m
    owner: ana
    review_by: 2099-01-01
  - id: tiny
    decide: allow
    tools: [refund_order]
    when: args.amount_cents <= 2000
    why: Small sums.
    owner: ana
    review_by: 2099-01-01
  - id: daily
    decide: hold
    tools: [refund_order]
    limit: {calls: 3, per: [run], within: 1d}
    why: Often.
    owner: ana
    review_by: 2099-01-01
  - id: watched
    decide: deny
    mode: shadow
    tools: [refund_order]
    when: args.amount_cents > 3000
    why: Perhaps it should not be done at all.
    owner: ana
    review_by: 2099-01-01
"""

FACTS = '''\
from agentrt.policy import fact, stated_fact
from agentrt.policy.cel import INT
from agentrt.policy.facts import DecidedCall


@fact("run.refunded")
def refunded(call: DecidedCall) -> str | None:
    """The orders that were refunded."""
    return str(call.arguments["order_id"]) if call.tool == "refund_order" else None


score = stated_fact("run.fraud_score", INT, about="How likely it is fraud, of 100.")
'''

CASES = """\
cases:
  - name: a large refund waits
    tool: refund_order
    args: {order_id: "4417", amount_cents: 3100}
    facts: {run.fraud_score: 0}
    expect: {decide: hold, rules: [refunds], shadow: [watched]}
  - name: a small one is paid
    tool: refund_order
    args: {order_id: "4417", amount_cents: 5}
    facts: {run.fraud_score: 50}
    expect: {decide: allow, rules: [tiny]}
"""


def a_desk(folder: Path) -> Shop:
    shop = a_shop(folder)
    (shop.folder / "policies" / "default.yaml").write_text(DEFAULT)
    (shop.folder / "policies" / "facts.py").write_text(FACTS)
    (shop.folder / "policies" / "tests").mkdir()
    (shop.folder / "policies" / "tests" / "refunds.yaml").write_text(CASES)
    return shop


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A desk at which a refund waits for a fact; nothing here writes to it."""
    desk = a_desk(tmp_path_factory.mktemp("desk"))
    ran = desk.say("run", PROMPT, "--simulated", desk.script, "--on-hold", "exit")
    assert ran.exit_code == Exit.WAITING, ran.stderr
    return desk


@pytest.fixture
def fresh(tmp_path: Path) -> Shop:
    """A desk at which nothing has happened."""
    return a_desk(tmp_path)


@pytest.fixture
def copy(desk: Shop, tmp_path: Path) -> Shop:
    """The desk, to write to."""
    shutil.copytree(desk.folder, tmp_path / "desk")
    return Shop(tmp_path / "desk", desk.key)


def rewrite(shop: Shop, old: str, new: str, name: str = "default.yaml") -> Path:
    file = shop.folder / "policies" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


def other_policy(shop: Shop, old: str = "", new: str = "") -> str:
    """A folder with the desk's policy in which one thing is otherwise."""
    folder = shop.folder.parent / f"other-{len(list(shop.folder.parent.iterdir()))}"
    shutil.copytree(shop.folder / "policies", folder)
    file = folder / "default.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    return str(folder)


# --- check and lint ----------------------------------------------------------------------


def test_check_exits_with_1_on_an_error_and_says_what_is_wrong_and_where(fresh: Shop) -> None:
    file = rewrite(fresh, "args.amount_cents > 2000", "args.amount_cent > 2000")
    result = fresh.say("policy", "check")
    assert result.exit_code == Exit.FAILED
    assert f"{file}:8:11: " in result.stdout
    assert "did you mean 'amount_cents'?" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 error"
    (found,) = json.loads(fresh.say("policy", "check", "--json").stdout)["problems"]
    assert (found["level"], found["line"], found["column"]) == ("error", 8, 11)


def test_check_is_content_with_a_sound_policy(desk: Shop) -> None:
    result = desk.say("policy", "check")
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: 5 rules, 1 reviewers, policy ")


def test_check_annotates_for_github_and_no_text_of_a_policy_becomes_a_command(fresh: Shop) -> None:
    rewrite(fresh, "[refund_order]", '["refund\\r\\n::error::%0A,\\x1b[1m"]')
    result = fresh.say("policy", "check", "--format", "github")
    assert result.exit_code == Exit.FAILED
    (line,) = result.stdout.splitlines()
    file = fresh.folder / "policies" / "default.yaml"
    assert line.startswith(f"::error file={file},line=7,col=13::unknown kind ")
    assert "\x1b" not in line
    assert "%" not in line.replace("%25", "").replace("%0D", "").replace("%0A", "")


def test_lint_finds_the_rules_that_nobody_looks_after(copy: Shop) -> None:
    assert copy.say("policy", "lint").exit_code == 0
    rewrite(copy, "    owner: ana\n    review_by: 2099-01-01\n", "")
    rewrite(copy, "review_by: 2099-01-01", "review_by: 2020-01-01")
    result = copy.say("policy", "lint", "--stale")
    assert result.exit_code == Exit.FAILED
    found = json.loads(copy.say("policy", "lint", "--stale", "--json").stdout)["problems"]
    assert [(each["level"], each["line"], each["column"], each["message"]) for each in found] == [
        ("warning", 5, 5, "refunds has no owner and no review_by"),
        ("error", 11, 5, "scored was to be reviewed by 2020-01-01: look at it and set a day"),
        ("warning", 19, 5, "tiny matched no call in the last 90 days"),
        ("warning", 26, 5, "daily matched no call in the last 90 days"),
    ]
    assert "1 error, 3 warnings" in result.stdout


def test_lint_asks_no_store_that_is_not_there_and_warnings_are_no_failure(fresh: Shop) -> None:
    rewrite(fresh, "    owner: ana\n", "")
    result = fresh.say("policy", "lint", "--stale", "--days", "1")
    assert result.exit_code == 0
    assert "refunds has no owner" in result.stdout
    assert "matched no call" not in result.stdout
    assert not (fresh.folder / "agentrt.db").exists()


# --- list and facts ----------------------------------------------------------------------


def test_list_says_when_and_how_each_rule_decides(desk: Shop) -> None:
    rows = {row["id"]: row for row in desk.json("policy", "list")}
    assert rows["tiny"]["when"] == "args.amount_cents <= 2000"
    assert rows["daily"]["limit"]["calls"] == 3
    assert rows["watched"]["mode"] == "shadow"
    told = desk.say("policy", "list").stdout
    assert "hold over 3 calls per run in 1d" in told
    assert "deny, in shadow" in told


def test_list_tells_what_a_rule_sets(fresh: Shop) -> None:
    rewrite(fresh, "why: Small sums.", "why: Small sums.\n    set: {amount_cents: 5}")
    assert fresh.json("policy", "list")[2]["set"] == {"amount_cents": 5}
    assert "allow, sets amount_cents" in fresh.say("policy", "list").stdout


def test_facts_lists_standard_own_and_stated_ones_and_the_functions(desk: Shop) -> None:
    kinds = {row["name"]: (row["type"], row["kind"]) for row in desk.json("policy", "facts")}
    assert kinds["run.calls"] == ("int", "standard")
    assert kinds["run.refunded"] == ("list(string)", "project")
    assert kinds["run.fraud_score"] == ("int", "stated")
    assert kinds["user_named(any)"] == ("bool", "function")
    assert all(row["about"] for row in desk.json("policy", "facts"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name\n", "facts.py:1:1: cannot be imported: ModuleNotFoundError"),
        ("x = (\n", "facts.py:1:1: cannot be imported: SyntaxError"),
        (
            'from agentrt.policy import fact\n\n\n@fact("run.x")\ndef x(call):\n    return 1\n',
            "facts.py:4:1: run.x",
        ),
        (FACTS.replace("run.refunded", "run.calls"), "run.calls"),
        ("FACTS = [1]\n", "FACTS should be a list of facts, but has 1"),
    ],
)
def test_a_mistake_in_the_facts_is_told_with_its_place(fresh: Shop, text: str, said: str) -> None:
    (fresh.folder / "policies" / "facts.py").write_text(text)
    result = fresh.say("policy", "check")
    assert result.exit_code == Exit.FAILED
    assert said in result.stdout + result.stderr


def test_a_broken_facts_file_is_annotated_and_in_the_json_as_rules_are(fresh: Shop) -> None:
    file = fresh.folder / "policies" / "facts.py"
    file.write_text("x = 1\nx = (\n")
    annotated = fresh.say("policy", "check", "--format", "github")
    assert annotated.exit_code == Exit.FAILED
    assert annotated.stdout.startswith(f"::error file={file},line=2,col=1::cannot be imported: ")
    data = json.loads(fresh.say("policy", "check", "--json").stdout)
    assert data["ok"] is False
    assert [problem["line"] for problem in data["problems"]] == [2]


def test_a_list_of_facts_in_a_pipe_is_whole(desk: Shop) -> None:
    about = {row["name"]: row["about"] for row in desk.json("policy", "facts")}
    lines = desk.say("policy", "facts", "-L", "99").stdout.splitlines()
    told = {line.split("\t")[0]: line.split("\t")[-1] for line in lines}
    assert max(map(len, about.values())) > 100
    assert {name: " ".join(text.split()) for name, text in about.items()} == told


def test_other_code_of_a_fact_is_another_policy(fresh: Shop) -> None:
    before = fresh.say("policy", "check").stdout
    rewrite(fresh, 'str(call.arguments["order_id"])', '"all"', "facts.py")
    assert fresh.say("policy", "check").stdout != before


# --- test --------------------------------------------------------------------------------


def test_cases_that_pass_are_counted(desk: Shop) -> None:
    result = desk.say("policy", "test")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.startswith("2 passed in ")


def test_a_case_that_fails_tells_what_was_expected_and_what_each_rule_said(fresh: Shop) -> None:
    rewrite(fresh, "args.amount_cents > 2000", "args.amount_cents > 3200")
    result = fresh.say("policy", "test")
    assert result.exit_code == Exit.FAILED
    file = fresh.folder / "policies" / "tests" / "refunds.yaml"
    assert f"{file}:2: a large refund waits" in result.stdout
    assert 'rules: expected ["refunds"], got []' in result.stdout
    assert "refunds  default.yaml:5  did not match" in result.stdout
    assert "args.amount_cents was 3100" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 failed, 1 passed in ")
    data = json.loads(fresh.say("policy", "test", "--json").stdout)
    assert (data["ok"], data["failed"], data["passed"]) == (False, 1, 1)
    assert data["cases"][0]["differences"] == [
        {"what": "rules", "expected": ["refunds"], "got": []}
    ]


def test_a_case_that_cannot_be_run_is_an_error_with_what_is_wrong(fresh: Shop) -> None:
    file = fresh.folder / "policies" / "tests" / "refunds.yaml"
    file.write_text(CASES.replace("amount_cents: 3100", "amount_cents: many"))
    result = fresh.say("policy", "test")
    assert result.exit_code == Exit.FAILED
    assert f"{file}:4:11: " in result.stdout
    assert "amount_cents" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 passed, 1 errors in ")


def test_coverage_fails_for_rules_that_no_case_reaches(desk: Shop) -> None:
    result = desk.say("policy", "test", "--coverage")
    assert result.exit_code == Exit.FAILED
    assert "default.yaml:13: no case reaches scored" in result.stdout
    data = json.loads(desk.say("policy", "test", "--coverage", "--json").stdout)
    assert [rule["id"] for rule in data["unreached"]] == ["scored", "daily"]


def test_files_and_folders_can_be_named_and_nothing_tested_is_no_success(
    fresh: Shop, tmp_path: Path
) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(CASES)
    assert fresh.say("policy", "test", str(file)).exit_code == 0
    assert fresh.say("policy", "test", str(fresh.folder / "policies" / "tests")).exit_code == 0
    shutil.rmtree(fresh.folder / "policies" / "tests")
    none = fresh.say("policy", "test")
    assert none.exit_code == Exit.FAILED
    assert "There are no cases" in none.stderr


def test_the_schema_of_cases_is_printed_without_a_project(tmp_path: Path) -> None:
    shop = Shop(tmp_path, tmp_path / "key")
    schema = json.loads(shop.say("policy", "test", "--schema").stdout)
    assert schema["required"] == ["cases"]
    assert "As Claude would write them" in json.dumps(schema)


# --- explain -----------------------------------------------------------------------------


def test_explain_tells_every_rule_with_its_text_and_what_it_read(desk: Shop) -> None:
    told = desk.say("policy", "explain", "@last").stdout
    assert "* refunds  default.yaml:5  matched\n    | - id: refunds\n    |   decide: hold" in told
    assert "    args.amount_cents was 3200\n" in told
    assert "    run.refunded was []\n" in told
    assert "* scored  default.yaml:13  waits" in told
    assert "    waits for run.fraud_score" in told
    assert "  tiny  default.yaml:21  did not match" in told
    assert "    its limit: 0 and 1 more, of at most 3" in told
    assert "came to     hold, by refunds, scored: no rule denies" in told
    assert "asks for    2 reviewers, severity high, until " in told
    assert "four eyes" in told
    assert "a reason is required" in told
    assert "waits for   run.fraud_score until " in told


def test_explain_says_where_values_were_found_also_for_a_rule_in_shadow(fresh: Shop) -> None:
    rewrite(fresh, "args.amount_cents > 3000", "user_named(args.order_id)")
    fresh.say("run", "Refund order 4417", "--simulated", fresh.script, "--on-hold", "exit")
    told = fresh.say("policy", "explain", "@last").stdout
    assert "  watched  default.yaml:35  matched (shadow: decides nothing)" in told
    assert "user_named(args.order_id) was true" in told
    assert "found       user_named('4417'): the user's message in sim_r_" in told


def test_explain_gives_the_same_as_json(desk: Shop) -> None:
    data = desk.json("policy", "explain", "@last")
    (revision,) = data["revisions"]
    rules = {rule["id"]: rule for rule in revision["rules"]}
    assert rules["refunds"]["state"] == "matched"
    assert rules["refunds"]["expressions"]["when"].startswith("args.amount_cents > 2000")
    assert rules["refunds"]["values"]["args.amount_cents"] == 3200
    assert rules["scored"]["waits_for"] == "run.fraud_score"
    assert rules["tiny"]["decides"] is False
    assert revision["approver"]["quorum"] == 2
    assert revision["awaiting"] == ["run.fraud_score"]


def test_explain_never_recomputes_though_rules_and_facts_are_others_now(copy: Shop) -> None:
    before = copy.say("policy", "explain", "@last").stdout
    for file in (copy.folder / "policies").glob("*.yaml"):
        file.unlink()
    (copy.folder / "policies" / "facts.py").unlink()
    shutil.rmtree(copy.folder / "tools")
    assert copy.say("policy", "explain", "@last").stdout == before


def test_explain_tells_what_a_reviewer_cannot_be_fooled_by(fresh: Shop) -> None:
    script = Path(fresh.script)
    hidden = '"4417\\u202e"'
    script.write_text(
        f"turns:\n  - when: {{turn: 0}}\n    reply:\n      - tool_use: {{name: refund_order, "
        f"input: {{order_id: {hidden}, amount_cents: 9}}}}\n  - reply: Well.\n"
    )
    fresh.say("run", PROMPT, "--simulated", fresh.script, "--on-hold", "exit")
    told = fresh.say("policy", "explain", "@last").stdout
    assert "\u202e" not in told
    assert "\\u202e" in told
    assert "deny, by invalid_arguments: the arguments do not fit the tool" in told


def test_explain_says_what_was_forgotten(copy: Shop) -> None:
    with closing(sqlite3.connect(copy.folder / "agentrt.db")) as connection:
        connection.execute("DELETE FROM content WHERE part IN ('arguments', 'facts', 'reason')")
        connection.commit()
    told = copy.say("policy", "explain", "@last").stdout
    assert "forgotten   arguments, facts, reason" in told
    assert "* refunds  default.yaml:5  matched" in told
    assert "3200" not in told


def test_a_stated_fact_moves_the_call_on_and_both_decisions_are_explained(copy: Shop) -> None:
    deferred = copy.json("approvals", "list", "--deferred")
    assert [(row["tool"], row["awaiting"]) for row in deferred] == [
        ("refund_order", ["run.fraud_score"])
    ]
    assert copy.json("approvals", "list") == []
    viewed = copy.say("runs", "view", "@last").stdout
    assert "DEFERRED" in viewed
    assert "waits for run.fraud_score, " in viewed
    assert "waits for a reviewer" not in viewed
    wrong = copy.say("runs", "state", "@last", "run.fraud_score", "high")
    assert (wrong.exit_code, "run.fraud_score is of type int" in wrong.stderr) == (
        Exit.FAILED,
        True,
    )
    unknown = copy.say("runs", "state", "@last", "run.fraud_scor", "5")
    assert "did you mean 'run.fraud_score'?" in unknown.stderr
    stated = copy.say("runs", "state", "@last", "run.fraud_score", "12", "--by", "risk")
    assert stated.exit_code == 0, stated.stderr
    assert "agentrt runs resume sim_r_" in stated.stderr
    copy.say("runs", "resume", "@last", "--simulated", copy.script)
    assert copy.json("approvals", "list", "--deferred") == []
    assert len(copy.json("approvals", "list")) == 1
    (last,) = copy.json("policy", "explain", "@last")["revisions"]
    assert last["revision"] == 2
    first, second = copy.json("policy", "explain", "@last", "--all")["revisions"]
    assert (first["awaiting"], second["awaiting"]) == (["run.fraud_score"], [])
    scored = next(rule for rule in second["rules"] if rule["id"] == "scored")
    assert (scored["state"], scored["values"]) == ("did not match", {"run.fraud_score": 12})


class Recorded:
    """A decision with one rule of each kind."""

    verdict = "hold"
    basis = "rules"
    rules = (RuleRef(id="stuck", file="a.yaml", line=2), RuleRef(id="ok", file="a.yaml", line=3))
    considered = (RuleRef(id="gone", file="b.yaml", line=9),)
    shadow = ()
    failed = ("stuck",)


def test_a_rule_that_cannot_do_what_it_sets_holds_the_call_and_an_allow_beside_it_does_not() -> (
    None
):
    texts = {
        "a.yaml": "rules:\n"
        "  - {id: stuck, decide: allow, tools: [t], set: {n: args.n}, why: It is set.}\n"
        "  - {id: ok, decide: allow, tools: [t], why: Fine.}\n"
    }
    said = rules_said(Recorded(), b'{"errors": {"stuck": "no n"}}', texts)
    told = [(one.ref.id, one.state, one.decides, one.error) for one in said]
    assert told == [
        ("stuck", "could not be evaluated", True, "no n"),
        ("ok", "matched", False, None),
        ("gone", "did not match", False, None),
    ]
    assert said[2].text == ("(its text was not recorded)",)
    assert why_so(Recorded(), said).startswith("hold, by stuck: ")


# --- diff --------------------------------------------------------------------------------


def changes(shop: Shop, old: str, new: str) -> dict[str, Any]:
    result = shop.say(
        "policy", "diff", str(shop.folder / "policies"), other_policy(shop, old, new), "--json"
    )
    data: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if data["same"] else 1)
    return data


def test_a_policy_does_not_differ_from_itself(desk: Shop) -> None:
    policies = str(desk.folder / "policies")
    same = desk.say("policy", "diff", policies, policies)
    assert (same.exit_code, same.stdout) == (0, "no difference: the same texts\n")


WHEN = "    when: args.amount_cents <= 2000\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Rules of the desk.", "# The rules."),
        ("args.amount_cents > 2000 && !(", "args.amount_cents>2000   && !("),
        (f"{WHEN}    why: Small sums.\n", f"    why: Small sums.\n{WHEN}"),
        ("when: args.amount_cents <= 2000", "when: (args.amount_cents <= (2000))"),
        ("tools: [refund_order]", "tools: [refund_order, refund_order]"),
    ],
)
def test_comments_blanks_parentheses_and_order_make_no_difference(
    desk: Shop, old: str, new: str
) -> None:
    found = changes(desk, old, new)
    assert (found["same"], found["same_texts"]) == (True, False)


def test_a_rule_that_only_has_another_owner_means_the_same(desk: Shop) -> None:
    found = changes(desk, "owner: ana", "owner: bob")
    assert found["same"] is True
    assert found["rewritten"] == [
        {"name": "refunds", "values": [{"key": "owner", "before": "ana", "after": "bob"}]}
    ]


def test_what_a_rule_says_otherwise_is_told_by_key(desk: Shop) -> None:
    found = changes(desk, "quorum: 2, four_eyes: true", "quorum: 3")
    assert found["changed"] == [
        {
            "name": "refunds",
            "values": [
                {"key": "approve.quorum", "before": 2, "after": 3},
                {"key": "approve.four_eyes", "before": True, "after": False},
            ],
        }
    ]
    assert found["tools"] == []


def test_rules_that_come_and_go_change_what_covers_a_tool(desk: Shop) -> None:
    found = changes(desk, "id: tiny", "id: small")
    assert [rule["id"] for rule in found["added"]] == ["small"]
    assert [rule["id"] for rule in found["removed"]] == ["tiny"]
    (tool,) = found["tools"]
    assert tool["name"] == "refund_order"
    assert tool["values"][0]["key"] == "rules"


def test_a_rule_that_comes_is_told_with_its_limit_and_whom_it_asks(desk: Shop) -> None:
    other = Path(other_policy(desk))
    (other / "more.yaml").write_text(
        "rules:\n  - {id: few, decide: hold, tools: [refund_order], why: Few.,\n"
        "     limit: {calls: 3, per: [user]}, approve: {quorum: 2}, mode: shadow}\n"
    )
    lines = desk.say("policy", "diff", str(desk.folder / "policies"), str(other)).stdout
    assert "+ rule few  more.yaml:2  hold refund_order\n" in lines
    assert "    limit.calls: 3\n" in lines
    assert "    approve.quorum: 2\n" in lines
    assert "    mode: shadow\n" in lines
    assert "approve.expires" not in lines


def test_default_reviewers_tools_and_facts_are_compared_too(desk: Shop) -> None:
    other = Path(other_policy(desk, "read: allow", "read: hold"))
    (other / "tools.yaml").write_text("tools: [{tools: [find_order], labels: [private]}]\n")
    facts = (other / "facts.py").read_text().replace("4417", "").replace("refund_order", "refund")
    (other / "facts.py").write_text(facts)
    reviewers = other / "reviewers.yaml"
    reviewers.write_text(reviewers.read_text().replace("owner", "lead"))
    result = desk.say("policy", "diff", str(desk.folder / "policies"), str(other))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "~ default for reads: allow -> hold" in lines
    assert '    roles: ["owner"] -> ["lead"]' in lines
    assert any(line.startswith('+ tools.yaml {"tools": ["find_order"]') for line in lines)
    assert "~ fact run.refunded: other code" in lines
    assert '    labels: [] -> ["private"]' in lines


def test_what_is_neither_a_folder_nor_recorded_is_not_found(fresh: Shop) -> None:
    result = fresh.say("policy", "diff", "nowhere", str(fresh.folder / "policies"))
    assert result.exit_code == Exit.NOT_FOUND
    assert "There is no folder 'nowhere'" in result.stderr


def test_a_recorded_policy_is_named_by_its_digest(copy: Shop) -> None:
    digest = copy.json("policy", "explain", "@last")["revisions"][0]["bundle"]
    policies = str(copy.folder / "policies")
    assert copy.say("policy", "diff", digest[:8], policies).exit_code == 0
    rewrite(copy, "args.amount_cents > 2000", "args.amount_cents > 100")
    assert copy.say("policy", "diff", digest[:8], policies).exit_code == 1
    assert copy.say("policy", "diff", "0123", policies).exit_code == Exit.NOT_FOUND


# --- backtest and coverage ---------------------------------------------------------------


def test_nothing_changes_with_the_policy_that_decided(desk: Shop) -> None:
    result = desk.say("policy", "backtest", "--fail-on-change")
    assert (result.exit_code, result.stdout) == (0, "Nothing changes: 2 calls decided as before.\n")


def test_backtest_says_which_call_changes_and_by_which_rule(desk: Shop) -> None:
    other = other_policy(desk, "mode: shadow", "mode: enforce")
    result = desk.say("policy", "backtest", other)
    assert result.exit_code == 0, result.stderr
    assert "hold -> deny  watched default.yaml:35" in result.stdout
    assert "1 of 2 calls decided otherwise." in result.stdout
    assert "Asks people 0 calls instead of 1: 1 fewer." in result.stdout
    assert desk.say("policy", "backtest", other, "--fail-on-change").exit_code == Exit.FAILED
    (change,) = desk.json("policy", "backtest", other)["changes"]
    assert (change["before"], change["after"], change["tool"]) == ("hold", "deny", "refund_order")
    assert [rule["id"] for rule in change["rules_after"]] == ["watched"]
    tomorrow = (datetime.now(tz=UTC) + timedelta(days=1)).date().isoformat()
    assert desk.json("policy", "backtest", other, "--since", tomorrow)["decided"] == 0


def test_backtest_says_what_was_forgotten(copy: Shop) -> None:
    with closing(sqlite3.connect(copy.folder / "agentrt.db")) as connection:
        connection.execute("DELETE FROM content WHERE part = 'arguments'")
        connection.commit()
    result = copy.say("policy", "backtest")
    assert "(2 calls skipped: their content was forgotten)" in result.stdout


def test_coverage_counts_and_begins_with_the_rules_that_match_nothing(desk: Shop) -> None:
    rows = desk.json("policy", "coverage")
    assert [(row["id"], row["matched"]) for row in rows] == [
        ("tiny", 0), ("daily", 0), ("refunds", 1), ("scored", 1), ("watched", 1),
    ]  # fmt: skip
    assert "2 of 5 rules matched none of 2 calls" in desk.say("policy", "coverage").stderr


def test_without_a_store_there_is_nothing_to_ask_about(fresh: Shop) -> None:
    assert fresh.json("policy", "backtest")["decided"] == 0
    assert "5 of 5 rules matched none of 0 calls" in fresh.say("policy", "coverage").stderr
    assert not (fresh.folder / "agentrt.db").exists()
