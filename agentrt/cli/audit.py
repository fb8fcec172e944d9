"""`agentrt audit`: browse and verify the audit store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agentrt.cli.audit_ask import ask
from agentrt.cli.audit_checkpoint import checkpoint
from agentrt.cli.audit_export import export
from agentrt.cli.audit_query import index_, query, sql
from agentrt.cli.audit_rebuild import rebuild
from agentrt.cli.audit_verify import verify
from agentrt.cli.audit_witness import witness
from agentrt.cli.ids import call_row, run_id
from agentrt.cli.moments import Moment
from agentrt.cli.output import (
    Output,
    prints_one,
    prints_rows,
)
from agentrt.cli.project import Project
from agentrt.cli.why import why
from agentrt.errors import NotFound
from agentrt.events import Record, event_types
from agentrt.visible import visible

__all__ = ["audit"]

TELLING: tuple[str, ...] = (
    "agent",
    "prompt",
    "call",
    "tool",
    "verdict",
    "outcome",
    "by",
    "kind",
    "code",
)
TELLING += ("reason", "message", "output", "stop_reason", "model")
"""Fields that tell one record of its type from the others."""

FIELDS = ("id", "run", "seq", "at", "type", "call", "tool", "what")


@click.group
def audit() -> None:
    """Browse and verify the audit store: every fact of every run.

    \b
    Example:
      agentrt audit verify
    """


@audit.command("list")
@click.option("--run", metavar="RUN", help="Only of this run.")
@click.option("--call", metavar="CALL", help="Only of this call.")
@click.option("--tool", metavar="NAME", help="Only of this tool.")
@click.option(
    "--type", "types", type=click.Choice(sorted(event_types())), multiple=True, help="Only such."
)
@click.option("--user", metavar="NAME", help="Only what was asked for this user.")
@click.option("--reviewer", metavar="NAME", help="Only what this reviewer decided.")
@click.option("--since", type=Moment(), metavar="TIME", help="2h, 7d or a date (UTC).")
@click.option("--until", type=Moment(), metavar="TIME", help="2h, 7d or a date (UTC).")
@prints_rows
@click.pass_obj
def list_(
    folder: Path,
    run: str | None,
    call: str | None,
    tool: str | None,
    types: tuple[str, ...],
    user: str | None,
    reviewer: str | None,
    since: int | None,
    until: int | None,
    output: Output,
) -> None:
    """List records, newest first.

    \b
    Example:
      agentrt audit list --tool refund_payment --type call.approved --since 7d
    """
    project = Project.find(folder)
    records: list[Record] = []
    if project.has_store:
        with project.open_store() as store:
            records = store.search(
                run=run_id(store, run) if run else None,
                call=call_row(store, call).id if call else None,
                tool=tool,
                types=types,
                user=user,
                reviewer=reviewer,
                since=since,
                until=until,
                limit=(output.limit or 0) + 1,
            )
    output.rows(
        [_row(record) for record in records],
        columns=("run", "seq", "at", "type", "what"),
        fields=FIELDS,
        empty="No record fits.",
    )


def _row(record: Record) -> dict[str, Any]:
    event = record.event
    return {
        "id": f"{record.run}:{record.seq}",
        "run": record.run,
        "seq": record.seq,
        "at": record.at,
        "type": event.type,
        "call": getattr(event, "call", None),
        "tool": getattr(event, "tool", None),
        "what": _what(record),
    }


def _what(record: Record) -> str:
    said = record.event.data()
    return "  ".join(str(said[name]) for name in TELLING if said.get(name))


@audit.command
@click.argument("run")
@click.argument("seq", type=click.IntRange(min=1))
@prints_one
@click.pass_obj
def view(folder: Path, run: str, seq: int, output: Output) -> None:
    """Show one record of a run whole, with its hash. The run `store` is the store's own chain.

    \b
    Example:
      agentrt audit view @last 1
    """
    with Project.find(folder).open_store() as store:
        chain = "store" if run == "store" else run_id(store, run)
        found = next((each for each in store.records(chain) if each.seq == seq), None)
    if found is None:
        raise NotFound(f"{chain} has no record {seq}.")
    output.one(_record_data(found), _record_lines(found, output))


def _record_data(record: Record) -> dict[str, Any]:
    header = json.loads(record.header)
    return {
        "run": record.run,
        "seq": record.seq,
        "at": record.at,
        "hash": record.hash.hex(),
        "prev": header["prev"],
        "forgotten": sorted(record.forgotten),
        "event": record.event.data(),
    }


def _record_lines(record: Record, output: Output) -> Iterator[str]:
    data = _record_data(record)
    yield f"{record.run} {record.seq}  {output.time(record.at)}  {record.event.type}"
    yield f"hash {data['hash']}"
    yield f"prev {data['prev'] or '(the first)'}"
    for name, value in data["event"].items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        first, *others = visible(text, lines=True).splitlines() or [""]
        yield f"{name}: {first}"
        yield from (f"  {line}" for line in others)


audit.add_command(why)
audit.add_command(checkpoint)
audit.add_command(witness)
audit.add_command(verify)
audit.add_command(rebuild)
audit.add_command(query)
audit.add_command(index_)
audit.add_command(sql)
audit.add_command(ask)
audit.add_command(export)
