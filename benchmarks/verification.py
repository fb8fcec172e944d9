"""Verification: how many records a second `agentrt audit verify` checks, and what memory it takes.

The store is made of the records of one real run, told again under other ids.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.job import Job
from benchmarks.spread import Spread
from benchmarks.standin import standin
from benchmarks.table import table

if TYPE_CHECKING:
    from agentrt.audit import AuditStore
    from agentrt.events import AnyEvent, Record

__all__ = ["verification"]

RECORDS = 50_000
JOB = Job(8, 1)
TO_A_COMMIT = 100
"""Runs."""


@dataclass(frozen=True)
class Walk:
    """What one verification took."""

    records: int
    wall_s: float
    peak_mb: float
    """More than the process had before."""


def verification(rounds: int, *, records: int = RECORDS) -> str:
    """Records a second, of what is proven alone and with the lists compared too."""
    head = ["", "records", "records per second", "peak memory, MB"]
    with standin() as url, tempfile.TemporaryDirectory() as folder:
        _in_own_process("make", url, folder, str(records))
        rows = [_row(what, folder, rounds) for what in ("proof", "incremental", "lists")]
    return f"### Verification\n\n{table(head, rows)}"


SAID = {
    "proof": "records, content, chains, tree and checkpoints",
    "incremental": "the half since a verified checkpoint",
    "lists": "with every run folded and its lists compared",
}


def _row(what: str, folder: str, rounds: int) -> list[str]:
    times = min(rounds, 2) if what == "lists" else rounds  # which takes its time
    walks = [Walk(**json.loads(_in_own_process(what, folder))) for _ in range(times)]
    rates = Spread.of([walk.records / walk.wall_s for walk in walks])
    peaks = Spread.of([walk.peak_mb for walk in walks])
    return [SAID[what], f"{walks[0].records:,}", rates.shown(0), peaks.shown(0)]


def _in_own_process(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "benchmarks.verification", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


# --- in a process of its own ------------------------------------------------------------------


async def make(url: str, folder: str, records: int) -> None:
    """A store of so many records, sealed as it grew."""
    from agentrt import AuditStore
    from agentrt.audit.keys import SigningKey
    from agentrt.audit.sealer import Sealer
    from benchmarks.contenders import governed

    async with governed(url, Path(folder), []) as carry:
        await carry(JOB)
    with AuditStore(Path(folder) / "agentrt.db", read_only=True) as source:
        told = source.records(source.runs()[0].id)
    with AuditStore(Path(folder) / "large.db") as store:
        sealer = Sealer(store, SigningKey.at(Path(folder) / "key"))
        for first in range(0, records // len(told), TO_A_COMMIT):
            await _tell(store, told, range(first, first + TO_A_COMMIT))
            await sealer.seal()


async def _tell(store: AuditStore, told: Sequence[Record], numbers: range) -> None:
    from agentrt.audit.appends import Draft, insert
    from agentrt.run import Run

    drafts = []
    for number in numbers:
        run = Run(f"sim_r_{number:016x}")
        drafts.append(Draft.of(run).plus(_renamed(told, run.id), at=store.clock()))

    def work(connection: Any) -> None:
        for draft in drafts:
            insert(connection, draft)

    await store.within(work)


def _renamed(told: Sequence[Record], run: str) -> Iterator[AnyEvent]:
    """The events of a run as another would have had them."""
    from agentrt.run.state import call_id

    ids: dict[str, str] = {}
    turn = 0
    for record in told:
        event: Any = record.event
        turn += event.type == "claude.asked"
        if (old := getattr(event, "call", None)) is not None:
            ids.setdefault(old, call_id(run, turn, 0))
            event = event.model_copy(update={"call": ids[old]})
        yield event


def walk(what: str, folder: str) -> Walk:
    """Verify the store in one of the ways that there are."""
    from agentrt import AuditStore
    from agentrt.audit.keys import SigningKey
    from agentrt.audit.verify import Trust, verify_newer

    trust = Trust(keys=[SigningKey(Path(folder) / "key").raw])
    with AuditStore(Path(folder) / "large.db", read_only=True) as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        if what == "incremental":
            with store.reading() as connection:
                found = verify_newer(connection, _middle(connection), trust=trust)
        else:
            found = store.verify(lists=what == "lists", trust=trust)
        wall = time.perf_counter() - began
        assert found.ok, found.findings[:3]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Walk(found.records, wall, (peak - before) / 1024)


def _middle(connection: Any) -> Any:
    """A checkpoint over half of the runs."""
    from agentrt.audit.notes import Checkpoint
    from agentrt.audit.sealing import checkpoint_at, newest_checkpoint

    newest = newest_checkpoint(connection)
    assert newest is not None
    size = Checkpoint.parse(newest.text).size // 2
    while (note := checkpoint_at(connection, size)) is None:
        size += 1
    return note


def main(what: str, *arguments: str) -> None:
    """Print what was measured as JSON, where there is something."""
    if what == "make":
        url, folder, records = arguments
        asyncio.run(make(url, folder, int(records)))
    else:
        print(json.dumps(asdict(walk(what, *arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
