"""Forked children of a parent that has no threads and everything imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Self

__all__ = ["Surroundings", "ended", "fork", "stopped"]

CHILD_S = 60


def fork(work: Callable[[], object], *, limit_s: int | None = CHILD_S) -> int:
    """The process id of a child that does `work` and nothing else, for `limit_s` at most."""
    child = os.fork()
    if child:
        return child
    signal.alarm(limit_s or 0)
    try:
        work()
    except BaseException:  # noqa: BLE001 - a child must never come back
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    """The exit code of a child, or the negative signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stopped(child: int) -> bool:
    """Wait until the child is stopped by a signal; False when it has ended instead."""
    return os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])


class Surroundings:
    """The process of surroundings.py."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.surroundings"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.claude_url = self._line()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def use_mailbox(self, folder: Path) -> None:
        """Let the tools of this process and its children send to a server of this mailbox."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        os.environ["SHOP_SMTP"] = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
