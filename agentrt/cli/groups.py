"""The groups of the command line: commands are loaded when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from agentrt.cli.exits import Exit, exit_code
from agentrt.cli.output import STORE_WARNED
from agentrt.errors import AgentrtError
from agentrt.visible import visible

__all__ = ["Commands", "LazyCommand", "Root"]


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and what a list of commands says of it without loading it."""

    module: str
    name: str
    summary: str

    def load(self) -> click.Command:
        """The command itself."""
        command: click.Command = getattr(import_module(self.module), self.name)
        return command


class Commands(click.Group):
    """A group whose commands are loaded when they are called."""

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order a newcomer meets them."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded now."""
        found = self._lazy.get(cmd_name)
        return found.load() if found else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but only the command that is asked for is ever loaded."""
        if args[0] not in self._lazy and not args[0].startswith("-"):
            raise click.UsageError(_no_command(args[0], self._lazy), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, which loads none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in self._lazy.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands without loading them; options as click completes them."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=command.summary)
            for name, command in self._lazy.items()
            if name.startswith(incomplete)
        ]


class Root(Commands):
    """All of `agentrt`: what its commands raise becomes a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. What agentrt refuses is one line on stderr, never a traceback."""
        try:
            said = super().invoke(ctx)
        except AgentrtError as error:
            click.echo(f"error: {visible(str(error), lines=True)}", err=True)
            ctx.exit(exit_code(error))
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(Exit.INTERRUPTED)
        if ctx.meta.get(STORE_WARNED):
            ctx.exit(Exit.VERIFICATION)
        return said


def _no_command(name: str, known: Mapping[str, LazyCommand]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"There is no command '{visible(name)}'.{hint}"
