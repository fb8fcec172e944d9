"""`python -m tests.crash`: strike worlds in every way there is, and say what came of it."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from tests.crash.table import DOCUMENT, Totals, write_table

ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    options = _parser().parse_args()
    if options.jobs == 1:
        totals = Totals.of(_strike(options))
    else:
        totals = Totals.of(_strike_together(options))
    print("\n".join(totals.lines()))
    if options.write:
        write_table(totals, command=f"python -m tests.crash {' '.join(_without_write())}")
        print(f"written into {DOCUMENT.relative_to(ROOT)}")
    sys.exit(0 if totals.good else 1)


def _without_write() -> list[str]:
    return [argument for argument in sys.argv[1:] if argument != "--write"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash",
        description="Kill agentrt in every way there is, and compare its store with the world.",
    )
    parser.add_argument("--kinds", nargs="+", help="default: all that the store can be struck by")
    parser.add_argument("--kills", type=int, default=200, help="over all kinds; default: 200")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="how many work side by side")
    parser.add_argument("--results", type=Path, help="a file to which each world is added as JSON")
    parser.add_argument("--write", action="store_true", help="the table, into docs/reliability.md")
    return parser


def _strike(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Worlds of each kind in turn, until there were so many kills."""
    from tests.crash.ground import ground
    from tests.crash.kinds import kinds_of, strike

    logging.getLogger("agentrt").setLevel(logging.CRITICAL)  # it complains of every blow
    kinds = options.kinds or kinds_of(options.store)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        server = None
        if options.store == "postgres":
            from tests.crash.server import Server

            server = running.enter_context(Server(folder / "server"))
        made = running.enter_context(ground(folder, seed=options.seed, server=server))
        kills = 0
        for number in count():
            for kind in kinds:
                strikes = strike(kind, made, number)
                kills += strikes.kills
                told = {"store": options.store, "kind": kind, **strikes.summary()}
                if options.results:
                    with options.results.open("a") as results:
                        results.write(json.dumps(told) + "\n")
                yield told
                if kills >= options.kills:
                    return


def _strike_together(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The same in processes side by side, each with a seed and a share of its own."""
    with tempfile.TemporaryDirectory() as folder:
        results = options.results or Path(folder) / "results"
        results.touch()
        kinds = ["--kinds", *options.kinds] if options.kinds else []
        share = -(-options.kills // options.jobs)
        commands = [
            [
                *(sys.executable, "-m", "tests.crash", *kinds, "--store", options.store),
                *("--kills", str(share), "--seed", str(options.seed * 1000 + job)),
                *("--results", str(results)),
            ]
            for job in range(options.jobs)
        ]
        _wait(commands)
        for line in results.read_text().splitlines():
            yield json.loads(line)


def _wait(commands: Sequence[list[str]]) -> None:
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for command in commands
    ]
    try:
        for process in running:
            process.wait()
    finally:
        for process in running:
            process.terminate()


if __name__ == "__main__":
    main()
