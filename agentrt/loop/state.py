"""Stating a fact: telling a run what its policy waits for."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from agentrt.audit import AuditStore
from agentrt.errors import Conflict, RunError, RunOver
from agentrt.events import FactStated
from agentrt.policy import Policy
from agentrt.policy.problems import suggestion
from agentrt.run import Run

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
        now = store.load(run)
        if now.over:
            raise RunOver(f"{run} is over: {now.status}.")
        stated = FactStated(cause=now.seq, name=name, by=by, by_ref=store.ref(by), value=body)
        try:
            return await store.append(now, [stated])
        except Conflict:
            continue


def _checked(policy: Policy, name: str, value: Any) -> bytes:
    stated = policy.vocabulary.stated
    if name not in stated:
        known = f" There are: {', '.join(stated)}." if stated else " This project has none."
        raise RunError(f"{name} is no fact that is stated{suggestion(name, stated)}.{known}")
    try:
        body = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError as error:
        raise RunError(f"{name} cannot be that: {error}.") from error
    refuses = stated[name].refuses
    if refuses is not None and (problem := refuses(body)) is not None:
        raise RunError(f"{name} is a {stated[name].type}: {problem}.")
    return body
