"""A check for carriers of jobs: what a runtime relies on, and what it does not."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress

from agentrt.carriers import Carrier

__all__ = ["check_carrier"]

WITHIN_S = 20.0

MANY = 200


class _Heard:
    """Which jobs were delivered, and how often."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self._more = asyncio.Event()

    async def advance(self, run: str) -> None:
        self.runs[run] += 1
        self._more.set()

    async def all_of(self, runs: Collection[str], *, within_s: float) -> None:
        """Wait for each of them. Raises AssertionError when one does not come."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not set(runs) <= self.runs.keys():
                    self._more.clear()
                    await self._more.wait()
        missing = sorted(set(runs) - self.runs.keys())
        assert not missing, f"{len(missing)} jobs were not delivered, among them {missing[0]}"  # noqa: S101


async def check_carrier(make: Callable[[], Carrier], *, within_s: float = WITHIN_S) -> None:
    """Hold a carrier to what a runtime relies on. Raises AssertionError where it falls short.

    `make` gives a carrier, each time on the same queue, which is empty when the check begins.
    A job is waited for `within_s`.
    """
    carrier = make()
    await _what_is_rung_is_heard(carrier, within_s)
    await _what_was_rung_before_is_heard(carrier, within_s)
    await _any_thread_may_ring(carrier, within_s)
    await _ringing_again_is_harmless(carrier, within_s)
    await _who_serves_goes_on_until_cancelled(carrier)


async def _what_is_rung_is_heard(carrier: Carrier, within_s: float) -> None:
    async with _serving(carrier) as heard:
        await asyncio.to_thread(carrier.wake, "r_first")
        await heard.all_of(["r_first"], within_s=within_s)


async def _what_was_rung_before_is_heard(carrier: Carrier, within_s: float) -> None:
    """A job that nobody served for is delivered to whoever serves next."""
    await asyncio.to_thread(carrier.wake, "r_before")
    async with _serving(carrier) as heard:
        await heard.all_of(["r_before"], within_s=within_s)


async def _any_thread_may_ring(carrier: Carrier, within_s: float) -> None:
    runs = [f"r_many_{number}" for number in range(MANY)]

    def ring(part: list[str]) -> None:
        for run in part:
            carrier.wake(run)

    async with _serving(carrier) as heard:
        threads = [threading.Thread(target=ring, args=(runs[each::4],)) for each in range(4)]
        for thread in threads:
            thread.start()
        await heard.all_of(runs, within_s=within_s)
        for thread in threads:
            await asyncio.to_thread(thread.join)


async def _ringing_again_is_harmless(carrier: Carrier, within_s: float) -> None:
    """A run that was woken once can be woken again, also while its job waits."""
    async with _serving(carrier) as heard:
        for _ in range(3):
            await asyncio.to_thread(carrier.wake, "r_again")
        await heard.all_of(["r_again"], within_s=within_s)
        heard.runs.clear()
        await asyncio.to_thread(carrier.wake, "r_again")
        await heard.all_of(["r_again"], within_s=within_s)


async def _who_serves_goes_on_until_cancelled(carrier: Carrier) -> None:
    serving = asyncio.ensure_future(carrier.serve(_Heard().advance))
    done, _ = await asyncio.wait({serving}, timeout=0.2)
    assert not done, "serve returned though nobody cancelled it"  # noqa: S101
    serving.cancel()
    done, _ = await asyncio.wait({serving}, timeout=WITHIN_S)
    assert done, "serve went on though it was cancelled"  # noqa: S101
    assert serving.cancelled(), "serve hides that it was cancelled"  # noqa: S101


@asynccontextmanager
async def _serving(carrier: Carrier) -> AsyncIterator[_Heard]:
    heard = _Heard()
    serving = asyncio.ensure_future(carrier.serve(heard.advance))
    try:
        yield heard
        assert not serving.done(), "serve returned though nobody cancelled it"  # noqa: S101
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
