"""An offer gives orders: `python -m examples.untrusted_input`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agentrt.errors import AgentrtError
from examples.untrusted_input.demo import play


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything came out as told, 1 when not, 2 when it could not begin or was stopped."""
    said = _parser().parse_args(arguments)
    try:
        if said.keep is None:
            with tempfile.TemporaryDirectory(prefix="untrusted-input-") as folder:
                good = play(Path(folder))
        else:
            good = play(said.keep)
            print(f"\n    All of it was kept: agentrt -C {said.keep}/untrusted_input tui")
    except (AgentrtError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 2
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.untrusted_input", description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
