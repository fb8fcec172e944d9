"""`python -m tests.crash.fleet`: run a fleet and print what came of it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import tests.crash.fleet
from tests.crash.fleet.fleet import run_fleet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(tests.crash.fleet.__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=20, help="runs that a worker carries")
    parser.add_argument("--kill-every", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--limit", type=float, default=1800.0, metavar="SECONDS")
    parser.add_argument("--store", help="a SQLite file, or postgresql://...; default: a PostgreSQL")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and leave nothing behind
    with place_of(options.store) as store:
        figures = run_fleet(
            store,
            runs=options.runs,
            workers=options.workers,
            kill_every_s=options.kill_every,
            at_once=options.at_once,
            limit_s=options.limit,
        )
    if options.json:
        print(json.dumps({**vars(figures), "good": figures.good}))
    else:
        print("\n".join(figures.lines()))
    sys.exit(0 if figures.good else 1)


@contextmanager
def place_of(store: str | None) -> Iterator[str]:
    """The store that is named, or a PostgreSQL that is gone afterwards."""
    if store is not None:
        yield store
        return
    from tests.servers import postgres

    with postgres() as url:
        yield url


if __name__ == "__main__":
    main()
