"""Which processes live: an operating-system lock that each holds for life.

A process that died, however it died, holds no lock; nothing else proves a death. Lock files
are left where they are, since removing another's could take the proof of its life away.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Protocol

__all__ = ["LocalProcesses", "Process", "Processes", "is_alive"]


class Processes(Protocol):
    """The processes that work on a store: this one, and which of the others live."""

    @property
    def mine(self) -> str:
        """This process, as the records name it; alive until `close`."""

    def is_alive(self, id: str) -> bool:
        """Whether it may carry runs: False lets others take them over."""

    def may_run(self, id: str, *, until: int) -> bool:
        """Whether a function that it entered may run yet, which should have ended at `until`.

        In milliseconds since the epoch. Only False proves that an effect will not happen any more.
        """

    def close(self) -> None:
        """Say that nothing of this process runs any more."""


class LocalProcesses:
    """Those of one machine, each with a lock file in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: Process | None = None

    @property
    def mine(self) -> str:
        """This process, as the records name it; alive until `close`."""
        if self._mine is None:
            self._mine = Process(self._folder)
        return self._mine.id

    def is_alive(self, id: str) -> bool:
        """Whether it holds its lock."""
        return is_alive(self._folder, id)

    def may_run(self, id: str, *, until: int) -> bool:
        """The same: who is dead runs nothing, whatever the time."""
        return is_alive(self._folder, id)

    def knows(self, id: str) -> bool:
        """Whether it is a process of this machine that did not end in peace."""
        return (self._folder / id).exists()

    def close(self) -> None:
        """Say that nothing of this process runs any more."""
        if self._mine is not None:
            self._mine.end()
            self._mine = None


class Process:
    """This process, as the records name it: alive for as long as the object is."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.id = f"p_{os.getpid()}_{secrets.token_hex(6)}"
        self._path = folder / self.id
        self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def end(self) -> None:
        """Say that nothing of this process runs any more."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def is_alive(folder: Path, id: str) -> bool:
    """Whether the process may still be alive; a process of another machine has no file here."""
    try:
        file = os.open(folder / id, os.O_RDWR)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's: no proof of its death
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
