"""The approval queue as lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agentrt.audit import ApprovalRow, CallRow
from agentrt.policy.rules import SEVERITIES
from agentrt.tui.lines import Line, Span, between, fit, fit_line, line
from agentrt.tui.theme import risk
from agentrt.tui.times import span_of
from agentrt.visible import visible

__all__ = [
    "WIDE",
    "call_row",
    "column_heads",
    "empty_queue",
    "matches",
    "outcome",
    "queue_summary",
]

WIDE = 110
"""From so many columns on there is room for agent and rule."""

LEFT, STATE, TOOL, AGENT, RULE = 9, 7, 16, 12, 14


def column_heads(width: int) -> Line:
    """The heads of the queue's columns."""
    heads = ("RISK", "LEFT", "TOOL", "WHAT IT WILL DO", "AGENT", "RULE", "STATE")
    return fit_line(line(Span(_row(heads, width), "dim")), width)


def call_row(row: CallRow, *, now: int, width: int, outcome: str | None = None) -> Line:
    """A call of the queue; `outcome` says what became of one that has left it."""
    mark = risk(row.severity)
    cells = (
        mark.text,
        "" if outcome else _left(row, now),
        visible(row.tool),
        outcome or visible(row.summary),
        visible(row.agent),
        visible(_rule(row)),
        "done" if outcome else f"{row.approvals}/{row.quorum}",
    )
    text = _row(cells, width)
    style = "dim" if outcome else "text"
    shown = Span(text[3:10], "dim" if outcome else mark.style)
    return fit_line(line(Span(text[:3], style), shown, Span(text[10:], style)), width)


def outcome(row: CallRow, said: Sequence[ApprovalRow]) -> str:
    """What became of a call that is held no more, in a few words."""
    words = {"approve": "approved by", "reject": "rejected by"}
    last = said[-1] if said else None
    by = f"{words[last.verdict]} {visible(last.by)}" if last else row.status
    return by if last is None or row.status in ("approved", "rejected") else f"{by}, {row.status}"


def queue_summary(
    rows: Sequence[CallRow], *, newer: int, now: int, width: int, filtered: str = ""
) -> Line:
    """How many calls wait, how risky they are, and when the first one expires."""
    counts = Counter(row.severity or SEVERITIES[-1] for row in rows)
    marks = [_count(severity, counts[severity]) for severity in reversed(SEVERITIES)]
    expiry = min((row.expires_at for row in rows if row.expires_at is not None), default=None)
    soonest = "" if expiry is None else f"   next to expire {span_of(expiry - now)}"
    left = line(f" {len(rows)} held   ", *marks, Span(soonest, "dim"))
    right = line(
        Span(f"/ {fit(visible(filtered), 16).rstrip()}  " if filtered else "", "key"),
        Span(f"{newer} newer above   . merge " if newer else "", "key"),
    )
    return between(left, right, width)


def empty_queue(*, filtered: str, last: tuple[int, str] | None, now: int) -> list[Line]:
    """What an empty queue says: what would fill it, and what to do next."""
    if filtered:
        text = f"No held call matches {visible(filtered)!r}. `/` changes the filter, `esc` ends it."
        return [line(), line(f"   {text}")]
    before = "" if last is None else f"The last one {last[1]}, {span_of(now - last[0])} ago."
    return [
        line(),
        line(Span("   No held calls. ", "strong"), Span(before)),
        line(),
        line("   Calls that the policy holds appear here as soon as an agent asks for them."),
        line("   `2` shows the runs; `agentrt run` starts one; `?` shows the keys."),
    ]


def matches(row: CallRow, words: str) -> bool:
    """Whether every one of the words is somewhere in the call."""
    texts = (row.id, row.run, row.tool, row.agent, row.user, row.rule, row.severity, row.summary)
    haystack = " ".join(text for text in texts if text).lower()
    return all(word in haystack for word in words.lower().split())


def _row(cells: Sequence[str], width: int) -> str:
    mark, left, tool, what, agent, rule, state = cells
    wide = width >= WIDE
    tail = f"  {fit(agent, AGENT)}  {fit(rule, RULE)}" if wide else ""
    head = f"   {fit(mark, 7)}  {fit(left, LEFT)}{fit(tool, TOOL)}  "
    room = width - len(head) - len(tail) - STATE - 1
    return f"{head}{fit(what, room)}{tail}  {fit(state, STATE - 2)}"


def _rule(row: CallRow) -> str:
    """The id and the line; the file is in the call's own text."""
    name, _, place = (row.rule or "").partition(" ")
    return f"{name}:{place.rpartition(':')[2]}" if name else "by default"


def _left(row: CallRow, now: int) -> str:
    if row.expires_at is None:
        return "no end"
    return span_of(row.expires_at - now) if row.expires_at > now else "over"


def _count(severity: str, count: int) -> Span:
    mark = risk(severity)
    word = " ".join(mark.text.split())
    return Span(f"{word} {count}   ", mark.style if count else "dim")
