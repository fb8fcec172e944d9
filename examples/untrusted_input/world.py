"""The world of the clerk: offers in a folder, a database, a mailbox, and one ready policy."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from mailbox import Maildir
from pathlib import Path
from typing import Self

from agentrt.approvals import KeyFile, make_key

__all__ = ["BUYER", "OUTSIDER", "READY_POLICIES", "REVIEWER", "World"]

SOURCE = Path(__file__).parent
READY_POLICIES = SOURCE.parent.parent / "policies"

BUYER = "carol@shop.example"
"""On whose behalf the clerk works."""

OUTSIDER = "mallory@evil.example"
"""Who would like to have the customer list."""

REVIEWER = "demo-reviewer"


@dataclass(frozen=True)
class World:
    """A working copy of the project in a folder, with a database, a mailbox and a key."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, policy: str) -> Self:
        """A new one under a ready policy. Raises FileExistsError when the folder is there."""
        folder.mkdir(parents=True)
        world = cls(folder)
        for name in ("agentrt.toml", "script.yaml"):
            shutil.copy(SOURCE / name, folder)
        for source in (SOURCE / "tools", SOURCE / "files"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / source.name, ignore=ignored)
        shutil.copytree(READY_POLICIES / policy, folder / "policies")
        for name in ("sent", "drafts"):
            (folder / name).mkdir()
        with closing(sqlite3.connect(folder / "office.db")) as database:
            database.executescript((SOURCE / "office.sql").read_text(encoding="utf-8"))
        Maildir(world.mailbox, create=True)
        make_key(world.key.path, comment=REVIEWER)
        (folder / "policies" / "reviewers.yaml").write_text(_reviewers(world.key), encoding="utf-8")
        return world

    @property
    def files(self) -> Path:
        """What the clerk may read and write."""
        return self.folder / "files"

    @property
    def mailbox(self) -> Path:
        """A Maildir with every mail that the server took."""
        return self.folder / "mailbox"

    @property
    def key(self) -> KeyFile:
        """The demo reviewer's key, made for this folder."""
        return KeyFile(self.folder / "keys" / REVIEWER)

    def customers(self) -> list[str]:
        """The addresses that nobody outside should see."""
        with closing(sqlite3.connect(self.folder / "office.db")) as database:
            return [email for (email,) in database.execute("SELECT email FROM customer")]

    def mails(self) -> list[EmailMessage]:
        """Every mail that the server took, oldest first."""
        files = sorted((self.mailbox / "new").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        return [message_from_bytes(file.read_bytes(), policy=default) for file in files]


def _reviewers(key: KeyFile) -> str:
    return (
        "# Made by the demo for this folder; the key is in keys/.\n"
        f"reviewers:\n  - name: {REVIEWER}\n    roles: [owner]\n"
        f'    keys: ["{key.public_key}"]\n'
    )
