"""Which processes live: an operating-system lock that each holds for life.

A process that died, however it died, holds no lock; nothing else proves a death. Lock files
are left where they are, since removing another's could take the proof of its life away.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

__all__ = ["Process", "is_alive"]


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
