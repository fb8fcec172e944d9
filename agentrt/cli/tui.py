"""`agentrt tui`: browse and approve on a full screen."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.cli.project import Project, key_path
from agentrt.errors import ProjectError

__all__ = ["tui"]


@click.command
@click.option("--read-only", is_flag=True, help="No decision can be taken.")
@click.option("--at", metavar="ID", help="Open at this run or call.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Your key.")
@click.pass_obj
def tui(folder: Path, read_only: bool, at: str | None, key: Path | None) -> None:
    """Browse the audit store, approve and reject on a full screen.

    \b
    Example:
      agentrt tui --at @next
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            "The screen needs a terminal: stdin and stderr must not be a pipe or a file. "
            "`agentrt approvals list` works everywhere."
        )
    project = Project.find(folder)
    if not project.store_path.exists():
        raise ProjectError(
            f'There is no audit store at {project.store_path} yet: `agentrt run "..."` makes it.'
        )
    _open(project, key_path(key), read_only=read_only, at=at)


def _open(project: Project, key: Path, *, read_only: bool, at: str | None) -> None:
    from agentrt.tui import run_app

    signer = KeyFile(key) if key.exists() and not read_only else None
    with project.open_store(read_only=signer is None) as store:
        run_app(
            store,
            ApprovalQueue(store, project.reviewers),
            signer,
            read_only=read_only or signer is None,
            at=at,
            environment=project.environment,
        )
