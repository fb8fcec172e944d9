"""Where values come from: the texts of a run by who wrote them, folded like facts.

A condition asks with `user_named`, `from_trusted` and `from_tool`; none can name these folds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from agentrt.events import (
    CallDecided,
    CallFinished,
    CallSettled,
    Event,
    Record,
    RunStarted,
)
from agentrt.policy.cel import ANY
from agentrt.policy.facts.fact import Fact
from agentrt.policy.known import RESULTS, SAID, TRUSTED
from agentrt.policy.provenance import Place, Texts, fields_of, is_field, may_hold_field
from agentrt.run.replacing import replace
from agentrt.tools.tool import UNSAID, UNTRUSTED
from agentrt.visible import visible

__all__ = ["origin_facts"]

_RESULTS: tuple[type[Event], ...] = (CallDecided, CallFinished, CallSettled)

_FIELD_MAX = 60
_ARGUMENT_MAX = 40
_ARGUMENTS_MAX = 160
"""Characters told of a field's path, of an argument, and of all of them: they can be anything."""


def origin_facts(calls: Collection[str]) -> Iterator[Fact]:
    """The folds that the functions called need."""
    if "user_named" in calls:
        yield _fold(SAID, (RunStarted,), Texts(), _said)
    if "from_trusted" in calls:
        yield _fold(TRUSTED, _RESULTS, _Results(), _read_trusted, lambda state: state.trusted)
    if "from_tool" in calls:
        yield _fold(RESULTS, _RESULTS, _Results(), _read_labelled, lambda state: state.by_label)


def _fold(
    name: str,
    hears: tuple[type[Event], ...],
    start: Any,
    evolve: Any,
    value: Any = lambda state: state,
) -> Fact:
    return Fact(name, ANY, "", hears, start, evolve, lambda state, _now: value(state))


def _said(texts: Texts, record: Record) -> Texts:
    event = record.event
    if not isinstance(event, RunStarted) or "prompt" in record.forgotten:
        return texts
    return texts.plus(event.prompt, Place(f"the user's message in {record.run}"))


@dataclass(frozen=True)
class _Results:
    """What came back from tools."""

    decided: Mapping[str, CallDecided] = field(default_factory=dict)
    """The last decision on each call that has no result yet."""
    trusted: Texts = field(default_factory=Texts)
    by_label: Mapping[str, Texts] = field(default_factory=dict)


def _read_trusted(state: _Results, record: Record) -> _Results:
    state, found = _with(state, record)
    if found is None:
        return state
    decided, result = found
    trusted = state.trusted
    for path, text in fields_of(result):
        if UNSAID not in decided.untrusted and not _is_untrusted(decided, path):
            trusted = trusted.plus(text, _place(decided, path), besides=_arguments(decided))
    return replace(state, trusted=trusted)


def _read_labelled(state: _Results, record: Record) -> _Results:
    state, found = _with(state, record)
    if found is None:
        return state
    decided, result = found
    by_label = dict(state.by_label)
    for path, text in fields_of(result):
        for label in _labels(decided, path):
            texts = by_label.get(label, Texts())
            by_label[label] = texts.plus(text, _place(decided, path), besides=_arguments(decided))
    return replace(state, by_label=by_label)


def _with(state: _Results, record: Record) -> tuple[_Results, tuple[CallDecided, str] | None]:
    """The state, and the result that came now with the decision on its call."""
    event = record.event
    match event:
        case CallDecided():
            return replace(state, decided={**state.decided, event.call: event}), None
        case CallFinished() | CallSettled() if event.call in state.decided:
            left = {call: kept for call, kept in state.decided.items() if call != event.call}
            after = replace(state, decided=left)
            known = event.result is not None and "result" not in record.forgotten
            return after, (state.decided[event.call], event.result or "") if known else None
        case _:
            return state, None


def _is_untrusted(decided: CallDecided, path: str) -> bool:
    patterns = [pattern for pattern in decided.untrusted if pattern != UNSAID]
    said = [pattern for pattern in patterns if not pattern.startswith("!")]
    facts = [pattern.removeprefix("!") for pattern in patterns if pattern not in said]
    named = [pattern for pattern in said if pattern != "*"]
    # A result that was cut has no fields any more, only a text with all of them in it.
    return may_hold_field(path, named) or ("*" in said and not is_field(path, facts))


def _labels(decided: CallDecided, path: str) -> set[str]:
    """The labels of a field: that of untrusted reads only for fields that outsiders write."""
    labels = set(decided.labels) - {UNTRUSTED}
    return labels | ({UNTRUSTED} if _is_untrusted(decided, path) else set())


def _place(decided: CallDecided, path: str) -> Place:
    where = f"field {_shown(path, _FIELD_MAX)} of the result" if path else "the result"
    return Place(f"{where} of {decided.tool} {_told(decided.arguments)} ({decided.call})")


@lru_cache(maxsize=64)
def _told(arguments: bytes) -> str:
    """The arguments of a call, so that a person knows which one is meant."""
    shown = {
        name: _shown(value, _ARGUMENT_MAX) if isinstance(value, str) else value
        for name, value in from_json(arguments).items()
    }
    return _shown(to_json(shown).decode(), _ARGUMENTS_MAX)


def _shown(text: str, characters_max: int) -> str:
    shown = visible(text)
    return shown if len(shown) <= characters_max else f"{shown[: characters_max - 1]}…"


def _arguments(decided: CallDecided) -> str:
    return decided.arguments.decode(errors="replace")
