"""`agentrt completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

__all__ = ["completion"]

_KINDS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command
@click.argument("shell", type=click.Choice(list(_KINDS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, to be read by it when it starts.

    \b
    Example:
      agentrt completion bash >> ~/.bashrc
      agentrt completion fish > ~/.config/fish/completions/agentrt.fish
    """
    kind = _KINDS[shell]
    click.echo(kind(ctx.find_root().command, {}, "agentrt", "_AGENTRT_COMPLETE").source())
