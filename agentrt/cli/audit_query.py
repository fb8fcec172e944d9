"""`agentrt audit query`, `index` and `sql`: questions to the audit store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from agentrt.audit import AuditStore
from agentrt.audit.answers import CALL_FIELDS, RUN_FIELDS, answer
from agentrt.audit.index import Found, catch_up, rebuild, standing
from agentrt.audit.own_sql import ask_sql
from agentrt.audit.query import KEYS, parse
from agentrt.audit.query.terms import RUN
from agentrt.cli.csv_text import print_csv
from agentrt.cli.output import Output, narrate, prints_one, prints_rows, progress, progress_over
from agentrt.cli.project import Project
from agentrt.errors import StoreCorrupt, StoreUnavailable
from agentrt.visible import visible

__all__ = ["csv_option", "index_", "opened_with_index", "query", "show_rows", "sql", "warn_of_more"]

CALL_COLUMNS = ("at", "call", "tool", "status", "user", "rule", "approved_by", "summary")
RUN_COLUMNS = ("at", "run", "status", "agent", "user", "cost_usd", "prompt")

csv_option = click.option("--csv", "as_csv", is_flag=True, help="CSV, safe for spreadsheets.")


@click.command(
    # `-rule:large-refunds` is a term and no option.
    context_settings={"ignore_unknown_options": True},
    epilog="Keys: " + "; ".join(f"{name}: {key.meaning}" for name, key in KEYS.items()) + ".",
)
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@click.option(
    "--sort",
    default="newest",
    show_default=True,
    metavar="ORDER",
    help="newest, oldest, args.NAME (largest first) or -args.NAME.",
)
@click.option("--after", "cursor", metavar="CURSOR", help="The next page: the cursor printed last.")
@csv_option
@prints_rows
@click.pass_obj
def query(
    folder: Path,
    words: tuple[str, ...],
    sort: str,
    cursor: str | None,
    as_csv: bool,
    output: Output,
) -> None:
    """Find calls, or runs with is:run, by what is known of them.

    key:value, several values with commas, -key:value for not, * for anything, > and < for
    arguments that are numbers. Words without a key are looked for in content that still exists.

    \b
    Example:
      agentrt audit query tool:refund_payment decision:approved since:30d
      agentrt audit query 'effect:irreversible args.amount_cents:>5000 -user:mona'
      agentrt audit query is:run '"charged twice"'
    """
    asked = parse(" ".join(words), now=int(time.time() * 1000))
    with opened_with_index(Project.find(folder)) as store:
        limit = output.limit or 30
        found, rows = answer(store, asked, limit=limit, sort=sort, cursor=cursor)
    fields, columns = (
        (RUN_FIELDS, RUN_COLUMNS) if asked.kind == RUN else (CALL_FIELDS, CALL_COLUMNS)
    )
    show_rows(rows, columns=columns, fields=fields, output=output, as_csv=as_csv)
    _tell(found, shown=len(rows), kind=asked.kind)


def show_rows(
    rows: Sequence[Any],
    *,
    columns: Sequence[str],
    fields: Sequence[str],
    output: Output,
    as_csv: bool,
    empty: str = "Nothing fits.",
) -> None:
    """Rows for people, for programs or for spreadsheets."""
    if as_csv:
        if output.json or output.quiet:
            raise click.UsageError("Say one of --csv, --json and --quiet.")
        print_csv(fields, ([_plain(row[name]) for name in fields] for row in rows))
        return
    output.rows(rows, columns=columns, fields=fields, empty=empty)


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _tell(found: Found, *, shown: int, kind: str) -> None:
    for hint in found.hints:
        narrate(visible(hint))
    if found.cursor is None:
        return
    count = f"{found.count:,}" if found.counted else f"more than {found.count - 1:,}"
    said = f"showing {shown:,} of {count} {kind}s: -L shows more, the next page is"
    click.secho(f"{said}\n  --after {found.cursor}", err=True, bold=True)


def opened_with_index(project: Project) -> AuditStore:
    """The store, its index having read all records. Where it cannot be written, it is said."""
    try:
        store = project.open_store(read_only=False)
    except (StoreUnavailable, StoreCorrupt):
        store = project.open_store()
        _tell_behind(store)
        return store
    try:
        catch_up(store, progress=progress)
    except BaseException:
        store.close()
        raise
    progress_over()
    return store


def _tell_behind(store: AuditStore) -> None:
    with store.reading() as connection:
        seen = standing(connection)
    if not seen.exists:
        raise StoreUnavailable(
            "The store has no index, and cannot be written from here. Somebody who can write it "
            "makes one: agentrt audit index"
        )
    if not seen.current:
        said = f"The index is {seen.behind:,} records behind, and cannot be written from here."
        click.secho(said, err=True, bold=True)


@click.command("index")
@click.option("--rebuild", "anew", is_flag=True, help="Drop it and make it anew.")
@prints_one
@click.pass_obj
def index_(folder: Path, anew: bool, output: Output) -> None:
    """Read into the index what is not in it yet, and keep the views for your own tools.

    Queries do it by themselves; after a rule names another argument, --rebuild finds older calls
    by it too.

    \b
    Example:
      agentrt audit index
    """
    with Project.find(folder).open_store(read_only=False) as store:
        count = (rebuild if anew else catch_up)(store, progress=progress)
        with store.reading() as connection:
            entries = standing(connection).entries
    progress_over()
    data = {"records": count, "entries": entries}
    output.one(data, [f"{count:,} records read; {entries:,} calls and runs can be found"])


@click.command
@click.argument("statement")
@csv_option
@prints_rows
@click.pass_obj
def sql(folder: Path, statement: str, as_csv: bool, output: Output) -> None:
    """Ask one SELECT over the views of the store; it can read and do nothing else.

    The views are audit_calls, audit_approvals, audit_runs, audit_model_calls, audit_policies,
    audit_records and audit_arguments; docs/auditor.md describes them. `-` reads from stdin.

    \b
    Example:
      agentrt audit sql "SELECT day, sum(cost_usd) FROM audit_model_calls GROUP BY day"
    """
    text = sys.stdin.read() if statement == "-" else statement
    with Project.find(folder).open_store() as store:
        found = ask_sql(store, text, limit=(output.limit or 0) + 1)
    names = _distinct(found.columns)
    rows = [dict(zip(names, map(_readable, row), strict=True)) for row in found.rows]
    if as_csv:
        warn_of_more(rows, output)
        rows = rows[: output.limit]
    show_rows(rows, columns=names, fields=names, output=output, as_csv=as_csv, empty="No row.")


def warn_of_more(rows: Sequence[Any], output: Output) -> None:
    """Say loudly on stderr that there are more rows than are shown."""
    limit = output.limit or 0
    if len(rows) > limit:
        said = f"showing {limit:,} of more than {limit:,}: -L shows more"
        click.secho(said, err=True, bold=True)


def _distinct(names: Iterable[str]) -> list[str]:
    """Names of columns, each once: `count`, `count_2`."""
    given: list[str] = []
    for name in names:
        number = 1
        while (unique := name if number == 1 else f"{name}_{number}") in given:
            number += 1
        given.append(unique)
    return given


def _readable(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value
