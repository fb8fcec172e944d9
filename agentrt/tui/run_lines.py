"""Runs as lines: the list, and one run as the facts that it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from agentrt.audit import RunRow
from agentrt.events import CallDecided, Record
from agentrt.run import Fact, Run, Why, tell
from agentrt.run.state import call_id
from agentrt.tui.lines import Line, Span, fit, fit_line, line, ruled, wrap
from agentrt.tui.times import clock_time, span_of
from agentrt.visible import visible

__all__ = [
    "call_of",
    "cost",
    "empty_runs",
    "matches",
    "run_facts",
    "run_heads",
    "run_row",
    "run_title",
    "why_lines",
]

STATUS_STYLES = {
    "running": "key",
    "waiting": "medium",
    "finished": "ok",
    "failed": "bad",
    "cancelled": "dim",
}

FACT_STYLES = {
    "run.started": "strong",
    "run.finished": "ok",
    "run.failed": "bad",
    "run.cancelled": "bad",
    "claude.replied": "text",
    "claude.failed": "bad",
    "call.decided": "medium",
    "call.approved": "ok",
    "call.rejected": "bad",
    "call.expired": "bad",
    "call.doubted": "critical",
}

NUMBER_CELLS, TYPE_CELLS = 5, 15
HEAD_CELLS = 3 + NUMBER_CELLS + 11 + TYPE_CELLS


def run_heads(width: int) -> Line:
    """The heads of the columns of the list of runs."""
    texts = ("STATUS", "AGENT", "USER", "COST", "AGE", "PROMPT")
    return line(Span(_columns(texts, width), "dim"))


def run_row(row: RunRow, *, now: int, width: int) -> Line:
    """A run of the list."""
    texts = (
        row.status,
        visible(row.agent),
        visible(row.user or "-"),
        cost(Decimal(row.cost_usd), unknown=row.cost_unknown, simulated=row.simulated),
        span_of(now - row.started_at),
        visible(row.prompt),
    )
    text = _columns(texts, width)
    status = Span(text[3:12], STATUS_STYLES.get(row.status, "text"))
    return fit_line(line(text[:3], status, text[12:]), width)


def cost(usd: Decimal, *, unknown: bool, simulated: bool) -> str:
    """Dollars; `+ ?` says that a part of them has no known price. A simulated run cost nothing."""
    if simulated:
        return "simulated"
    return f"${usd:.4f}" + (" + ?" if unknown else "")


def matches(row: RunRow, words: str) -> bool:
    """Whether every one of the words is somewhere in what the list says of the run."""
    texts = (row.id, row.status, row.agent, row.user, row.prompt, row.environment, row.model)
    haystack = " ".join(text for text in texts if text).lower()
    return all(word in haystack for word in words.lower().split())


def empty_runs(filtered: str) -> list[Line]:
    """What an empty list says: what would fill it."""
    if filtered:
        text = f"No run matches {visible(filtered)!r}. `/` changes the filter, `esc` ends it."
        return [line(), line(f"   {text}")]
    return [
        line(),
        line(Span("   No runs yet.", "strong")),
        line(),
        line('   `agentrt run "what to do"` starts one; it appears here at once.'),
    ]


def run_title(run: Run, *, width: int) -> Line:
    """A run in one line."""
    said = cost(run.cost_usd, unknown=run.cost_unknown, simulated=run.simulated)
    title = (
        Span(run.id, "strong"),
        Span(f"  {visible(run.agent)}  "),
        Span(run.status, STATUS_STYLES.get(run.status, "text")),
        Span(f"   {said}   turn {run.turn} of {run.turns_max}   {run.seq} records", "dim"),
    )
    return ruled(title, width)


def call_of(record: Record) -> str | None:
    """The call that a record speaks of; of a reply, the first one it asks for."""
    event = record.event
    if event.type == "claude.replied":
        asks = event.stop_reason == "tool_use"
        return call_id(record.run, event.turn, 0) if asks else None
    return getattr(event, "call", None)


def run_facts(records: Sequence[Record], *, width: int) -> Iterator[tuple[str, tuple[Line, ...]]]:
    """The facts of a run in order, each with a key of its own and its lines."""
    tools: dict[str, str] = {}
    for record, fact in zip(records, tell(records), strict=True):
        if isinstance(record.event, CallDecided):
            tools[record.event.call] = record.event.tool
        call = getattr(record.event, "call", None)
        subject = f"{tools.get(call, '?')}: " if call else ""
        yield str(fact.seq), tuple(_fact_lines(fact, subject, width))


def why_lines(why: Why, *, width: int) -> Iterator[Line]:
    """The answer to *why did this call happen*, to be read."""
    call = why.call
    yield line(Span(f"   {visible(call.tool)} {call.status}", "strong"), f"   of {why.run.id}")
    for fact in why.led_here:
        yield from _fact_lines(fact, "", width)
    if why.followed:
        yield line(Span("   what followed", "strong"))
    for fact in why.followed:
        yield from _fact_lines(fact, "", width)


def _fact_lines(fact: Fact, subject: str, width: int) -> Iterator[Line]:
    style = FACT_STYLES.get(fact.type, "dim")
    room = max(width - HEAD_CELLS - 1, 20)
    first, *more = wrap(visible(subject + fact.text), room)
    yield line(
        Span(f"   {fact.seq:>4} {clock_time(fact.at)}  ", "dim"),
        Span(fit(fact.type, TYPE_CELLS), style),
        Span(first, style),
    )
    yield from (line(Span(f"{'':<{HEAD_CELLS}}{row}", style)) for row in more)
    for detail in fact.details:
        for row in wrap(visible(detail, lines=True), max(width - 14, 20)):
            yield line(f"{'':<12} {row}")


def _columns(texts: Sequence[str], width: int) -> str:
    status, agent, user, spent, age, prompt = texts
    name = 14 if width >= 70 else 10
    head = f"   {fit(status, 9)} {fit(agent, name)} "
    head += f"{fit(user, 9)} " if width >= 70 else ""
    head += f"{fit(spent, 10)} {fit(age, 7)} "
    return head + fit(prompt, width - len(head))
