import itertools
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop
from sqlalchemy import insert

from agentrt.approvals import ApprovalQueue
from agentrt.audit import AuditStore, CallRow
from agentrt.audit.schema import FORMAT, REVISIONS
from agentrt.cli import approvals
from agentrt.cli.approvals import COLUMNS, SEVERITIES, waiting_calls
from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, cell, left
from agentrt.cli.project import Project
from agentrt.policy import Reviewers, rules


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with a finished run and a held one; nothing here writes to it."""
    shop = a_shop(tmp_path_factory.mktemp("shop"))
    shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "reject")
    shop.say("run", PROMPT, "--user", "mona", "--simulated", shop.script)
    return shop


@pytest.fixture
def empty(tmp_path: Path) -> Shop:
    return a_shop(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runs list", "No runs here yet."),
        ("approvals list", "No call waits for a person."),
        ("audit list", "No record fits."),
        ("audit verify", "nothing to verify"),
    ],
)
def test_a_project_without_a_store_is_told_kindly(empty: Shop, words: str, said: str) -> None:
    result = empty.say(*words.split())
    assert result.exit_code == 0
    assert said in result.stderr
    assert not (empty.folder / "agentrt.db").exists()


def test_json_of_nothing_is_an_empty_list(empty: Shop) -> None:
    assert empty.json("runs", "list") == []


def test_lists_are_tabs_in_a_pipe_and_ids_when_quiet(shop: Shop) -> None:
    lines = shop.say("runs", "list").stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["waiting", "finished"]
    ids = shop.say("runs", "list", "-q").stdout.split()
    assert ids == [line.split("\t")[0] for line in lines]


def test_json_has_the_fields_that_are_asked_for(shop: Shop) -> None:
    result = shop.say("runs", "list", "--json", "id,status")
    assert [set(row) for row in json.loads(result.stdout)] == [{"id", "status"}] * 2


def test_an_unknown_field_lists_the_known_ones(shop: Shop) -> None:
    result = shop.say("runs", "list", "--json", "id,stauts")
    assert result.exit_code == Exit.USAGE
    assert "'stauts'" in result.stderr
    assert "started_at" in result.stderr


def test_a_limit_that_cuts_is_said_aloud(shop: Shop) -> None:
    result = shop.say("runs", "list", "-L", "1")
    assert len(result.stdout.splitlines()) == 1
    assert "showing 1 of more than 1" in result.stderr
    assert "showing" not in shop.say("runs", "list", "-L", "2").stderr


def test_runs_are_chosen_by_status_agent_and_user(shop: Shop) -> None:
    assert len(shop.json("runs", "list", "--status", "waiting")) == 1
    assert len(shop.json("runs", "list", "--user", "mona")) == 1
    assert shop.json("runs", "list", "--agent", "nobody") == []


def test_a_run_is_named_by_the_beginning_of_its_id(shop: Shop) -> None:
    newest = shop.run().id
    assert shop.json("runs", "view", newest[:12])["id"] == newest
    assert shop.json("runs", "view", "@last")["id"] == newest
    unknown = shop.say("runs", "view", "r_nothing")
    assert unknown.exit_code == Exit.NOT_FOUND
    assert shop.say("runs", "view", "sim_").exit_code == Exit.NOT_FOUND
    assert shop.say("runs", "view", "@first").exit_code == Exit.USAGE
    assert shop.say("runs", "view", "").exit_code == Exit.USAGE


def test_view_tells_the_conversation(shop: Shop) -> None:
    finished = shop.json("runs", "list", "--status", "finished")[0]["id"]
    shown = shop.say("runs", "view", finished).stdout
    assert f"  | {PROMPT}" in shown
    assert '{"paid_cents":3200,"charges":2}' in shown
    assert "rejected by" in shown
    assert "> finished  3 turns" in shown


def test_times_are_utc_or_local(shop: Shop) -> None:
    assert "Z\t" in shop.say("runs", "list").stdout
    assert "Z\t" not in shop.say("runs", "list", "--local").stdout


def test_records_are_found_by_what_they_say(shop: Shop) -> None:
    rejected = shop.json("audit", "list", "--type", "call.rejected")
    assert [row["type"] for row in rejected] == ["call.rejected"]
    assert shop.json("audit", "list", "--call", rejected[0]["call"], "--since", "1h")
    assert shop.json("audit", "list", "--until", "2020-01-01") == []
    assert shop.json("audit", "list", "--tool", "find_order", "-L", "1")[0]["tool"] == "find_order"
    assert shop.say("audit", "list", "--since", "soon").exit_code == Exit.USAGE


def test_one_record_is_shown_with_its_hash(shop: Shop) -> None:
    first = shop.json("audit", "view", "@last", "1")
    second = shop.json("audit", "view", "@last", "2")
    assert second["prev"] == first["hash"]
    assert first["event"]["prompt"] == PROMPT
    assert shop.say("audit", "view", "@last", "999").exit_code == Exit.NOT_FOUND
    assert "bundle.loaded" in shop.say("audit", "view", "store", "1").stdout


def test_why_tells_a_call_or_each_call_of_a_run(shop: Shop) -> None:
    call = shop.json("why", "@next")
    assert call["tool"] == "refund_order"
    whole = shop.json("why", shop.run().id)
    assert [story["tool"] for story in whole["calls"]] == ["find_order", "refund_order"]
    assert "policy decided: hold" in shop.say("audit", "why", call["call"]).stdout


def test_verify_finds_what_was_changed_behind_our_back(shop: Shop, tmp_path: Path) -> None:
    changed = tmp_path / "desk"
    shutil.copytree(shop.folder, changed)
    connection = sqlite3.connect(changed / "agentrt.db")
    connection.execute("UPDATE run SET status = 'finished'")
    connection.commit()
    connection.close()
    result = Shop(changed, shop.key).say("audit", "verify")
    assert result.exit_code == Exit.VERIFICATION
    assert "says status is 'finished'" in result.stdout
    assert shop.say("audit", "verify").stdout.startswith("ok: ")
    assert Shop(changed, shop.key).say("doctor").exit_code == Exit.FAILED


def test_policy_check_tells_mistakes_as_a_compiler_does(empty: Shop) -> None:
    file = empty.folder / "policies" / "default.yaml"
    file.write_text(file.read_text().replace("[refund_order]", "[refund_ordre]"))
    result = empty.say("policy", "check")
    assert result.exit_code == Exit.FAILED
    assert "did you mean 'refund_order'?" in result.stdout
    found = json.loads(empty.say("policy", "check", "--json").stdout)["problems"]
    assert [(problem["line"], problem["file"]) for problem in found] == [(10, str(file))]
    assert empty.say("run", PROMPT, "--simulated", empty.script).exit_code == Exit.VERIFICATION


def test_policy_list_says_what_each_rule_covers(shop: Shop) -> None:
    rule = shop.json("policy", "list")[0]
    assert (rule["id"], rule["line"], rule["covers"]) == ("refunds", 8, ["refund_order"])
    assert "reads run, everything else is held" in shop.say("policy", "list").stderr


def test_tools_are_listed_and_shown(shop: Shop) -> None:
    effects = {row["name"]: row["effect"] for row in shop.json("tools", "list")}
    assert effects["refund_order"] == "irreversible"
    assert shop.json("tools", "view", "refund_order")["labels"] == ["moves_money"]
    missing = shop.say("tools", "view", "refund_ordr")
    assert missing.exit_code == Exit.NOT_FOUND
    assert "Did you mean refund_order?" in missing.stderr


def test_tools_check_fails_on_an_error(empty: Shop) -> None:
    (empty.folder / "tools" / "bad.py").write_text(
        "from agentrt.tools import tool\n\n\n@tool\ndef do_it(x: int) -> int:\n    return x\n"
    )
    result = empty.say("tools", "check")
    assert result.exit_code == Exit.VERIFICATION
    assert "T001" in result.stdout


def test_doctor_says_what_to_do_and_prints_no_key(empty: Shop) -> None:
    secret = "sk-" + "ant-not-a-key"
    sound = empty.say("doctor", env={"ANTHROPIC_API_KEY": secret})
    assert sound.exit_code == 0
    assert secret not in sound.output
    loud = empty.say("doctor", env={"ANTHROPIC_LOG": "debug"})
    assert loud.exit_code == Exit.FAILED
    (empty.folder / "agentrt.toml").write_text('[agents.old]\nmodel = "claude-3-opus-20240229"\n')
    retired = empty.say("doctor")
    assert retired.exit_code == Exit.FAILED
    assert "was retired on" in retired.stdout


def test_the_list_of_held_calls_is_the_approval_queue(empty: Shop, store: AuditStore) -> None:
    project = replace(Project.find(empty.folder), store=store.path)
    now = dict.fromkeys(CallRow.model_fields, 0) | {"summary": "", "simulated": False}
    words = dict.fromkeys(("run", "agent", "tool", "effect", "verdict"), "x")
    cases = itertools.product(("low", "critical", "high", None), (5, 3), ("held", "in doubt"))
    with store._engine.begin() as connection:
        for place, (severity, expires_at, status) in enumerate(cases):
            row = now | words | {"id": f"c_{place}", "severity": severity, "status": status}
            times = {"expires_at": expires_at, "requested_at": place, "user": None, "rule": None}
            connection.execute(insert(CallRow).values(**(row | times)))
    queue = ApprovalQueue(store, Reviewers())
    expected = [row.model_dump() for row in (*queue.held(), *queue.in_doubt())]
    assert waiting_calls(project) == expected
    assert len(expected) == 16
    assert set(COLUMNS) == set(CallRow.model_fields)
    assert SEVERITIES == rules.SEVERITIES
    assert (FORMAT, REVISIONS[-1]) == (approvals.FORMAT, approvals.REVISION)


def test_the_list_of_held_calls_says_what_is_wrong_with_the_file(empty: Shop) -> None:
    (empty.folder / "agentrt.db").write_text("this is no database " * 100)
    result = empty.say("approvals", "list")
    assert result.exit_code == Exit.VERIFICATION
    assert "Restore it from a backup" in result.stderr


def test_the_list_of_held_calls_does_not_read_what_a_newer_agentrt_wrote(
    shop: Shop, tmp_path: Path
) -> None:
    newer = tmp_path / "desk"
    shutil.copytree(shop.folder, newer)
    with closing(sqlite3.connect(newer / "agentrt.db")) as connection:
        connection.execute("DROP TRIGGER store_update")
        connection.execute("UPDATE store SET format = 2")
        connection.commit()
    result = Shop(newer, shop.key).say("approvals", "list")
    assert result.exit_code == Exit.FAILED
    assert "Upgrade agentrt" in result.stderr


def test_the_time_left_reads_as_a_clock() -> None:
    assert left(None, 0) == "never"
    assert left(59_000, 0) == "00:59"
    assert left(3_661_000, 0) == "01:01:01"
    assert left(90_061_000, 0) == "1d 01:01:01"
    assert left(0, 5_000) == "00:00"


def test_a_cell_is_one_escaped_line() -> None:
    assert cell("a\n b\x1b[1m") == "a b\\x1b[1m"
    assert cell("x" * 100, width=10) == "xxxxxxx..."


def test_a_missing_time_is_blank() -> None:
    assert Output().time(None) == ""


def test_why_tells_one_record_and_what_followed(shop: Shop) -> None:
    run = shop.run().id
    found = shop.json("why", f"{run}:1")
    assert found["record"]["type"] == "run.started"
    assert found["led_here"] == []
    assert len(found["followed"]) == shop.run().head_seq - 1
    assert "what followed from it" in shop.say("why", f"{run}:1").stdout
    assert shop.json("why", "store:1")["record"]["type"] == "bundle.loaded"
    assert shop.say("why", f"{run}:999").exit_code == Exit.NOT_FOUND
    assert shop.say("why", f"{run}:x").exit_code == Exit.USAGE


def test_why_writes_a_page_that_is_complete_in_itself(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "why.html"
    result = shop.say("why", "@next", "--html", str(file))
    assert result.exit_code == 0
    assert "complete in itself" in result.stderr
    assert "refund_order" in file.read_text()
    refused = shop.say("why", "@next", "--html", str(tmp_path / "none" / "why.html"))
    assert refused.exit_code == Exit.USAGE
