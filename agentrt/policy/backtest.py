"""A backtest: what a candidate policy would have said to every call that was recorded.

All facts are folded anew, in the order in which the records arrived, so that each call is
judged by what had happened when it was decided. What happened is taken as it was: a call that
the candidate would have refused still has the consequences that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from pydantic_core import from_json

from agentrt.events import Approver, CallDecided, Record, RunStarted
from agentrt.policy.bundle import Policy
from agentrt.policy.decide import Decision, Question
from agentrt.policy.facts import History
from agentrt.policy.known import Known
from agentrt.policy.rules import Approve
from agentrt.policy.tools_file import RaisedTool
from agentrt.run import Run, ToolCall, evolve
from agentrt.tools import Tool

__all__ = ["Backtest", "Change", "Judged", "backtest"]

BY_POLICY = ("rules", "default", "second_attempt")
"""What a policy decided; arguments that did not fit, or a tool that was gone, it did not."""

Kind = Literal["verdict", "arguments", "approval"]

NO_TOOLS: Mapping[str, Tool] = MappingProxyType({})


@dataclass(frozen=True)
class Judged:
    """A recorded decision, and what the candidate says."""

    record: Record
    event: CallDecided
    decision: Decision

    @property
    def verdict(self) -> str:
        """The candidate's verdict; what was tried once is held, whatever a policy allows."""
        again = self.event.basis == "second_attempt" and self.decision.verdict == "allow"
        return "hold" if again else self.decision.verdict

    @property
    def change(self) -> Kind | None:
        """What would have been different; None: nothing."""
        if self.event.editor_ref is not None:
            # A reviewer wrote these arguments and said yes: only a refusal changes that.
            return "verdict" if self.verdict == "deny" else None
        if self.verdict != self.event.verdict:
            return "verdict"
        if self.verdict != "deny" and self._arguments_differ():
            return "arguments"
        return "approval" if self._terms_differ() else None

    def _arguments_differ(self) -> bool:
        return bool(dict(self.decision.arguments) != from_json(self.event.arguments))

    def _terms_differ(self) -> bool:
        if self.verdict != "hold" or self.event.basis == "second_attempt":
            return False
        return _terms(self.event.approver) != _asked(self.decision.approve)


@dataclass(frozen=True)
class Change:
    """A call of which the candidate says something else."""

    kind: Kind
    judged: Judged


@dataclass
class Backtest:
    """What a candidate changes, in all."""

    decided: int = 0
    skipped: int = 0
    """Calls whose arguments were forgotten: nobody can say what a policy would say."""
    asked_then: int = 0
    """Calls that were held."""
    asked_now: int = 0
    """Calls that the candidate holds."""
    changes: list[Change] = field(default_factory=list)
    matched: dict[str, int] = field(default_factory=dict)
    """How many calls each rule of the candidate matched, those in shadow too."""

    def note(self, judged: Judged) -> None:
        """Count a call."""
        self.decided += 1
        self.asked_then += judged.event.verdict == "hold"
        self.asked_now += judged.verdict == "hold"
        for rule in (*judged.decision.rules, *judged.decision.shadow):
            self.matched[rule.id] = self.matched.get(rule.id, 0) + 1
        if (kind := judged.change) is not None:
            self.changes.append(Change(kind, judged))


def backtest(
    records: Iterable[Record],
    policy: Policy,
    *,
    tools: Mapping[str, Tool] = NO_TOOLS,
    since: int | None = None,
) -> Backtest:
    """What `policy` says to the calls in `records`, which are in the order of their arrival.

    `tools` complete the arguments that rules set. What was decided before `since` (milliseconds
    since the epoch) is history only.
    """
    found = Backtest()
    for judged in replay(records, policy, tools):
        if since is not None and judged.record.at < since:
            continue
        if judged.decision.basis == "unknown_tool":
            found.skipped += 1
        else:
            found.note(judged)
    return found


def replay(
    records: Iterable[Record], policy: Policy, tools: Mapping[str, Tool] = NO_TOOLS
) -> Iterator[Judged]:
    """Every recorded decision of a policy, with the candidate's."""
    past = _Past(policy, tools)
    for record in records:
        event = record.event
        if isinstance(event, CallDecided) and event.basis in BY_POLICY:
            yield Judged(record, event, past.decide(record, event))
        past.evolve(record)


class _Past:
    """Everything that happened before a record, as the candidate needs to know it."""

    def __init__(self, policy: Policy, tools: Mapping[str, Tool]) -> None:
        self._policy = policy
        self._complete = {name: tool.complete for name, tool in tools.items()}
        self._runs: dict[str, Run] = {}
        self._histories: dict[str, History] = {}
        self._users: dict[str, History] = {}
        self._everyone = History.of(policy.needs.everyone)
        self._tools = {tool.name: tool for tool in policy.bindings.tools}

    def evolve(self, record: Record) -> None:
        run = evolve(self._runs.get(record.run) or Run(record.run), record)
        self._runs[record.run] = _at_rest(run)
        self._histories[record.run] = self._history(record).evolve(record)
        if run.user_ref is not None:
            user = self._users.get(run.user_ref) or History.of(self._policy.needs.user)
            self._users[run.user_ref] = user.evolve(record)
        self._everyone = self._everyone.evolve(record)

    def _history(self, record: Record) -> History:
        """The history of the record's run; a follow-up goes on with that of its parent."""
        event = record.event
        start = History.of(self._policy.needs.run)
        if isinstance(event, RunStarted) and event.parent is not None:
            return self._histories.get(event.parent, start)
        return self._histories.get(record.run, start)

    def decide(self, record: Record, event: CallDecided) -> Decision:
        run = self._runs[record.run]
        call = run.call(event.call)
        if call is None or {"arguments", "asked"} & record.forgotten:
            return self._policy.decide_unknown(event.tool)
        arguments = from_json(event.asked or event.arguments)
        known = self._known(run, call, record.at)
        complete = self._complete.get(event.tool, dict)
        return self._policy.decide(Question(self._tool(run, event), arguments, known, complete))

    def _known(self, run: Run, call: ToolCall, at: int) -> Known:
        start = History.of(self._policy.needs.user)
        nobody = run.user_ref is None
        return Known.of(
            run,
            call,
            at=at,
            history=self._histories[run.id],
            user=None if nobody else self._users.get(run.user_ref or "", start),
            everyone=self._everyone,
        )

    def _tool(self, run: Run, event: CallDecided) -> RaisedTool:
        """The tool as it is now, or as it was recorded when it is gone."""
        recorded: Mapping[str, Any] = run.definition.tools.get(event.tool, {})
        known = self._tools.get(event.tool)
        if known is not None:
            return self._policy.seen(known, effect_then=recorded.get("effect"))
        tool = RaisedTool(
            event.tool,
            event.effect,
            frozenset(event.labels),
            recorded.get("input_schema", {}),
            frozenset(event.untrusted),
        )
        return self._policy.seen(tool)


def _at_rest(run: Run) -> Run:
    """A run that is over without what was said in it: a store may have more of them than fit."""
    if not run.over or run.resumable:
        return run
    nothing = Run(run.id)
    return replace(
        run,
        messages=nothing.messages,
        past_calls=nothing.past_calls,
        calls=nothing.calls,
        definition=nothing.definition,
    )


def _terms(approver: Approver | None) -> tuple[Any, ...]:
    if approver is None:
        return ()
    return (
        approver.roles,
        approver.quorum,
        approver.severity,
        approver.four_eyes,
        approver.reason_required,
    )


def _asked(approve: Approve | None) -> tuple[Any, ...]:
    if approve is None:
        return ()
    return (
        approve.roles,
        approve.quorum,
        approve.severity,
        approve.four_eyes,
        approve.reason == "required",
    )
