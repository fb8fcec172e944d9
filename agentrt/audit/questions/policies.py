"""Questions about policy: every change of it, and the calls that ran under rules since changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from agentrt.audit.own_sql import Table
from agentrt.audit.query import Term, Value
from agentrt.audit.questions.calls import found, iso
from agentrt.audit.questions.question import Asked
from agentrt.audit.store import STORE_CHAIN, AuditStore
from agentrt.errors import PolicyError
from agentrt.events import BundleLoaded
from agentrt.policy import Policy

__all__ = ["changed_rules", "policy_changes"]

RAN = ("ok", "error", "doubt", "running")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A policy as it was when a runtime began to decide by it."""

    at: int
    bundle: str
    service: str
    files: Mapping[str, str]
    rules: Mapping[str, bytes]
    """What each rule means, without comments and places."""


def policy_changes(store: AuditStore, asked: Asked) -> Table:
    """Every time that another policy began to decide, and what it has changed."""
    columns = ("time", "bundle", "service", "changed")
    rows = [
        (iso(now.at), now.bundle[:12], now.service, "; ".join(_differences(before, now)))
        for before, now in _steps(_history(store))
        if asked.period.holds(now.at)
    ]
    return Table(columns, rows[::-1][: asked.limit + 1])


def changed_rules(store: AuditStore, asked: Asked) -> Table:
    """Calls that ran under a rule whose meaning was another one later."""
    columns = ("time", "call", "tool", "status", "rule", "bundle", "changed")
    history = _history(store)
    rows = [
        (row["at"], row["call"], row["tool"], row["status"], rule, bundle[:12], what)
        for bundle, rule, what in _changed_later(history)
        for row in found(
            store,
            asked,
            Term("rule", (Value(rule),)),
            Term("bundle", (Value(bundle),)),
            Term("outcome", tuple(map(Value, RAN))),
        )
    ]
    newest = sorted(rows, key=lambda row: row[0], reverse=True)[: asked.limit + 1]
    return Table(columns, [(iso(row[0]), *row[1:]) for row in newest])


def _history(store: AuditStore) -> Sequence[_Loaded]:
    """The policies in the order they began to decide, each change once."""
    history: list[_Loaded] = []
    for record in store.records(STORE_CHAIN):
        event = record.event
        if not isinstance(event, BundleLoaded):
            continue
        if not history or history[-1].bundle != event.bundle:
            files = from_json(event.files)
            rules = _meanings(files)
            history.append(_Loaded(record.at, event.bundle, event.service, files, rules))
    return history


def _meanings(files: Mapping[str, str]) -> Mapping[str, bytes]:
    try:
        policy = Policy.parse(files)
    except PolicyError:  # written for another version: its text is still compared
        return {}
    return {rule.id: to_json(rule.meaning()) for rule in policy.rules}


def _steps(history: Sequence[_Loaded]) -> Iterator[tuple[_Loaded | None, _Loaded]]:
    before: _Loaded | None = None
    for now in history:
        yield before, now
        before = now


def _differences(before: _Loaded | None, now: _Loaded) -> Iterator[str]:
    if before is None:
        yield f"the first: rules {', '.join(now.rules) or 'none'}"
        return
    yield from _compared("rule", before.rules, now.rules)
    yield from _compared("file", before.files, now.files)


def _compared(noun: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{noun} {name} is new" for name in now if name not in before)
    yield from (f"{noun} {name} is gone" for name in before if name not in now)
    yield from (
        f"{noun} {name} changed" for name in now if name in before and now[name] != before[name]
    )


def _changed_later(history: Sequence[_Loaded]) -> Iterator[tuple[str, str, str]]:
    """Bundle, rule, and how it was another later; each bundle counts as last loaded."""
    last = {loaded.bundle: index for index, loaded in enumerate(history)}
    for bundle, index in last.items():
        for rule, meaning in history[index].rules.items():
            later = (each for each in history[index + 1 :] if each.rules.get(rule) != meaning)
            if (first := next(later, None)) is not None:
                how = "changed" if rule in first.rules else "gone"
                yield bundle, rule, f"{how} {iso(first.at)} by {first.bundle[:12]}"
