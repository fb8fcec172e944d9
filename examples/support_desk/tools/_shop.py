"""Where the shop is: its database, its mail server, and the mailbox of what went out.

The database and the mailbox are beside this folder unless SHOP_DATABASE and SHOP_MAILBOX say
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
    """The Maildir into which the mail server puts what it took."""
    return Path(os.environ.get("SHOP_MAILBOX") or PROJECT / "mailbox")


def mail_server() -> tuple[str, int]:
    """Host and port."""
    host, _, port = os.environ.get("SHOP_SMTP", "127.0.0.1:1025").rpartition(":")
    return host, int(port)


def reading() -> "_Transaction":
    """The database for this block, as it is at its beginning; nothing can be written."""
    return _transaction("BEGIN", mode="ro")


def writing() -> "_Transaction":
    """The database for this block, alone; all that it wrote is kept, or nothing on an error."""
    return _transaction("BEGIN IMMEDIATE", mode="rw")
