"""The command line as tests call it: a project made by `agentrt init`, and what a command said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from agentrt.audit import AuditStore, CallRow, RunRow
from agentrt.cli import main

PROMPT = "Order 4417 was charged twice"


@dataclass(frozen=True)
class Shop:
    """A project in a folder, and its reviewer's key."""

    folder: Path
    key: Path

    @property
    def script(self) -> str:
        return str(self.folder / "script.yaml")

    @property
    def state(self) -> str:
        """Where what was seen of stores is kept: copies of one store are not one store."""
        return str(self.folder.parent / "state")

    @property
    def refunds(self) -> list[dict[str, Any]]:
        file = self.folder / "refunds.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        """What a command may see of the environment: nothing of ours, and no key for Claude."""
        ours = ("AGENTRT_", "ANTHROPIC_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**kept, "AGENTRT_KEY": str(self.key), "XDG_STATE_HOME": self.state}

    def say(
        self, *args: str, input: str | None = None, env: dict[str, str] | None = None
    ) -> Result:
        """Run a command in this process."""
        hidden = {"ANTHROPIC_API_KEY": None, "ANTHROPIC_AUTH_TOKEN": None, "NO_COLOR": None}
        seen = {**hidden, "AGENTRT_KEY": str(self.key), "XDG_STATE_HOME": self.state}
        seen |= env or {}
        return CliRunner().invoke(main, ["-C", str(self.folder), *args], input=input, env=seen)

    def json(self, *args: str) -> Any:
        result = self.say(*args, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    @contextmanager
    def started(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command in a process of its own, which ends with the block or in three minutes."""
        with subprocess.Popen(
            [sys.executable, "-m", "agentrt", "-C", str(self.folder), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        ) as process:
            watchdog = threading.Timer(180, process.kill)
            watchdog.start()
            try:
                yield process
            finally:
                watchdog.cancel()
                process.kill()

    def call(self) -> CallRow:
        """The newest call."""
        with AuditStore(self.folder / "agentrt.db", create=False, read_only=True) as store:
            return store.calls(limit=1)[0]

    def run(self) -> RunRow:
        """The newest run."""
        with AuditStore(self.folder / "agentrt.db", create=False, read_only=True) as store:
            return store.runs(limit=1)[0]

    def digest(self) -> str:
        """The digest that `approvals view` prints for the next held call."""
        digest: str = self.json("approvals", "view", "@next")["arguments_digest"]
        return digest


def a_shop(folder: Path) -> Shop:
    shop = Shop(folder / "desk", folder / "key")
    made = CliRunner().invoke(main, ["init", str(shop.folder)], env={"AGENTRT_KEY": str(shop.key)})
    assert made.exit_code == 0, made.stderr
    return shop


def every_command(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command with the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
