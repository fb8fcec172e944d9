"""Stating a fact: telling a run what its policy waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

from agentrt.audit import AuditStore
from agentrt.errors import Conflict, RunError, RunOver
from agentrt.events import FactStated
from agentrt.policy import Policy
from agentrt.policy.problems import suggestion
from agentrt.run import Run
from agentrt.tools.canonical import plain_problems

__all__ = ["state"]


async def state(
    store: AuditStore, policy: Policy, run: str, name: str, value: Any, *, by: str
) -> Run:
    """Record that `by` says so; what waited for the fact is decided again.

    Raises NotFound, RunOver, and RunError when the policy knows no such fact or its value has
    another type.
    """
    body = _checked(policy, name, value)
    while True:
        now = await asyncio.to_thread(store.load, run)
        if now.over:
            raise RunOver(f"{run} is over: {now.status}.")
        stated = FactStated(cause=now.seq, name=name, by=by, by_ref=store.ref(by), value=body)
        with suppress(Conflict):
            return await store.append(now, [stated])


def _checked(policy: Policy, name: str, value: Any) -> bytes:
    stated = policy.vocabulary.stated
    if name not in stated:
        nearest = suggestion(name, stated) or "."
        known = f"There are: {', '.join(stated)}." if stated else "This project has none."
        raise RunError(f"{name} is no fact that is stated{nearest} {known}")
    try:
        body = to_json(value, inf_nan_mode="constants")
        problem = next(plain_problems(from_json(body)), None)
    except ValueError as error:
        raise RunError(f"{name} cannot be that: {error}.") from error
    refuses = stated[name].refuses
    problem = problem or (refuses(body) if refuses is not None else None)
    if problem is not None:
        raise RunError(f"{name} is of type {stated[name].type}: {problem}.")
    return body
