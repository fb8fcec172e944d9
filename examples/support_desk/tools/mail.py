"""Mail to customers."""

import hashlib
import mailbox
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Annotated

from pydantic import Field

from agentrt import Call, ToolError, tool

from ._shop import CustomerId, mail_server, mailbox_folder, reading

SENDER = "support@shop.example"
SMTP_TIMEOUT_S = 10.0

REFUSALS = (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException)
"""What smtplib raises when the server has said that it did not take the mail."""


@dataclass(frozen=True)
class SentMail:
    """A mail that the server took."""

    message_id: str
    to: str
    subject: str


def find_mail(subject: str, call: Call) -> SentMail | None:
    """The mail that this call has sent, if it has: our server keeps each in the mailbox."""
    wanted = _message_id(call.key)
    # Without a mailbox this raises: then nobody can know.
    for message in mailbox.Maildir(mailbox_folder(), create=False):
        if message["Message-ID"] == wanted:
            return SentMail(wanted, to=message["To"], subject=subject)
    return None


def show_mail(customer_id: str, subject: str, body: str, call: Call) -> str:
    """What a reviewer is shown: the mail as it would go out."""
    return _message(customer_id, subject, body, call.key).as_string()


@tool(effect="irreversible", labels=["egress"], check=find_mail, preview=show_mail)
def send_mail(
    customer_id: CustomerId,
    subject: Annotated[str, Field(max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")],
    body: Annotated[str, Field(min_length=1, max_length=6_000)],
    call: Call,
) -> SentMail:
    """Send a mail to a customer, at the address we have on file. It cannot be taken back.

    Args:
        subject: The subject line.
        body: The whole text, as draft_reply gave it.
    """
    if sent := find_mail(subject, call):
        return sent
    message = _message(customer_id, subject, body, call.key)
    with _connected() as server:
        try:
            server.send_message(message)
        except REFUSALS as error:
            raise ToolError(f"The mail server did not take the mail: {error}") from error
    return SentMail(message["Message-ID"], to=message["To"], subject=subject)


def _connected() -> smtplib.SMTP:
    host, port = mail_server()
    try:
        return smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_S)
    except OSError as error:  # smtplib's errors are OSErrors too
        raise ToolError(f"Nothing was sent: there is no mail server at {host}:{port}.") from error


def _message(customer_id: str, subject: str, body: str, key: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = _address(customer_id)
    message["Subject"] = subject
    message["Message-ID"] = _message_id(key)
    message.set_content(body)
    return message


def _address(customer_id: str) -> str:
    with reading() as shop:
        row = shop.execute("SELECT email FROM customer WHERE id = ?", (customer_id,)).fetchone()
    if row is None:
        raise ToolError(f"There is no customer {customer_id}.")
    return str(row["email"])


def _message_id(key: str) -> str:
    """The same for every attempt of a call, so that the mailbox knows it again."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{SENDER.partition('@')[2]}>"
