import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import Shop, a_shop, every_command

from agentrt import errors
from agentrt.cli import COMMANDS, main
from agentrt.cli.exits import MEANINGS, Exit, exit_code

HEAVY = ("anthropic", "textual", "sqlmodel", "sqlalchemy", "pydantic", "agentrt.run")

PROBE = """
import json, sys
from agentrt.cli import main
try:
    main(sys.argv[1:], prog_name="agentrt")
except SystemExit:
    pass
print(json.dumps([name for name in sys.modules]), file=sys.stderr)
"""


def modules_after(*args: str, cwd: Path | None = None) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *args], capture_output=True, text=True, check=True, cwd=cwd
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("args", [("--version",), ("--help",), ("help", "exit-codes")])
def test_what_needs_nothing_loads_nothing(args: tuple[str, ...]) -> None:
    assert modules_after(*args).isdisjoint(HEAVY)


def test_the_list_of_held_calls_loads_neither_anthropic_nor_textual(tmp_path: Path) -> None:
    shop = a_shop(tmp_path)
    loaded = modules_after("approvals", "list", cwd=shop.folder)
    assert loaded.isdisjoint(HEAVY)


def test_the_version_is_all_that_version_prints() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentrt", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0.2.0\n"
    assert done.stderr == ""


def test_completing_a_command_loads_none() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "agentrt"],
        capture_output=True,
        text=True,
        check=True,
        env={"_AGENTRT_COMPLETE": "bash_complete", "COMP_WORDS": "agentrt a", "COMP_CWORD": "1"},
    )
    assert {"plain,approve", "plain,approvals", "plain,audit"} <= set(done.stdout.split())
    assert "sqlalchemy" not in done.stderr
    assert "pydantic" not in done.stderr


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_list_of_commands_says_what_each_is(name: str) -> None:
    listed = CliRunner().invoke(main, ["--help"]).stdout
    assert f"  {name} " in listed
    assert COMMANDS[name].load().name == name


@pytest.mark.parametrize("words", [" ".join(words) for words, _ in every_command()])
def test_every_help_has_an_example(words: str) -> None:
    shown = CliRunner().invoke(main, [*words.split(), "--help"])
    assert shown.exit_code == 0
    example = shown.stdout.partition("Example:")[2]
    assert example.strip().startswith("agentrt ")


def test_a_command_that_is_mistyped_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(main, ["aprove", "c_1"])
    assert result.exit_code == Exit.USAGE
    assert "Did you mean 'approve'?" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound(), 5),
        (errors.Stale(), 6),
        (errors.NotHeld(), 6),
        (errors.Expired(), 9),
        (errors.NotAllowed(), 4),
        (errors.CredentialsMissing(), 4),
        (errors.StoreUnavailable(), 3),
        (errors.CarriedElsewhere(), 3),
        (errors.StoreCorrupt(), 11),
        (errors.PolicyError(), 11),
        (errors.ArgumentsInvalid(), 2),
        (errors.ProjectError(), 1),
    ],
)
def test_a_script_can_tell_refusals_apart(error: errors.AgentrtError, code: int) -> None:
    assert exit_code(error) == code


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)


def test_a_refusal_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["-C", str(tmp_path), "runs", "list"])
    assert result.exit_code == Exit.FAILED
    assert result.stderr.startswith("error: There is no agentrt.toml in ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_pipe_that_closes_early_is_no_error(tmp_path: Path) -> None:
    shop: Shop = a_shop(tmp_path)
    command = f"{sys.executable} -m agentrt -C {shop.folder} tools view refund_order | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, env=shop.environment
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_AGENTRT_COMPLETE" in result.stdout
    assert "agentrt" in result.stdout


@pytest.mark.parametrize("topic", ["exit-codes", "environment", "formatting"])
def test_help_explains_the_topics(topic: str) -> None:
    result = CliRunner().invoke(main, ["help", topic])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 5
    assert topic in CliRunner().invoke(main, ["help"]).stdout


def test_the_screen_refuses_a_pipe_and_says_what_to_use(tmp_path: Path) -> None:
    result = a_shop(tmp_path).say("tui")
    assert result.exit_code == Exit.USAGE
    assert "agentrt approvals list" in result.stderr
