"""The command line: `agentrt NOUN VERB`, data on stdout, narration on stderr."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click

from agentrt import __version__
from agentrt.cli.groups import LazyCommand, Root

__all__ = ["main"]

# Commands import many modules and free little: fewer collections, a tenth less CPU at the start.
GC_THRESHOLD = 50_000


def _at(module: str, name: str, summary: str) -> LazyCommand:
    return LazyCommand(f"agentrt.cli.{module}", name, summary)


COMMANDS = {
    "init": _at("init", "init", "Make a project to start from."),
    "run": _at("run", "run", "Run an agent on a prompt."),
    "runs": _at("runs", "runs", "Look at runs, follow, resume or cancel them."),
    "approve": _at("decisions", "approve", "Let a held call run."),
    "reject": _at("decisions", "reject", "Turn a held call down."),
    "approvals": _at("approvals", "approvals", "The calls that wait for a person."),
    "settle": _at("settle", "settle", "Say what became of a call in doubt."),
    "why": _at("why", "why", "Why a call happened, from the audit store alone."),
    "audit": _at("audit", "audit", "Browse and verify the audit store."),
    "receipt": _at("receipt", "receipt", "Give one call to somebody else, signed and proven."),
    "forget": _at("forget", "forget", "Erase what is held about somebody, and record that."),
    "subject": _at("forget", "subject", "Hand out what is held about somebody."),
    "retention": _at("retention", "retention", "Erase what is too old; hold what must stay."),
    "policy": _at("policy", "policy", "Check, test and compare policies; explain decisions."),
    "tools": _at("tools", "tools", "List the tools and check them."),
    "worker": _at("worker", "worker", "Carry runs on, whoever started them."),
    "workers": _at("worker", "workers", "Who is there to carry runs, and what waits."),
    "db": _at("db", "db", "The store's database: migrate, copy, back up, grant."),
    "notify": _at("notify", "notify", "Who is told what waits for a person."),
    "tui": _at("tui", "tui", "Browse and approve on a full screen."),
    "standin": _at("standin", "standin", "Serve a scripted Claude on this machine."),
    "doctor": _at("doctor", "doctor", "Say whether everything is in order."),
    "completion": _at("completion", "completion", "Print the completion script of a shell."),
    "help": _at("topics", "help_", "Explain a topic: exit codes, environment, formatting."),
}


@click.group(
    cls=Root,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(version)s")
@click.option(
    "-C",
    "--project",
    "folder",
    metavar="FOLDER",
    envvar="AGENTRT_PROJECT",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Look for agentrt.toml in FOLDER and above it, not in this folder.",
)
@click.pass_context
def main(ctx: click.Context, folder: Path) -> None:
    """Agents whose tool calls are governed: policy decides, people approve, all is recorded.

    \b
    Example:
      agentrt init desk
      agentrt -C desk run "Order 4417 was charged twice" --simulated desk/script.yaml
      agentrt -C desk approvals list
    """
    gc.set_threshold(GC_THRESHOLD)
    ctx.obj = folder
    if os.environ.get("NO_COLOR"):
        ctx.color = False
