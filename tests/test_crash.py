"""Killed anywhere, nothing is lost and nothing irreversible happens twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.crash


def driven(module: str, *arguments: object) -> dict[str, Any]:
    """What a driver said at its end. It forks, so it must not be this threaded process."""
    command = [sys.executable, "-m", f"tests.crash.{module}", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_the_support_desk_killed_at_every_point_does_everything_once(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = driven("driver", tmp_path)
    figures = f"{report['killed']} kills at {report['points']} points, {report['doubts']} doubts"
    record_property("figures", figures)
    assert report["wrong"] == []
    assert report["points"] >= 40
    # The last commits of a run may share one, so that its last point is not always there.
    assert report["killed"] >= report["points"] - 3


def test_two_processes_that_take_up_the_same_approved_run_pay_once(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = driven("race", tmp_path, 200)
    record_property("figures", f"{report['runs']} races, {report['paid']} payments made once")
    assert report["paid"] == 200
    assert report["paid_twice"] == []
    assert report["unfinished"] == []
    assert report["chain"] == []
    assert report["codes"] == [0, 0]


def struck(*options: str) -> list[str]:
    """What the command said of its strikes, when nothing was wrong."""
    command = [sys.executable, "-m", "tests.crash", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_killed_in_every_way_the_store_and_the_world_agree(
    record_property: Callable[[str, object], None],
) -> None:
    *_, figures = struck("--kills", "160")
    record_property("figures", figures)
    assert int(figures.split()[0]) >= 160


@pytest.mark.parametrize(
    "bug", ["believed", "denied call", "expiry", "held call", "synchronous", "one approval"]
)
def test_a_deliberate_bug_is_found(bug: str) -> None:
    command = [sys.executable, "-m", "tests.crash.mutants", "--quick", "--only", bug]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
