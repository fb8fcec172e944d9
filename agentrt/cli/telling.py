"""How the facts of a run read at a terminal: a line or a few for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from pydantic_core import from_json

from agentrt.cli.output import cell, left
from agentrt.events import (
    AnyEvent,
    Approver,
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
    RuleRef,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
)
from agentrt.run import Run
from agentrt.run.why import ABANDONED, decided_with
from agentrt.visible import visible

__all__ = ["DIGEST_SHOWN", "Teller", "asked_of", "rules_told", "summary", "text_of"]

DIGEST_SHOWN = 12
"""Characters of a digest that are shown, and that are enough to name it."""

ARGUMENTS_MAX = 60


class Teller:
    """Tells the facts of one run, oldest first; it remembers what policy said of each call."""

    def __init__(self, run: str, *, now: int, results: bool = False) -> None:
        """`results` tells what each call returned too; `now` in milliseconds since the epoch."""
        self._run = run
        self._now = now
        self._results = results
        self._decided: dict[str, CallDecided] = {}

    def tell(self, event: AnyEvent) -> Iterator[str]:
        """The lines of one fact, escaped; Claude's own text is not among them."""
        match event:
            case RunStarted():
                simulated = "  SIMULATED" if event.simulated else ""
                policy = event.bundle[:DIGEST_SHOWN]
                yield (
                    f"> {self._run}  {event.agent}  {event.model}  policy {policy}  "
                    f"{cell(event.environment)}{simulated}"
                )
                if event.parent:
                    parent = visible(event.parent)
                    yield f"> follows {parent}  agentrt runs view {parent}"
            case RunResumed():
                yield f"> {self._run} resumed by {cell(event.by)}"
            case RunCancelled():
                yield f"> {self._run} cancelled by {cell(event.by)}: {cell(event.reason)}"
            case ClaudeFailed():
                yield f"~ no reply ({event.kind}): {visible(event.message)}"
            case FactStated():
                value = event.value.decode(errors="replace")
                yield f"> {cell(event.by)} stated {cell(event.name)}: {cell(value)}"
            case ClaudeAsked() | ClaudeReplied() | RunFinished() | RunFailed():
                return
            case BundleLoaded() | BundleRefused() | CheckpointSigned():
                return
            case ContentReduced() | ContentForgotten() | ErasureSuspended() | ErasureResumed():
                return
            case _:
                yield from self._of_call(event)

    def _of_call(
        self,
        event: CallDecided
        | CallApproved
        | CallRejected
        | CallExpired
        | CallStarted
        | CallFinished
        | CallDoubted
        | CallAbandoned
        | CallSettled,
    ) -> Iterator[str]:
        match event:
            case CallDecided():
                self._decided[event.call] = event
                yield from _decided(event, self._run, self._now)
            case CallApproved():
                yield f"  = {event.call} approved by {_signed(event)}"
            case CallRejected():
                yield f"  = {event.call} rejected by {_signed(event)}"
            case CallExpired():
                yield f"  = {event.call} expired: nobody decided in time"
            case CallStarted():
                return
            case CallFinished():
                yield from self._finished(event)
            case CallDoubted():
                yield f"  ? {event.call} is in doubt: {visible(event.reason)}"
                yield f"    look whether it happened, then say so: agentrt settle {event.call}"
            case CallAbandoned():
                yield f"  ? {event.call} was not entered: {ABANDONED[event.why]}"
            case CallSettled():
                verdict = "it happened" if event.happened else "it did not happen"
                who = event.by or f"its {event.method}"
                yield f"  = {event.call} settled by {_said(who, event.reason)}: {verdict}"
            case _:
                assert_never(event)

    def _finished(self, event: CallFinished) -> Iterator[str]:
        decided = self._decided.get(event.call)
        call = _call_told(decided) if decided else event.call
        by = f"  {_verdict_told(decided)}" if decided else ""
        yield f"  + {call}{by}  {event.duration_ms / 1000:.2f} s  {event.outcome}"
        if self._results or event.outcome == "error":
            yield from _indented(event.result)


def _decided(event: CallDecided, run: str, now: int) -> Iterator[str]:
    if event.editor:
        yield f"  = {event.call} changed by {cell(event.editor)}: {_arguments_told(event)}"
        return
    match event.verdict:
        case "allow":
            return
        case "deny":
            yield f"  x {_call_told(event)}  DENIED {rules_told(event.rules, event.basis)}"
            yield from _indented(event.reason, by=4)
        case "hold":
            yield from _held(event, run, now)
        case _:
            assert_never(event.verdict)


def _held(event: CallDecided, run: str, now: int) -> Iterator[str]:
    what = cell(event.preview) if event.preview else _arguments_told(event)
    rules = rules_told(event.rules, event.basis)
    word = "DEFERRED" if event.awaiting else "HELD"
    yield f"  ! {event.tool}  {what}  {word} {rules}  {event.call}"
    yield f"    {visible(event.reason)}"
    if event.awaiting:
        yield from _deferred(event, run, now)
        return
    if event.approver:
        expires = left(event.approver.expires_at, now)
        yield f"    waits for {asked_of(event.approver)}, {expires} left"
    digest = event.arguments_digest[:DIGEST_SHOWN]
    yield f"    agentrt approvals view {event.call}"
    yield f'    agentrt approve {event.call} --arguments {digest} --reason "..."'


def _deferred(event: CallDecided, run: str, now: int) -> Iterator[str]:
    """A call that waits for facts, and only when none comes for a reviewer."""
    facts = ", ".join(map(visible, event.awaiting))
    yield f"    waits for {facts}, {left(event.until, now)} left, then a person is asked"
    yield f"    agentrt runs state {run} {visible(event.awaiting[0])} VALUE"


def asked_of(approver: Approver) -> str:
    """Whom a held call waits for, as in `2 reviewers with the role support-lead`."""
    roles = " and ".join(approver.roles)
    people = "a reviewer" if approver.quorum == 1 else f"{approver.quorum} reviewers"
    return f"{people} with the role {visible(roles)}" if roles else people


def rules_told(rules: Sequence[RuleRef], basis: str) -> str:
    """The rules as `id file:line`, or what else decided."""
    return ", ".join(f"{rule.id} {rule.file}:{rule.line}" for rule in rules) or f"by {basis}"


def _verdict_told(event: CallDecided) -> str:
    word = "allowed" if event.verdict == "allow" else "approved"
    return f"{word} {rules_told(event.rules, event.basis)}"


def _call_told(event: CallDecided) -> str:
    return f"{event.tool}  {_arguments_told(event)}"


def _arguments_told(event: CallDecided) -> str:
    return cell(event.seen("arguments").decode(errors="replace"), width=ARGUMENTS_MAX)


def _signed(event: CallApproved | CallRejected) -> str:
    others = ", ".join(decided_with(event))
    said = _said(event.by, event.reason)
    return f"{said}, together with {visible(others)}" if others else said


def _said(who: str, reason: str) -> str:
    return f'{cell(who)}: "{visible(reason)}"' if reason else cell(who)


def _indented(text: str, *, by: int = 6) -> Iterator[str]:
    for line in visible(text, lines=True).splitlines():
        yield f"{'':<{by}}{line}"


def text_of(event: ClaudeReplied) -> str:
    """What Claude said in a reply."""
    blocks: list[dict[str, Any]] = from_json(event.seen("blocks"))
    return "".join(block["text"] for block in blocks if block.get("type") == "text")


def summary(run: Run) -> str:
    """How a run stands, in one line: status, turns, tokens, cost."""
    usage = run.usage
    cached = usage.cache_read_tokens
    tokens = usage.input_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens + cached
    share = f" ({cached * 100 // tokens} % cached)" if tokens else ""
    parts = [
        f"> {run.status}",
        f"{run.turn} turn{'' if run.turn == 1 else 's'}",
        f"in {tokens:,}{share}",
        f"out {usage.output_tokens:,}",
        cost(run),
    ]
    if run.error:
        parts.insert(1, f"{run.error[0]}: {visible(run.error[1])}")
    return "  ".join(parts)


def cost(run: Run) -> str:
    """What a run cost, as far as it is known."""
    if run.simulated:
        return "simulated, no cost"
    known = f"${run.cost_usd:.4f}"
    return f"at least {known}: a price is unknown" if run.cost_unknown else known


def pretty(arguments: bytes) -> list[str]:
    """Arguments as indented JSON, whole, with every hidden character spelt out."""
    try:
        text = json.dumps(from_json(arguments), indent=2, ensure_ascii=False)
    except ValueError:
        text = arguments.decode(errors="replace")
    return visible(text, lines=True).splitlines()
