"""Durable appends: AuditStore.append beside a bare SQLite commit of the same bytes.

What is appended are the records of real runs, recorded for the purpose: the same events in
the same order, one to an append.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from benchmarks.job import Job
from benchmarks.spread import Spread, ratio
from benchmarks.standin import standin
from benchmarks.table import table

__all__ = ["appends"]

RUNS = 32
JOB = Job(20, 1)

TABLES = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
CREATE TABLE event (pos INTEGER PRIMARY KEY, header TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE content (run TEXT, seq INTEGER, part TEXT, salt BLOB, body BLOB,
                      PRIMARY KEY (run, seq, part)) STRICT;
"""


@dataclass(frozen=True)
class Rate:
    """What so many appends took."""

    records: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_us(self) -> float:
        """Per record."""
        return self.cpu_s * 1e6 / self.records

    @property
    def per_s(self) -> float:
        """Records in a second."""
        return self.records / self.wall_s


def appends(rounds: int) -> str:
    """Appends a second and CPU per record, with one run at a time and with 32 at once."""
    head = ["", "CPU µs per record", "CPU ratio", "records per second", "ratio"]
    with standin() as url, tempfile.TemporaryDirectory() as folder:
        _in_own_process("record", url, folder)
        rows = [row for at_once in (1, RUNS) for row in _rows(folder, at_once, rounds)]
    return f"### Durable appends\n\n{table(head, rows)}"


def _rows(folder: str, at_once: int, rounds: int) -> Iterator[list[str]]:
    bare, ours, sealed = [], [], []
    for _ in range(rounds):
        bare.append(_rate("bare", folder, at_once))
        ours.append(_rate("append", folder, at_once))
        sealed.append(_rate("sealed", folder, at_once))
    runs = "one run" if at_once == 1 else f"{at_once} runs at once"
    commits = "a commit each" if at_once == 1 else f"{at_once} to a commit"
    yield [f"bare SQLite, {commits}", *_cells(bare, bare)]
    yield [f"AuditStore.append, {runs}", *_cells(ours, bare)]
    yield ["the same, with a checkpoint four times a second", *_cells(sealed, bare)]


def _cells(rates: Sequence[Rate], base: Sequence[Rate]) -> list[str]:
    cpu, per_s = [r.cpu_us for r in rates], [r.per_s for r in rates]
    ratios = ["1", "1"]
    if rates is not base:
        cpu_ratio = ratio(cpu, [r.cpu_us for r in base]).shown(2)
        ratios = [cpu_ratio, ratio(per_s, [r.per_s for r in base]).shown(2)]
    return [Spread.of(cpu).shown(0), ratios[0], Spread.of(per_s).shown(0), ratios[1]]


def _rate(what: str, folder: str, at_once: int) -> Rate:
    return Rate(**json.loads(_in_own_process(what, folder, str(at_once))))


def _in_own_process(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "benchmarks.appends", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


# --- in a process of its own ------------------------------------------------------------------


async def record(url: str, folder: str) -> None:
    """Record runs, whose records are then appended elsewhere."""
    from benchmarks.contenders import governed

    async with governed(url, Path(folder), []) as carry:
        await asyncio.gather(*(carry(JOB) for _ in range(RUNS)))


async def append(folder: str, at_once: int, *, sealed: bool = False) -> Rate:
    """The events of the recorded runs, through AuditStore.append into a new store."""
    from agentrt import AuditStore, Run
    from agentrt.audit.keys import SigningKey
    from agentrt.audit.sealer import Sealer

    with AuditStore(Path(folder) / "agentrt.db", read_only=True) as source:
        runs = {row.id: [r.event for r in source.records(row.id)] for row in source.runs()}

    async def replay(id: str) -> None:
        await store.claim(id)
        run = Run(id)
        for event in runs[id]:
            run = await store.append(run, [event], process=store.process)

    with tempfile.TemporaryDirectory(dir=folder) as new, AuditStore(Path(new) / "new.db") as store:
        warm, *rest = runs
        await replay(warm)
        if sealed:
            sealer = Sealer(store, SigningKey.at(Path(new) / "key"), every_s=0.001)
            await sealer.seal()
            sealer.begin()
        began, wall = time.process_time(), time.perf_counter()
        for group in _groups(rest, at_once):
            await asyncio.gather(*(replay(run) for run in group))
        return _taken(sum(len(runs[run]) for run in rest), began, wall)


def bare(folder: str, at_once: int) -> Rate:
    """The same headers and content into two plain tables, `at_once` records to a commit."""
    from pysqlite3 import dbapi2

    runs = _stored(dbapi2.connect(f"file:{folder}/agentrt.db?mode=ro", uri=True))
    with tempfile.TemporaryDirectory(dir=folder) as new:
        connection = dbapi2.connect(f"{new}/new.db", isolation_level=None)
        connection.executescript(TABLES)
        warm, *rest = runs
        _insert(connection, warm, 1)
        began, wall = time.process_time(), time.perf_counter()
        for group in _groups(rest, at_once):
            turned = chain.from_iterable(zip_longest(*group))
            _insert(connection, [row for row in turned if row], at_once)
        rate = _taken(sum(map(len, rest)), began, wall)
        connection.close()
    return rate


def _stored(source: Any) -> list[list[Any]]:
    query = "SELECT run, seq, header, hash FROM event WHERE run LIKE 'sim_%' ORDER BY run, seq"
    runs: dict[str, list[Any]] = {}
    for run, seq, header, digest in source.execute(query).fetchall():
        parts = "SELECT run, seq, part, salt, body FROM content WHERE run = ? AND seq = ?"
        content = source.execute(parts, (run, seq)).fetchall()
        runs.setdefault(run, []).append((header, digest, content))
    source.close()
    return list(runs.values())


def _insert(connection: Any, rows: Sequence[Any], to_a_commit: int) -> None:
    for group in _groups(rows, to_a_commit):
        connection.execute("BEGIN IMMEDIATE")
        for header, digest, content in group:
            connection.execute("INSERT INTO event (header, hash) VALUES (?, ?)", (header, digest))
            connection.executemany("INSERT INTO content VALUES (?, ?, ?, ?, ?)", content)
        connection.execute("COMMIT")


def _groups(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _taken(records: int, began: float, wall: float) -> Rate:
    return Rate(records, time.process_time() - began, time.perf_counter() - wall)


def main(what: str, *arguments: str) -> None:
    """Print the rate as JSON, where there is one."""
    match what, arguments:
        case "record", (url, folder):
            asyncio.run(record(url, folder))
        case "append", (folder, at_once):
            print(json.dumps(asdict(asyncio.run(append(folder, int(at_once))))))
        case "sealed", (folder, at_once):
            rate = asyncio.run(append(folder, int(at_once), sealed=True))
            print(json.dumps(asdict(rate)))
        case "bare", (folder, at_once):
            print(json.dumps(asdict(bare(folder, int(at_once)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
