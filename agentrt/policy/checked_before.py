"""Which bundles were checked before with the same tools, so that loading them is quick.

Nothing is decided by what is kept here: rules are read from their files every time. Whoever
tampers with it can at most have a bundle loaded whose mistakes nobody was told of, and a rule
with a mistake counts against every call.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from agentrt.policy.rules import ToolLike

__all__ = ["CheckedBefore"]

KEPT_S = 90 * 86400


class CheckedBefore:
    """Marks in a folder, one for each bundle that had no mistakes with its tools."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def key(self, texts: Mapping[str, str], tools: Iterable[ToolLike], facts: str) -> str:
        """What stands for a bundle, its tools, the types of its facts, and this agentrt."""
        from agentrt import __version__

        seen = [
            (tool.name, tool.effect, sorted(tool.labels), tool.input_schema)
            for tool in sorted(tools, key=lambda tool: tool.name)
        ]
        body = json.dumps([__version__, dict(texts), facts, seen], sort_keys=True, default=str)
        return hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()

    def has(self, key: str) -> bool:
        """Whether this was checked before."""
        return (self._folder / key).exists()

    def note(self, key: str) -> None:
        """Remember that this was checked; a folder that cannot be written remembers nothing."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / key).touch(mode=0o600)
            self._let_go()

    def _let_go(self) -> None:
        for mark in self._folder.iterdir():
            if mark.stat().st_mtime < time.time() - KEPT_S:
                mark.unlink(missing_ok=True)
