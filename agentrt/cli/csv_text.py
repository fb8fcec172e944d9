"""CSV for spreadsheets: a text that one would take for a formula is kept a text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import click

from agentrt.visible import visible

__all__ = ["csv_line", "print_csv", "safe_cell"]

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 (fullwidth too)
"""What a spreadsheet takes for the beginning of a formula."""


def safe_cell(value: Any) -> Any:
    """The value of a cell: numbers as they are, texts with nothing hidden that a program obeys."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = visible(str(value), lines=True)
    begins = text.lstrip(" \n\"'") or text
    return f"'{text}" if begins.startswith(FORMULA) else text


def csv_line(values: Iterable[Any]) -> str:
    """One line, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([safe_cell(value) for value in values])
    return line.getvalue()


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A heading and the rows, on stdout."""
    click.echo(csv_line(columns))
    for row in rows:
        click.echo(csv_line(row))
