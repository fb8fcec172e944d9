"""Why a call happened: the chain of recorded facts behind it, and what followed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from pydantic_core import from_json

from agentrt.errors import NotFound
from agentrt.events import (
    AnyEvent,
    BundleLoaded,
    BundleRefused,
    CallAbandoned,
    CallApproved,
    CallDecided,
    CallDoubted,
    CallExpired,
    CallFinished,
    CallRejected,
    CallSettled,
    CallStarted,
    CheckpointSigned,
    ClaudeAsked,
    ClaudeFailed,
    ClaudeReplied,
    ContentForgotten,
    ContentReduced,
    ErasureResumed,
    ErasureSuspended,
    FactStated,
    Record,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
)
from agentrt.run.evolve import CHECKED, evolve
from agentrt.run.state import Run, ToolCall, moment

__all__ = [
    "ABANDONED",
    "Fact",
    "Why",
    "decided_with",
    "explain",
    "fact_data",
    "readings",
    "tell",
    "told",
]

TEXT_MAX = 2_000
"""Characters of one recorded text that the story repeats; the record holds the rest."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One record of the story: what it says in a line, and what can be said below it."""

    seq: int
    at: int
    type: str
    text: str
    details: tuple[str, ...] = ()
    hash: str = ""
    """The record's hash in hex: what verification and receipts name it by."""


@dataclass(frozen=True, slots=True)
class Why:
    """The answer to *why did this call happen*, from the store alone."""

    run: Run
    call: ToolCall
    led_here: tuple[Fact, ...]
    """The chain of causes, oldest first, down to the call's own last fact."""
    followed: tuple[Fact, ...]
    """What came of it."""

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Where its function came back late and says something else than was settled."""
        return tuple(c.text for c in self.run.contradictions if c.call == self.call.id)

    def lines(self) -> Iterator[str]:
        """The story as plain lines. The texts in it are untrusted and not escaped."""
        call = self.call
        yield f"{call.id}  {call.tool}  {call.status}  (run {self.run.id}, turn {call.turn})"
        yield from (f"CONTRADICTED: {text}" for text in self.contradictions)
        yield from told(self.led_here)
        if self.followed:
            yield "what followed"
            yield from told(self.followed)

    def data(self) -> dict[str, Any]:
        """The story as JSON data."""
        return {
            "call": self.call.id,
            "tool": self.call.tool,
            "status": self.call.status,
            "attempts": self.call.attempt,
            "key": self.call.key or None,
            "contradictions": list(self.contradictions),
            "run": self.run.id,
            "parent": self.run.parent,
            "led_here": [fact_data(fact) for fact in self.led_here],
            "followed": [fact_data(fact) for fact in self.followed],
        }


def explain(records: Sequence[Record], call: str) -> Why:
    """Why `call` happened, told from the records of its run.

    Raises NotFound when none of the records speaks of the call.
    """
    by_seq = {record.seq: record for record in records}
    own = [record for record in records if getattr(record.event, "call", None) == call]
    if not own:
        raise NotFound(f"No record of this run speaks of the call {call}.")
    run, subject = _standing(records, call)
    chain = _causes(own, by_seq)
    after = [record for record in _following(records, own[-1]) if record.seq not in chain]
    return Why(
        run=run,
        call=subject,
        led_here=tuple(_fact(by_seq[seq], by_seq, subject) for seq in sorted(chain)),
        followed=tuple(_fact(record, by_seq, subject) for record in after),
    )


def tell(records: Sequence[Record]) -> tuple[Fact, ...]:
    """Every record of a run as a fact, in the order given. The texts are not escaped."""
    by_seq = {record.seq: record for record in records}
    return tuple(_fact(record, by_seq, None) for record in records)


def decided_with(event: CallApproved | CallRejected) -> tuple[str, ...]:
    """The calls that one statement decided with this one; none when it was forgotten."""
    statement = from_json(event.statement)
    named = [each.get("call") for each in (statement, *statement.get("also", ()))]
    return tuple(call for call in named if call != event.call) if event.call in named else ()


def _standing(records: Sequence[Record], id: str) -> tuple[Run, ToolCall]:
    run = Run(records[0].run)
    for record in records:
        run = evolve(run, record)
    call = run.call(id)
    if call is None:
        raise NotFound(f"The run {run.id} has no call {id}.")
    return run, call


def _causes(own: Sequence[Record], by_seq: Mapping[int, Record]) -> set[int]:
    """The walk over causes, from each of the call's records back to the start of the run."""
    chain: set[int] = set()
    for record in own:
        at: Record | None = record
        while at is not None and at.seq not in chain:
            chain.add(at.seq)
            at = by_seq.get(at.event.cause) if at.event.cause is not None else None
    return chain


def _following(records: Sequence[Record], last: Record) -> Iterator[Record]:
    """The next reply after the call, and how the run ended."""
    later = [record for record in records if record.seq > last.seq]
    reply = next((record for record in later if isinstance(record.event, ClaudeReplied)), None)
    if reply is not None:
        yield reply
    yield from (
        record
        for record in later
        if isinstance(record.event, RunFinished | RunFailed | RunCancelled)
    )


def told(facts: Sequence[Fact]) -> Iterator[str]:
    """Facts as plain lines. The texts in them are untrusted and not escaped."""
    for fact in facts:
        time = moment(fact.at).strftime("%Y-%m-%d %H:%M:%SZ")
        yield f"  {fact.seq:>4}  {time}  {fact.type:<14}  {fact.text}"
        for detail in fact.details:
            first, *more = detail.split("\n")
            yield f"{'':>46}{first}"
            # Marked, so that a text of many lines cannot pass for lines of the story.
            yield from (f"{'':>46}| {line}" for line in more)


def fact_data(fact: Fact) -> dict[str, Any]:
    """A fact as JSON data."""
    return {
        "seq": fact.seq,
        "at": fact.at,
        "type": fact.type,
        "text": fact.text,
        "details": list(fact.details),
        "hash": fact.hash,
    }


def _fact(record: Record, by_seq: Mapping[int, Record], call: ToolCall | None) -> Fact:
    text, details = _story(record.event, by_seq, call)
    if record.forgotten:
        details = [*details, f"forgotten since: {', '.join(sorted(record.forgotten))}"]
    return Fact(record.seq, record.at, record.event.type, text, tuple(details), record.hash.hex())


def _story(  # noqa: C901 - one line for each kind of event
    event: AnyEvent, by_seq: Mapping[int, Record], call: ToolCall | None
) -> tuple[str, list[str]]:
    match event:
        case RunStarted():
            return _started(event)
        case ClaudeAsked() | ClaudeReplied() | ClaudeFailed():
            return _claude_story(event, call)
        case RunFinished():
            return f"the run finished ({event.stop_reason})", [f'"{_cut(event.output)}"']
        case RunFailed():
            return f"the run failed: {event.code}", [_cut(event.message)]
        case RunCancelled():
            return f"{event.by} cancelled the run", [f'"{_cut(event.reason)}"']
        case RunResumed():
            return f"{event.by} let the run go on", []
        case FactStated():
            return f"{event.by} stated {event.name}", [_cut(event.value.decode(errors="replace"))]
        case BundleLoaded() | BundleRefused():
            return _policy_story(event)
        case CheckpointSigned():
            return f"a checkpoint over {event.size} heads was signed", [f"by {event.key}"]
        case ContentReduced() | ContentForgotten() | ErasureSuspended() | ErasureResumed():
            return _erasure_story(event)
        case _:
            return _call_story(event, by_seq)


def _erasure_story(
    event: ContentReduced | ContentForgotten | ErasureSuspended | ErasureResumed,
) -> tuple[str, list[str]]:
    match event:
        case ContentReduced():
            return "what Claude wrote is kept as it is shown", list(event.replaced)
        case ContentForgotten():
            kinds = ", ".join(f"{count} {kind}" for kind, count in event.kinds.items())
            who = f"{event.by} ({event.ground})"
            return f"content was forgotten: {kinds}", [f'by {who}: "{_cut(event.reason)}"']
        case ErasureSuspended():
            return f"{event.by} put the hold {event.hold} on it", [f'"{_cut(event.reason)}"']
        case ErasureResumed():
            return f"{event.by} released the hold {event.hold}", [f'"{_cut(event.reason)}"']
        case _:
            assert_never(event)


def _claude_story(
    event: ClaudeAsked | ClaudeReplied | ClaudeFailed, call: ToolCall | None
) -> tuple[str, list[str]]:
    match event:
        case ClaudeAsked():
            sent = f"{event.messages} messages, digest {event.request_digest[:12]}"
            return f"{event.model} was asked (turn {event.turn}, request {event.ask})", [sent]
        case ClaudeReplied():
            return _replied(event, call)
        case ClaudeFailed():
            return f"no reply: {event.kind}", [_cut(event.message)]
        case _:
            assert_never(event)


def _policy_story(event: BundleLoaded | BundleRefused) -> tuple[str, list[str]]:
    if isinstance(event, BundleLoaded):
        return f"policy {event.bundle[:12]} was loaded", []
    problems = _cut("\n".join(from_json(event.problems)))
    return f"a policy was refused, and {event.bundle[:12]} stayed", [problems]


def _call_story(
    event: CallDecided
    | CallApproved
    | CallRejected
    | CallExpired
    | CallStarted
    | CallFinished
    | CallDoubted
    | CallAbandoned
    | CallSettled,
    by_seq: Mapping[int, Record],
) -> tuple[str, list[str]]:
    match event:
        case CallDecided():
            return _decided(event)
        case CallApproved():
            return f"{event.by} approved it{_with_others(event)}", _signed(event, by_seq)
        case CallRejected():
            return f"{event.by} rejected it{_with_others(event)}", _signed(event, by_seq)
        case CallExpired():
            return "nobody decided in time, so it counts as rejected", []
        case CallStarted():
            used = ", ".join(str(seq) for seq in event.approvals) or "none needed"
            return f"attempt {event.attempt} started with key {event.key}", [
                f"arguments {event.arguments_digest[:12]}, approvals used: {used}, "
                f"process {event.process}"
            ]
        case CallFinished():
            took = f"attempt {event.attempt} came back ({event.outcome}, {event.duration_ms} ms)"
            return took, [_cut(event.result)]
        case CallDoubted():
            return _doubted(event)
        case CallAbandoned():
            return f"attempt {event.attempt} was abandoned before its function was entered", [
                ABANDONED[event.why]
            ]
        case CallSettled():
            verdict = "it happened" if event.happened else "it did not happen"
            return f"settled by {event.by or event.method}: {verdict}", [_cut(event.reason)]
        case _:
            assert_never(event)


ABANDONED = {
    "not_carried": "its process carried the run no longer",
    "too_late": "its process had stood still for longer than a lease allows",
}


def _doubted(event: CallDoubted) -> tuple[str, list[str]]:
    if event.refused is not None:
        return f"the settlement in record {event.refused} does not count", [_cut(event.reason)]
    details = [_cut(event.reason)]
    if event.checked:
        said = f": {_cut(event.check_said)}" if event.check_said else ""
        details.append(f"{CHECKED[event.checked]}{said}")
    return f"attempt {event.attempt} is in doubt", details


def _started(event: RunStarted) -> tuple[str, list[str]]:
    user = event.user
    who = f"{user.name} ({', '.join((*user.roles, user.verified))})" if user else "nobody named"
    simulated = ", simulated" if event.simulated else ""
    follows = [f"it follows the run {event.parent}"] if event.parent else []
    return f"{who} asked the agent {event.agent}", [
        *follows,
        f'"{_cut(event.seen("prompt"))}"',
        f"model {event.model}, policy {event.bundle[:12]}, {event.environment}{simulated}, "
        f"service {event.service}",
    ]


def _replied(event: ClaudeReplied, call: ToolCall | None) -> tuple[str, list[str]]:
    said = f"{event.model} replied ({event.stop_reason}, {event.message_id})"
    blocks = from_json(event.seen("blocks"))
    if not isinstance(blocks, list):
        return said, ["what it said was forgotten"]
    return said, [_block_line(block, call) for block in blocks]


def _block_line(block: Mapping[str, Any], call: ToolCall | None) -> str:
    match block["type"]:
        case "text":
            return f'said: "{_cut(block["text"])}"'
        case "thinking":
            return f'thought: "{_cut(block["thinking"])}"' if block["thinking"] else "thought"
        case "tool_use":
            this = call is not None and block["id"] == call.tool_use_id
            mark = "asked for this call" if this else "asked for"
            return f"{mark}: {block['name']} {_json(block['input'])}"
        case other:
            return f"sent a block of type {other}"


def _decided(event: CallDecided) -> tuple[str, list[str]]:
    edited = f" after an edit by {event.editor}" if event.editor else ""
    details = [f"because: {_cut(event.reason)}"]
    details += [
        f"rule {rule.id} at {rule.file}:{rule.line} of policy {event.bundle[:12]}"
        for rule in event.rules
    ] or [f"by {event.basis} of policy {event.bundle[:12]}"]
    arguments = event.seen("arguments").decode(errors="replace")
    details.append(f"arguments {event.arguments_digest[:12]}: {_cut(arguments)}")
    details += _obligations(event)
    if event.preview:
        details.append(f"preview: {_cut(event.preview)}")
    return f"policy decided: {event.verdict} (revision {event.revision}{edited})", details


def _with_others(event: CallApproved | CallRejected) -> str:
    others = decided_with(event)
    return f" together with {', '.join(others)}" if others else ""


def readings(facts: bytes | None) -> Iterator[str]:
    """What the rules read when they decided, a line each. The texts are not escaped."""
    read = from_json(facts) if facts is not None else {}
    for name, value in read.get("values", {}).items():
        yield f"{name} was {_json(value)}"
    for rule, spent in read.get("limits", {}).items():
        yield f"limit of {rule}: {spent}"
    for what, where in read.get("found", {}).items():
        yield f"{what}: found in {where}"
    for rule, error in read.get("errors", {}).items():
        yield f"rule {rule} failed: {error}"


def _obligations(event: CallDecided) -> Iterator[str]:
    if event.changed:
        asked = (event.seen("asked") or b"").decode(errors="replace")
        yield f"policy set {', '.join(event.changed)}; asked for was {_cut(asked)}"
    yield from readings(event.seen("facts"))
    if event.awaiting:
        yield f"waits for {', '.join(event.awaiting)}"
    yield from (f"rule {rule.id} in shadow mode would have matched" for rule in event.shadow)


def _signed(event: CallApproved | CallRejected, by_seq: Mapping[int, Record]) -> list[str]:
    statement = from_json(event.statement)
    shown = next(
        (record.seq for record in by_seq.values() if record.hash.hex() == statement.get("head")),
        None,
    )
    seen = f"was shown the run up to record {shown}" if shown else "saw an unknown state of the run"
    return [
        f'said: "{_cut(event.reason)}"' if event.reason else "gave no reason",
        f"{seen}: revision {event.revision}, "
        f"arguments {str(statement.get('arguments_digest'))[:12]}",
        f"signed with {event.key}",
    ]


def _cut(text: str) -> str:
    left_out = len(text) - TEXT_MAX
    return f"{text[:TEXT_MAX]} [{left_out} more characters]" if left_out > 0 else text


def _json(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))
