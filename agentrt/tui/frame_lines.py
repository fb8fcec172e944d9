"""What stands around every screen: the head, the foot, and the help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentrt.tui.lines import Line, Span, between, fit, line, width_of, wrap
from agentrt.tui.times import clock_time
from agentrt.visible import visible

__all__ = [
    "DECIDE",
    "FORM",
    "KEYS",
    "LOOK",
    "READ",
    "ROOM",
    "TOGETHER",
    "Standing",
    "foot",
    "head",
    "help_lines",
    "no_room",
]

ROOM = (60, 16)
"""Columns and rows below which nothing is decided."""

PINNED = (Span(" ^p", "key"), Span(" commands  ", "dim"), Span("?", "key"), Span(" help ", "dim"))
"""Never dropped: from here every other key can be found."""

DECIDE = (("a", "approve"), ("d", "reject"))
TOGETHER = (("A D", "all that belong together"),)
LOOK = (
    ("w", "why"),
    ("enter", "open"),
    ("/", "filter"),
    ("y", "copy"),
    (".", "merge"),
    ("tab", "next pane"),
    ("q", "quit"),
)
READ = (("esc", "back"), ("j k", "scroll"), ("g G", "ends"), ("q", "quit"))
FORM = (("enter", "commit"), ("esc", "back"), ("tab", "next field"))

KEYS = (
    ("1  2", "approvals, runs"),
    ("j k  arrows", "move;  pgup pgdn  g G  by pages, to the ends"),
    ("tab", "to the next pane: the call's text scrolls with the same keys"),
    ("enter", "open (it never decides)"),
    ("esc", "back (it never decides)"),
    ("a", "approve the call in view: opens a form"),
    ("d", "reject it: opens a form"),
    ("A  D", "the same for all calls that belong together with it"),
    ("w", "why: the recorded facts behind the call"),
    ("/", "filter as you type"),
    (".", "merge what is newer, or already decided, into the list"),
    ("y", "copy the id"),
    ("ctrl+p", "commands"),
    ("q", "quit"),
)

TEXTS = (
    "A decision key counts when the call has been in view, unchanged, for 0.6 s; when the "
    "terminal has the focus; and when the key is neither held down nor pasted. For a call of "
    "high or critical risk the last line of its arguments must have been on the screen, for "
    "all that belong together the arguments of each. The form takes `enter` only after it has "
    "been open for 0.6 s.",
    "What came from Claude, a tool or a user is shown as plain text; characters that a terminal "
    r"would obey or an eye would miss are spelt out: \x1b, \u202e.",
)


@dataclass(frozen=True)
class Standing:
    """What the head says: where one is, who one is, how fresh the data are."""

    screen: str
    held: int
    runs: int
    environment: str
    reviewer: str
    stale_s: float | None
    """How old the data are, when the store does not answer; None: they are live."""
    now: int


def head(standing: Standing, width: int) -> Line:
    """The first line. What there is no room for goes, the freshness of the data never does."""
    live = (
        Span("live", "ok")
        if standing.stale_s is None
        else Span(f" stale {int(standing.stale_s)} s ", "alarm")
    )
    right: Line = (live, Span(f"  {clock_time(standing.now)} "))
    left = line(
        Span(" agentrt ", "strong"),
        *_tab("1 Approvals", standing.held, here=standing.screen == "approvals"),
        *_tab("2 Runs", standing.runs, here=standing.screen == "runs"),
    )
    where, who = visible(standing.environment), visible(standing.reviewer)
    room = width - width_of(left) - width_of(right) - 2
    texts = (f"{where}  {who}", f"{where}  {who.partition(' ')[0]}", where, "")
    said = next(text for text in texts if len(text) <= max(room - 2, 0))
    return between(left, (Span(f"{said}  ", "dim"), *right), width)


def foot(keys: Sequence[tuple[str, str]], width: int) -> Line:
    """The last line: the keys that fit, most needed first; help is pinned at the right."""
    left: Line = line(" ")
    for key, does in keys:
        further = (*left, Span(key, "key"), Span(f" {does}  ", "dim"))
        if width_of(further) > width - width_of(PINNED):
            break
        left = further
    return between(left, PINNED, width)


def help_lines(width: int) -> list[Line]:
    """All keys, when a decision counts, and what is escaped."""
    keys = [line(Span(f"   {key:<14}", "key"), does) for key, does in KEYS]
    rows = (row for text in TEXTS for row in ("", *wrap(text, width - 6)))
    return [line(), *keys, *(line(Span(f"   {row}", "dim")) for row in rows)]


def no_room(width: int, height: int) -> list[Line]:
    """What is said where there is too little room to show what would be decided."""
    columns, rows = ROOM
    return [
        line(Span(fit(f" {width}x{height} is too small to decide in.", width), "alarm")),
        line(fit(f" Make it {columns}x{rows} or more; q quits.", width)),
    ]


def _tab(name: str, count: int, *, here: bool) -> Line:
    said = f" {name} {count} " if count else f" {name} "
    return (Span(" "), Span(said, "here" if here else "text"))
