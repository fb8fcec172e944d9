"""A fleet at work: all is started, workers are killed and replaced, until every run is over."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentrt import AuditStore
from agentrt.approvals import make_key
from agentrt.audit import STORE_CHAIN
from tests.crash.fleet.figures import Figures, judge
from tests.crash.fleet.processes import review, serve_claude, start_runs, work
from tests.crash.fleet.world import Effects, World

__all__ = ["run_fleet"]


@contextmanager
def world_of(store: str, folder: Path, at_once: int, effects: Effects) -> Iterator[World]:
    people = {name: make_key(folder / name, comment=name) for name in ("ada", "bo", "cy")}
    keys = {name: (str(folder / name), key.public_key) for name, key in people.items()}
    fork = multiprocessing.get_context("forkserver")
    urls = fork.Queue()
    claude = fork.Process(target=serve_claude, args=(urls,), daemon=True)
    claude.start()
    try:
        yield World(store, urls.get(timeout=60), effects.port, keys, at_once)
    finally:
        claude.terminate()
        claude.join()


def run_fleet(
    store: str, *, runs: int, workers: int, kill_every_s: float, at_once: int, limit_s: float
) -> Figures:
    """Start all, kill and replace workers until every run is over, and judge."""
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(["tests.crash.fleet.fleet", "agentrt.testing.standin"])
    effects = Effects()
    figures = Figures(runs, workers)
    with (
        tempfile.TemporaryDirectory() as folder,
        world_of(store, Path(folder), at_once, effects) as world,
    ):
        AuditStore(store).close()
        began = time.monotonic()
        people = [
            fork.Process(target=review, args=(world, name, seed), daemon=True)
            for seed, name in enumerate(world.keys)
        ]
        starting = fork.Process(target=start_runs, args=(world, runs), daemon=True)
        team = [fork.Process(target=work, args=(world,), daemon=True) for _ in range(workers)]
        for process in (*people, starting, *team):
            process.start()
        try:
            _until_over(world, fork, team, figures, kill_every_s, began + limit_s)
        finally:
            for process in (*people, starting, *team):
                process.terminate()
            for process in (*people, starting, *team):
                process.join(30)
                process.kill()
        figures.took_s = time.monotonic() - began
        judge(world, effects.seen, figures)
    return figures


def _are_over(store: AuditStore, runs: int) -> bool:
    """Whether so many runs were started, and none of them is ready, carried or waits."""
    open_ones = store.runs(status=("running", "waiting"), limit=2)
    if any(row.id != STORE_CHAIN for row in open_ones):
        return False
    return len(store.runs(limit=runs)) == runs


def _until_over(
    world: World, fork: Any, team: list[Any], figures: Figures, every_s: float, until: float
) -> None:
    chance = random.Random(figures.runs)
    next_kill = time.monotonic() + every_s
    with AuditStore(world.store) as store:
        while time.monotonic() < until:
            if _are_over(store, figures.runs):
                return
            if time.monotonic() >= next_kill:
                place = chance.randrange(len(team))
                os.kill(team[place].pid, signal.SIGKILL)
                team[place].join()
                team[place] = fork.Process(target=work, args=(world,), daemon=True)
                team[place].start()
                figures.kills += 1
                next_kill = time.monotonic() + every_s
            time.sleep(0.2)
