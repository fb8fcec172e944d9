"""A customer asks for money back: `python -m examples.support_desk`, or `make demo`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agentrt.claude import Claude
from agentrt.errors import AgentrtError, CredentialsMissing
from agentrt.testing import Script, ScriptedClaude
from examples.support_desk.demo import play
from examples.support_desk.desk import Desk
from examples.support_desk.world import World, mail_server


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything came out as told, 1 when not, 2 when it could not begin or was stopped."""
    said = _parser().parse_args(arguments)
    screen = _on_a_terminal() and not (said.no_tui or said.reject)
    try:
        if said.live:
            asyncio.run(_check_key())
        with _desk(said.keep, live=said.live) as desk:
            good = play(desk, screen=screen, reject=said.reject)
    except CredentialsMissing:
        return _refused("--live needs a key: set ANTHROPIC_API_KEY, or leave --live out.")
    except (AgentrtError, OSError) as error:
        return _refused(str(error))
    except (KeyboardInterrupt, EOFError):
        return _refused("Stopped.")
    if said.keep:
        print(f"\n    All of it was kept: agentrt -C {said.keep} tui")
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.support_desk", description=__doc__)
    parser.add_argument("--live", action="store_true", help="the real API; needs ANTHROPIC_API_KEY")
    parser.add_argument("--no-tui", action="store_true", help="no screen: a demo reviewer decides")
    parser.add_argument("--reject", action="store_true", help="the demo reviewer says no")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave it")
    return parser


def _on_a_terminal() -> bool:
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


async def _check_key() -> None:
    """Whether there is a key, before anything is made. Raises CredentialsMissing."""
    await Claude().close()


def _refused(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


@contextmanager
def _desk(folder: Path | None, *, live: bool) -> Iterator[Desk]:
    """A new world, its mail server, and somebody who answers as Claude."""
    with ExitStack() as stack:
        world = World.make(folder or Path(stack.enter_context(_temporary())))
        os.environ["SHOP_SMTP"] = stack.enter_context(mail_server(world.mailbox))
        if live:
            yield Desk(world)
        else:
            script = Script.load(world.folder / "script.yaml")
            yield Desk(world, stack.enter_context(ScriptedClaude(script)).url)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="support-desk-")


if __name__ == "__main__":
    sys.exit(main())
