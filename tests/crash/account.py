"""What the store claims beside what the server of effects saw: after each kill, and at the end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agentrt import AuditStore
from agentrt.approvals.statement import Statement
from agentrt.events import (
    CallApproved,
    CallDecided,
    CallDoubted,
    CallSettled,
    CallStarted,
    Record,
)
from agentrt.run import Run, ToolCall, fold
from tests.crash.effects import Effect
from tests.crash.world import World

__all__ = ["Account", "Comparison", "account"]

IRREVERSIBLE = ("send_money", "send_fax")
NEVER_RAN = ("denied", "rejected", "expired", "cancelled")


@dataclass(frozen=True)
class Account:
    """What is wrong, whether all runs are over, and how many doubts there were."""

    wrong: tuple[str, ...]
    over: bool
    doubts: int = 0
    asked: int = 0
    """Doubts that a person settled; a `check` answered the others."""
    sends: int = 0


def account(world: World, *, final: bool) -> Account:
    """Compare the two. What is only true of runs that are over is asked when `final`."""
    with AuditStore(world.store, read_only=True) as store:
        rows = store.runs(user=world.user)
        records = {row.id: store.records(row.id) for row in rows}
        followed = store.parents(list(records))
        checked = [row.id for row in rows] if final else []
        findings = [str(found) for run in checked for found in store.verify(run).findings]
    effects = world.effects.seen(world.user)
    events = [record.event for of_run in records.values() for record in of_run]
    wrong = [f"chain broken: {found}" for found in findings]
    wrong += [
        f"disagrees: {effect.tool} happened in a run that is not there"
        for effect in effects
        if effect.run not in records
    ]
    for run, of_run in records.items():
        mine = [effect for effect in effects if effect.run == run]
        wrong += Comparison(fold(of_run), of_run, mine).wrong(final=final)
    return Account(
        wrong=tuple(wrong),
        over=bool(followed) and all(row.status == "finished" for row in rows),
        doubts=sum(isinstance(event, CallDoubted) for event in events),
        asked=sum(isinstance(e, CallSettled) and e.method == "person" for e in events),
        sends=len(effects),
    )


@dataclass
class Comparison:
    """One run's records beside its effects."""

    run: Run
    records: Sequence[Record]
    effects: Sequence[Effect]
    starts: dict[str, list[tuple[Record, CallStarted]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def __post_init__(self) -> None:
        for record in self.records:
            if isinstance(record.event, CallStarted):
                self.starts[record.event.call].append((record, record.event))

    def wrong(self, *, final: bool) -> Iterator[str]:
        yield from _unallowed_starts(self.records)
        for effect in self.effects:
            yield from self._about_effect(effect)
        for call in self.run.all_calls:
            yield from self._about_call(call)
            if final:
                yield from self._about_end(call)

    def _about_effect(self, effect: Effect) -> Iterator[str]:
        """Nothing happens without a start that was durable before, for the same arguments."""
        starts = self.starts.get(effect.call, [])
        if not starts:
            yield f"disagrees: {effect.tool} happened, and no start of it is recorded"
            return
        if effect.clock < starts[0][0].at - 1:
            yield f"disagrees: {effect.tool} happened before its start was recorded"
        call = self.run.call(effect.call)
        told = json.loads(effect.arguments)
        if call is not None and call.arguments_data != told:
            yield f"not what was approved: {effect.tool} ran with {told}"
        if effect.tool in IRREVERSIBLE:
            yield from self._about_approval(effect)

    def _about_approval(self, effect: Effect) -> Iterator[str]:
        """What a person signed names these arguments, and was still good when it happened."""
        _, start = self.starts[effect.call][-1]
        digest = hashlib.sha256(_canonical(effect.arguments)).hexdigest()
        for approval in _approvals(self.records, start):
            said = Statement.from_bytes(approval.statement)
            if said.arguments_digest != digest:
                yield f"not what was approved: {effect.tool} with {effect.arguments}"
            if effect.clock >= said.expires_at:
                yield f"ran too late: {effect.tool} ran after its approval had expired"

    def _about_call(self, call: ToolCall) -> Iterator[str]:
        sent = [effect for effect in self.effects if effect.call == call.id]
        if len({effect.key for effect in sent}) > 1:
            yield f"doubled: {call.tool} was done under {len(sent)} keys"
        if call.tool in IRREVERSIBLE and len(sent) > 1:
            yield f"doubled: {call.tool} happened {len(sent)} times"
        if len(sent) > len(self.starts[call.id]):
            yield f"disagrees: {call.tool} happened more often than it was started"
        if call.status in NEVER_RAN and sent:
            yield f"ran though {call.status}: {call.tool}"

    def _about_end(self, call: ToolCall) -> Iterator[str]:
        happened = any(effect.call == call.id for effect in self.effects)
        if call.status == "finished" and not call.is_error and not happened:
            yield f"lost: {call.tool} is recorded as finished, and never happened"
        if not call.resolved:
            yield f"left undecided: {call.tool} is {call.status}"


def _unallowed_starts(records: Sequence[Record]) -> Iterator[str]:
    """Starts without a decision before them, without its approvals, or with used ones."""
    decided: dict[str, CallDecided] = {}
    approved: dict[tuple[str, int], set[str]] = defaultdict(set)
    used: Counter[tuple[str, str]] = Counter()
    for record in records:
        match record.event:
            case CallDecided() as event:
                decided[event.call] = event
            case CallApproved() as event:
                approved[event.call, event.revision].add(event.by)
            case CallStarted() as event:
                yield from _unallowed(decided.get(event.call), approved, event)
                if decided[event.call].tool in IRREVERSIBLE:
                    for each in _approvals(records, event):
                        used[event.call, each.statement_digest] += 1
    for times in used.values():
        if times > 1:
            yield f"an approval was used {times} times"


def _unallowed(
    decision: CallDecided | None, approved: dict[tuple[str, int], set[str]], start: CallStarted
) -> Iterator[str]:
    if decision is None:
        yield "ran undecided"
    elif decision.verdict == "deny":
        yield f"ran though denied: {decision.tool}"
    elif decision.verdict == "hold":
        quorum = decision.approver.quorum if decision.approver else 1
        if len(approved[start.call, start.revision]) < quorum:
            yield f"ran before it was approved: {decision.tool}"


def _approvals(records: Sequence[Record], start: CallStarted) -> Iterator[CallApproved]:
    for record in records:
        if isinstance(record.event, CallApproved) and record.seq in start.approvals:
            yield record.event


def _canonical(arguments: str) -> bytes:
    return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":")).encode()
