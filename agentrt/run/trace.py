"""A trace: one record, what it follows from, and what followed from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentrt.errors import NotFound
from agentrt.events import Record
from agentrt.run.why import Fact, fact_data, tell, told

__all__ = ["Trace", "trace"]


@dataclass(frozen=True, slots=True)
class Trace:
    """The answer to *what led to this, and what came of it*, by walking over causes both ways."""

    run: str
    fact: Fact
    led_here: tuple[Fact, ...]
    """The chain of causes, oldest first, without the record itself."""
    followed: tuple[Fact, ...]
    """Every record whose chain of causes goes through this one, oldest first."""

    def lines(self) -> Iterator[str]:
        """The story as plain lines. The texts in it are untrusted and not escaped."""
        yield f"record {self.fact.seq} of {self.run}"
        yield from told((*self.led_here, self.fact))
        if self.followed:
            yield "what followed from it"
            yield from told(self.followed)

    def data(self) -> dict[str, Any]:
        """The story as JSON data."""
        return {
            "run": self.run,
            "seq": self.fact.seq,
            "record": fact_data(self.fact),
            "led_here": [fact_data(fact) for fact in self.led_here],
            "followed": [fact_data(fact) for fact in self.followed],
        }


def trace(records: Sequence[Record], seq: int) -> Trace:
    """What record `seq` of a run follows from and what followed. Raises NotFound."""
    facts = {fact.seq: fact for fact in tell(records)}
    if seq not in facts:
        run = records[0].run if records else "this run"
        raise NotFound(f"{run} has no record {seq}; it has {len(records)}.")
    causes = {record.seq: record.event.cause for record in records}
    return Trace(
        run=records[0].run,
        fact=facts[seq],
        led_here=tuple(facts[each] for each in _back(seq, causes)),
        followed=tuple(facts[each] for each in _forth(seq, causes)),
    )


def _back(seq: int, causes: Mapping[int, int | None]) -> Sequence[int]:
    chain: list[int] = []
    at = causes[seq]
    # A cause stands before what it causes: whatever a file says, the walk ends.
    while at is not None and at in causes and at < (chain[-1] if chain else seq):
        chain.append(at)
        at = causes[at]
    return chain[::-1]


def _forth(seq: int, causes: Mapping[int, int | None]) -> Sequence[int]:
    effects: dict[int, list[int]] = defaultdict(list)
    for effect, cause in causes.items():
        if cause is not None and cause < effect:
            effects[cause].append(effect)
    found: list[int] = []
    waiting = [seq]
    while waiting:
        new = effects[waiting.pop()]
        found += new
        waiting += new
    return sorted(found)
