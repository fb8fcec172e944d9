"""A stated fact: not folded from what the run did, but told to it from outside."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from agentrt.events import FactStated, Record
from agentrt.policy.cel import Failed, Type, Unknown, adapted
from agentrt.policy.facts.fact import Fact

__all__ = ["stated_fact"]


def stated_fact(name: str, type: Type, *, about: str) -> Fact:
    """A fact of a run that somebody states with `Runtime.state` or `agentrt runs state`.

    Until then it is unknown, and a call that a rule needs it for waits. The last statement
    counts; a value of another type makes the rule's condition fail.
    """

    def evolve(stated: bytes | None, record: Record) -> bytes | None:
        event = record.event
        if isinstance(event, FactStated) and event.name == name:
            return event.value
        return stated

    def refuses(body: bytes) -> str | None:
        try:
            adapted(type, from_json(body))
        except Failed as error:
            return str(error)
        return None

    def value(stated: bytes | None, _now: int) -> Any:
        if stated is None:
            raise Unknown(name)
        return adapted(type, from_json(stated))

    return Fact(name, type, about, (FactStated,), None, evolve, value, refuses=refuses)
