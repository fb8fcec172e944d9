"""`agentrt tui`: browse and approve on a full screen."""

from __future__ import annotations

from pathlib import Path

import click

from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.cli.ids import call_row
from agentrt.cli.output import at_terminal
from agentrt.cli.project import Project, key_path
from agentrt.cli.reviewing import reviewer_key
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
    if not at_terminal():
        raise click.UsageError(
            "The screen needs a terminal: stdin and stderr must not be a pipe or a file. "
            "`agentrt approvals list` works everywhere."
        )
    project = Project.find(folder)
    if not project.has_store:
        raise ProjectError(
            f'There is no audit store at {project.store_told} yet: `agentrt run "..."` makes it.'
        )
    warning = project.store_warning()  # nobody decides on a store that was cut
    signer = None if read_only or warning else _signer(project, key)
    _open(project, signer, at, warning)


def _signer(project: Project, given: Path | None) -> KeyFile | None:
    """The reviewer's key; None for an auditor, who has none."""
    is_there = key_path(given).exists() or not project.reviewers_file.is_file()
    return reviewer_key(project, given) if is_there else None


def _open(project: Project, signer: KeyFile | None, at: str | None, warning: str | None) -> None:
    from agentrt.tui import run_app

    with project.open_store(read_only=signer is None) as store:
        run_app(
            store,
            ApprovalQueue(store, project.reviewers, known=project.known),
            signer,
            read_only=signer is None,
            at=call_row(store, at).id if at and at.startswith("@") else at,
            environment=project.environment,
            warning=warning,
        )
