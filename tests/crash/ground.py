"""What all worlds of one command share: processes that survive, keys, a folder, chance."""

from __future__ import annotations

import gc
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anthropic  # noqa: F401 - imported once, for all children
import genai_prices  # noqa: F401
import jsonschema  # noqa: F401

from agentrt.approvals import KeyFile
from agentrt.claude import Claude
from agentrt.testing import ScriptedClaude
from tests.crash.account import account
from tests.crash.children import ended, fork
from tests.crash.compiled import share_compiled
from tests.crash.effects import Effects, EffectServer
from tests.crash.server import Server
from tests.crash.work import carry_on, prepare
from tests.crash.world import SCRIPT, World

__all__ = ["Ground", "ground"]


@dataclass(frozen=True)
class Ground:
    """Where worlds are made. `mutate` puts a deliberate bug into a child before it works."""

    folder: Path
    effects: Effects
    claude: Claude
    keys: dict[str, KeyFile]
    seed: int = 0
    server: Server | None = None
    mutate: Callable[[], None] = field(default=lambda: None)

    def world(self, kind: str, number: int) -> World:
        """A world of its own, with an empty store (or a user of the shared one)."""
        name = f"{kind.replace(' ', '-')}-{self.seed}-{number}"
        store = self.server.url if self.server else str(self._file(name))
        return replace(self._template, store=store, user=name)

    def forget(self, world: World) -> None:
        """Take the files of a world away that had nothing wrong."""
        if self.server is None:
            shutil.rmtree(Path(world.store).parent)

    def chance(self, kind: str, number: int) -> random.Random:
        return random.Random(f"{self.seed}/{kind}/{number}")

    def try_out(self) -> None:
        """Do everything once here, so that no child has to import or prepare anything."""
        share_compiled()
        world = self.world("trial", 0)
        carry_on(world)
        assert account(world, final=True).over
        self.forget(world)
        assert threading.active_count() == 1, threading.enumerate()
        gc.collect()
        gc.freeze()  # so that no child copies pages only to look for garbage

    def _file(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder)) / "agentrt.db"

    @property
    def _template(self) -> World:
        return World("", "", self.claude, self.effects, self.keys)


@contextmanager
def ground(folder: Path, *, seed: int = 0, server: Server | None = None) -> Iterator[Ground]:
    """The server of effects and the scripted Claude, each a process of its own, until the end."""
    address = folder / "claude"
    parent = fork(lambda: _serve_claude(address), limit_s=None)
    try:
        with EffectServer() as counting:
            while not address.exists() or not address.read_text():
                time.sleep(0.01)
            claude = Claude.scripted(address.read_text())
            made = Ground(
                folder,
                Effects(counting.port),
                claude,
                World.make_keys(folder),
                seed=seed,
                server=server,
            )
            if server is not None:
                assert ended(fork(lambda: prepare(made.world("empty", 0)))) == 0
            made.try_out()
            yield made
    finally:
        _end(parent)


def _serve_claude(address: Path) -> None:
    import os

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    with ScriptedClaude(SCRIPT) as claude:
        address.write_text(claude.url)
        while os.getppid() == parent:
            time.sleep(0.5)


def _end(child: int) -> None:
    import os

    sys.stdout.flush()
    os.kill(child, signal.SIGKILL)
    ended(child)
