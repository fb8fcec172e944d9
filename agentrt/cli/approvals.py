"""`agentrt approvals`: the calls that wait for a person."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from agentrt.cli.groups import Commands, LazyCommand
from agentrt.cli.output import Output, cell, left, narrate, prints_rows
from agentrt.cli.project import Project
from agentrt.visible import visible

__all__ = ["approvals", "contradictions", "deferred_calls", "waiting_calls"]

COLUMNS = (
    "id",
    "run",
    "turn",
    "index",
    "agent",
    "user",
    "simulated",
    "tool",
    "status",
    "effect",
    "verdict",
    "revision",
    "rule",
    "severity",
    "summary",
    "quorum",
    "approvals",
    "attempt",
    "requested_at",
    "decided_at",
    "expires_at",
    "finished_at",
)

SEVERITIES = ("low", "medium", "high", "critical")

FORMAT, REVISION = 1, "0002"
"""Of a store that can be read as it stands in the file."""

_QUERY = "SELECT * FROM call WHERE status IN ('held', 'deferred', 'in doubt')"

_SETTLED = "SELECT 1 FROM event WHERE reviewer_ref IS NOT NULL AND type = 'call.settled' LIMIT 1"

_COMMANDS = {
    "list": LazyCommand("agentrt.cli.approvals", "list_", "List held calls and calls in doubt."),
    **{
        verb: LazyCommand("agentrt.cli.decisions", verb, summary)
        for verb, summary in {
            "view": "Show all that is needed to decide a call.",
            "approve": "Let a held call run.",
            "reject": "Turn a held call down.",
            "edit": "Approve a held call with other arguments.",
        }.items()
    },
}


@click.group(cls=Commands, lazy=_COMMANDS)
def approvals() -> None:
    """The calls that wait for a person.

    A CALL is its id or the beginning of it, @next for the first of the queue, or @last for the
    newest of all calls.

    \b
    Example:
      agentrt approvals view @next
    """


@click.command("list")
@click.option("--deferred", is_flag=True, help="The calls that wait for a fact, not a person.")
@prints_rows
@click.pass_obj
def list_(folder: Path, deferred: bool, output: Output) -> None:
    """List held calls and calls in doubt: the riskiest first, then what expires first.

    With --deferred those for which nobody is asked yet, since a fact is not known that a rule
    needs: `agentrt runs state` states it.

    \b
    Example:
      agentrt approvals list --json id,tool,severity
      agentrt approvals list --deferred
    """
    project = Project.find(folder)
    if deferred:
        _list_deferred(project, output)
        return
    rows = [_with_time_left(row) for row in waiting_calls(project)]
    output.rows(
        rows,
        columns=("id", "severity", "left", "tool", "summary", "agent", "rule", "status"),
        fields=(*COLUMNS, "left"),
        empty="No call waits for a person.",
        total=len(rows),
    )
    for told in contradictions(project):
        narrate(told, bold=True)


def contradictions(project: Project) -> list[str]:
    """Calls of which their function said something else, later, than a person had settled."""
    if not project.has_store or not _somebody_settled(project):
        return []
    from agentrt.approvals import ApprovalQueue
    from agentrt.policy import Reviewers

    with project.open_store() as store:
        found = ApprovalQueue(store, Reviewers()).contradicted()
    return [f"!! {c.call} {cell(c.tool)} CONTRADICTED: {visible(c.text)}" for c in found]


def _somebody_settled(project: Project) -> bool:
    """A quick look into the file, as for the list itself; True where it has to be asked."""
    if project.store_file is None:
        return True
    from pysqlite3 import dbapi2

    try:
        uri = f"{project.store_file.as_uri()}?mode=ro"
        with closing(dbapi2.connect(uri, uri=True, timeout=30)) as connection:
            return connection.execute(_SETTLED).fetchone() is not None
    except dbapi2.Error:
        return True


def _list_deferred(project: Project, output: Output) -> None:
    rows = deferred_calls(project)
    output.rows(
        rows,
        columns=("id", "awaiting", "left", "tool", "summary", "agent", "rule", "run"),
        fields=(*COLUMNS, "left", "awaiting", "until"),
        empty="No call waits for a fact.",
        total=len(rows),
    )


def deferred_calls(project: Project) -> list[dict[str, Any]]:
    """The calls that wait for a fact, each with the facts and the time until a person is asked."""
    from agentrt.approvals import ApprovalQueue
    from agentrt.policy import Reviewers

    if not project.has_store:
        return []
    with project.open_store() as store:
        rows = ApprovalQueue(store, Reviewers()).deferred()
        calls = [(row, store.load(row.run).call(row.id)) for row in rows]
        return [
            {
                **row.model_dump(),
                "awaiting": list(call.awaiting),
                "until": call.until,
                "left": left(call.until, store.clock()),
            }
            for row, call in calls
            if call is not None
        ]


def _with_time_left(row: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time_ns() // 1_000_000
    return {**row, "left": left(row["expires_at"], now) if row["status"] == "held" else ""}


def waiting_calls(project: Project) -> list[dict[str, Any]]:
    """The held calls in the order of the queue, then those in doubt, the newest first.

    The rows are read as they stand in the file: a list that is asked for all day should not
    load a database toolkit, which takes several times as long as the rest of the command.
    """
    if not project.has_store:
        return []
    rows = _read(project)
    held = sorted((row for row in rows if row["status"] == "held"), key=_riskiest_first)
    doubts = sorted((row for row in rows if row["status"] != "held"), key=_newest_first)
    return [*held, *doubts]


def _read(project: Project) -> list[dict[str, Any]]:
    if project.store_file is None:
        return _read_as_a_store(project)
    from pysqlite3 import dbapi2

    try:
        # Read-only, so that it never writes to the file, not even a checkpoint.
        connection = dbapi2.connect(f"{project.store_file.as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            tables = "SELECT format, version_num FROM store, alembic_version"
            formats = connection.execute(tables).fetchall()
            found = connection.execute(_QUERY)
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, values, strict=True)) for values in found]
        finally:
            connection.close()
    except dbapi2.Error:
        return _read_as_a_store(project)
    if formats != [(FORMAT, REVISION)] or any(row["status"] == "deferred" for row in rows):
        return _read_as_a_store(project)
    return [
        {name: row[name] for name in COLUMNS} | {"simulated": bool(row["simulated"])}
        for row in rows
    ]


def _read_as_a_store(project: Project) -> list[dict[str, Any]]:
    """The same through the store, which says what is wrong with the file and who waits for what."""
    from agentrt.approvals import ApprovalQueue
    from agentrt.policy import Reviewers

    with project.open_store() as store:
        queue = ApprovalQueue(store, Reviewers())
        return [row.model_dump() for row in (*queue.held(), *queue.in_doubt())]


def _riskiest_first(row: Mapping[str, Any]) -> tuple[float, ...]:
    """As the queue has it, which this list is read without."""
    known = row["severity"] in SEVERITIES
    rank = SEVERITIES.index(row["severity"]) if known else 0
    expires_at = math.inf if row["expires_at"] is None else row["expires_at"]
    return -rank, expires_at, row["requested_at"], row["turn"], row["index"]


def _newest_first(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return -row["requested_at"], -row["turn"], -row["index"]
