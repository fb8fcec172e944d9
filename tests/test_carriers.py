"""Carriers: a job is heard at least once by who serves, whoever rang, and holds no truth."""

from __future__ import annotations

import pytest

from agentrt.carriers import Embedded
from agentrt.testing import check_carrier


async def test_the_embedded_carrier_carries() -> None:
    await check_carrier(Embedded)


class Deaf(Embedded):
    """Forgets what was rung while nobody served."""

    def wake(self, run: str, connection: object = None) -> None:
        if self._loop is not None:
            super().wake(run)


class Slow(Embedded):
    """Waits for what it called, as if a job lasted as long as its run."""

    async def serve(self, advance: object) -> None:
        for run in self._take():
            await advance(run)  # type: ignore[operator]


class Impatient(Embedded):
    """Gives up when what it calls goes wrong."""

    async def serve(self, advance: object) -> None:
        async def once(run: str) -> None:
            if run.endswith("again"):
                raise RuntimeError
            await advance(run)  # type: ignore[operator]

        await super().serve(once)


@pytest.mark.parametrize("broken", [Deaf, Slow, Impatient])
async def test_a_broken_carrier_is_found_out(broken: type[Embedded]) -> None:
    with pytest.raises(AssertionError):
        await check_carrier(broken, within_s=1)
