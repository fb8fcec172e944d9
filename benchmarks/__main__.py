"""Measures, and prints the tables as Markdown: `python -m benchmarks [--help]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.appends import appends
from benchmarks.decisions import policy
from benchmarks.machine import machine
from benchmarks.startup import startup
from benchmarks.turns import flatness, turns
from benchmarks.verification import verification
from benchmarks.workers import workers

SECTIONS: Mapping[str, Callable[[int], str]] = {
    "turns": turns,
    "flatness": flatness,
    "appends": appends,
    "policy": policy,
    "startup": startup,
    "verification": verification,
    "workers": workers,
}

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- measured -->", "<!-- end -->"


def main() -> None:
    """Measure what is asked for; with --write, keep the tables in the README."""
    asked = _arguments()
    parts = []
    for name in asked.sections or SECTIONS:
        print(f"measuring {name} ...", file=sys.stderr)
        parts.append(SECTIONS[name](asked.rounds))
    text = "\n\n".join([*parts, f"{_command(asked)}: {machine()}."])
    print(text)
    if asked.write:
        _write(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each kind (9)")
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    asked = parser.parse_args()
    if unknown := [name for name in asked.sections if name not in SECTIONS]:
        parser.error(f"no section {unknown[0]!r}: there are {', '.join(SECTIONS)}")
    if asked.rounds < 2:
        parser.error("--rounds must be at least 2")
    return asked


def _command(asked: argparse.Namespace) -> str:
    words = ["python -m benchmarks", *asked.sections, f"--rounds {asked.rounds}"]
    return f"`{' '.join(words)}`"


def _write(text: str) -> None:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
