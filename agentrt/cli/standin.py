"""`agentrt standin`: a scripted Claude in a process of its own."""

from __future__ import annotations

from pathlib import Path

import click

from agentrt.cli.output import narrate
from agentrt.testing import SIMULATED_KEY, Script, serve

__all__ = ["standin"]


@click.command
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of loopback.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 takes a free one.")
def standin(script: Path, host: str, port: int) -> None:
    """Serve a scripted Claude until it is interrupted; prints its URL.

    It speaks the Messages API on this machine only and answers what SCRIPT says.

    \b
    Example:
      agentrt standin script.yaml --port 8111
    """
    serve(Script.load(script), host=host, port=port, announce=_announce)


def _announce(url: str) -> None:
    click.echo(url)
    narrate(f"point a client to it: ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={SIMULATED_KEY}")
    narrate("^C stops it")
