"""`agentrt audit rebuild`: make the lists anew from the records, and say what differed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agentrt.audit.rebuild import Rebuilt, rebuild_lists
from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, prints_one, progress, progress_over
from agentrt.cli.project import Project
from agentrt.visible import visible

__all__ = ["rebuild"]


@click.command
@click.option("--dry-run", is_flag=True, help="Only say what differs; then exits with 11.")
@prints_one
@click.pass_obj
def rebuild(folder: Path, dry_run: bool, output: Output) -> None:
    """Make the lists of runs, calls, requests and approvals anew from the records.

    The lists are what screens and queues read; no run is ever carried on by them. A run whose
    records are not as they were written is left as it is, and said.

    \b
    Example:
      agentrt audit rebuild --dry-run
    """
    with Project.find(folder).open_store(read_only=dry_run) as store:
        found = asyncio.run(rebuild_lists(store, dry_run=dry_run, progress=progress))
        progress_over()
    output.one(_data(found, dry_run), _lines(found, dry_run))
    if found.broken or (dry_run and found.differences):
        sys.exit(Exit.VERIFICATION)


def _data(found: Rebuilt, dry_run: bool) -> dict[str, Any]:
    return {
        "runs": found.runs,
        "rows": found.rows,
        "changed": not dry_run and bool(found.differences),
        "differences": found.differences,
        "broken": found.broken,
    }


def _lines(found: Rebuilt, dry_run: bool) -> Iterator[str]:
    for difference in found.differences:
        yield visible(difference)
    for run in found.broken:
        yield f"{visible(run)}: its records are not intact, so its lists stay as they are"
    count = len(found.differences)
    done = "differ" if dry_run else "were put right"
    said = f"{found.rows:,} rows of {found.runs:,} runs"
    yield f"{count} things {done}, of {said}" if count else f"ok: {said} are what the records say"
