"""`agentrt completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, to be read by it when it starts.

    \b
    Example:
      agentrt completion bash >> ~/.bashrc
      agentrt completion fish > ~/.config/fish/completions/agentrt.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "agentrt", "_AGENTRT_COMPLETE").source())
