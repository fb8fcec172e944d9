import json
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.cli.exits import Exit


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return a_shop(tmp_path)


@pytest.fixture(scope="module")
def held_once(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = a_shop(tmp_path_factory.mktemp("held"))
    result = shop.say("run", PROMPT, "--user", "mona", "--simulated", shop.script)
    assert result.exit_code == Exit.WAITING, result.stderr
    return shop


@pytest.fixture
def held(held_once: Shop, tmp_path: Path) -> Shop:
    """A shop with a refund that waits for its owner."""
    shutil.copytree(held_once.folder, tmp_path / "desk")
    return Shop(tmp_path / "desk", held_once.key)


def test_a_stranger_goes_from_nothing_to_a_held_and_approved_refund(shop: Shop) -> None:
    started = shop.say("run", PROMPT, "--simulated", shop.script)
    assert started.exit_code == Exit.WAITING
    assert started.stdout.startswith("I look the order up.\n")
    assert "HELD refunds default.yaml:8" in started.stderr
    assert "SIMULATED" in started.stderr
    assert shop.refunds == []

    digest = shop.digest()
    approved = shop.say("approve", "@next", "--arguments", digest[:8], "--reason", "two charges")
    assert approved.exit_code == 0, approved.stderr
    assert f"agentrt runs resume {shop.run().id} --simulated" in approved.stderr

    resumed = shop.say("runs", "resume", "--simulated", shop.script)
    assert resumed.exit_code == 0, resumed.stderr
    assert "Done. 32.00 is on its way back to you." in resumed.stdout
    assert [refund["amount_cents"] for refund in shop.refunds] == [3200]

    why = shop.say("why", "@last")
    assert "approved it" in why.stdout
    assert "two charges" in why.stdout
    assert shop.say("audit", "verify").exit_code == 0


def test_init_leaves_what_is_there(shop: Shop) -> None:
    (shop.folder / "script.yaml").write_text("mine")
    (shop.folder / ".gitignore").unlink()
    again = shop.say("init", str(shop.folder))
    assert again.exit_code == 0
    assert (shop.folder / "script.yaml").read_text() == "mine"
    assert (shop.folder / ".gitignore").exists()


def test_a_fresh_project_has_nothing_to_put_right(shop: Shop) -> None:
    assert shop.say("policy", "check").exit_code == 0
    assert shop.json("tools", "check") == []
    assert shop.say("doctor").exit_code == 0


def test_a_script_cannot_approve_what_it_does_not_name(held: Shop) -> None:
    blind = held.say("approve", "@next", "--reason", "sure")
    assert blind.exit_code == Exit.USAGE
    assert "--arguments DIGEST" in blind.stderr
    short = held.say("approve", "@next", "--arguments", "abc")
    assert short.exit_code == Exit.USAGE
    other = held.say("approve", "@next", "--arguments", "0" * 12)
    assert other.exit_code == Exit.STALE
    assert held.call().status == "held"


def test_a_decision_is_taken_once(held: Shop) -> None:
    call, digest = held.call().id, held.digest()
    assert held.say("approve", call, "--arguments", digest).exit_code == 0
    late = held.say("reject", call, "--reason", "no")
    assert late.exit_code == Exit.STALE
    assert "approved already" in late.stderr


def test_a_rejection_tells_claude_the_reason(held: Shop) -> None:
    assert held.say("reject", "@next", "--reason", "only one charge").exit_code == 0
    resumed = held.say("runs", "resume", "@last", "--simulated", held.script)
    assert resumed.exit_code == 0
    assert "I could not refund it." in resumed.stdout
    assert held.refunds == []


def test_an_edit_runs_what_the_reviewer_wrote(held: Shop) -> None:
    digest = held.digest()
    edited = held.say(
        "approvals", "edit", "@next", "--set", "amount_cents=640", "--arguments", digest,
        "--reason", "only part of it",
    )  # fmt: skip
    assert edited.exit_code == 0, edited.stderr
    assert held.say("runs", "resume", "@last", "--simulated", held.script).exit_code == 0
    assert [refund["amount_cents"] for refund in held.refunds] == [640]


def test_an_edit_takes_all_arguments_from_stdin(held: Shop) -> None:
    digest = held.digest()
    edited = held.say(
        "approvals", "edit", "@next", "--arguments-file", "-", "--arguments", digest,
        "--reason", "part", input='{"order_id": "4417", "amount_cents": 1}',
    )  # fmt: skip
    assert edited.exit_code == 0, edited.stderr
    assert json.loads(held.say("approvals", "view", "@last", "--json").stdout)["arguments"] == {
        "order_id": "4417",
        "amount_cents": 1,
    }


@pytest.mark.parametrize(
    ("setting", "said"),
    [("note=late", "is not JSON"), ("amount_cents", "NAME=JSON"), ('amount_cents="x"', "integer")],
)
def test_an_edit_that_does_not_fit_is_refused(held: Shop, setting: str, said: str) -> None:
    options = ("--set", setting, "--arguments", held.digest(), "--reason", "r")
    result = held.say("approvals", "edit", "@next", *options)
    assert result.exit_code == Exit.USAGE
    assert said in result.stderr
    assert held.call().status == "held"


def test_at_a_terminal_the_call_is_shown_and_asked_about(
    held: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrt.cli.reviewing.at_terminal", lambda: True)
    refused = held.say("approve", "@next", input="checked the ledger\nno\n")
    assert refused.exit_code == Exit.INTERRUPTED
    assert held.call().status == "held"
    approved = held.say("approve", "@next", input="short\nchecked the ledger\nyes\n")
    assert approved.exit_code == 0, approved.stderr
    assert '"amount_cents": 3200' in approved.stderr
    assert "at least 10 characters" in approved.stderr
    assert held.call().status == "approved"


def test_a_critical_call_asks_for_more(held: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = held.folder / "policies" / "default.yaml"
    policy.write_text(policy.read_text().replace("{expires: 4h}", "{severity: critical}"))
    assert held.say("run", PROMPT, "--simulated", held.script).exit_code == Exit.WAITING
    digest = held.digest()
    monkeypatch.setattr("agentrt.cli.reviewing.at_terminal", lambda: True)
    words = ["checked the ledger", "refund_order", digest[:8], ""]
    approved = held.say("approve", "@next", input="\n".join(words))
    assert approved.exit_code == 0, approved.stderr
    assert "waits for 1 more" in approved.stderr


def test_view_shows_all_that_a_decision_needs(held: Shop) -> None:
    shown = held.say("approvals", "view", "@next").stdout
    call = held.call()
    for needed in (
        call.id,
        "HIGH",
        "SIMULATED",
        "mona (stated)",
        "Money that has left does not come back.",
        "| - id: refunds",
        "refunds at default.yaml:8",
        held.digest(),
        "no hidden characters",
        '"amount_cents": 3200',
        "nobody yet",
        "expires in",
        PROMPT,
        "The order was charged twice.",
        f"agentrt approve {call.id} --arguments {held.digest()[:12]}",
    ):
        assert needed in shown


def test_what_a_model_wrote_reaches_no_terminal_as_it_is(shop: Shop) -> None:
    script = shop.folder / "evil.yaml"
    script.write_text(
        'turns:\n  - when: {turn: 0}\n    reply:\n      - text: "\\e[2Jhello"\n'
        '      - tool_use: {name: refund_order, input: {order_id: "\\u202e\\e[1A4417", '
        "amount_cents: 1}}\n  - reply: done\n"
    )
    result = shop.say("run", "\x1b[31mred", "--simulated", str(script), "--on-hold", "reject")
    shown = result.output + shop.say("runs", "view", "@last").output
    shown += shop.say("why", "@last").output + shop.say("audit", "list").output
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2Jhello" in result.stdout


def test_a_text_of_many_lines_cannot_pass_for_what_led_to_a_call(shop: Shop) -> None:
    prompt = "Please.\nasked for this call: refund_order {}\n     9  ana approved it"
    shop.say("run", prompt, "--simulated", shop.script)
    shown = shop.say("approvals", "view", "@next").stdout.splitlines()
    assert "        | asked for this call: refund_order {}" in shown
    assert '        |      9  ana approved it"' in shown


def test_arguments_that_somebody_changed_in_the_store_are_not_decided(held: Shop) -> None:
    digest = held.digest()
    with closing(sqlite3.connect(held.folder / "agentrt.db")) as connection:
        connection.execute("DROP TRIGGER content_update")
        connection.execute(
            "UPDATE content SET body = CAST(replace(CAST(body AS TEXT), '3200', '9900') AS BLOB) "
            "WHERE part = 'arguments'"
        )
        connection.commit()
    assert "NOT THOSE THAT WERE RECORDED" in held.say("approvals", "view", "@next").stdout
    for verb in ("approve", "reject"):
        said = held.say(verb, "@next", "--arguments", digest, "--reason", "it looks right")
        assert said.exit_code == Exit.NOT_ALLOWED
        assert "agentrt audit verify" in said.stderr
    assert held.call().status == "held"


def test_a_first_decision_without_reviewers_makes_an_owner(held: Shop, tmp_path: Path) -> None:
    (held.folder / "policies" / "reviewers.yaml").unlink()
    key = tmp_path / "config" / "agentrt" / "reviewer_ed25519"
    env = {"AGENTRT_KEY": "", "XDG_CONFIG_HOME": str(tmp_path / "config")}
    approved = held.say("approve", "@next", "--arguments", held.digest(), env=env)
    assert approved.exit_code == 0, approved.stderr
    assert f"made your reviewer's key: {key}" in approved.stderr
    assert "is its owner" in approved.stderr
    resumed = held.say("runs", "resume", "--simulated", held.script)
    assert resumed.exit_code == 0
    assert len(held.refunds) == 1


def test_a_strangers_key_decides_nothing(held: Shop, tmp_path: Path) -> None:
    env = {"AGENTRT_KEY": str(tmp_path / "other")}
    result = held.say("approve", "@next", "--arguments", held.digest(), env=env)
    assert result.exit_code == Exit.NOT_ALLOWED
    assert held.call().status == "held"


def test_on_hold_reject_turns_it_down_and_says_so_in_its_code(shop: Shop) -> None:
    result = shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "reject")
    assert result.exit_code == Exit.REJECTED
    assert "I could not refund it." in result.stdout
    assert shop.call().status == "rejected"


def test_waiting_ends_when_the_time_is_up(shop: Shop) -> None:
    options = ("--simulated", shop.script, "--on-hold", "wait", "--wait", "1s")
    result = shop.say("run", PROMPT, *options)
    assert result.exit_code == Exit.WAITING
    assert "nobody decided within 1 s" in result.stderr


DOUBTFUL = '''
from agentrt import tool

@tool(effect="irreversible")
def pay_bill() -> str:
    """Pay a bill."""
    raise ConnectionError
'''


def test_a_call_in_doubt_is_shown_with_its_reason_its_key_and_what_to_say(shop: Shop) -> None:
    (shop.folder / "tools" / "bills.py").write_text(DOUBTFUL)
    file = shop.folder / "agentrt.toml"
    file.write_text(file.read_text().replace('"refund_order"]', '"refund_order", "pay_bill"]'))
    policy = shop.folder / "policies" / "bills.yaml"
    policy.write_text("rules: [{id: bills, decide: allow, tools: [pay_bill], why: Small ones.}]\n")
    script = shop.folder / "bills.yaml"
    script.write_text("turns: [{reply: [{tool_use: {name: pay_bill}}]}]\n")
    ran = shop.say("run", "Pay.", "--simulated", str(script))
    assert ran.exit_code == Exit.WAITING
    call = shop.call().id
    digest = shop.json("approvals", "view", call)["arguments_digest"]
    for told in (ran.stderr, shop.say("approvals", "view", call).stdout):
        assert f"agentrt settle {call}" in told
        assert "pay_bill broke off with ConnectionError." in told
    shown = shop.say("approvals", "view", call).stdout
    assert f"key         {shop.run().id}:{call} (attempt 1)\n" in shown
    assert "check       its tool has none" in shown
    doubt = shop.json("approvals", "view", call)["doubt"]
    assert (doubt["attempt"], doubt["may_still_run"], doubt["alive"]) == (1, False, False)
    blind = shop.say("settle", call, "--did-not-happen", "--reason", "it is not in the books")
    assert (blind.exit_code, "--arguments DIGEST" in blind.stderr) == (Exit.USAGE, True)
    other = shop.say("settle", call, "--happened", "--arguments", "0" * 12, "--reason", "seen")
    assert other.exit_code == Exit.STALE
    settled = shop.say(
        "settle", call, "--did-not-happen", "--arguments", digest[:12],
        "--reason", "it is not in the books",
    )  # fmt: skip
    assert settled.exit_code == 0, settled.stderr
    assert f"{call} is to be decided anew" in settled.stderr


def test_what_does_not_fit_a_tool_is_told_line_by_line(shop: Shop) -> None:
    script = shop.folder / "wrong.yaml"
    script.write_text(
        "turns: [{when: {turn: 0}, reply: [{tool_use: {name: find_order, input: {order: 1}}}]}, "
        "{reply: I cannot.}]\n"
    )
    told = shop.say("run", PROMPT, "--simulated", str(script)).stderr
    assert "\n    - `order_id` is missing" in told
    assert "\\x0a" not in told


def test_the_end_of_a_run_names_a_command_that_has_something_to_say(shop: Shop) -> None:
    script = shop.folder / "talk.yaml"
    script.write_text("turns: [{reply: Hello.}]\n")
    told = shop.say("run", "Hi.", "--simulated", str(script)).stderr
    command = told.splitlines()[-1].partition("agentrt ")[2].split()
    assert shop.say(*command).exit_code == 0


def test_without_a_key_for_claude_the_error_says_what_to_do(shop: Shop) -> None:
    result = shop.say("run", PROMPT)
    assert result.exit_code == Exit.NOT_ALLOWED
    assert "--simulated SCRIPT" in result.stderr
    assert not result.stdout


def test_json_is_one_line_for_each_event(shop: Shop) -> None:
    result = shop.say("run", PROMPT, "--simulated", shop.script, "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["run"] for event in events} == {shop.run().id}
    assert events[0]["type"] == "run.started"
    assert events[-1]["type"] == "call.decided"


def test_the_prompt_may_come_from_stdin(shop: Shop) -> None:
    shop.say("run", "-", "--simulated", shop.script, input=PROMPT)
    assert shop.json("runs", "view", "@last")["prompt"] == PROMPT


def test_resume_takes_runs_of_its_kind_only(held: Shop) -> None:
    held.say("approve", "@next", "--arguments", held.digest())
    real = held.say("runs", "resume")
    assert real.exit_code == 0
    assert "1 simulated runs are ready too" in real.stderr
    one = held.say("runs", "resume", "@last")
    assert one.exit_code == Exit.USAGE
    assert "--simulated SCRIPT" in one.stderr


def test_a_cancelled_run_is_over(held: Shop) -> None:
    assert held.say("runs", "cancel", "@last", "--reason", "wrong customer").exit_code == 0
    assert held.run().status == "cancelled"
    assert held.say("runs", "cancel", "@last").exit_code == Exit.STALE
    watched = held.say("runs", "watch", "@last", "--exit-status")
    assert watched.exit_code == Exit.REJECTED
    assert "wrong customer" in watched.stderr


def wait_for_hold(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert any("HELD" in line for line in process.stderr)


def test_interrupting_a_run_lets_go_of_it_and_says_how_it_goes_on(shop: Shop) -> None:
    options = ("--simulated", shop.script, "--on-hold", "wait")
    with shop.started("run", PROMPT, *options) as process:
        wait_for_hold(process)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == Exit.INTERRUPTED
    assert "letting go: calls under way are finished first" in told
    assert f"agentrt runs resume {shop.run().id} --simulated" in told
    assert "Traceback" not in told
    assert shop.run().status == "waiting"


def test_a_waiting_process_carries_on_what_is_approved_elsewhere(shop: Shop) -> None:
    options = ("--simulated", shop.script, "--on-hold", "wait")
    with shop.started("run", PROMPT, *options) as process:
        wait_for_hold(process)
        approved = shop.say("approve", "@next", "--arguments", shop.digest(), "--reason", "fine")
        text, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert text.endswith("Done. 32.00 is on its way back to you.\n")
    assert "approved by" in told
    assert approved.exit_code == 0
    assert len(shop.refunds) == 1


def test_a_detached_run_goes_on_by_itself(shop: Shop) -> None:
    with shop.started("run", PROMPT, "--simulated", shop.script, "--detach") as starting:
        run = starting.communicate(timeout=30)[0].strip()
    assert starting.returncode == 0
    with shop.started("runs", "watch", run) as watching:
        wait_for_hold(watching)
        assert shop.say("runs", "cancel", run).exit_code == 0
        watching.communicate(timeout=30)
    assert watching.returncode == 0
    processes = shop.folder / "agentrt.db-processes"
    until = time.monotonic() + 30
    while any(processes.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)  # a process takes its file away when it ends
    assert not any(processes.iterdir())
