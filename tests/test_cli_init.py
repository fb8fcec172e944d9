"""`agentrt init`: a project with a ready policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from commands import PROMPT, Shop

from agentrt.cli import main
from agentrt.cli.exits import Exit
from agentrt.cli.ready_policies import about, policy_files, ready_policies

FITTING = [name for name in ready_policies() if name != "support_desk"]


def init(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(
        main, ["init", str(folder), *args], env={"AGENTRT_KEY": str(folder.parent / "key")}
    )


@pytest.mark.parametrize("name", FITTING)
def test_a_project_begins_with_a_ready_policy_that_fits_and_passes_its_cases(
    tmp_path: Path, name: str
) -> None:
    made = init(tmp_path / "desk", "--policy", name)
    assert made.exit_code == 0, made.stderr
    assert "agentrt policy test" in made.stderr
    shop = Shop(tmp_path / "desk", tmp_path / "key")
    assert shop.say("policy", "check").exit_code == 0
    tested = shop.say("policy", "test", "--coverage")
    assert tested.exit_code == 0, tested.stdout
    for path, text in policy_files(name).items():
        assert (shop.folder / "policies" / path).read_text() == text
    assert not (shop.folder / "policies" / "default.yaml").exists()


def test_the_policy_is_the_one_that_decides(tmp_path: Path) -> None:
    init(tmp_path / "desk", "--policy", "read_only")
    shop = Shop(tmp_path / "desk", tmp_path / "key")
    done = shop.say("run", PROMPT, "--simulated", shop.script)
    assert done.exit_code == 0
    assert "DENIED only-reads" in done.stderr
    assert shop.refunds == []


def test_a_policy_for_other_tools_says_so_and_lets_nothing_run(tmp_path: Path) -> None:
    made = init(tmp_path / "desk", "--policy", "support_desk")
    assert made.exit_code == 0, made.stderr
    assert "This policy is for other tools" in made.stderr
    assert "agentrt policy check" in made.stderr
    shop = Shop(tmp_path / "desk", tmp_path / "key")
    assert "unknown tool 'refund_payment'" in shop.say("policy", "check").stdout
    assert shop.say("run", PROMPT, "--simulated", shop.script).exit_code != 0
    assert shop.refunds == []


def test_a_policy_that_nobody_knows_makes_nothing(tmp_path: Path) -> None:
    made = init(tmp_path / "desk", "--policy", "careful")
    assert made.exit_code != Exit.OK
    assert "There is no ready policy 'careful'. There are: cautious, read_only," in made.stderr
    assert not (tmp_path / "desk").exists()


def test_a_ready_policy_is_not_put_beside_another(tmp_path: Path) -> None:
    init(tmp_path / "desk")
    before = sorted((tmp_path / "desk").rglob("*"))
    again = init(tmp_path / "desk", "--policy", "cautious")
    assert again.exit_code != Exit.OK
    assert "There is a policy already" in again.stderr
    assert "default.yaml" in again.stderr
    assert sorted((tmp_path / "desk").rglob("*")) == before


def test_the_list_has_a_line_for_each_and_makes_nothing(tmp_path: Path) -> None:
    listed = init(tmp_path / "desk", "--list-policies")
    assert listed.exit_code == 0
    lines = [line.split("\t") for line in listed.stdout.splitlines()]
    assert lines == [[name, about(name)] for name in ready_policies()]
    assert all(0 < len(said) <= 60 for _, said in lines), "longer ones are cut in the table"
    assert list(tmp_path.iterdir()) == []
