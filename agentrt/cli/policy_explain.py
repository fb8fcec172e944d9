"""`agentrt policy explain`: a recorded decision told rule by rule, from the record alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic_core import from_json

from agentrt.cli.ids import call_row
from agentrt.cli.output import Output, prints_one
from agentrt.cli.policy_telling import json_told, rule_lines
from agentrt.cli.project import Project
from agentrt.cli.telling import DIGEST_SHOWN, asked_of, pretty
from agentrt.events import CallDecided, Record
from agentrt.policy.bound import expressions
from agentrt.policy.explanation import RuleSaid, rules_said, why_so
from agentrt.visible import visible

__all__ = ["explain"]


@dataclass(frozen=True)
class _Revision:
    """A recorded decision, and what each rule said."""

    record: Record
    event: CallDecided
    said: tuple[RuleSaid, ...]

    @property
    def read(self) -> Mapping[str, Any]:
        """What was recorded as read."""
        read: Mapping[str, Any] = from_json(self.event.seen("facts")) if self.event.facts else {}
        return read


@click.command
@click.argument("call")
@click.option("--all", "every", is_flag=True, help="Every time it was decided, not only the last.")
@prints_one
@click.pass_obj
def explain(folder: Path, call: str, every: bool, output: Output) -> None:
    """Explain a recorded decision: every rule that was considered, and what made it match or not.

    All of it is as it was recorded: the rules as they stood then, the values as they were read.
    No condition is asked again.

    \b
    Example:
      agentrt policy explain @next
      agentrt policy explain @last --all --json
    """
    with Project.find(folder).open_store() as store:
        row = call_row(store, call)
        decided = [
            (record, record.event)
            for record in store.records(row.run)
            if isinstance(record.event, CallDecided) and record.event.call == row.id
        ]
        revisions = [
            _Revision(record, event, _said(event, store.bundle(event.bundle)))
            for record, event in (decided if every else decided[-1:])
        ]
    data = {
        "call": row.id,
        "run": row.run,
        "tool": row.tool,
        "status": row.status,
        "revisions": [_data(revision) for revision in revisions],
    }
    heading = f"{row.id}  {row.tool}  {row.status}  (run {row.run}, turn {row.turn})"
    lines = [heading, *(line for one in revisions for line in _lines(one, output))]
    if not revisions:
        lines.append("No policy has decided it yet.")
    output.one(data, (visible(line) for line in lines))


def _said(event: CallDecided, texts: Mapping[str, str] | None) -> tuple[RuleSaid, ...]:
    return rules_said(event, event.seen("facts"), texts or {})


# --- for people -------------------------------------------------------------------------


def _lines(revision: _Revision, output: Output) -> Iterator[str]:
    event = revision.event
    policy = event.bundle[:DIGEST_SHOWN]
    time = output.time(revision.record.at)
    yield ""
    yield f"revision {event.revision}  {event.verdict}  {time}  policy {policy} as it was then"
    yield from _forgotten(revision.record)
    yield from _block("arguments", pretty(event.seen("arguments")))
    yield from _changed(event)
    for said in revision.said:
        yield from rule_lines(said)
    if not revision.said:
        yield "no rule covers the tool"
    for what, where in revision.read.get("found", {}).items():
        yield f"found       {what}: {where}"
    yield f"came to     {why_so(event, revision.said)}"
    yield from _block("because", event.reason.splitlines())
    yield from _obligations(event, output)


def _forgotten(record: Record) -> Iterator[str]:
    if record.forgotten:
        yield f"forgotten   {', '.join(sorted(record.forgotten))}"


def _block(name: str, lines: Sequence[str]) -> Iterator[str]:
    for index, line in enumerate(lines or [""]):
        yield f"{name if index == 0 else '':<11} {line}"


def _changed(event: CallDecided) -> Iterator[str]:
    for name, (before, after) in _settings(event).items():
        yield f"set         {name}: {json_told(before)} -> {json_told(after)}"
    if event.editor is not None:
        yield f"edited      by {event.editor}"


def _obligations(event: CallDecided, output: Output) -> Iterator[str]:
    if event.approver is not None:
        terms = event.approver
        until = output.time(terms.expires_at)
        yield f"asks for    {asked_of(terms)}, severity {terms.severity}, until {until}"
        if terms.four_eyes:
            yield "            not the user the run works for (four eyes)"
        if terms.reason_required:
            yield "            a reason is required"
    if event.group is not None:
        yield f"group       {event.group}: the calls of its turn held for the same reason"
    if event.awaiting:
        until = output.time(event.until)
        yield f"waits for   {', '.join(event.awaiting)} until {until}, then a person is asked"


def _settings(event: CallDecided) -> dict[str, tuple[Any, Any]]:
    """The arguments that rules set, before and after; none when they were forgotten."""
    if event.asked is None:
        return {}
    before, after = from_json(event.seen("asked")), from_json(event.seen("arguments"))
    return {name: (before.get(name), after.get(name)) for name in event.changed}


# --- as JSON ----------------------------------------------------------------------------


def _data(revision: _Revision) -> dict[str, Any]:
    record, event = revision.record, revision.event
    recorded = event.data()
    names = ("revision", "verdict", "basis", "reason", "bundle", "arguments", "approver", "group")
    settings = _settings(event)
    return {
        **{name: recorded.get(name) for name in names},
        "at": record.at,
        "forgotten": sorted(record.forgotten),
        "why": why_so(event, revision.said),
        "rules": [_rule_data(said) for said in revision.said],
        "found": revision.read.get("found", {}),
        "set": {name: {"before": old, "after": new} for name, (old, new) in settings.items()},
        "awaiting": list(event.awaiting),
        "until": event.until,
    }


def _rule_data(said: RuleSaid) -> dict[str, Any]:
    rule = said.rule
    return {
        **said.ref.model_dump(),
        "state": said.state,
        "decides": said.decides,
        "shadow": said.shadow,
        "decide": rule.decide if rule else None,
        "expressions": {".".join(path): text for path, text in expressions(rule)} if rule else {},
        "values": dict(said.values),
        "limit": said.limit,
        "error": said.error,
        "waits_for": said.waits_for,
        "text": "\n".join(said.text),
    }
