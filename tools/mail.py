"""Draft and send mail; a draft is a write, sending cannot be taken back.

The tools of this module read AGENTRT_SMTP_URL (`smtps://user:password@host:465` for TLS from
the start, `smtp://...:587` for STARTTLS, `smtp+plain://...` for neither), AGENTRT_MAIL_FROM,
and the folders AGENTRT_MAIL_SENT and AGENTRT_MAIL_DRAFTS; `mail_tools(...)` makes them for
other settings.
"""

import hashlib
import os
import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Annotated, Literal, TypedDict
from urllib.parse import unquote, urlsplit

from pydantic import Field

from agentrt.errors import ProjectError, ToolError
from agentrt.tools import Call, Tool, tool

from ._folder import Folder

__all__ = ["draft_mail", "mail_tools", "send_mail"]

URL_VARIABLE = "AGENTRT_SMTP_URL"
FROM_VARIABLE = "AGENTRT_MAIL_FROM"
SENT_VARIABLE = "AGENTRT_MAIL_SENT"
DRAFTS_VARIABLE = "AGENTRT_MAIL_DRAFTS"

SMTP_TIMEOUT_S = 30.0

Security = Literal["tls", "starttls", "plain"]
_SECURITY: dict[str, Security] = {"smtps": "tls", "smtp": "starttls", "smtp+plain": "plain"}
_PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}

_ADDRESS_PATTERN = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"

Address = Annotated[str, Field(max_length=254, pattern=_ADDRESS_PATTERN)]
Recipients = Annotated[
    list[Address],
    Field(min_length=1, max_length=50, description="Addresses, as in anna@example.com."),
]
Subject = Annotated[
    str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="The subject line.")
]
Body = Annotated[str, Field(max_length=200_000, description="The text, without any markup.")]


class Sent(TypedDict):
    """A mail that the server took."""

    message_id: str
    to: list[str]


@dataclass(frozen=True)
class Mailbox:
    """Where mail goes out, as whom, and where it is kept."""

    host: str | None
    port: int
    sender: str
    security: Security
    user: str | None
    password: str | None = field(repr=False)
    sent: Folder
    drafts: Folder

    def settings(self) -> dict[str, str | int | None]:
        """What the digest should know of it; no secrets."""
        return {
            "host": self.host,
            "port": self.port,
            "sender": self.sender,
            "sent": str(self.sent.root or ""),
            "drafts": str(self.drafts.root or ""),
        }

    def has_sent(self, key: str) -> bool:
        """Whether the server took the mail of this call."""
        return self.sent.root is not None and self.sent.exists(f"{_mark(key)}.eml")

    def note_sending(self, key: str, message: EmailMessage) -> None:
        """Say before the server gets it that it may have it."""
        if self.sent.root is not None:
            self.sent.write(f"{_mark(key)}.sending", message.as_bytes())

    def note_sent(self, key: str) -> None:
        """Say that the server took it. Never raises ToolError: the mail is out."""
        if self.sent.root is None:
            return
        try:
            self.sent.rename(f"{_mark(key)}.sending", f"{_mark(key)}.eml")
        except (OSError, ToolError) as error:
            raise RuntimeError("the mail was sent, but the sent folder is gone") from error

    def note_refused(self, key: str) -> None:
        """Say that the server does not have it."""
        if self.sent.root is not None:
            self.sent.delete(f"{_mark(key)}.sending")


def mail_tools(
    *,
    smtp_host: str | None,
    smtp_port: int = 587,
    sender: str,
    sent_folder: Path | None = None,
    drafts_folder: Path | None = None,
    security: Security = "starttls",
    user: str | None = None,
    password: str | None = None,
) -> tuple[Tool, ...]:
    """The two tools for one mailbox.

    With a `sent_folder` a send that was cut short can be looked up afterwards; without one a
    person has to. Without a `drafts_folder` a draft is only shown.
    Raises ProjectError when the sender is no address.
    """
    if smtp_host is not None and not re.fullmatch(_ADDRESS_PATTERN, sender):
        raise ProjectError(f"{sender!r} is no mail address to send from: set {FROM_VARIABLE}.")
    mailbox = Mailbox(
        host=smtp_host,
        port=smtp_port,
        sender=sender,
        security=security,
        user=user,
        password=password,
        sent=Folder(sent_folder),
        drafts=Folder(drafts_folder),
    )
    return (_draft_mail(mailbox), _send_mail(mailbox))


def _draft_mail(mailbox: Mailbox) -> Tool:
    @tool(effect="write", idempotent_for="24h", settings=mailbox.settings())
    def draft_mail(to: Recipients, subject: Subject, body: Body, call: Call) -> str:
        """Write a mail as a draft that a person can send. Nothing is sent."""
        draft = _message(mailbox, to, subject, body, call.key).as_bytes()
        if mailbox.drafts.root is not None:
            mailbox.drafts.write(f"{_mark(call.key)}.eml", draft)
        return draft.decode()

    return draft_mail


def _send_mail(mailbox: Mailbox) -> Tool:
    def show_mail(to: list[str], subject: str, body: str, call: Call) -> str:
        message = _message(mailbox, to, subject, body, call.key)
        heads = [f"{name}: {message[name]}" for name in ("From", "To", "Subject")]
        # As it will be read, and not in the encoding in which it travels.
        return "\n".join([*heads, "", body])

    def find_sent(to: list[str], call: Call) -> Sent | None:
        if mailbox.sent.root is None:
            raise RuntimeError("no sent folder is configured, so nobody can look it up")
        if mailbox.has_sent(call.key):
            return Sent(message_id=_message_id(mailbox, call.key), to=to)
        if mailbox.sent.exists(f"{_mark(call.key)}.sending"):
            raise RuntimeError("it was being sent: only the server or the recipient knows")
        return None

    @tool(
        effect="irreversible",
        labels=["egress"],
        check=find_sent,
        preview=show_mail,
        settings=mailbox.settings(),
    )
    def send_mail(to: Recipients, subject: Subject, body: Body, call: Call) -> Sent:
        """Send a mail now. It cannot be taken back; draft_mail writes one without sending."""
        sent = Sent(message_id=_message_id(mailbox, call.key), to=to)
        if mailbox.has_sent(call.key):
            return sent
        message = _message(mailbox, to, subject, body, call.key)
        with _connected(mailbox) as server:
            _announce(server, mailbox.sender, to)
            mailbox.note_sending(call.key, message)
            if refused := _hand_over(server, message):
                mailbox.note_refused(call.key)
                raise ToolError(f"Nothing was sent: {refused}")
            mailbox.note_sent(call.key)
        return sent

    return send_mail


def _message(mailbox: Mailbox, to: list[str], subject: str, body: str, key: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = mailbox.sender
        message["To"] = ", ".join(to)
        message["Subject"] = subject
    except ValueError as error:
        raise ToolError(f"Nothing was sent: {error}.") from error
    message["Date"] = formatdate()
    message["Message-ID"] = _message_id(mailbox, key)
    message.set_content(body, cte="quoted-printable")
    return message


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _message_id(mailbox: Mailbox, key: str) -> str:
    """The same for every attempt of a call, so that a repetition shows."""
    return f"<{_mark(key)}@{mailbox.sender.rpartition('@')[2]}>"


@contextmanager
def _connected(mailbox: Mailbox) -> Iterator[smtplib.SMTP]:
    """A server that knows us; whatever fails on the way there, nothing was sent."""
    if mailbox.host is None:
        advice = f"Its operator has to name a mail server in {URL_VARIABLE}."
        raise ToolError(f"This tool is not configured. {advice}")
    with _nothing_sent():
        server = _opened(mailbox, mailbox.host)
    try:
        with _nothing_sent():
            _log_in(server, mailbox)
        yield server
    finally:
        _leave(server)


def _opened(mailbox: Mailbox, host: str) -> smtplib.SMTP:
    if mailbox.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, mailbox.port, timeout=SMTP_TIMEOUT_S, context=context)
    return smtplib.SMTP(host, mailbox.port, timeout=SMTP_TIMEOUT_S)


def _log_in(server: smtplib.SMTP, mailbox: Mailbox) -> None:
    if mailbox.security == "starttls":
        server.starttls(context=ssl.create_default_context())
    if mailbox.user is not None:
        server.login(mailbox.user, mailbox.password or "")
    server.ehlo_or_helo_if_needed()


def _leave(server: smtplib.SMTP) -> None:
    # What became of the mail is known by now; a server that hangs up early changes nothing.
    with suppress(OSError):
        server.quit()
    server.close()


@contextmanager
def _nothing_sent() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # smtplib's errors are OSErrors too
        problem = f"the mail server cannot be used ({type(error).__name__})"
        raise ToolError(f"Nothing was sent: {problem}.") from error


def _announce(server: smtplib.SMTP, sender: str, to: list[str]) -> None:
    """Name sender and recipients; one that is refused means that nobody gets it."""
    with _nothing_sent():
        replies = {sender: server.mail(sender)} | {address: server.rcpt(address) for address in to}
    for address, (code, said) in replies.items():
        if code not in (250, 251):
            raise ToolError(f"Nothing was sent: the server refused {address}: {_text(said)}")


def _hand_over(server: smtplib.SMTP, message: EmailMessage) -> str | None:
    """Send the content. Returns why the server does not have it, or None: it has it.

    Any error from here on leaves that open, and goes through.
    """
    try:
        code, said = server.data(message.as_bytes())
    except smtplib.SMTPDataError as error:
        # The answer to the word DATA itself: the content was never sent.
        return f"the server refused the content: {_text(error.smtp_error)}"
    if code == 250:
        return None
    if 400 <= code < 600:
        return f"the server refused the content: {_text(said)}"
    raise RuntimeError(f"the server answered {code} to the mail: nobody knows what that means")


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _tools_from_environment() -> tuple[Tool, ...]:
    url = urlsplit(os.environ.get(URL_VARIABLE, ""))
    if url.scheme not in {"", *_SECURITY}:
        raise ProjectError(f"{URL_VARIABLE} begins with {url.scheme}: use one of {[*_SECURITY]}.")
    return mail_tools(
        smtp_host=url.hostname,
        smtp_port=url.port or _PORTS.get(url.scheme, 587),
        sender=os.environ.get(FROM_VARIABLE, ""),
        sent_folder=_folder_from_environment(SENT_VARIABLE),
        drafts_folder=_folder_from_environment(DRAFTS_VARIABLE),
        security=_SECURITY.get(url.scheme, "starttls"),
        user=None if url.username is None else unquote(url.username),
        password=None if url.password is None else unquote(url.password),
    )


def _folder_from_environment(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    return Path(folder) if folder else None


draft_mail, send_mail = _tools_from_environment()
