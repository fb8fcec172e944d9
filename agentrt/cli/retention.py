"""`agentrt retention`: erase what is older than it may be, and keep what somebody holds."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from agentrt.audit import AuditStore, RunRow
from agentrt.audit.forgetting import Due, Hold
from agentrt.cli.output import Output, narrate, prints_one, prints_rows
from agentrt.cli.project import Project
from agentrt.errors import NotFound
from agentrt.policy.privacy_file import KINDS, PrivacyRules

__all__ = ["retention"]


@click.group
def retention() -> None:
    """How long content is kept: erase what is too old, hold what must stay.

    \b
    Example:
      agentrt retention apply --dry-run
    """


@retention.command
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and erase nothing.")
@prints_one
@click.pass_obj
def apply(folder: Path, dry_run: bool, output: Output) -> None:
    """Erase the content that policies/privacy.yaml keeps no longer, and record that.

    \b
    Example:
      agentrt retention apply --dry-run
    """
    from agentrt.loop.forget import apply_retention

    project = Project.find(folder)
    rules = project.privacy
    with project.open_store(read_only=dry_run) as store:
        due = store.forgetting.due(keep_ms_of(rules), kinds=KINDS)
        if dry_run or not due:
            output.one(_due_data(due, {}), _due_lines(due))
            return
        done = asyncio.run(
            apply_retention(store, due, by=getpass.getuser(), reason="policies/privacy.yaml")
        )
    data = _due_data(due, {"request": done.request, "erased": dict(done.kinds)})
    counted = ", ".join(f"{count} {kind}" for kind, count in done.kinds.items())
    output.one(data, iter([f"erased: {counted}", f"recorded as {done.request}"]))


def keep_ms_of(rules: PrivacyRules) -> Any:
    """How long content of a kind of a run is kept by these rules."""

    def keep_ms(row: RunRow, kind: str) -> int | None:
        where = {"agent": row.agent, "environment": row.environment}
        return 0 if rules.keeps_nothing(**where) else rules.keep_ms(kind, **where)

    return keep_ms


def _due_data(due: list[Due], done: dict[str, Any]) -> dict[str, Any]:
    return {"due": [{"run": d.run, "kinds": sorted(d.kinds or ())} for d in due], **done}


def _due_lines(due: list[Due]) -> Iterator[str]:
    if not due:
        yield "nothing is older than it may be"
    for each in due:
        yield f"{each.run}  {', '.join(sorted(each.kinds or ()))}"


@retention.command
@click.argument("target")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.pass_obj
def hold(folder: Path, target: str, reason: str) -> None:
    """Let nothing about TARGET, a run's id or a subject, be erased until it is released.

    \b
    Example:
      agentrt retention hold customer-4711 --reason "case 12/27"
    """
    with Project.find(folder).open_store(read_only=False) as store:
        about = _about(store, target)
        made = asyncio.run(store.forgetting.hold(**about, by=getpass.getuser(), reason=reason))
    narrate(f"nothing about it is erased until: agentrt retention release {made}")
    click.echo(made)


@retention.command
@click.argument("target")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.pass_obj
def release(folder: Path, target: str, reason: str) -> None:
    """End a hold, named by its id, or all holds on a run or a subject.

    \b
    Example:
      agentrt retention release customer-4711 --reason "case 12/27 is closed"
    """
    with Project.find(folder).open_store(read_only=False) as store:
        found = [each for each in store.forgetting.holds() if _meant(store, each, target)]
        if not found:
            raise NotFound(f"There is no hold on {target}: agentrt retention holds")
        for each in found:
            ending = store.forgetting.release(each.id, by=getpass.getuser(), reason=reason)
            asyncio.run(ending)
            narrate(f"{each.id} is released")


@retention.command
@prints_rows
@click.pass_obj
def holds(folder: Path, output: Output) -> None:
    """List what may not be erased now.

    \b
    Example:
      agentrt retention holds
    """
    with Project.find(folder).open_store() as store:
        found = store.forgetting.holds()
    rows = [
        {"id": h.id, "run": h.run, "subject": h.subject_ref, "by": h.by, "reason": h.reason}
        for h in found
    ]
    names = ("id", "run", "subject", "by", "reason")
    output.rows(rows, columns=names, fields=names, empty="Nothing is held.")


def _about(store: AuditStore, target: str) -> dict[str, str]:
    """A run when there is one of this id, else a subject."""
    if target.startswith(("r_", "sim_r_")):
        with suppress(NotFound):
            return {"run": store.find_run(target)}
    return {"subject": target}


def _meant(store: AuditStore, hold: Hold, target: str) -> bool:
    return target in (hold.id, hold.run) or hold.subject_ref == store.ref(target)
