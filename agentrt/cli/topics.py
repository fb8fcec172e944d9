"""`agentrt help`: the topics that belong to no single command."""

from __future__ import annotations

import click

from agentrt.cli.exits import MEANINGS

__all__ = ["ENVIRONMENT", "TOPICS", "help_"]

ENVIRONMENT = {
    "AGENTRT_PROJECT": "the folder in or above which agentrt.toml is looked for, as -C",
    "AGENTRT_STORE": "the audit store, a file or a postgresql:// URL, instead of agentrt.toml's",
    "AGENTRT_KEY": "the file of your reviewer's key, as --key",
    "XDG_CONFIG_HOME": "where your key is without AGENTRT_KEY: agentrt/reviewer_ed25519 in it",
    "AGENTRT_RUNTIME_KEY": "the file of the key that signs checkpoints and receipts",
    "XDG_STATE_HOME": "where agentrt/stores is, the last checkpoint seen of each audit store",
    "XDG_CACHE_HOME": "where agentrt/checked is, which bundles were checked before",
    "ANTHROPIC_API_KEY": "the key for Claude; read by the SDK, never printed or recorded",
    "ANTHROPIC_BASE_URL": "another address for the API; read by the SDK",
    "ANTHROPIC_LOG": "must not be `debug`: the SDK would log whole prompts, so Claude is not asked",
    "OTEL_EXPORTER_OTLP_HEADERS": "headers for `audit export --endpoint`: name=value,name=value",
    "NO_COLOR": "no colour, whatever the terminal can do",
}

FORMATTING = """\
Data goes to stdout, what happens goes to stderr.

--json           all fields as JSON; --json id,status only these. An unknown field lists the
                 known ones. Times are milliseconds since the epoch. The JSON is ASCII.
-q, --quiet      ids only, one a line
-L, --limit N    at most N; when there are more, stderr says so
--utc, --local   the zone of times that are printed for people

At a terminal lists have a heading and aligned columns. In a pipe they have neither heading nor
colour, and one tab between columns. What Claude, a tool or a user wrote is printed with control
characters and invisible ones spelt out, as in \\x1b or \\u202e.

Ids may be cut to any beginning that is unique. @last is the newest run or call, @next the first
call of the approval queue."""


def _exit_codes() -> str:
    return "\n".join(f"{code.value:>4}  {meaning}" for code, meaning in MEANINGS.items())


def _environment() -> str:
    width = max(map(len, ENVIRONMENT))
    return "\n".join(f"{name:<{width}}  {meaning}" for name, meaning in ENVIRONMENT.items())


TOPICS = {
    "exit-codes": _exit_codes(),
    "environment": _environment(),
    "formatting": FORMATTING,
}


@click.command("help")
@click.argument("topic", required=False, type=click.Choice(list(TOPICS)))
@click.pass_context
def help_(ctx: click.Context, topic: str | None) -> None:
    """Explain a topic; without one, list the commands.

    \b
    Example:
      agentrt help exit-codes
    """
    click.echo(TOPICS[topic] if topic else ctx.find_root().get_help())
    if topic is None:
        click.echo(f"\nTopics: {', '.join(TOPICS)}")
