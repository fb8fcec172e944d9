"""The world the support desk works in: a shop's database, and a mail server with a mailbox."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from mailbox import Maildir
from pathlib import Path
from typing import Self

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox

from agentrt.approvals import KeyFile, make_key

__all__ = ["CUSTOMER", "REVIEWER", "RefundRow", "World", "mail_server"]

SOURCE = Path(__file__).parent
PROJECT_FILES = ("agentrt.toml", "support.md", "message.txt", "script.yaml")

CUSTOMER = "mona.vale@example.com"
"""Who writes in message.txt."""

REVIEWER = "demo-lead"


@dataclass(frozen=True, slots=True)
class RefundRow:
    """A row of the table `refund`: an effect, and the key of the call that made it."""

    id: int
    key: str
    payment_id: str
    amount_cents: int
    reason: str


@dataclass(frozen=True)
class World:
    """A working copy of the project in a folder, with a database, a mailbox and a key."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """A new one. Raises FileExistsError when there is something in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty: name a folder that is new.")
        world = cls(folder)
        _copy_project(folder)
        _seed(world.database)
        Maildir(world.mailbox, create=True)
        make_key(world.key.path, comment=REVIEWER)
        world.reviewers_file.write_text(_reviewers(world.key), encoding="utf-8")
        return world

    @property
    def database(self) -> Path:
        """The shop's; the audit store is another file."""
        return self.folder / "shop.db"

    @property
    def mailbox(self) -> Path:
        """A Maildir with every mail that the server took."""
        return self.folder / "mailbox"

    @property
    def key(self) -> KeyFile:
        """The demo reviewer's key, made for this folder."""
        return KeyFile(self.folder / "keys" / REVIEWER)

    @property
    def reviewers_file(self) -> Path:
        """Names the demo reviewer, so that it can only be written here."""
        return self.folder / "policies" / "reviewers.yaml"

    @property
    def message(self) -> str:
        """What the customer writes."""
        return (self.folder / "message.txt").read_text(encoding="utf-8")

    def refunds(self) -> list[RefundRow]:
        """Every refund in the database, oldest first."""
        with closing(sqlite3.connect(self.database)) as shop:
            rows = shop.execute("SELECT * FROM refund ORDER BY id").fetchall()
        return [RefundRow(*row) for row in rows]

    def mails(self) -> list[EmailMessage]:
        """Every mail that the server took, oldest first."""
        files = sorted((self.mailbox / "new").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        return [message_from_bytes(file.read_bytes(), policy=default) for file in files]


@contextmanager
def mail_server(folder: Path) -> Iterator[str]:
    """An SMTP server on the loopback that keeps its mail in the Maildir `folder`; `host:port`."""
    server = _LoopbackServer(Mailbox(folder), hostname="127.0.0.1", port=0)
    server.start()
    try:
        yield f"{server.hostname}:{server.port}"
    finally:
        server.stop()


class _LoopbackServer(Controller):
    """A controller that knows its port when the system has chosen it."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


def _copy_project(folder: Path) -> None:
    for name in PROJECT_FILES:
        shutil.copy(SOURCE / name, folder)
    for name in ("tools", "policies"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE / name, folder / name, ignore=ignored)


def _seed(database: Path) -> None:
    with closing(sqlite3.connect(database)) as shop:
        shop.executescript((SOURCE / "shop.sql").read_text(encoding="utf-8"))


def _reviewers(key: KeyFile) -> str:
    return (
        "# Made by the demo for this folder; the key is in keys/.\n"
        f"reviewers:\n  - name: {REVIEWER}\n    roles: [support-lead]\n"
        f'    keys: ["{key.public_key}"]\n'
    )
