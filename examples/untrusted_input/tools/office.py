"""The shelf's tools, bound to what lies beside this folder; the mail server is OFFICE_SMTP."""

import os
from pathlib import Path

from agentrt_tools.files import file_tools
from agentrt_tools.mail import mail_tools
from agentrt_tools.sql import sql_tools

PROJECT = Path(__file__).resolve().parent.parent

HOST, _, PORT = (os.environ.get("OFFICE_SMTP") or "127.0.0.1:1025").rpartition(":")

TOOLS = (
    *file_tools(PROJECT / "files"),
    *sql_tools(PROJECT / "office.db"),
    *mail_tools(
        smtp_host=HOST,
        smtp_port=int(PORT),
        sender="clerk@shop.example",
        sent_folder=PROJECT / "sent",
        drafts_folder=PROJECT / "drafts",
        security="plain",
    ),
)
