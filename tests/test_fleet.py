"""A small fleet of workers that are killed: every effect once. The large one is a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crash.fleet.figures import Figures

pytestmark = pytest.mark.crash


def test_workers_killed_while_reviewers_decide_do_everything_once(
    tmp_path: Path, record_property: Any
) -> None:
    figures = fleet(str(tmp_path / "agentrt.db"))
    record_property("figures", "; ".join(figures.lines()))
    assert figures.good, "\n".join(figures.lines())
    assert figures.kills > 0


def fleet(store: str) -> Figures:
    """A fleet in a process of its own, which is told as one line of JSON."""
    import json
    import subprocess
    import sys
    from collections import Counter

    command = [sys.executable, "-m", "tests.crash.fleet", "--runs", "60", "--workers", "3"]
    command += ["--kill-every", "2.5", "--limit", "200", "--store", store, "--json"]
    root = Path(__file__).parent.parent
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert ended.stdout, ended.stderr
    said = json.loads(ended.stdout)
    said.pop("good")
    counted = {name: Counter(said.pop(name)) for name in ("statuses", "calls", "approvals")}
    return Figures(**said, **counted)
