"""Forgetting a subject: its runs are stopped, their content erased, and that is recorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from agentrt.audit import AuditStore
from agentrt.audit.erasing import Ground
from agentrt.audit.forgetting import Due
from agentrt.errors import RunOver
from agentrt.loop.cancel import cancel

__all__ = ["Forgotten", "apply_retention", "forget"]


@dataclass(frozen=True)
class Forgotten:
    """What was erased, and how far that reached."""

    request: str
    runs: tuple[str, ...]
    cancelled: tuple[str, ...]
    kinds: Mapping[str, int]
    reach: str


async def forget(store: AuditStore, subject: str, *, by: str, reason: str) -> Forgotten:
    """Erase all content of the runs that are about a subject, and of those that follow them.

    A run that still needs it is cancelled first. Raises ErasureRefused when one of the runs is
    held: then nothing was cancelled and nothing erased.
    """
    why = Ground.of("request", by=by, reason=reason)
    runs = await asyncio.to_thread(store.forgetting.runs_of, subject)
    await asyncio.to_thread(store.forgetting.check_free, runs)
    cancelled = [run.id for run in runs if not run.over]
    for run in cancelled:
        with suppress(RunOver):
            await cancel(store, run, by=by, reason="Its content is to be forgotten.")
    return await _erase(store, [Due(run.id, None) for run in runs], why, tuple(cancelled))


async def apply_retention(store: AuditStore, due: list[Due], *, by: str, reason: str) -> Forgotten:
    """Erase what is older than it may be, as `Forgetting.due` found it."""
    return await _erase(store, due, Ground.of("retention", by=by, reason=reason), ())


async def _erase(
    store: AuditStore, due: list[Due], why: Ground, cancelled: tuple[str, ...]
) -> Forgotten:
    erased = [await store.forgetting.forget(each.run, why, kinds=each.kinds) for each in due]
    found = [each for each in erased if each is not None]
    kinds: Counter[str] = Counter()
    for each in found:
        kinds.update(each.kinds)
    reach = ""
    if found:
        await store.forgetting.sum_up(why, found)
        reach = await asyncio.to_thread(store.purge)
    return Forgotten(why.request, tuple(each.run for each in found), cancelled, dict(kinds), reach)
