"""`agentrt audit ask`: questions that auditors ask again and again, by name."""

from __future__ import annotations

from pathlib import Path

import click

from agentrt.audit.questions import ELSEWHERE, QUESTIONS, Asked, Period, Question, question
from agentrt.cli.audit_query import csv_option, opened_with_index, show_rows, warn_of_more
from agentrt.cli.moments import Moment
from agentrt.cli.output import Output, narrate, prints_rows
from agentrt.cli.project import Project

__all__ = ["ask"]

GROUPS = sorted({group for each in QUESTIONS.values() for group in each.groups} | {"user"})


@click.command
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--since", type=Moment(), metavar="TIME", help="2h, 7d or a date (UTC).")
@click.option("--until", type=Moment(), metavar="TIME", help="2h, 7d or a date (UTC).")
@click.option("--by", type=click.Choice(GROUPS), help="How costs are summed up.")
@csv_option
@prints_rows
@click.pass_obj
def ask(
    folder: Path,
    name: str | None,
    since: int | None,
    until: int | None,
    by: str | None,
    as_csv: bool,
    output: Output,
) -> None:
    """Ask a question by its name; without one, see which there are.

    \b
    Example:
      agentrt audit ask
      agentrt audit ask approvers --since 30d
      agentrt audit ask costs --by day --csv
    """
    if name is None:
        _list(output, as_csv=as_csv)
        return
    asked = question(name)
    limit = output.limit or 30
    with opened_with_index(Project.find(folder)) as store:
        wanted = Asked(Period(since, until), _group(asked, by), limit)
        found = asked.answer(store, wanted)
    rows = found.dicts()
    if as_csv:
        warn_of_more(rows, output)
        rows = rows[:limit]
    show_rows(
        rows,
        columns=found.columns,
        fields=found.columns,
        output=output,
        as_csv=as_csv,
        empty=f"Nothing of the sort is recorded. ({asked.asks})",
    )


def _group(asked: Question, by: str | None) -> str:
    if by is None:
        return asked.groups[0] if asked.groups else ""
    group = "user_name" if by == "user" else by
    if group not in asked.groups:
        raise click.UsageError(f"`{asked.name}` is not summed up by anything: leave --by out.")
    return group


def _list(output: Output, *, as_csv: bool) -> None:
    rows = [
        {"name": each.name, "asks": each.asks, "command": f"agentrt audit ask {each.name}"}
        for each in QUESTIONS.values()
    ]
    rows += [{"name": "", "asks": asks, "command": said} for asks, said in ELSEWHERE.items()]
    whole = Output(output.fields, output.quiet, None, output.local)
    columns, fields = ("command", "asks"), ("command", "name", "asks")
    show_rows(rows, columns=columns, fields=fields, output=whole, as_csv=as_csv)
    narrate("docs/auditor.md has more of each")
