"""The world of a case: what is known in it, and what it says that cannot be.

What a run did before is stated, or told as a short run of its own whose records are folded as
recorded ones are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic_core import to_json

from agentrt.errors import ArgumentsInvalid
from agentrt.events import (
    AnyEvent,
    CallDecided,
    CallFinished,
    CallStarted,
    Record,
    RunStarted,
)
from agentrt.policy.bundle import Policy
from agentrt.policy.case import Case, Earlier, Expected
from agentrt.policy.cel import BOOL, INT, STRING, Failed, MapOf, Type, adapted
from agentrt.policy.facts import Fact, Facts, History
from agentrt.policy.known import Known, limit_name
from agentrt.policy.problems import suggestion
from agentrt.policy.tools_file import RaisedTool
from agentrt.run.state import call_id
from agentrt.tools import Tool

__all__ = ["Mistake", "known_in", "mistakes"]

_RUN = "r_0000000000000000"
_SELDOM: Mapping[str, tuple[Type, Any]] = {
    "run.agent": (STRING, ""),
    "run.model": (STRING, ""),
    "run.simulated": (BOOL, False),
    "call.attempt": (INT, 1),
    "call.turn": (INT, 1),
}
"""What conditions read that is no fact: its type, and what it is where a case does not say it."""


# --- what a case says that cannot be ----------------------------------------------------

Path = tuple[str | int, ...]
Mistake = tuple[Path, str]
"""The keys that lead to the value, and what is wrong with it."""


def mistakes(case: Case, policy: Policy, tools: Mapping[str, Tool]) -> Iterator[Mistake]:
    """What does not fit the policy and the tools."""
    tool = tools.get(case.tool)
    if tool is None:
        yield ("tool",), f"unknown tool {case.tool!r}{suggestion(case.tool, tools)}"
        return
    yield from _of_arguments(tool, case.args, ("args",))
    yield from _of_results(case, tools)
    yield from _of_facts(case, policy)
    yield from _of_limits(case, policy)
    yield from _of_rules(case.expect, policy)


def _of_facts(case: Case, policy: Policy) -> Iterator[Mistake]:
    types = _types(policy)
    for name, value in case.facts.items():
        if name not in types:
            yield ("facts", name), f"unknown fact {name!r}{suggestion(name, types)}"
        elif name.startswith("user.") and case.user is None:
            yield ("facts", name), f"{name} is a fact of a user: say `user:` too"
        else:
            try:
                adapted(types[name], value, name=name)
            except Failed as error:
                yield ("facts", name), str(error)


def _of_limits(case: Case, policy: Policy) -> Iterator[Mistake]:
    limits = {rule.id: rule.limit for rule in policy.rules if rule.limit is not None}
    for name in case.spent:
        limit = limits.get(name)
        if limit is None:
            yield ("spent", name), f"no rule {name!r} has a limit{suggestion(name, limits)}"
        elif "user" in limit.per and "run" not in limit.per and case.user is None:
            yield ("spent", name), f"{name} counts per user: say `user:` too"


def _of_rules(expect: Expected, policy: Policy) -> Iterator[Mistake]:
    known = [rule.id for rule in policy.rules]
    for key in ("rules", "shadow", "failed"):
        for index, name in enumerate(getattr(expect, key) or ()):
            if name not in known:
                message = f"there is no rule {name!r}{suggestion(name, known)}"
                yield ("expect", key, index), message


def _of_results(case: Case, tools: Mapping[str, Tool]) -> Iterator[Mistake]:
    for index, earlier in enumerate(case.results):
        tool = tools.get(earlier.tool)
        if tool is None:
            message = f"unknown tool {earlier.tool!r}{suggestion(earlier.tool, tools)}"
            yield ("results", index, "tool"), message
        elif earlier.args:
            yield from _of_arguments(tool, earlier.args, ("results", index, "args"))


def _of_arguments(tool: Tool, args: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
    try:
        tool.complete(args)
    except ArgumentsInvalid as error:
        yield path, str(error)


def _types(policy: Policy) -> dict[str, Type]:
    """The types of all that a case can state; who the user is has a key of its own."""
    vocabulary = policy.vocabulary
    facts = {fact.name: vocabulary.type_of(fact) for fact in vocabulary.facts}
    return facts | {name: kind for name, (kind, _) in _SELDOM.items()}


# --- what is known ----------------------------------------------------------------------


def known_in(case: Case, policy: Policy, tools: Mapping[str, Tool]) -> Known:
    """The world as the case tells it."""
    seldom = {name: value for name, (_, value) in _SELDOM.items()}
    fixed = seldom | _limits(case, policy) | _stated(case, policy)
    records = tuple(_records(case, policy, tools))
    needs, user = policy.needs, case.user
    return Known(
        run=_history(needs.run, fixed, records),
        user=_history(needs.user, fixed, records) if user else None,
        everyone=_history(needs.everyone, fixed, records),
        about_run={name: fixed[f"run.{name}"] for name in ("agent", "model", "simulated")},
        about_user={**user.model_dump(), "roles": list(user.roles)} if user else {},
        call={name: fixed[f"call.{name}"] for name in ("attempt", "turn")},
        environment=case.environment,
        now=_milliseconds(case.now),
    )


def _stated(case: Case, policy: Policy) -> dict[str, Any]:
    types = _types(policy)
    return {name: adapted(types[name], value) for name, value in case.facts.items()}


def _limits(case: Case, policy: Policy) -> dict[str, Any]:
    """What counts towards each limit: what the case says and nothing else, also per tool."""
    limited = (rule.id for rule in policy.rules if rule.limit is not None)
    spent = {rule: case.spent.get(rule, Decimal(0)) for rule in limited}
    return {limit_name(rule): {"": much, case.tool: much} for rule, much in spent.items()}


def _history(facts: Facts, fixed: Mapping[str, Any], records: Sequence[Record]) -> History:
    """What the records come to; what is fixed is so whatever they say."""
    told = (_fixed(f, fixed[f.name]) if f.name in fixed else f for f in facts.all)
    return History.of(Facts(told)).fold(records)


def _fixed(fact: Fact, value: Any) -> Fact:
    return replace(fact, hears=(), start=_as_folded(fact, value), value=lambda fixed, _now: fixed)


def _as_folded(fact: Fact, value: Any) -> Any:
    """A map that says something of every key, as `run.calls_of` does, goes on doing so."""
    is_folded = isinstance(fact.type, MapOf) and fact.refuses is None
    nothing = fact.value(fact.start, 0) if is_folded else None
    return type(nothing)(value) if isinstance(nothing, dict) else value


def _records(case: Case, policy: Policy, tools: Mapping[str, Tool]) -> Iterator[Record]:
    """The run up to the call, as it would have been recorded."""
    at = _milliseconds(case.now)
    for seq, event in enumerate(_events(case, policy, tools), start=1):
        yield Record(_RUN, seq, at, event, b"", b"")


def _events(case: Case, policy: Policy, tools: Mapping[str, Tool]) -> Iterator[AnyEvent]:
    yield _started(case, policy)
    for index, earlier in enumerate(case.results):
        call = call_id(_RUN, 1, index)
        yield _decided(call, earlier, policy, tools[earlier.tool])
        yield _began(call, policy)
        result = earlier.result if isinstance(earlier.result, str) else _json(earlier.result)
        yield CallFinished(call=call, attempt=1, outcome="ok", duration_ms=0, result=result)


def _started(case: Case, policy: Policy) -> RunStarted:
    return RunStarted(
        agent=str(case.facts.get("run.agent", "")),
        model=str(case.facts.get("run.model", "")),
        bundle=policy.bundle,
        environment=case.environment,
        service="",
        simulated=bool(case.facts.get("run.simulated", False)),
        turns_max=1,
        deadline_ms=0,
        definition=b'{"tools":[]}',
        prompt=case.said,
        user=case.user,
    )


def _decided(call: str, earlier: Earlier, policy: Policy, tool: Tool) -> CallDecided:
    said = RaisedTool(
        tool.name,
        tool.effect,
        tool.labels | set(earlier.labels),
        tool.input_schema,
        tool.untrusted | set(earlier.untrusted),
    )
    seen = policy.seen(said)
    return CallDecided(
        call=call,
        revision=1,
        tool=tool.name,
        verdict="allow",
        basis="default",
        rules_digest="",
        bundle=policy.bundle,
        effect=seen.effect,
        labels=tuple(sorted(seen.labels)),
        untrusted=tuple(sorted(seen.untrusted)),
        repeatable=tool.repeatable,
        tool_digest=tool.digest,
        arguments_digest="",
        arguments=to_json(tool.complete(earlier.args) if earlier.args else {}),
        reason="",
    )


def _began(call: str, policy: Policy) -> CallStarted:
    return CallStarted(
        call=call,
        revision=1,
        attempt=1,
        key="",
        process="",
        deadline_at=0,
        arguments_digest="",
        tool_digest="",
        bundle=policy.bundle,
    )


def _json(value: Any) -> str:
    return to_json(value).decode()


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
