"""`python -m cel_diff N --seed S --jobs J`: N random expressions to both sides."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import SystemRandom

from .campaign import Tally, stretch
from .reference import is_installed

_STRETCH = 5_000


def main() -> int:
    options = _options()
    if not is_installed():
        print("cel-expr-python is not installed: it has no wheel for every platform")
        return 2
    what = "texts" if options.texts else "expressions"
    print(f"{options.number:,} {what} of seed {options.seed}, {options.jobs} at a time")
    begun, tally = time.monotonic(), Tally()
    for more in _tallies(options):
        tally += more
        _tell_progress(tally, time.monotonic() - begun)
    _tell(tally, options)
    return 1 if tally.unexplained else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cel_diff", description=__doc__)
    parser.add_argument("number", type=int, help="how many expressions")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--texts", action="store_true", help="texts with mistakes in them")
    return parser.parse_args()


def _tallies(options: argparse.Namespace) -> Iterator[Tally]:
    end = options.first + options.number
    stretches = [
        (options.texts, options.seed, range(first, min(first + _STRETCH, end)))
        for first in range(options.first, end, _STRETCH)
    ]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(stretch, stretches)


def _tell_progress(tally: Tally, seconds: float) -> None:
    rate = tally.asked / seconds
    print(
        f"{tally.asked:,} asked, {rate:,.0f}/s: {tally.values:,} agree in the value,"
        f" {tally.errors:,} in an error, {tally.known.total():,} differ as documented,"
        f" {len(tally.unexplained)} differ otherwise",
        flush=True,
    )


def _tell(tally: Tally, options: argparse.Namespace) -> None:
    print(f"refused by our checker: {tally.refused:,} of {tally.asked:,}")
    for name, number in tally.known.most_common():
        print(f"{number:>8,}  {name}")
    for each in tally.unexplained:
        texts = " --texts" if options.texts else ""
        command = f"python -m cel_diff 1 --seed {options.seed} --first {each.number}{texts}"
        print(f"\n{each}\n  again:  {command}")


if __name__ == "__main__":
    sys.exit(main())
