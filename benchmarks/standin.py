"""The scripted Claude in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.job import Job

__all__ = ["standin"]


@contextmanager
def standin() -> Iterator[str]:
    """Its URL; it answers any job until the block ends."""
    command = [sys.executable, "-m", "benchmarks.standin"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def serve_jobs() -> None:
    """Serve, and print the URL once it answers."""
    from agentrt.testing import Conversation, Script, Turn, serve

    def reply(conversation: Conversation) -> object:
        return Job.read(conversation.user).reply(conversation.turns)

    script = Script(turns=(Turn(reply=reply),))
    serve(script, announce=lambda url: print(url, flush=True))


if __name__ == "__main__":
    serve_jobs()
