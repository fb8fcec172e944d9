"""What survives a crash: a scripted Claude and mail servers, in a process of their own.

It prints the scripted Claude's URL; then, for each line on its standard input, which names a
mailbox, it starts a mail server and prints its address. It ends with its input.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from agentrt.testing import Script, ScriptedClaude
from examples.support_desk.world import SOURCE, mail_server


def main() -> None:
    script = Script.load(SOURCE / "script.yaml")
    unhurried = (turn.model_copy(update={"pace_s": 0}) for turn in script.turns)
    quick = script.model_copy(update={"turns": tuple(unhurried)})
    with ExitStack() as running:
        claude = running.enter_context(ScriptedClaude(quick))
        print(claude.url, flush=True)
        for line in sys.stdin:
            print(running.enter_context(mail_server(Path(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
