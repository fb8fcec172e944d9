"""The shape of the machine: what the numbers depend on, and nothing that names it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version

__all__ = ["machine"]


def machine() -> str:
    """One line: cores, kernel's name, Python, SQLite and the SDK."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = f"{cores} cores, {platform.system()} on {platform.machine()}"
    return (
        f"{kind}; Python {platform.python_version()}, SQLite {_sqlite()}, "
        f"anthropic {version('anthropic')}, SQLAlchemy {version('sqlalchemy')}"
    )


def _sqlite() -> str:
    """Asked in another process: this one stays small."""
    code = "from pysqlite3 import dbapi2; print(dbapi2.sqlite_version)"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()
