"""Where the shop is: its database, its mail server, and the mailbox of what went out.

Database and mailbox lie beside this folder unless SHOP_DATABASE and SHOP_MAILBOX say
otherwise; the mail server is SHOP_SMTP, as in `mail.example.com:25`.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

CustomerId = Annotated[
    str, Field(pattern=r"^C\d{4,9}$", description="As get_customer gives it: C and digits.")
]

PROJECT = Path(__file__).resolve().parent.parent


def mailbox_folder() -> Path:
    """The Maildir that holds every mail our server took."""
    return Path(os.environ.get("SHOP_MAILBOX") or PROJECT / "mailbox")


def mail_server() -> tuple[str, int]:
    """Host and port."""
    host, _, port = (os.environ.get("SHOP_SMTP") or "127.0.0.1:1025").rpartition(":")
    return host, int(port)


@contextmanager
def reading() -> Iterator[sqlite3.Connection]:
    """The database as it is at the beginning of the block; nothing can be written."""
    with closing(_connected(mode="ro")) as connection:
        connection.execute("BEGIN")
        yield connection


@contextmanager
def writing() -> Iterator[sqlite3.Connection]:
    """The database for this block alone; an error in it leaves everything as it was."""
    with closing(_connected(mode="rw")) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def _connected(*, mode: str) -> sqlite3.Connection:
    database = Path(os.environ.get("SHOP_DATABASE") or PROJECT / "shop.db").absolute()
    connection = sqlite3.connect(f"{database.as_uri()}?mode={mode}", uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection
