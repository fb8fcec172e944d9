"""The scripted Claude in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.job import Job

__all__ = ["standin"]


@contextmanager
def standin() -> Iterator[str]:
    """Its URL; it answers any job until the block ends."""
    command = [sys.executable, "-m", "benchmarks.standin"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
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

    threading.Thread(target=_end_with_parent, daemon=True).start()
    script = Script(turns=(Turn(reply=reply),))
    serve(script, announce=lambda url: print(url, flush=True))


def _end_with_parent() -> None:
    """A parent that is killed cannot say so, but its end of the pipe closes."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve_jobs()
