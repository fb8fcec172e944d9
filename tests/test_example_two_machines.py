"""The example of two machines tells its facts, each of them checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_killed_machine_leaves_its_runs_to_the_other_and_each_payment_is_made_once() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "examples.two_machines"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    facts = said.stdout.splitlines()
    assert all(fact.startswith("ok  ") for fact in facts)
    assert "each payment was made once" in facts[-2]
    assert facts[-1] == "ok  every record is as it was written"
