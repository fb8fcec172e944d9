"""Targets: a command, a webhook, a mailbox; each is told one notice at a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Literal, Protocol

from agentrt.errors import NotDelivered
from agentrt.notifications.notice import KINDS, Notice
from agentrt.visible import visible

__all__ = ["CommandTarget", "MailTarget", "Target", "WebhookTarget", "signature"]

ALL = frozenset(KINDS) - {"test"}


class Target(Protocol):
    """Who is told, and of what."""

    @property
    def name(self) -> str:
        """As agentrt.toml names it."""

    @property
    def kinds(self) -> frozenset[str]:
        """Of what it is told."""

    async def deliver(self, notice: Notice, source: str) -> None:
        """Tell it. Raises NotDelivered, which says whether to try again."""


@dataclass(frozen=True)
class CommandTarget:
    """A program that gets the event as JSON on its standard input; no shell is involved."""

    name: str
    command: tuple[str, ...]
    kinds: frozenset[str] = ALL
    timeout_s: float = 10.0

    async def deliver(self, notice: Notice, source: str) -> None:
        """Run it once. Raises NotDelivered unless it ends with 0 in time."""
        body = json.dumps(notice.event(source)).encode()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=_without_secrets(),
                start_new_session=True,
            )
        except OSError as error:
            raise NotDelivered(f"{self.command[0]} cannot be run: {error.strerror}.") from error
        try:
            async with asyncio.timeout(self.timeout_s):
                await process.communicate(body)
        except TimeoutError:
            raise NotDelivered(f"It did not end within {self.timeout_s:g} s.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                await process.wait()
        if process.returncode != 0:
            raise NotDelivered(f"It ended with {process.returncode}.")


def _without_secrets() -> dict[str, str]:
    """The environment, without what is for Claude and for us alone."""
    ours = ("AGENTRT_", "ANTHROPIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@dataclass(frozen=True)
class WebhookTarget:
    """An address that gets the event by POST, signed as https://www.standardwebhooks.com says."""

    name: str
    url: str
    secret: bytes = field(repr=False)
    kinds: frozenset[str] = ALL
    timeout_s: float = 10.0
    transport: Any = None
    """For tests."""
    clock: Callable[[], float] = time.time

    async def deliver(self, notice: Notice, source: str) -> None:
        """Post it once. Raises NotDelivered; again only for 429, 5xx and a failing network."""
        import httpx2

        body = json.dumps(notice.event(source), separators=(",", ":")).encode()
        try:
            # A redirect could send it, signed, to somebody else: it is not followed.
            async with httpx2.AsyncClient(
                transport=self.transport, timeout=self.timeout_s, follow_redirects=False
            ) as client:
                answer = await client.post(
                    self.url, content=body, headers=self._headers(notice, body)
                )
        except httpx2.TransportError as error:
            raise NotDelivered(f"No answer: {type(error).__name__}.") from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise NotDelivered(f"It answered {answer.status_code}.")
        if not answer.is_success:
            raise NotDelivered(f"It answered {answer.status_code}.", again=False)

    def _headers(self, notice: Notice, body: bytes) -> dict[str, str]:
        at = str(int(self.clock()))
        return {
            "content-type": "application/cloudevents+json",
            "webhook-id": notice.id,
            "webhook-timestamp": at,
            "webhook-signature": signature(self.secret, notice.id, at, body),
        }


def signature(secret: bytes, id: str, at: str, body: bytes) -> str:
    """The signature of Standard Webhooks: HMAC-SHA256 over id, timestamp and body."""
    signed = b".".join((id.encode(), at.encode(), body))
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


@dataclass(frozen=True)
class MailTarget:
    """Mailboxes, through an SMTP server."""

    name: str
    server: str
    sender: str
    to: Sequence[str]
    port: int = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)
    kinds: frozenset[str] = ALL
    timeout_s: float = 30.0
    context: ssl.SSLContext | None = None
    """For tests."""

    async def deliver(self, notice: Notice, source: str) -> None:
        """Send it once. Raises NotDelivered; not again for what the server refuses for good."""
        message = self.message(notice, source)
        try:
            await asyncio.to_thread(self._send, message)
        except smtplib.SMTPRecipientsRefused as error:
            raise NotDelivered("The server takes none of the recipients.") from error
        except smtplib.SMTPResponseException as error:
            again = error.smtp_code < 500
            raise NotDelivered(f"The server answered {error.smtp_code}.", again=again) from error
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(f"It could not be sent: {type(error).__name__}.") from error

    def message(self, notice: Notice, source: str) -> EmailMessage:
        """The mail. Headers are made from one line each, whatever a tool is called."""
        message = EmailMessage()
        message["Subject"] = f"[agentrt] {notice.title}"
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        digest = hashlib.sha256(f"{source} {notice.id}".encode()).hexdigest()[:32]
        message["Message-ID"] = f"<{digest}@agentrt.invalid>"
        message["Auto-Submitted"] = "auto-generated"
        lines = [notice.title, "", *self._facts(notice), "", notice.command, ""]
        message.set_content("\n".join(lines))
        return message

    def _facts(self, notice: Notice) -> list[str]:
        shown = notice.event("")["data"]
        hidden = ("title", "command")
        return [f"{name}: {visible(str(v))}" for name, v in shown.items() if name not in hidden]

    def _send(self, message: EmailMessage) -> None:
        context = self.context or ssl.create_default_context()
        if self.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.server, self.port, timeout=self.timeout_s, context=context
            )
        else:
            server = smtplib.SMTP(self.server, self.port, timeout=self.timeout_s)
        with server:
            if self.tls == "starttls":
                server.starttls(context=context)  # raises where the server does not offer it
            if self.user:
                server.login(self.user, self.password)
            server.send_message(message)
