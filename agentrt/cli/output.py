"""What is printed: rows for people, JSON for programs, ids for pipes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from agentrt.visible import visible

__all__ = [
    "STORE_WARNED",
    "Output",
    "at_terminal",
    "cell",
    "json_line",
    "left",
    "narrate",
    "prints_one",
    "prints_rows",
    "progress",
    "progress_over",
    "shown_path",
    "warn_of_store",
]

F = TypeVar("F", bound=Callable[..., Any])

ALL_FIELDS = "*"
STORE_WARNED = "agentrt.store"
"""Set in the context of a command that was warned of its store."""

CELL_MAX = 60
"""Characters of one cell in a table; JSON and `view` have all."""


@dataclass(frozen=True)
class Output:
    """How the reader wants the data."""

    fields: str | None = None
    """None: for people. `*`: JSON with all fields. Else the fields of the JSON."""
    quiet: bool = False
    limit: int | None = None
    local: bool = False

    @property
    def json(self) -> bool:
        """Whether JSON is asked for."""
        return self.fields is not None

    def rows(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        columns: Sequence[str],
        fields: Sequence[str],
        empty: str,
        total: int | None = None,
    ) -> None:
        """Print rows: `columns` for people, `fields` those that JSON may have, the id first.

        There may be one row more than the limit, which says that there are others; with
        `total` it is said how many.
        """
        shown = rows[: self.limit] if self.limit else rows
        if self.json:
            wanted = self._wanted(fields)
            print_json([{name: row[name] for name in wanted} for row in shown])
        elif self.quiet:
            for row in shown:
                click.echo(visible(str(row[fields[0]])))
        else:
            self._table(shown, columns)
        if not rows:
            narrate(empty)
        if len(shown) < len(rows):
            count = f"{total:,}" if total is not None else f"more than {len(shown):,}"
            click.secho(f"showing {len(shown):,} of {count}: -L shows more", err=True, bold=True)

    def one(self, data: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print one thing: its data as JSON, or its lines for people."""
        if self.json:
            wanted = self._wanted(list(data))
            print_json({name: data[name] for name in wanted})
            return
        for line in lines:
            click.echo(line)

    def time(self, at: int | None) -> str:
        """A time of a record, in UTC or in the zone of this machine."""
        if at is None:
            return ""
        moment = datetime.fromtimestamp(at / 1000, tz=UTC)
        if self.local:
            return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S%z")
        return moment.strftime("%Y-%m-%d %H:%M:%SZ")

    def _wanted(self, known: Sequence[str]) -> Sequence[str]:
        if self.fields == ALL_FIELDS:
            return known
        wanted = [name.strip() for name in (self.fields or "").split(",")]
        for name in wanted:
            if name not in known:
                raise click.UsageError(
                    f"There is no field '{visible(name)}'. There are: {', '.join(known)}. "
                    "An id goes before --json."
                )
        return wanted

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        cells = [[in_one_line(self._said(name, row[name])) for name in columns] for row in rows]
        if not sys.stdout.isatty():  # one tab between cells, no heading: for cut, awk and sort
            for line in cells:
                click.echo("\t".join(line))
            return
        if not cells:
            return
        cells = [[_shortened(text, CELL_MAX) for text in line] for line in cells]
        table = [[name.upper().replace("_", " ") for name in columns], *cells]
        widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
        room = shutil.get_terminal_size().columns
        for index, line in enumerate(table):
            padded = "  ".join(
                text.ljust(width) for text, width in zip(line, widths, strict=True)
            ).rstrip()
            click.secho(padded[:room], dim=index == 0)

    def _said(self, name: str, value: Any) -> str:
        if value is None:
            return ""
        if (name == "at" or name.endswith("_at")) and isinstance(value, int):
            return self.time(value)
        if isinstance(value, list | tuple):
            return ", ".join(str(item) for item in value)
        return str(value)


def cell(text: str, *, width: int = CELL_MAX) -> str:
    """Untrusted text in one line, cut to `width`."""
    return _shortened(in_one_line(text), width)


def in_one_line(text: str) -> str:
    """Untrusted text in one line."""
    return visible(" ".join(text.split()))


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def left(until: int | None, now: int) -> str:
    """The time until then, as `1d 02:03:04`, `02:03:04` or `03:04`."""
    if until is None:
        return "never"
    seconds = max(0, until - now) // 1000
    days, rest = divmod(seconds, 86_400)
    hours, minutes, seconds = rest // 3600, rest // 60 % 60, rest % 60
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{seconds:02}"
    return f"{hours:02}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def narrate(text: str, *, bold: bool = False) -> None:
    """A line about what happens, on stderr."""
    click.secho(text, err=True, dim=not bold, bold=bold)


def warn_of_store(error: Exception) -> None:
    """Say loudly that the store is not what it was; the command then ends with that code."""
    click.secho(f"WARNING: {visible(str(error), lines=True)}", err=True, bold=True, fg="red")
    context = click.get_current_context(silent=True)
    if context is not None:
        context.find_root().meta[STORE_WARNED] = True


def progress(count: int) -> None:
    """How many records were read, at a terminal; for what may take long."""
    if sys.stderr.isatty():
        click.echo(f"\r{count:,} records", nl=False, err=True)


def progress_over() -> None:
    """Clear the line of `progress`."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


def shown_path(path: Path) -> str:
    """The path, from this folder where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def json_line(data: Any) -> str:
    """JSON in one line. It is ASCII, so that a terminal obeys nothing in it."""
    return json.dumps(data, default=str)


def print_json(data: Any) -> None:
    """JSON over several lines, in ASCII."""
    click.echo(json.dumps(data, indent=2, default=str))


def at_terminal() -> bool:
    """Whether a person can be asked: neither stdin nor stderr is a pipe or a file."""
    return sys.stdin.isatty() and sys.stderr.isatty()


_JSON = click.option(
    "--json",
    "json_fields",
    metavar="[FIELDS]",
    is_flag=False,
    flag_value=ALL_FIELDS,
    help="JSON with all fields, or with these: --json id,status.",
)
_UTC = click.option("--utc/--local", default=True, help="Times in UTC (default) or local time.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Ids only, one a line.")
_LIMIT = click.option(
    "-L",
    "--limit",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="At most so many.",
)


def prints_rows(command: F) -> F:
    """The options of a command that prints a list; it gets them as `output`."""

    @wraps(command)
    def wrapped(
        *args: Any, json_fields: str | None, quiet: bool, limit: int, utc: bool, **options: Any
    ) -> Any:
        return command(*args, output=Output(json_fields, quiet, limit, not utc), **options)

    made: Any = _JSON(_QUIET(_LIMIT(_UTC(wrapped))))
    return made  # type: ignore[no-any-return]


def prints_one(command: F) -> F:
    """The options of a command that prints one thing; it gets them as `output`."""

    @wraps(command)
    def wrapped(*args: Any, json_fields: str | None, utc: bool, **options: Any) -> Any:
        return command(*args, output=Output(json_fields, local=not utc), **options)

    made: Any = _JSON(_UTC(wrapped))
    return made  # type: ignore[no-any-return]
