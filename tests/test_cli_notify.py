"""`agentrt notify`, its targets in agentrt.toml, and `agentrt runs stuck`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.cli.exits import Exit
from agentrt.cli.project import Project
from agentrt.errors import ProjectError

TELL = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return a_shop(tmp_path)


def with_targets(shop: Shop, text: str) -> Shop:
    file = shop.folder / "agentrt.toml"
    file.write_text(f"{file.read_text()}\n{text}")
    return shop


def a_command(file: Path) -> str:
    command = json.dumps([sys.executable, "-c", TELL, str(file)])
    return f'[notifications.desk]\nkind = "command"\ncommand = {command}\ntimeout_s = 60\n'


def test_a_held_call_of_a_short_run_is_told_when_it_ends(shop: Shop, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with_targets(shop, a_command(told))
    assert shop.json("notify", "list")[0]["told"] == 0
    first = shop.say("run", PROMPT, "--simulated", shop.script)  # the target is served first
    assert first.exit_code == Exit.WAITING
    second = shop.say("run", PROMPT, "--simulated", shop.script)
    assert second.exit_code == Exit.WAITING
    events = [json.loads(line) for line in told.read_text().splitlines()]
    assert shop.call().id in [event["data"]["call"] for event in events]
    assert len({event["id"] for event in events}) == len(events)
    (row,) = shop.json("notify", "list")
    assert (row["told"], row["due"], row["given_up"]) == (len(events), 0, 0)


def test_a_target_is_tested(shop: Shop, tmp_path: Path) -> None:
    told = tmp_path / "told"
    deaf = '[notifications.deaf]\nkind = "command"\ncommand = ["/nowhere/notify"]\n'
    with_targets(shop, a_command(told) + deaf)
    assert shop.say("notify", "test", "desk").exit_code == Exit.OK
    assert json.loads(told.read_text())["type"] == "agentrt.test"
    both = shop.say("notify", "test")
    assert both.exit_code == Exit.FAILED
    assert "deaf: /nowhere/notify cannot be run" in both.stderr
    assert shop.say("notify", "test", "nobody").exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "pigeon"', "kind is 'pigeon'"),
        ('kind = "command"', "command must be a list"),
        ('kind = "command"\ncommand = ["a"]\nevents = ["hold"]', "events: 'hold' is none of"),
        ('kind = "command"\ncommand = ["a"]\nurl = "x"', "unknown key 'url'"),
        ('kind = "webhook"\nurl = "http://example.com"\nsecret_env = "S"', "https://"),
        ('kind = "webhook"\nurl = "https://example.com"', "needs secret_env"),
        ('kind = "webhook"\nurl = "https://example.com"\nsecret_env = "NO"', "$NO is not set"),
        ('kind = "mail"\nserver = "mx.test"\ntls = "none"\nfrom = "a@b"\nto = ["c@d"]', "tls"),
        ('kind = "mail"\nserver = "mx.test"\nfrom = "a@b"\nto = ["c@d\\nBcc: x"]', "no address"),
    ],
)
def test_a_mistake_in_a_target_is_told_with_its_place(shop: Shop, table: str, said: str) -> None:
    with_targets(shop, f"[notifications.x]\n{table}\n")
    with pytest.raises(ProjectError, match=r"notifications\.x") as raised:
        _ = Project.find(shop.folder).notify
    assert said in str(raised.value)


def test_a_secret_comes_from_the_environment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with_targets(
        shop,
        '[notifications.x]\nkind = "webhook"\nurl = "https://example.com"\nsecret_env = "S"\n',
    )
    monkeypatch.setenv("S", "whsec_YSBrZXk=")
    (target,) = Project.find(shop.folder).notify
    assert "a key" not in repr(target)
    assert target.secret == b"a key"  # type: ignore[attr-defined]


def test_a_run_that_nobody_carries_is_listed_as_stuck(shop: Shop) -> None:
    assert shop.say("runs", "stuck").exit_code == Exit.OK
    shop.say("run", PROMPT, "--simulated", shop.script)
    digest = shop.digest()
    shop.say("approve", "@next", "--arguments", digest, "--reason", "two charges")
    assert shop.say("runs", "stuck").exit_code == Exit.OK
    found = shop.say("runs", "stuck", "--for", "1s", "--json")
    while found.exit_code == Exit.OK:
        found = shop.say("runs", "stuck", "--for", "1s", "--json")
    assert found.exit_code == Exit.FAILED
    assert [row["run"] for row in json.loads(found.stdout)] == [shop.run().id]
