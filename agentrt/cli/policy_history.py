"""`agentrt policy backtest` and `coverage`: policies asked about the calls that were recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from agentrt.cli.exits import Exit
from agentrt.cli.moments import Moment
from agentrt.cli.output import (
    Output,
    cell,
    narrate,
    prints_one,
    prints_rows,
    progress,
    progress_over,
)
from agentrt.cli.project import Project
from agentrt.cli.telling import rules_told
from agentrt.events import Record
from agentrt.policy import Policy
from agentrt.policy.backtest import Backtest, Change
from agentrt.policy.backtest import backtest as backtested
from agentrt.visible import visible

__all__ = ["backtest", "coverage", "matched"]

COVERAGE_FIELDS = ("id", "matched", "decide", "mode", "file", "line")

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

_SINCE = click.option(
    "--since", type=Moment(), metavar="TIME", help="Only calls decided since: 2h, 7d, a date (UTC)."
)


@click.command
@click.argument("bundle", required=False, type=FOLDER)
@_SINCE
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 when a call changes.")
@prints_one
@click.pass_obj
def backtest(
    folder: Path, bundle: Path | None, since: int | None, fail_on_change: bool, output: Output
) -> None:
    """Ask a policy about every call that was recorded, and say which it decides otherwise.

    BUNDLE is a folder of policy files, without it the project's own. What happened is taken as
    it was: each call is asked about with what was known when it was decided.

    \b
    Example:
      agentrt policy backtest new-policies --since 30d
      agentrt policy backtest --fail-on-change
    """
    project = Project.find(folder)
    policy = project.policy_in(bundle) if bundle else project.policy
    found = _backtest(project, policy, since)
    output.one(_data(found), (visible(line) for line in _lines(found, output)))
    if found.changes and fail_on_change:
        sys.exit(Exit.FAILED)


@click.command
@_SINCE
@prints_rows
@click.pass_obj
def coverage(folder: Path, since: int | None, output: Output) -> None:
    """How many recorded calls each rule matches, those that never match first.

    Every call is asked about anew, as the present policy sees it.

    \b
    Example:
      agentrt policy coverage --since 90d
    """
    project = Project.find(folder)
    found = _backtest(project, project.policy, since)
    rules = sorted(project.policy.rules, key=lambda rule: found.matched.get(rule.id, 0))
    rows = [
        {
            **rule.model_dump(mode="json", include=set(COVERAGE_FIELDS)),
            "place": f"{rule.file}:{rule.line}",
            "matched": found.matched.get(rule.id, 0),
        }
        for rule in rules
    ]
    output.rows(
        rows,
        columns=("id", "matched", "decide", "mode", "place"),
        fields=COVERAGE_FIELDS,
        empty="No rules.",
        total=len(rows),
    )
    never = sum(row["matched"] == 0 for row in rows)
    narrate(
        f"{never} of {len(rows)} rules matched none of {_calls(found.decided)}{_skipped(found)}"
    )


def matched(project: Project, since: int | None) -> dict[str, int]:
    """How many recorded calls each rule of the project's policy matches."""
    found = _backtest(project, project.policy, since)
    return {rule.id: found.matched.get(rule.id, 0) for rule in project.policy.rules}


def _backtest(project: Project, policy: Policy, since: int | None) -> Backtest:
    with _records(project) as records:
        found = backtested(records, policy, tools=project.tools, since=since)
    progress_over()
    return found


@contextmanager
def _records(project: Project) -> Iterator[Iterator[Record]]:
    if not project.has_store:
        yield iter(())
        return
    with project.open_store() as store:
        yield store.in_order(progress=progress)


# --- what is told -----------------------------------------------------------------------


def _lines(found: Backtest, output: Output) -> Iterator[str]:
    for change in found.changes:
        yield from _change_lines(change, output)
    calls = _calls(found.decided)
    if not found.changes:
        yield f"Nothing changes: {calls} decided as before{_skipped(found)}."
        return
    yield f"{len(found.changes)} of {calls} decided otherwise{_skipped(found)}."
    yield f"Asks people {_calls(found.asked_now)} instead of {found.asked_then}: {_more(found)}."


def _change_lines(change: Change, output: Output) -> Iterator[str]:
    record, event = change.judged.record, change.judged.event
    decision = change.judged.decision
    then = rules_told(event.rules, event.basis)
    now = rules_told(decision.deciding, decision.basis)
    yield f"~ {event.call}  {event.tool}  {_told(change)}  {now}  {output.time(record.at)}"
    yield f"    {cell(event.seen('arguments').decode(errors='replace'))}"
    yield f"    then {event.verdict}, {then}"


def _told(change: Change) -> str:
    judged = change.judged
    match change.kind:
        case "verdict":
            return f"{judged.event.verdict} -> {judged.verdict}"
        case "arguments":
            return f"{judged.verdict} with other arguments"
        case "approval":
            return "hold on other terms"


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _skipped(found: Backtest) -> str:
    if not found.skipped:
        return ""
    return f" ({_calls(found.skipped)} skipped: their content was forgotten)"


def _more(found: Backtest) -> str:
    more = found.asked_now - found.asked_then
    return f"{abs(more):,} {'more' if more > 0 else 'fewer'}" if more else "as often"


def _data(found: Backtest) -> dict[str, Any]:
    return {
        "decided": found.decided,
        "skipped": found.skipped,
        "asked_then": found.asked_then,
        "asked_now": found.asked_now,
        "changes": [_change_data(change) for change in found.changes],
        "matched": found.matched,
    }


def _change_data(change: Change) -> dict[str, Any]:
    judged = change.judged
    event, decision = judged.event, judged.decision
    return {
        "call": event.call,
        "revision": event.revision,
        "run": judged.record.run,
        "at": judged.record.at,
        "tool": event.tool,
        "kind": change.kind,
        "before": event.verdict,
        "after": judged.verdict,
        "rules_before": [rule.model_dump() for rule in event.rules],
        "rules_after": [rule.model_dump() for rule in decision.deciding],
        "reason": decision.reason,
    }
