import json
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.cli.exits import Exit

SCRIPT = """\
turns:
  - when: {after: find_order}
    reply: It was charged twice.
  - when: {user: order 4417}
    reply: [tool_use: {name: find_order, input: {order_id: "4417"}}]
  - when: {user: refund}
    reply: [tool_use: {name: refund_order, input: {order_id: "4417", amount_cents: 1}}]
  - reply: Gladly.
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with a finished run for mona."""
    shop = a_shop(tmp_path)
    Path(shop.script).write_text(SCRIPT)
    first = shop.say("run", PROMPT, "--user", "mona", "--simulated", shop.script)
    assert first.exit_code == 0, first.stderr
    return shop


def follow(shop: Shop, *options: str, prompt: str = "Thank you.") -> None:
    said = shop.say("run", "--after", "@last", prompt, "--simulated", shop.script, *options)
    assert said.exit_code == 0, said.stderr


def test_a_follow_up_goes_on_for_the_same_user_and_agent(shop: Shop) -> None:
    first = shop.run().id
    said = shop.say("run", "--after", first[:12], "Thank you.", "--simulated", shop.script)
    assert (said.exit_code, said.stdout) == (0, "Gladly.\n")
    assert f"> follows {first}  agentrt runs view {first}" in said.stderr
    second = shop.run()
    assert (second.user, second.agent) == ("mona", "desk")
    assert shop.say("audit", "verify").exit_code == 0


def test_the_parent_is_in_lists_and_in_json(shop: Shop) -> None:
    first = shop.run().id
    follow(shop)
    assert [row["parent"] for row in shop.json("runs", "list")] == [first, None]
    assert [
        row["parent"] for row in json.loads(shop.say("runs", "list", "--json", "parent").stdout)
    ]
    assert shop.json("runs", "view", "@last")["parent"] == first
    assert first in shop.say("runs", "list").stdout.splitlines()[0].split("\t")


def test_every_line_of_json_is_of_the_follow_up_and_its_first_names_the_parent(shop: Shop) -> None:
    first = shop.run().id
    options = ("--simulated", shop.script, "--json")
    said = shop.say("run", "--after", "@last", "Thank you.", *options)
    events = [json.loads(line) for line in said.stdout.splitlines()]
    assert events[0]["parent"] == first
    assert {event["run"] for event in events} == {shop.run().id}


def test_view_shows_its_own_part_and_says_how_to_see_the_rest(shop: Shop) -> None:
    first = shop.run().id
    follow(shop)
    shown = shop.say("runs", "view", "@last").stdout
    assert f"> follows {first}  agentrt runs view {first}" in shown
    assert "  | Thank you." in shown
    assert PROMPT not in shown
    assert PROMPT in shop.say("runs", "view", first).stdout


def test_why_and_what_a_reviewer_is_shown_say_that_the_run_follows_another(shop: Shop) -> None:
    first = shop.run().id
    options = ("--simulated", shop.script)
    held = shop.say("run", "--after", "@last", "Then refund it.", *options)
    assert held.exit_code == Exit.WAITING
    words = f"it follows the run {first}"
    assert words in shop.say("why", "@next").stdout
    assert words in shop.say("approvals", "view", "@next").stdout
    assert shop.json("why", "@next")["parent"] == first


def test_what_cannot_be_followed_is_refused_with_what_to_do(shop: Shop) -> None:
    script = ("--simulated", shop.script)
    before = shop.run().id
    eve = shop.say("run", "--after", "@last", "Hi.", "--user", "eve", *script)
    assert (eve.exit_code, "it worked for another user" in eve.stderr) == (Exit.FAILED, True)
    real = shop.say("run", "--after", "@last", "Hi.")
    assert (real.exit_code, "--simulated SCRIPT" in real.stderr) == (Exit.USAGE, True)
    none = shop.say("run", "--after", "sim_r_none", "Hi.", *script)
    assert none.exit_code == Exit.NOT_FOUND
    other = shop.say("run", "--after", "@last", "Hi.", "--agent", "cook", *script)
    assert other.exit_code == Exit.NOT_FOUND
    assert shop.run().id == before

    follow_up = shop.say("run", "--after", "@last", "Then refund it.", *script)
    assert follow_up.exit_code == Exit.WAITING
    waiting = shop.say("run", "--after", "@last", "And?", *script)
    assert "Decide its calls first: agentrt approvals list" in waiting.stderr


def test_among_several_agents_a_follow_up_asks_the_one_of_its_parent(shop: Shop) -> None:
    file = shop.folder / "agentrt.toml"
    file.write_text(file.read_text() + '\n[agents.cook]\nmodel = "claude-sonnet-5-5"\n')
    assert shop.say("run", "Hi.", "--simulated", shop.script).exit_code != 0
    follow(shop)
    assert shop.run().agent == "desk"
    cook = ("--agent", "cook", "--simulated", shop.script)
    other = shop.say("run", "--after", "@last", "Hi.", *cook)
    assert (other.exit_code, "the agent 'desk'" in other.stderr) == (Exit.FAILED, True)


def test_a_detached_follow_up_goes_on_by_itself(shop: Shop) -> None:
    options = ("--simulated", shop.script, "--detach")
    with shop.started("run", "--after", "@last", "Thank you.", *options) as starting:
        run = starting.communicate(timeout=30)[0].strip()
    assert starting.returncode == 0
    with shop.started("runs", "watch", run, "--exit-status") as watching:
        said, told = watching.communicate(timeout=30)
    assert (watching.returncode, said) == (0, "Gladly.\n"), told


def test_a_follow_up_whose_process_was_killed_is_resumed_with_its_history(shop: Shop) -> None:
    first = shop.run().id
    slow = shop.folder / "slow.yaml"
    slow.write_text("turns: [{delay_s: 30, reply: Late.}]\n")
    options = ("--simulated", str(slow), "--json")
    with shop.started("run", "--after", "@last", "Thank you.", *options) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "run.started"
        process.kill()
        process.wait()
    resumed = shop.say("runs", "resume", "@last", "--simulated", shop.script)
    assert (resumed.exit_code, resumed.stdout) == (0, "Gladly.\n"), resumed.stderr
    shown = shop.json("runs", "view", "@last")
    (start, *_) = shown["events"]
    assert (shown["status"], shown["parent"]) == ("finished", first)
    assert start["history"][0] == {"role": "user", "content": PROMPT}
    assert shop.say("audit", "verify").exit_code == 0
