"""Entries: what a call or a run can be found by, read off its records; no disk is asked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentrt.audit.query.terms import BUNDLE_SHOWN

__all__ = [
    "SEARCHED",
    "Entry",
    "Heading",
    "Known",
    "call_entry",
    "named_in",
    "run_entry",
    "scalars",
]

SHOWN = "shown"
"""Content in the form that people may see, where that is another one: this is what is searched."""

SEARCHED = frozenset(
    {"prompt", "output", "message", "blocks", "arguments", "preview", "result", "reason", SHOWN}
)
"""Content whose words can be found. Not names of people, signatures or what is repeated."""

TEXT_MAX = 4_000
"""Characters of one content that are searched: long results are data, and found by their run."""

VALUE_MAX = 256
"""Characters of an argument's value that are compared."""

_PATH = re.compile(r"\bargs((?:\.[A-Za-z_]\w*|\[[^\]]*\])+)")

_WAITING = {"held": "waiting", "deferred": "waiting", "in doubt": "doubt"}
_RUNNING = {"requested", "allowed", "approved", "started"}


@dataclass(frozen=True, slots=True)
class Heading:
    """A record's header, and its content that is searched and still exists."""

    data: Mapping[str, Any]
    bodies: Mapping[str, bytes]

    def seen(self) -> Mapping[str, bytes]:
        """The bodies as people may see them."""
        return _seen(self.bodies)


@dataclass(frozen=True, slots=True)
class Known:
    """What the run says of each of its calls."""

    agent: str
    environment: str
    model: str
    simulated: bool
    status: str
    user_ref: str | None = None


@dataclass(slots=True)
class Entry:
    """What a call or a run can be found by."""

    facts: set[tuple[str, str]] = field(default_factory=set)
    arguments: dict[tuple[str, str], float | None] = field(default_factory=dict)
    """Path and value, with the number that the value is."""
    texts: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """All that can be found by its words."""
        return "\n".join(self.texts)


def call_entry(
    headings: Sequence[Heading], run: Known, *, status: str, named: Iterable[str]
) -> Entry:
    """A call, from its records; `named` are the paths of arguments that are indexed."""
    made = Entry(set(_run_facts(run)))
    paths = frozenset(named)
    for heading in headings:
        made.facts.update(_call_facts(heading.data))
        made.texts += _texts(heading)
    made.facts.add(("outcome", _outcome(headings, status)))
    decided = [each for each in headings if each.data["type"] == "call.decided"]
    seen = [each.seen() for each in decided[-1:]]
    for body in [bodies["arguments"] for bodies in seen if "arguments" in bodies]:
        made.arguments.update(
            {(path, value): number for path, value, number in scalars(body) if path in paths}
        )
    return made


def run_entry(headings: Sequence[Heading], run: Known) -> Entry:
    """A run, from its own records."""
    made = Entry({*_run_facts(run), ("outcome", run.status)})
    for heading in headings:
        made.facts.update(_subjects(heading.data))
        if "bundle" in heading.data:
            made.facts.add(("bundle", heading.data["bundle"][:BUNDLE_SHOWN]))
        made.texts += _texts(heading)
    return made


def named_in(texts: Iterable[str]) -> frozenset[str]:
    """The paths of arguments that policy files speak of, as in `args.amount_cents > 2000`."""
    return frozenset(
        re.sub(r"\[[^\]]*\]", "", found[1]).lstrip(".")
        for text in texts
        for found in _PATH.finditer(text)
    ) - {""}


def scalars(arguments: bytes) -> Iterator[tuple[str, str, float | None]]:
    """Path, value and number of each text, number and truth in arguments; items share a path."""
    try:
        data = json.loads(arguments)
    except ValueError:
        return
    yield from _scalars("", data)


def _scalars(path: str, value: Any) -> Iterator[tuple[str, str, float | None]]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _scalars(f"{path}.{name}" if path else name, inner)
        case list():
            for inner in value:
                yield from _scalars(path, inner)
        case str():
            yield path, value[:VALUE_MAX], None
        case bool() | int() | float():
            yield path, json.dumps(value), _number(value)
        case _:
            return


def _number(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _run_facts(run: Known) -> Iterator[tuple[str, str]]:
    yield "agent", run.agent
    yield "environment", run.environment
    yield "model", run.model
    yield "simulated", "yes" if run.simulated else "no"
    if run.user_ref:
        yield "user", run.user_ref


def _call_facts(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _subjects(data)
    if reviewer := data.get("reviewer_ref") or data.get("editor_ref"):
        yield "reviewer", reviewer
    match data["type"]:
        case "call.decided":
            yield from _decision_facts(data)
        case "call.approved" | "call.rejected" | "call.expired" | "call.settled":
            yield "decision", data["type"].removeprefix("call.")
        case _:
            return


def _decision_facts(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "tool", data["tool"]
    yield "decision", data["verdict"]
    yield "effect", data["effect"]
    yield "bundle", data["bundle"][:BUNDLE_SHOWN]
    yield from (("rule", rule["id"]) for rule in data.get("rules", ()))
    yield from (("label", label) for label in data.get("labels", ()))
    if data.get("editor_ref"):
        yield "decision", "edited"


def _subjects(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Whom a record is about, as hashes."""
    for name in ("subject_ref", "subject_refs", "subjects"):
        said = data.get(name)
        for subject in [said] if isinstance(said, str) else said or ():
            if isinstance(subject, str):
                yield "subject", subject


def _outcome(headings: Sequence[Heading], status: str) -> str:
    if status == "finished":
        ended = [each.data for each in headings if each.data["type"] == "call.finished"]
        return str(ended[-1]["outcome"]) if ended else "ok"
    return "running" if status in _RUNNING else _WAITING.get(status, status)


def _texts(heading: Heading) -> Iterator[str]:
    bodies = heading.seen()
    for name in sorted(bodies.keys() & SEARCHED):
        text = "\n".join(_said(name, bodies[name]))
        if text:
            yield text[:TEXT_MAX]


def _seen(bodies: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Bodies, each in the form that `shown` gives it: an object by field, or a list of blocks."""
    if SHOWN not in bodies:
        return bodies
    kept = {name: body for name, body in bodies.items() if name != SHOWN}
    try:
        shown = json.loads(bodies[SHOWN])
    except ValueError:
        return {}  # what cannot be read is not shown, and so not found
    if isinstance(shown, dict):
        return kept | {name: json.dumps(value).encode() for name, value in shown.items()}
    return kept | {"blocks": bodies[SHOWN]}


def _said(name: str, body: bytes) -> Iterator[str]:
    try:
        data = json.loads(body)
    except ValueError:
        return
    if isinstance(data, str):
        yield data
    elif name == "blocks" and isinstance(data, list):
        texts = (block.get("text") for block in data if isinstance(block, dict))
        yield from (text for text in texts if isinstance(text, str))
    elif name != "blocks":
        yield from (value for _, value, _ in scalars(body))
