"""One measurement in a fresh process: a job done once to warm up, then once under the clock."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.job import Job

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What a job took."""

    turns: int
    cpu_s: float
    """Of all threads of the process."""
    wall_s: float
    peak_mb: float
    """Of the whole process, warm-up and imports included."""
    marks_s: Sequence[float]
    """CPU used when each turn was over, counted from the start; a turn ends as the next asks."""
    body_bytes: Sequence[int]
    """Of each request."""

    @property
    def cpu_ms_per_turn(self) -> float:
        """Over all turns."""
        return self.cpu_s * 1000 / self.turns

    @property
    def wall_ms_per_turn(self) -> float:
        """Over all turns."""
        return self.wall_s * 1000 / self.turns

    def cpu_ms_in(self, first: int, last: int) -> float:
        """CPU per turn from one turn to another, both included; turns count from 1."""
        ends = [0.0, *self.marks_s]
        return (ends[last] - ends[first - 1]) * 1000 / (last - first + 1)


def measure(contender: str, job: Job, *, url: str) -> Measurement:
    """Measure in a process that ends with it. Raises CalledProcessError when the job fails."""
    module = [sys.executable, "-m", "benchmarks.measurement"]
    arguments = [contender, str(job.turns), str(job.calls), url]
    done = subprocess.run([*module, *arguments], check=True, stdout=subprocess.PIPE)
    return Measurement(**json.loads(done.stdout))


async def _measured(contender: str, job: Job, url: str) -> Measurement:
    from benchmarks.connection import Sent
    from benchmarks.contenders import CONTENDERS

    sent: list[Sent] = []
    with tempfile.TemporaryDirectory() as folder:
        async with CONTENDERS[contender](url, Path(folder), sent) as carry:
            await carry(job)
            sent.clear()
            began, wall = time.process_time(), time.perf_counter()
            await carry(job)
            ended, wall_s = time.process_time(), time.perf_counter() - wall
    turns = [request.cpu_s for request in sent[1:]]
    return Measurement(
        turns=job.turns,
        cpu_s=ended - began,
        wall_s=wall_s,
        # Linux counts in KiB, and what the parent had before exec too: so the parent stays small.
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        marks_s=[mark - began for mark in (*turns, ended)],
        body_bytes=[len(request.body) for request in sent],
    )


def main(contender: str, turns: str, calls: str, url: str) -> None:
    """Print the measurement as JSON."""
    job = Job(int(turns), int(calls))
    print(json.dumps(asdict(asyncio.run(_measured(contender, job, url)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
