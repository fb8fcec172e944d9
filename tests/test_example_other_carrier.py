"""The example of another engine: its carrier is one, and a run goes its way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agentrt.testing import check_carrier
from examples.other_carrier.__main__ import celery_on
from examples.other_carrier.celery_carrier import CeleryCarrier

ROOT = Path(__file__).parent.parent


async def test_the_carrier_over_celery_carries(tmp_path: Path) -> None:
    app = celery_on(tmp_path)
    await check_carrier(lambda: CeleryCarrier(app))


def test_the_example_carries_a_run() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "examples.other_carrier"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr
    assert "finished: It was charged twice." in said.stdout
