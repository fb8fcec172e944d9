"""Draft and send mail, over a real SMTP connection on the loopback."""

import shutil
import smtplib
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from agentrt.errors import ArgumentsInvalid, ProjectError, ToolError
from agentrt.tools import Call
from agentrt_tools.mail import mail_tools

TO = ["bob@example.com"]


def a_call(key: str = "r:c") -> Call:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    return Call(id="c", key=key, run="r", user=None, attempt=1, deadline=deadline)


class Server:
    """Keeps what arrives, and answers as a test wants it."""

    def __init__(self) -> None:
        self.arrived: list[Envelope] = []
        self.rcpt_answer = "250 OK"
        self.data_answer = "250 OK"
        self.hang_up = False
        self.gone: Path | None = None

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt_answer.startswith("250") or not address.startswith("bad"):
            envelope.rcpt_tos.append(address)
            return "250 OK"
        return self.rcpt_answer

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.arrived.append(envelope)
        if self.gone is not None:
            shutil.rmtree(self.gone)
        if self.hang_up:
            assert server.transport is not None
            server.transport.abort()
        return self.data_answer


@pytest.fixture
def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def port(server: Server, free_port: int) -> Iterator[int]:
    controller = Controller(server, hostname="127.0.0.1", port=free_port)
    controller.start()
    yield free_port
    controller.stop()


def tools_for(port: int, folder: Path, **changes: Any) -> Any:
    for name in ("sent", "drafts"):
        (folder / name).mkdir(exist_ok=True)
    known: dict[str, Any] = {
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "sender": "ada@shop.example",
        "sent_folder": folder / "sent",
        "drafts_folder": folder / "drafts",
        "security": "plain",
    }
    return SimpleNamespace(**{tool.name: tool for tool in mail_tools(**{**known, **changes})})


@pytest.fixture
def tools(port: int, tmp_path: Path) -> Any:
    return tools_for(port, tmp_path)


async def test_a_mail_arrives_as_it_was_written(tools: Any, server: Server) -> None:
    body = "Grüße,\n.\nFrom here\n" + "x" * 2000
    arguments = tools.send_mail.complete(
        {"to": [*TO, "eve@example.com"], "subject": "Größe", "body": body}
    )
    told = await tools.send_mail.run(arguments, a_call())
    [envelope] = server.arrived
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=default)
    assert envelope.mail_from == "ada@shop.example"
    assert envelope.rcpt_tos == [*TO, "eve@example.com"]
    assert message["Subject"] == "Größe"
    assert message.get_content().replace("\r\n", "\n") == body + "\n"
    assert message["Message-ID"] == told["message_id"]


async def test_every_attempt_of_a_call_has_one_message_id(
    port: int, server: Server, tmp_path: Path
) -> None:
    tools = tools_for(port, tmp_path, sent_folder=None)
    first = tools.send_mail(TO, "s", "b", a_call("k"))
    assert tools.send_mail(TO, "s", "b", a_call("k")) == first
    assert tools.send_mail(TO, "s", "b", a_call("other")) != first
    assert len(server.arrived) == 3


def test_what_is_known_to_be_sent_is_not_sent_again(tools: Any, server: Server) -> None:
    assert tools.send_mail(TO, "s", "b", a_call()) == tools.send_mail(TO, "s", "b", a_call())
    assert len(server.arrived) == 1


async def test_the_check_knows_what_was_sent(tools: Any) -> None:
    arguments = tools.send_mail.complete({"to": TO, "subject": "s", "body": "b"})
    assert await tools.send_mail.run_check(arguments, a_call("k")) is None
    told = await tools.send_mail.run(arguments, a_call("k"))
    assert await tools.send_mail.run_check(arguments, a_call("k")) == told
    assert await tools.send_mail.run_check(arguments, a_call("other")) is None


async def test_without_a_sent_folder_the_check_cannot_know(port: int, tmp_path: Path) -> None:
    tools = tools_for(port, tmp_path, sent_folder=None)
    arguments = tools.send_mail.complete({"to": TO, "subject": "s", "body": "b"})
    with pytest.raises(RuntimeError, match="no sent folder"):
        await tools.send_mail.run_check(arguments, a_call())


async def test_a_server_that_goes_away_with_the_mail_leaves_a_doubt(
    tools: Any, server: Server
) -> None:
    server.hang_up = True
    arguments = tools.send_mail.complete({"to": TO, "subject": "s", "body": "b"})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        await tools.send_mail.run(arguments, a_call())
    assert len(server.arrived) == 1
    with pytest.raises(RuntimeError, match="only the server or the recipient knows"):
        await tools.send_mail.run_check(arguments, a_call())


async def test_a_mail_that_is_out_is_never_reported_as_not_sent(
    tools: Any, server: Server, tmp_path: Path
) -> None:
    server.gone = tmp_path / "sent"
    arguments = tools.send_mail.complete({"to": TO, "subject": "s", "body": "b"})
    with pytest.raises(RuntimeError, match="the mail was sent"):
        await tools.send_mail.run(arguments, a_call())


async def test_an_answer_nobody_understands_is_a_doubt(tools: Any, server: Server) -> None:
    server.data_answer = "299 perhaps"
    arguments = tools.send_mail.complete({"to": TO, "subject": "s", "body": "b"})
    with pytest.raises(RuntimeError, match="nobody knows"):
        await tools.send_mail.run(arguments, a_call())
    with pytest.raises(RuntimeError, match="only the server"):
        await tools.send_mail.run_check(arguments, a_call())


@pytest.mark.parametrize("answer", ["550 spam", "451 later"])
async def test_content_the_server_refuses_was_not_sent(
    tools: Any, server: Server, answer: str
) -> None:
    server.data_answer = answer
    arguments = tools.send_mail.complete({"to": TO, "subject": "s", "body": "b"})
    with pytest.raises(ToolError, match=f"Nothing was sent: .*{answer[4:]}"):
        await tools.send_mail.run(arguments, a_call())
    assert await tools.send_mail.run_check(arguments, a_call()) is None


def test_one_refused_recipient_means_that_nobody_gets_it(tools: Any, server: Server) -> None:
    server.rcpt_answer = "550 no such user"
    with pytest.raises(ToolError, match=r"refused bad@example\.com: no such user"):
        tools.send_mail(["bob@example.com", "bad@example.com"], "s", "b", a_call())
    assert server.arrived == []


def test_no_server_means_nothing_was_sent(free_port: int, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="Nothing was sent"):
        tools_for(free_port, tmp_path).send_mail(TO, "s", "b", a_call())


def test_without_tls_nothing_is_sent_unless_it_was_asked_for_so(
    port: int, server: Server, tmp_path: Path
) -> None:
    tools = tools_for(port, tmp_path, security="starttls", user="ada", password="secret-word")
    with pytest.raises(ToolError, match="Nothing was sent") as raised:
        tools.send_mail(TO, "s", "b", a_call())
    assert server.arrived == []
    assert "secret-word" not in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "s\r\nBcc: eve@example.com"),
        ("subject", "s\nBcc: eve@example.com"),
        ("subject", "s\n"),
        ("subject", "s\0"),
        ("to", ["bob@example.com\r\nBcc: eve@example.com"]),
        ("to", ["bob@example.com\n"]),
        ("to", ["bob@example.com, eve@example.com"]),
        ("to", ["bob@example.com> SIZE=1"]),
        ("to", ["Bob <bob@example.com>"]),
        ("to", ["bob"]),
        ("to", ["bob@"]),
        ("to", []),
        ("to", TO * 51),
    ],
)
@pytest.mark.parametrize("name", ["send_mail", "draft_mail"])
def test_headers_cannot_be_injected(tools: Any, name: str, field: str, value: Any) -> None:
    given = {"to": TO, "subject": "s", "body": "b", field: value}
    with pytest.raises(ArgumentsInvalid, match=field):
        getattr(tools, name).complete(given)


def test_headers_cannot_be_injected_past_the_schema_either(tools: Any, server: Server) -> None:
    with pytest.raises(ToolError, match="Nothing was sent"):
        tools.send_mail(TO, "s\r\nBcc: eve@example.com", "b", a_call())
    assert server.arrived == []


async def test_a_reviewer_sees_the_whole_mail(tools: Any, server: Server) -> None:
    body = "Grüße, and a line that is longer than the seventy-six characters of an encoded one.\n"
    subject = "=?utf-8?q?50=25_off?="
    arguments = tools.send_mail.complete({"to": TO, "subject": subject, "body": body})
    shown = await tools.send_mail.run_preview(arguments, a_call())
    for part in ("From: ada@shop.example", "To: bob@example.com", "Subject: 50% off", body):
        assert part in shown
    assert server.arrived == []


def test_a_draft_is_kept_once_for_each_call_and_not_sent(
    tools: Any, server: Server, tmp_path: Path
) -> None:
    shown = tools.draft_mail(TO, "s", "b", a_call())
    tools.draft_mail(TO, "s", "b", a_call())
    [kept] = (tmp_path / "drafts").iterdir()
    assert kept.suffix == ".eml"
    assert "Subject: s" in shown
    assert server.arrived == []


def test_without_a_drafts_folder_a_draft_is_only_shown(tmp_path: Path) -> None:
    tools = tools_for(1, tmp_path, drafts_folder=None, smtp_host=None)
    assert "Subject: s" in tools.draft_mail(TO, "s", "b", a_call())


def test_a_sender_that_is_no_address_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="AGENTRT_MAIL_FROM"):
        tools_for(1, tmp_path, sender="ada")


def test_the_password_is_nowhere_in_the_tools(tmp_path: Path) -> None:
    tools = tools_for(1, tmp_path, user="ada", password="secret-word")
    assert "secret-word" not in repr(tools.send_mail) + str(tools.send_mail.settings)
    other = tools_for(1, tmp_path, user="ada", password="other-word")
    assert other.send_mail.digest == tools.send_mail.digest
