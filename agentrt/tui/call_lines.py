"""A held call as lines: everything that a person needs to decide it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic_core import from_json

from agentrt.approvals import Shown, group_digest, together
from agentrt.approvals.verdicts import standing
from agentrt.events import RuleRef
from agentrt.run import Run, ToolCall
from agentrt.run.why import readings
from agentrt.tui.arming import CONFIRMED_DIGITS
from agentrt.tui.lines import LABEL_CELLS, Line, Span, line, ruled, section, width_of, wrap
from agentrt.tui.theme import risk
from agentrt.tui.times import clock_time, day_and_time, span_of
from agentrt.visible import hidden, visible

__all__ = ["CallText", "call_text", "call_title", "rule_text"]

LED_HERE_MAX = 12
"""How many pieces of the conversation before the call are shown; the run has them all."""

PIECE_MAX = 600
"""Characters of one such piece."""


@dataclass(frozen=True)
class CallText:
    """The lines of a call, and the numbers of those that end its arguments and its group's."""

    lines: tuple[Line, ...] = ()
    arguments_end: int = 0
    group_end: int = 0


def call_title(shown: Shown, *, now: int, width: int, more: bool) -> Line:
    """The call in one line; `more` says that not all of its text is in view."""
    call, run = shown.call, shown.run
    mark = risk(call.approver.severity if call.approver else None)
    ends = call.expires_at
    left = "" if ends is None or call.status != "held" else f"   {span_of(ends - now)} left"
    title = (
        Span(call.id, "strong"),
        Span(f"  {visible(call.tool)}  ", "strong"),
        Span(" ".join(mark.text.split()), mark.style),
        Span(f"{left}   {run.id} turn {call.turn}", "dim"),
    )
    hint = line(Span(" tab: read on ", "key")) if more else ()
    return (*ruled(title, width - width_of(hint)), *hint)


def call_text(
    shown: Shown, *, policy: Mapping[str, str] | None, may: str | None, width: int
) -> CallText:
    """The call in full. `policy` are the files that decided it, `may` why one may not decide."""
    call, room = shown.call, max(width - LABEL_CELLS - 1, 20)
    before = [
        *section("WHY HELD", _why_held(call, room)),
        *section("WILL DO", _will_do(call, room)),
        *section("ARGS", _arguments(call, room)),
    ]
    others = section("TOGETHER", _together(shown, room))
    after = [
        *section("DIGEST", _digest(call.arguments_digest, room)),
        *section("ASKED BY", _asked_by(shown.run, call, room)),
        *section("LED HERE", _led_here(shown.run, call, room)),
        *section("APPROVALS", _approvals(call, room)),
        *section("YOU MAY", _you_may(may, room)),
        *section("THEN", _then(shown.run, call, room)),
        *section("RULE", _rules(call, policy, room)),
    ]
    end = len(before) - 1
    return CallText((*before, *others, *after), arguments_end=end, group_end=end + len(others))


def rule_text(text: str, at: int) -> list[str]:
    """The rule that begins in line `at` (from 1) of a policy file, up to the next one."""
    rows = text.splitlines()
    if not 0 < at <= len(rows):
        return []
    # A rule's place is its first key, which may stand behind the dash or below it.
    indent = len(rows[at - 1]) - len(rows[at - 1].lstrip(" -"))
    inside = list(rows[at - 1 : at])
    for row in rows[at:]:
        if row.strip() and len(row) - len(row.lstrip(" ")) < indent:
            break
        inside.append(row)
    return [row for row in inside if row.strip()]


def _texts(text: str, room: int, style: str = "text") -> Iterator[Line]:
    """Untrusted text: escaped, then whole in as many lines as it takes."""
    for row in wrap(visible(text, lines=True), room):
        yield line(Span(row, style))


def _why_held(call: ToolCall, room: int) -> Iterator[Line]:
    for rule in call.rules:
        yield from _texts(f"{rule.id}   {rule.file}:{rule.line}", room, "strong")
    if not call.rules:
        yield from _texts(f"by {call.basis}, no rule speaks of it", room, "strong")
    yield from _texts(call.reason, room)
    for read in readings(call.seen("facts")):
        yield from _texts(read, room, "dim")


def _will_do(call: ToolCall, room: int) -> Iterator[Line]:
    said = call.preview or "The tool gives no preview: its arguments are all there is to go by."
    yield from _texts(said, room, "strong" if call.preview else "dim")
    if call.effect == "irreversible":
        yield line(Span("NOT REVERSIBLE", "critical"))
    else:
        yield from _texts(call.effect, room, "dim")
    if call.labels:
        yield from _texts(", ".join(call.labels), room, "dim")


def _arguments(call: ToolCall, room: int) -> Iterator[Line]:
    data = from_json(call.seen_arguments)
    count = sum(hidden(text) for text in _strings(data))
    fields = len(data) if isinstance(data, dict) else 1
    unseen = f"{count} hidden characters, spelt out" if count else "no hidden characters"
    yield line(
        f"{fields} {'field' if fields == 1 else 'fields'}, ",
        Span(unseen, "alarm" if count else "ok"),
    )
    if call.editor:
        yield from _texts(f"edited by {call.editor}", room, "medium")
    if call.changed:
        asked = (call.seen("asked") or b"").decode(errors="replace")
        text = f"policy set {', '.join(call.changed)}; asked for was {asked}"
        yield from _texts(text, room, "medium")
    yield from _texts(json.dumps(data, indent=2, ensure_ascii=False), room)


def _together(shown: Shown, room: int) -> Iterator[Line]:
    """The other calls that one decision may cover, each with its arguments whole."""
    group = together(shown)
    if len(group) == 1:
        return
    text = f"one of {len(group)} calls that belong together: A approves them all, D rejects them"
    yield from _texts(text, room, "key")
    for other in group:
        if other != shown:
            yield line()
            yield from _other(other.call, room)
    yield line()
    yield line(Span(f"the digest of all {len(group)}", "dim"))
    yield from _digest(group_digest(group), room)


def _other(call: ToolCall, room: int) -> Iterator[Line]:
    mark = risk(call.approver.severity if call.approver else None)
    yield line(
        Span(f"{call.id}  {visible(call.tool)}  ", "strong"),
        Span(" ".join(mark.text.split()), mark.style),
    )
    yield from _will_do(call, room)
    yield from _arguments(call, room)


def _strings(data: Any) -> Iterator[str]:
    match data:
        case str():
            # The screen spells a line feed inside a value as \\n: it hides nothing.
            yield data
        case dict():
            for name, value in data.items():
                yield name
                yield from _strings(value)
        case list():
            for value in data:
                yield from _strings(value)


def _digest(digest: str, room: int) -> Iterator[Line]:
    """The end stands apart: it is what a critical call asks to be retyped."""
    begin, end = digest[:-CONFIRMED_DIGITS], digest[-CONFIRMED_DIGITS:]
    *full, last = wrap(begin, room - CONFIRMED_DIGITS - 1)
    yield from (line(Span(row, "dim")) for row in full)
    yield line(Span(last, "dim"), Span(f" {end}", "strong"))


def _asked_by(run: Run, call: ToolCall, room: int) -> Iterator[Line]:
    user = run.user
    who = ", ".join((user.name, *user.roles, user.verified)) if user else "nobody named"
    yield from _texts(f"{who} asked the agent {run.agent}", room)
    if run.parent:
        yield from _texts(f"it follows the run {run.parent}", room)
    yield from _texts(f'"{_cut(run.prompt_seen)}"', room)
    began, asked = day_and_time(run.started_at), clock_time(call.requested_at)
    yield line(Span(f"{began}; the call came {asked}", "dim"))


def _led_here(run: Run, call: ToolCall, room: int) -> Iterator[Line]:
    pieces = list(_conversation(run, call))
    left_out = len(pieces) - LED_HERE_MAX
    if left_out > 0:
        yield line(Span(f"{left_out} earlier pieces are left out; enter: the whole run", "dim"))
    for who, text in islice(pieces, max(left_out, 0), None):
        first, *more = wrap(visible(_cut(text), lines=True), room - 9)
        yield line(Span(f"{who:<7}  ", "dim"), Span(first))
        yield from (line(f"{'':<9}{row}") for row in more)
    if not pieces:
        yield line(Span("it is the first thing that Claude did", "dim"))


def _conversation(run: Run, call: ToolCall) -> Iterator[tuple[str, str]]:
    """What was said, called and returned between the prompt and the call."""
    names: dict[str, str] = {}
    for place, raw in islice(enumerate(run.messages), run.inherited + 1, None):
        content = from_json(run.messages_seen.get(place, raw))["content"]
        for block in content if isinstance(content, list) else ():
            if block.get("id") == call.tool_use_id:
                return
            piece = _piece(block, names)
            if piece is not None:
                yield piece


def _piece(block: Mapping[str, Any], names: dict[str, str]) -> tuple[str, str] | None:
    match block["type"]:
        case "text":
            return "said", block["text"]
        case "tool_use":
            names[block["id"]] = block["name"]
            return "called", f"{block['name']} {json.dumps(block['input'], ensure_ascii=False)}"
        case "tool_result":
            name = names.get(block["tool_use_id"], "a tool")
            failed = " failed" if block.get("is_error") else ""
            return "got", f"{name}{failed}: {_result_text(block['content'])}"
    return None


def _result_text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _approvals(call: ToolCall, room: int) -> Iterator[Line]:
    roles = f" by {', '.join(call.approver.roles)}" if call.approver and call.approver.roles else ""
    yield from _texts(f"{len(call.approvals)} of {call.quorum} needed{roles}", room)
    for given in call.approvals:
        reason = f'"{given.reason}"' if given.reason else "no reason"
        yield from _texts(f"{given.by}  {clock_time(given.at)}  {reason}", room, "ok")


def _you_may(may: str | None, room: int) -> Iterable[Line]:
    if may is None:
        return [line("approve, reject")]
    return _texts(f"not decide: {may}", room, "bad")


def _then(run: Run, call: ToolCall, room: int) -> Iterable[Line]:
    if call.status != "held":
        return _texts(standing(run, call), room)
    if call.expires_at is None:
        return [line("it waits for as long as it takes")]
    text = f"at {day_and_time(call.expires_at)} it expires and counts as rejected"
    return _texts(text, room)


def _rules(call: ToolCall, policy: Mapping[str, str] | None, room: int) -> Iterator[Line]:
    if policy is None:
        yield line(Span(f"policy {call.bundle[:12]} is not recorded here", "dim"))
        return
    for rule in call.rules:
        yield from _rule(rule, policy, room)
    yield line(Span(f"policy {call.bundle[:12]}, as it was recorded", "dim"))


def _rule(rule: RuleRef, policy: Mapping[str, str], room: int) -> Iterator[Line]:
    rows: Sequence[str] = rule_text(policy.get(rule.file, ""), rule.line)
    for number, row in enumerate(rows, start=rule.line):
        yield from _texts(f"{number:>4} {row}", room, "dim")


def _cut(text: str) -> str:
    left_out = len(text) - PIECE_MAX
    return f"{text[:PIECE_MAX]} [{left_out} more characters]" if left_out > 0 else text
