"""Colours and marks: each says one thing, and none says it alone.

Every colour has a contrast of at least 4.5:1 against its background (WCAG 2.2, 1.4.3).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.style import Style

from agentrt.tui.lines import Span

__all__ = ["DARK_BACKGROUND", "INKS", "LIGHT_BACKGROUND", "Ink", "risk", "style_of"]

DARK_BACKGROUND = "#121212"
LIGHT_BACKGROUND = "#ffffff"


class Ink(NamedTuple):
    """A colour for dark and one for light themes, and what helps where there is no colour."""

    dark: str
    light: str
    bold: bool = False
    reverse: bool = False


INKS = {
    "text": Ink("#e0e0e0", "#1a1a1a"),
    "dim": Ink("#9a9a9a", "#5e5e5e"),
    "label": Ink("#8ab4c8", "#2f5d75"),
    "strong": Ink("#ffffff", "#000000", bold=True),
    "critical": Ink("#ff8f66", "#b33a00", bold=True),
    "high": Ink("#e69f00", "#8a5a00"),
    "medium": Ink("#f0e442", "#6b6400"),
    "low": Ink("#8ab4c8", "#2f5d75"),
    "ok": Ink("#2fbf97", "#00694d"),
    "bad": Ink("#ff8f66", "#b33a00"),
    "key": Ink("#56b4e9", "#0b5a8a", bold=True),
    "alarm": Ink("#ff8f66", "#b33a00", bold=True, reverse=True),
    "here": Ink("#e0e0e0", "#1a1a1a", bold=True, reverse=True),
}
"""What each style's name means."""

RISKS = {
    "critical": Span("!! CRIT", "critical"),
    "high": Span("!  HIGH", "high"),
    "medium": Span("~  MED ", "medium"),
    "low": Span(".  LOW ", "low"),
}


def risk(severity: str | None) -> Span:
    """Mark and word of a severity; one that nobody knows counts as critical."""
    return RISKS.get(severity or "", RISKS["critical"])


@lru_cache
def style_of(name: str, *, dark: bool) -> Style:
    """The terminal style that a style's name means."""
    ink = INKS[name]
    return Style(color=ink.dark if dark else ink.light, bold=ink.bold, reverse=ink.reverse)
