"""`agentrt notify`: who is told what waits, and whether that reaches them."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import click

from agentrt.cli.exits import Exit
from agentrt.cli.output import Output, cell, narrate, prints_rows
from agentrt.cli.project import Project
from agentrt.errors import NotDelivered, NotFound
from agentrt.notifications import Notice, Target

__all__ = ["notify"]

STATES = ("due", "told", "given up")


@click.group
def notify() -> None:
    """Who is told what waits for a person, and whether that reaches them.

    Targets stand in agentrt.toml: [notifications.NAME]. They are told by any process that serves,
    such as `agentrt worker`.

    \b
    Example:
      agentrt notify test
    """


@notify.command("list")
@prints_rows
@click.pass_obj
def list_(folder: Path, output: Output) -> None:
    """List the targets, and how many notices each was told, or could not be.

    \b
    Example:
      agentrt notify list --json name,due
    """
    project = Project.find(folder)
    counted: dict[tuple[str, str], int] = {}
    if project.has_store:
        with project.open_store() as store:
            counted = store.notices.counted()
    rows = [_row(name, table, counted) for name, table in project.notifications.items()]
    columns = ("name", "kind", "events", "due", "told", "given_up")
    empty = "Nobody is told. docs/notifications.md says how to."
    output.rows(rows, columns=columns, fields=columns, empty=empty, total=len(rows))


def _row(name: str, table: Any, counted: dict[tuple[str, str], int]) -> dict[str, Any]:
    counts = {state.replace(" ", "_"): counted.get((name, state), 0) for state in STATES}
    events = ", ".join(table.get("events", ["all"]))
    return {"name": name, "kind": table["kind"], "events": events, **counts}


@notify.command
@click.argument("target", required=False)
@click.pass_obj
def test(folder: Path, target: str | None) -> None:
    """Tell a target, or all, that this is a test. Exits with 1 when one was not reached.

    \b
    Example:
      agentrt notify test oncall
    """
    project = Project.find(folder)
    chosen = [each for each in project.notify if target in (None, each.name)]
    if not chosen:
        names = ", ".join(project.notifications) or "none"
        raise NotFound(f"{project.file} has no such target. It has: {names}.")
    reached = [asyncio.run(_reach(each, project.environment)) for each in chosen]
    sys.exit(Exit.OK if all(reached) else Exit.FAILED)


async def _reach(target: Target, environment: str) -> bool:
    now = time.time_ns() // 1_000_000
    new = f"test:{secrets.token_hex(6)}"
    notice = Notice(id=new, kind="test", at=now, environment=environment)
    try:
        await target.deliver(notice, "agentrt:test")
    except NotDelivered as error:
        narrate(f"{cell(target.name)}: {cell(str(error))}", bold=True)
        return False
    narrate(f"{cell(target.name)}: told")
    return True
