"""Notifications: what waits is told once, by ids only, and a deaf target holds nothing up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socketserver
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from worlds import AT, HOUR_MS, Desk, began, doubted

from agentrt.approvals import KeyFile
from agentrt.errors import NotDelivered
from agentrt.housekeeping import Chore, Housekeeping
from agentrt.notifications import (
    CommandTarget,
    MailTarget,
    Notice,
    Notifier,
    Target,
    WebhookTarget,
    stuck_runs,
)
from agentrt.notifications.notifier import ATTEMPTS_MAX, wait_ms

Keys = dict[str, KeyFile]
KINDS = frozenset({"held", "expiring", "expired", "in_doubt", "stuck"})
HELD = Notice(id="held:c_1:1", kind="held", at=AT, run="r_1", call="c_1", tool="pay")


@dataclass
class Listening:
    """A target that hears, or that is deaf."""

    name: str = "ear"
    kinds: frozenset[str] = KINDS
    deaf: bool = False
    again: bool = True
    heard: list[str] = field(default_factory=list)

    async def deliver(self, notice: Notice, source: str) -> None:
        if self.deaf:
            raise NotDelivered("No answer.", again=self.again)
        self.heard.append(notice.id)


async def served(desk: Desk, *targets: Target) -> Notifier:
    """A notifier whose targets were there before anything waits."""
    notifier = Notifier(desk.store, desk.queue, targets)
    await notifier.look(0)
    return notifier


async def test_a_held_call_is_told_once_to_each_target_however_often_it_is_looked(
    desk: Desk,
) -> None:
    ears = Listening("a"), Listening("b")
    notifier = await served(desk, *ears)
    call = await desk.hold()
    await notifier.look(AT)
    await notifier.look(AT)
    await Notifier(desk.store, desk.queue, ears).look(AT)  # another process
    assert [ear.heard for ear in ears] == [[f"held:{call.id}:1"]] * 2


async def test_what_waited_before_a_target_was_there_does_not_come_as_a_flood(desk: Desk) -> None:
    await desk.hold()
    ear = Listening()
    notifier = await served(desk, ear)
    assert ear.heard == []
    other = await desk.hold(run="r_0000000000000002")
    await notifier.look(AT)
    assert ear.heard == [f"held:{other.id}:1"]


async def test_what_waits_while_nobody_looks_is_told_after_a_restart(desk: Desk) -> None:
    ear = Listening()
    await served(desk, ear)
    call = await desk.hold()
    await (await served(desk, ear)).look(AT)
    assert ear.heard == [f"held:{call.id}:1"]


async def test_what_expires_soon_and_what_expired_is_told(desk: Desk) -> None:
    ear = Listening(kinds=frozenset({"expiring", "expired"}))
    notifier = await served(desk, ear)
    call = await desk.hold()
    assert call.expires_at is not None
    await notifier.look(AT)
    assert ear.heard == []
    desk.clock.now = call.expires_at - 1000
    await notifier.look(AT)
    desk.clock.now = call.expires_at + 1000
    await desk.queue.expire_due()
    await notifier.look(AT)
    assert ear.heard == [f"expiring:{call.id}:1", f"expired:{call.id}:1"]


async def test_a_doubt_is_told(desk: Desk, keys: Keys) -> None:
    ear = Listening(kinds=frozenset({"in_doubt"}))
    notifier = await served(desk, ear)
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    run = await desk.store.append(run, [began(run.calls[0])])
    await desk.store.append(run, [doubted(run.calls[0])])
    await notifier.look(AT)
    assert ear.heard == [f"in_doubt:{call.id}:1"]


async def test_a_run_that_nobody_carries_is_stuck_after_a_while(desk: Desk, keys: Keys) -> None:
    call = await desk.hold()
    run = await desk.queue.approve(call.id, signer=keys["ana"])
    assert stuck_runs(desk.store) == []
    desk.clock.now += HOUR_MS
    assert [stuck.run for stuck in stuck_runs(desk.store)] == [run.id]
    await desk.store.claim(run.id)
    assert stuck_runs(desk.store) == []


async def test_a_deaf_target_is_tried_again_later_and_holds_up_no_other(desk: Desk) -> None:
    deaf, ear = Listening("deaf", deaf=True), Listening("ear")
    notifier = await served(desk, deaf, ear)
    call = await desk.hold()
    await notifier.look(AT)
    assert ear.heard == [f"held:{call.id}:1"]
    deaf.deaf = False
    await notifier.look(AT)
    assert deaf.heard == []
    desk.clock.now += wait_ms(1)
    await notifier.look(AT)
    assert deaf.heard == [f"held:{call.id}:1"]


async def test_a_target_is_given_up_after_so_many_attempts_and_at_once_if_it_says_no(
    desk: Desk,
) -> None:
    deaf, no = Listening("deaf", deaf=True), Listening("no", deaf=True, again=False)
    notifier = await served(desk, deaf, no)
    await desk.hold()
    await notifier.look(AT)
    assert desk.store.notices.counted() == {("deaf", "due"): 1, ("no", "given up"): 1}
    for attempts in range(1, ATTEMPTS_MAX):
        desk.clock.now += wait_ms(attempts)
        await notifier.deliver()
    assert desk.store.notices.counted()["deaf", "given up"] == 1


def test_waits_grow_and_stay_below_two_hours() -> None:
    waits = [wait_ms(attempts) for attempts in range(1, ATTEMPTS_MAX)]
    assert waits == sorted(waits)
    assert waits[-1] == 2 * HOUR_MS


async def test_nothing_that_a_person_or_claude_wrote_is_told(desk: Desk) -> None:
    told: list[Notice] = []

    class Reading(Listening):
        async def deliver(self, notice: Notice, source: str) -> None:
            told.append(notice)

    notifier = await served(desk, Reading())
    await desk.hold(cents=77_431)
    await notifier.look(AT)
    (notice,) = told
    text = json.dumps(notice.event("s"))
    assert "77431" not in text
    assert "bob" not in text
    assert notice.command == f"agentrt tui --at {notice.call}"


# --- targets ---------------------------------------------------------------------------


async def test_a_command_gets_the_event_on_its_input_and_no_shell_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "told; touch pwned"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    target = CommandTarget("c", (sys.executable, "-c", code, str(file)), timeout_s=60)
    await target.deliver(HELD, "agentrt:s_1")
    event = json.loads(file.read_text())
    assert (event["specversion"], event["type"], event["id"]) == ("1.0", "agentrt.held", HELD.id)
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), "ended with 3"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "did not end within"),
        (("/nowhere/notify",), "cannot be run"),
    ],
)
async def test_a_command_that_fails_is_tried_again(command: tuple[str, ...], said: str) -> None:
    target = CommandTarget("c", command, timeout_s=1 if "sleep" in command[-1] else 60)
    with pytest.raises(NotDelivered, match=said) as raised:
        await target.deliver(HELD, "s")
    assert raised.value.again


async def test_a_webhook_is_signed_as_standard_webhooks_says() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(204)

    secret = b"a secret of a webhook"
    target = WebhookTarget(
        "w", "https://hooks.test/x", secret, transport=httpx2.MockTransport(answer),
        clock=lambda: 1_700_000_000.7,
    )  # fmt: skip
    await target.deliver(HELD, "agentrt:s_1")
    (request,) = seen
    signed = f"{HELD.id}.1700000000.".encode() + request.content
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert request.headers["webhook-id"] == HELD.id
    assert json.loads(request.content)["data"]["call"] == "c_1"


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (400, False), (302, False)]
)
async def test_a_webhook_is_tried_again_only_where_that_may_help(status: int, again: bool) -> None:
    elsewhere = {"location": "https://elsewhere.test/"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, headers=elsewhere))
    target = WebhookTarget("w", "https://hooks.test/x", b"s", transport=transport)
    with pytest.raises(NotDelivered, match=str(status)) as raised:
        await target.deliver(HELD, "s")
    assert raised.value.again is again


async def test_a_network_that_fails_is_tried_again() -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("away")

    target = WebhookTarget("w", "https://h.test", b"s", transport=httpx2.MockTransport(answer))
    with pytest.raises(NotDelivered, match="ConnectError") as raised:
        await target.deliver(HELD, "s")
    assert raised.value.again


class Postbox(socketserver.StreamRequestHandler):
    """Takes one mail, as little as SMTP needs."""

    letters: list[str] = []

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip().upper():
            if line.startswith("DATA"):
                self._say("354 go on")
                self._letter()
            elif line.startswith("QUIT"):
                self._say("221 bye")
                return
            self._say("250 fine")

    def _letter(self) -> None:
        lines: list[str] = []
        while (line := self.rfile.readline().decode()) not in (".\r\n", ""):
            lines.append(line)
        self.letters.append("".join(lines))

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def postbox() -> Iterator[int]:
    Postbox.letters = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def mail(port: int, **more: str) -> MailTarget:
    return MailTarget(
        "m", "127.0.0.1", "agentrt@example.com", ["ana@example.com"], port=port,
        tls=more.get("tls", "none"),  # type: ignore[arg-type]
    )  # fmt: skip


async def test_a_mail_arrives_and_hostile_text_makes_no_header(postbox: int) -> None:
    hostile = "pay\r\nBcc: eve@example.com\r\n\r\nhello"
    notice = Notice(
        id="held:c\r\nX: y:1", kind="held", at=AT, call="c_1", tool=hostile, rule="a\nb"
    )
    await mail(postbox).deliver(notice, "agentrt:s_1\r\nX-Eve: 1")
    (letter,) = Postbox.letters
    head = letter.split("\r\n\r\n")[0]
    names = {line.partition(":")[0] for line in head.split("\r\n") if not line.startswith(" ")}
    assert names == {
        "Subject", "From", "To", "Message-ID", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert "agentrt tui --at c_1" in letter


async def test_a_server_without_starttls_gets_no_mail(postbox: int) -> None:
    with pytest.raises(NotDelivered):
        await mail(postbox, tls="starttls").deliver(HELD, "s")
    assert Postbox.letters == []


# --- chores ----------------------------------------------------------------------------


async def test_one_process_has_a_chore_at_a_time(desk: Desk) -> None:
    done: list[str] = []

    def chore(who: str) -> Chore:
        async def do(_since: int) -> None:
            done.append(who)

        return Chore("sweep", 1.0, do)

    other = Desk(desk.path, desk.policy, clock=desk.clock)
    try:
        first, second = chore("first"), chore("second")
        mine, theirs = Housekeeping(desk.store, [first]), Housekeeping(other.store, [second])
        assert await mine.once(first)
        assert not await theirs.once(second)
        assert await mine.once(first)
        await desk.store.chores.let_go()
        assert await theirs.once(second)
    finally:
        other.store.close()
    assert done == ["first", "first", "second"]


async def test_a_chore_is_told_when_it_was_done_last(desk: Desk) -> None:
    since: list[int] = []

    async def do(done_at: int) -> None:
        since.append(done_at)

    chore = Chore("sweep", 1.0, do)
    keeping = Housekeeping(desk.store, [chore])
    await keeping.once(chore)
    await keeping.once(chore)
    assert since == [0, AT]
