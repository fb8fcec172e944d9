"""A history: what happened in one scope, folded into the facts that a policy reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentrt.events import CallExpired, Event, Record
from agentrt.policy.cel import Failed
from agentrt.policy.facts.fact import Fact

__all__ = ["Facts", "History"]


class Facts:
    """The facts of one scope that are folded together, found by name and by what they hear."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.all = tuple(facts)
        self.places: Mapping[str, int] = {fact.name: i for i, fact in enumerate(self.all)}
        self.hearing: dict[type[Event], list[int]] = {}
        for place, fact in enumerate(self.all):
            for kind in fact.hears:
                self.hearing.setdefault(kind, []).append(place)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    @cached_property
    def span_ms(self) -> int | None:
        """How far back their records matter; None: to the beginning."""
        spans = [fact.span_ms for fact in self.all]
        return None if None in spans else max((span for span in spans if span), default=0)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types of the events that any of them hears."""
        return tuple(sorted(str(kind.model_fields["type"].default) for kind in self.hearing))


@dataclass(frozen=True, slots=True)
class _Broken:
    """The state of a fact whose code failed: from then on nobody can say what it is."""

    error: str


@dataclass(frozen=True)
class History:
    """The states of some facts after some records. A value: `evolve` makes another."""

    facts: Facts
    states: tuple[Any, ...]

    @classmethod
    def of(cls, facts: Facts) -> History:
        """A history in which nothing has happened yet."""
        return cls(facts, tuple(fact.start for fact in facts.all))

    def evolve(self, record: Record) -> History:
        """The history one record further."""
        places = self.facts.hearing.get(type(record.event))
        if not places:
            return self
        states = list(self.states)
        for place in places:
            states[place] = _evolved(self.facts.all[place], states[place], record)
        return History(self.facts, tuple(states))

    def fold(self, records: Iterable[Record]) -> History:
        """The history after `records`, in their order."""
        history = self
        for record in records:
            history = history.evolve(record)
        return history

    def without(self, run: str, call: str, *, at: int) -> History:
        """The history as if the call had been refused: what a call is judged by is the others."""
        refused = CallExpired(call=call, revision=0)
        return self.evolve(Record(run, 0, at, refused, b"", b""))

    def at_start(self, run: str, call: str, *, at: int) -> History:
        """The history by which a call is judged when it starts, without it and later ones."""
        left = self.without(run, call, at=at).states
        pairs = zip(self.facts.all, self.states, left, strict=True)
        return History(self.facts, tuple(_at_start(*pair, call) for pair in pairs))

    def value(self, name: str, now: int) -> Any:
        """A fact's value at a time. Raises Failed or Unknown."""
        place = self.facts.places[name]
        state = self.states[place]
        if isinstance(state, _Broken):
            raise Failed(f"{name} could not be folded: {state.error}")
        return self.facts.all[place].value(state, now)


def _at_start(fact: Fact, state: Any, left: Any, call: str) -> Any:
    if fact.before is None or isinstance(state, _Broken):
        return left
    return fact.before(state, call)


def _evolved(fact: Fact, state: Any, record: Record) -> Any:
    if isinstance(state, _Broken):
        return state
    try:
        return fact.evolve(state, record)
    except Exception as error:  # noqa: BLE001 - a project's own code; its rules cannot be answered
        return _Broken(f"{type(error).__name__} at record {record.seq} of {record.run}")
