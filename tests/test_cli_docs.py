from pathlib import Path

import click
import pytest
from commands import every_command

from agentrt.cli import main
from agentrt.cli.exits import MEANINGS
from agentrt.cli.topics import ENVIRONMENT

DOCS = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()

COMMANDS = {" ".join(words): command for words, command in every_command()}


@pytest.mark.parametrize(
    "words", [w for w, command in COMMANDS.items() if not isinstance(command, click.Group)]
)
def test_every_command_is_documented(words: str) -> None:
    assert f"`agentrt {words}" in DOCS


@pytest.mark.parametrize(
    "option",
    sorted(
        {
            option
            for command in (main, *COMMANDS.values())
            for parameter in command.params
            if isinstance(parameter, click.Option)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
    ),
)
def test_every_option_is_documented(option: str) -> None:
    assert f"`{option}" in DOCS


def test_every_exit_code_and_variable_is_documented() -> None:
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in DOCS
    for name in ENVIRONMENT:
        assert f"| `{name}` |" in DOCS
