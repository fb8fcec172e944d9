"""A line of a screen: pieces of text, each with the name of its style."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size

__all__ = [
    "Line",
    "Span",
    "between",
    "fit",
    "fit_line",
    "line",
    "plain",
    "ruled",
    "section",
    "width_of",
    "wrap",
]

CUT = "…"

LABEL_CELLS = 11
"""Where the text of a section begins, its label before it."""


class Span(NamedTuple):
    """A piece of text in one style. It is drawn as it is, never read as markup."""

    text: str
    style: str = "text"


Line = tuple[Span, ...]


def line(*parts: str | Span) -> Line:
    """A line of these pieces; what has no style is plain text."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def plain(of: Line) -> str:
    """The line's text."""
    return "".join(span.text for span in of)


def width_of(of: Line) -> int:
    """How many cells the line takes; a wide character takes two."""
    return sum(cell_len(span.text) for span in of)


def fit(text: str, cells: int) -> str:
    """`text` in exactly so many cells; what was cut ends in `…`."""
    if cells <= 0:
        return ""
    # Characters may take no cell: a pile of them is cut too, before it is measured.
    if len(text) <= 4 * cells and cell_len(text) <= cells:
        return set_cell_size(text, cells)
    return set_cell_size(set_cell_size(text[: 4 * cells], cells - 1).rstrip() + CUT, cells)


def fit_line(of: Line, cells: int) -> Line:
    """The line in exactly so many cells."""
    fitted: list[Span] = []
    left = cells
    for index, span in enumerate(of):
        size = cell_len(span.text)
        rest = any(later.text for later in of[index + 1 :])
        if size > left or (size == left and rest):
            return (*fitted, Span(fit(span.text + (" " if rest else ""), left), span.style))
        fitted.append(span)
        left -= size
    return (*fitted, Span(" " * left))


def between(left: Line, right: Line, cells: int) -> Line:
    """`left` at the left and `right` at the right, which stays whole when there is no room."""
    return (*fit_line(left, max(cells - width_of(right), 0)), *right)


def ruled(title: Line, cells: int) -> Line:
    """A title in a rule."""
    head = (Span("── ", "dim"), *title, Span(" ", "dim"))
    left = cells - width_of(head)
    return (*head, Span("─" * left, "dim")) if left >= 0 else fit_line(head, cells)


def section(label: str, body: Iterable[Line]) -> list[Line]:
    """Lines with their label at the left of the first one."""
    labels = [label]
    return [
        (Span(fit(f" {labels.pop() if labels else ''}", LABEL_CELLS), "label"), *row)
        for row in body
    ]


def wrap(text: str, cells: int) -> list[str]:
    """`text` whole, in rows of at most so many cells, broken between words where it can be."""
    return [piece for row in text.split("\n") for piece in _wrapped(row, max(cells, 2))]


def _wrapped(row: str, cells: int) -> list[str]:
    if len(row) <= cells and cell_len(row) <= cells:
        return [row]
    rows, current, used = [], "", 0
    for word in re.findall(r"\s*\S+|\s+\Z", row):
        size = cell_len(word)
        if used + size <= cells:
            current, used = current + word, used + size
            continue
        rows += [current] if current else []
        *full, current = chop_cells(word.lstrip() if _is_gap(word) else word, cells) or [""]
        rows += full
        used = cell_len(current)
    return [*rows, current]


def _is_gap(word: str) -> bool:
    """Whether one blank alone parts the word from the one before; a longer gap is text."""
    return word[:1] == " " and word[1:2] != " "
