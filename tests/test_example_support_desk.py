"""The support desk: what a person sees, what is refunded, and what its tools refuse."""

import asyncio
import fcntl
import io
import os
import pty
import re
import select
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from agentrt.claude import TextDelta
from agentrt.cli.project import Project
from agentrt.errors import ToolError
from agentrt.policy import Policy, texts_in
from agentrt.policy.backtest import backtest
from agentrt.testing import Script, ScriptedClaude
from agentrt.tools import Call, Tool, discover, lint
from examples.support_desk.desk import Desk, work_alone
from examples.support_desk.proof import Proof, look
from examples.support_desk.story import Story
from examples.support_desk.world import CUSTOMER, World, mail_server

ROOT = Path(__file__).parent.parent
TOOLS = discover(ROOT / "examples" / "support_desk" / "tools")


def a_call(key: str = "r:c") -> Call:
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    return Call(id="c", key=key, run="r", user=None, attempt=1, deadline=deadline)


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.support_desk", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def facts(proof: Proof) -> dict[str, bool]:
    return {fact.text: fact.ok for fact in proof.facts()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path / "desk")


@pytest.fixture
def tools(world: World) -> Any:
    found = discover(world.folder / "tools")
    return SimpleNamespace(**found)


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with mail_server(world.mailbox) as address:
        monkeypatch.setenv("SHOP_SMTP", address)
        yield address


@pytest.fixture
def desk(world: World, server: str) -> Iterator[Desk]:
    with ScriptedClaude(Script.load(world.folder / "script.yaml")) as claude:
        yield Desk(world, claude.url)


# --- what a person sees -------------------------------------------------------------------


def test_without_a_terminal_the_whole_story_is_told_and_comes_out_right(tmp_path: Path) -> None:
    done = demo(TMPDIR=str(tmp_path), ANTHROPIC_API_KEY="")
    assert (done.returncode, done.stderr) == (0, "")
    in_order = [
        r"SIMULATED: no key is used",
        r"From: mona.vale@example.com",
        r"claude \(simulated\): I look up who writes",
        r"\+ get_customer .*\n +allowed by default",
        r"\+ list_orders",
        r"! refund_payment .*24900.*\n +held by rule support.yaml:\d+ \(refunds-need-a-lead\)",
        r"what it will do: Refund 249.00 EUR of payment P9002",
        r"demo reviewer demo-lead\s+decides",
        r"= approved by demo-lead \(demo reviewer, public API\)",
        r"> refund_payment returned",
        r"\+ send_mail .*\n(.*\n)?.*allowed by rule support.yaml:\d+ \(replies-go-to-customers\)",
        r"claude \(simulated\): Mona Vale has the second payment back",
        r"1\|sim_r_\w+:sim_c_\w+\|P9002\|24900\|duplicate_charge",
        r"Subject: Your second payment was refunded",
        r"call.decided .*hold",
        r"rule refunds-need-a-lead at support.yaml:\d+",
        r"call.approved .*demo-lead approved it",
        r"ok +1 refund in the database, 1 approved",
        r"ok +1 mail in the mailbox, to mona.vale@example.com",
        r"0 findings",
    ]
    at = 0
    for part in in_order:
        found = re.compile(part).search(done.stdout, at)
        assert found, f"{part!r} is not where it belongs:\n{done.stdout}"
        at = found.end()
    assert "FAILED" not in done.stdout
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_a_rejected_refund_leaves_the_money_where_it_is_and_the_mail_says_so() -> None:
    done = demo("--reject", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rejected by demo-lead" in done.stdout
    assert "ok      0 refunds in the database, 0 approved" in done.stdout
    assert "Nothing was refunded yet: a colleague looks into it" in done.stdout
    assert "\x1b" not in done.stdout


class Terminal:
    """The demo on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.shown = b""
        self._screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.support_desk", *arguments],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(theirs)

    def press(self, key: str) -> None:
        os.write(self._screen, key.encode())

    def until(self, seen: Callable[[], bool], *, timeout_s: float = 30) -> bool:
        """Take what is shown, which the demo waits for, until `seen`."""
        end = time.monotonic() + timeout_s
        while not seen() and time.monotonic() < end:
            if select.select([self._screen], [], [], 0.05)[0]:
                with suppress(OSError):  # the other side has closed it
                    self.shown += os.read(self._screen, 65536)
        return seen()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal("--keep", str(tmp_path / "kept"))
    yield opened
    opened.close()


def test_behind_the_review_screen_the_run_goes_on_and_the_story_ends_well(
    terminal: Terminal, tmp_path: Path
) -> None:
    desk = Desk(World(tmp_path / "kept"))
    assert terminal.until(lambda: b"Press Enter" in terminal.shown)
    terminal.press("\r")
    assert terminal.until(lambda: b"\x1b[?1049h" in terminal.shown), "the screen did not open"

    with desk.store() as store:
        [held] = desk.queue(store).held()
        approve = desk.queue(store).approve(held.id, signer=desk.world.key, reason="seen it")
        asyncio.run(approve)
        assert terminal.until(lambda: store.load(held.run).over), "nobody carried the run on"

    def left() -> bool:
        return terminal.process.poll() is not None

    terminal.press("q")
    assert terminal.until(left), "the screen, or what was behind it, did not end"
    terminal.until(lambda: b"All of it was kept" in terminal.shown, timeout_s=1)
    assert terminal.process.returncode == 0
    after = terminal.shown.rpartition(b"\x1b[?1049l")[2].decode()
    assert 'approved by demo-lead (you, on the review screen): "seen it"' in after
    assert "Mona Vale has the second payment back" in after
    assert "ok      1 refund in the database, 1 approved" in after


def test_who_leaves_the_screen_without_a_word_leaves_the_call_held(terminal: Terminal) -> None:
    assert terminal.until(lambda: b"Press Enter" in terminal.shown)
    terminal.press("\r")
    assert terminal.until(lambda: b"\x1b[?1049h" in terminal.shown), "the screen did not open"
    terminal.press("q")
    assert terminal.until(lambda: terminal.process.poll() is not None), "the screen did not end"
    terminal.until(lambda: b"All of it was kept" in terminal.shown, timeout_s=1)
    after = terminal.shown.rpartition(b"\x1b[?1049l")[2].decode()
    assert terminal.process.returncode == 0
    assert "Nobody decided: the call stays held" in after
    assert "ok      the run is waiting" in after
    assert "ok      0 mails in the mailbox, to nobody" in after
    assert "FAILED" not in after


def test_a_kept_folder_is_a_project_with_the_same_agent(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert demo("--keep", str(folder)).returncode == 0
    project = Project.load(folder / "agentrt.toml")
    agent = Desk(World(folder)).agent
    assert project.agent("support").definition() == agent.definition()
    with project.open_store() as store:
        assert [run.status for run in store.runs()] == ["finished"]


def test_the_demos_history_tells_exactly_what_a_tightened_rule_would_change(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "kept"
    assert demo("--keep", str(folder)).returncode == 0
    project = Project.find(folder)
    texts = texts_in(project.policies)
    tightened = texts["support.yaml"].replace(
        "decide: allow\n    tools: [draft_reply]", "decide: hold\n    tools: [draft_reply]"
    )
    with project.open_store() as store:
        asked = store.calls()
        unchanged = backtest(store.in_order(), project.policy)
        candidate = Policy.from_texts({**texts, "support.yaml": tightened}, project.tools.values())
        changed = backtest(store.in_order(), candidate)
    assert unchanged.decided == len(asked)
    assert unchanged.changes == []
    assert [(c.kind, c.judged.event.tool, c.judged.verdict) for c in changed.changes] == [
        ("verdict", "draft_reply", "hold")
    ]
    assert (changed.asked_then, changed.asked_now) == (1, 2)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = demo("--keep", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_live_without_a_key_says_what_is_missing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "ANTHROPIC" not in name}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "examples.support_desk", "--live"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "set ANTHROPIC_API_KEY" in done.stderr


def test_what_claude_says_cannot_give_the_terminal_orders() -> None:
    out = io.StringIO()
    story = Story(speaker="claude", decider="nobody", out=out)
    story.tell(TextDelta("\x1b[2J\u202egone\nnext"))
    assert out.getvalue() == "\n    claude: \\x1b[2J\\u202egone\n    next"


def test_a_line_break_in_a_quoted_text_cannot_pass_for_a_line_of_the_story() -> None:
    out = io.StringIO()
    story = Story(speaker="claude", decider="nobody", out=out)
    story.quote(['"please\n  18  call.approved  ana approved it"'])
    assert all(line.lstrip().startswith(("|", '"')) for line in out.getvalue().splitlines())


# --- what comes of a run ------------------------------------------------------------------


def test_a_run_that_is_over_is_not_run_again(desk: Desk) -> None:
    first = asyncio.run(work_alone(desk))
    again = asyncio.run(work_alone(desk))
    assert (first.id, first.seq, first.status) == (again.id, again.seq, "finished")
    assert len(desk.world.refunds()) == len(desk.world.mails()) == 1
    with desk.store() as store:
        proof = look(desk.world, store, first.id)
    assert all(facts(proof).values())
    assert proof.refunds[0].key == proof.refund_calls[0].key


def test_a_run_that_waits_is_taken_up_where_it_stands(desk: Desk) -> None:
    async def begin() -> str:
        async with desk.runtime() as runtime:
            run = await runtime.run(desk.agent, desk.world.message, user=CUSTOMER)
            assert [call.tool for call in run.held] == ["refund_payment"]
            return run.id

    begun = asyncio.run(begin())
    assert desk.world.refunds() == []
    assert asyncio.run(work_alone(desk)).id == begun
    assert len(desk.world.refunds()) == len(desk.world.mails()) == 1


def test_the_proof_fails_when_anything_is_not_as_told(desk: Desk) -> None:
    run = asyncio.run(work_alone(desk))
    with desk.store() as store:
        proof = look(desk.world, store, run.id)
    good = sum(facts(proof).values())
    [refund], [mail] = proof.refunds, proof.mails
    for wrong in (
        replace(proof, refunds=[]),
        replace(proof, refunds=[refund, refund]),
        replace(proof, refunds=[replace(refund, key="another")]),
        replace(proof, mails=[]),
        replace(proof, mails=[mail, mail]),
        replace(proof, findings=["record 3: changed"]),
        replace(proof, run=replace(run, status="waiting")),
    ):
        assert sum(facts(wrong).values()) == good - 1


# --- what its tools do --------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_the_linter_has_no_error_and_no_warning(tool: Tool) -> None:
    assert [finding for finding in lint(tool) if finding.severity != "note"] == []


def test_the_tools_have_these_effects() -> None:
    assert {tool.name: tool.effect for tool in TOOLS.values()} == {
        "get_customer": "read",
        "list_orders": "read",
        "search_knowledge": "read",
        "draft_reply": "write",
        "refund_payment": "irreversible",
        "send_mail": "irreversible",
    }


def test_a_repeated_key_refunds_once_also_from_another_process(world: World) -> None:
    program = (
        "import sys; from pathlib import Path; from types import SimpleNamespace;"
        "from agentrt.tools import discover;"
        "refund = discover(Path(sys.argv[1]))['refund_payment'];"
        "print(refund('P9002', 24900, 'duplicate_charge', SimpleNamespace(key='r:c')))"
    )
    command = [sys.executable, "-c", program, str(world.folder / "tools")]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in at_once]
    assert said[0] == said[1] != ""
    assert [refund.key for refund in world.refunds()] == ["r:c"]


def test_a_refund_is_found_by_its_key(tools: Any) -> None:
    check = tools.refund_payment.check
    assert check(a_call("k")) is None
    made = tools.refund_payment("P9002", 100, "goodwill", a_call("k"))
    assert check(a_call("k")) == made
    assert check(a_call("other")) is None


@pytest.mark.parametrize(
    ("payment", "amount_cents", "said"),
    [
        ("P1111", 100, "There is no payment P1111"),
        ("P9002", 24901, "Only 249.00 EUR of payment P9002"),
        ("P8120", 100, "Payment P8120 was refunded in full already"),
        ("P8777", 12900, "Only 100.00 EUR of payment P8777"),
    ],
)
def test_what_cannot_be_refunded_is_refused_and_previewed_so(
    tools: Any, world: World, payment: str, amount_cents: int, said: str
) -> None:
    tools.refund_payment("P8120", 1900, "returned", a_call("before"))
    tools.refund_payment("P8777", 2900, "goodwill", a_call("before too"))
    with pytest.raises(ToolError, match=said):
        tools.refund_payment(payment, amount_cents, "goodwill", a_call("now"))
    assert f"Nothing would be refunded: {said}" in tools.refund_payment.preview(
        payment, amount_cents
    )
    assert [refund.key for refund in world.refunds()] == ["before", "before too"]


def test_the_preview_says_how_much_goes_to_whom_and_what_is_left(tools: Any) -> None:
    said = tools.refund_payment.preview("P9002", 20000)
    for part in ("200.00 EUR", "P9002", "O5001", "Mona Vale <mona.vale@example.com>", "49.00 EUR"):
        assert part in said


def test_orders_come_newest_first_with_what_went_back(tools: Any) -> None:
    tools.refund_payment("P9002", 100, "goodwill", a_call())
    orders = tools.list_orders("C1001")
    assert [order.order_id for order in orders] == ["O5001", "O4120"]
    assert [payment.refunded_cents for payment in orders[0].payments] == [0, 100]


def test_an_address_nobody_has_is_refused(tools: Any) -> None:
    with pytest.raises(ToolError, match="No customer has the address"):
        tools.get_customer("nobody@example.com")
    assert tools.get_customer("MONA.VALE@example.com").customer_id == "C1001"


def test_knowledge_comes_best_first_and_only_where_it_fits(tools: Any) -> None:
    found = tools.search_knowledge("an order has two payments, refund the later payment?")
    assert found[0].title == "Charged twice"
    assert tools.search_knowledge("zebra crossings") == []


def test_reading_tools_cannot_write(tools: Any) -> None:
    reading = sys.modules[tools.get_customer.function.__module__].reading
    with reading() as shop, pytest.raises(sqlite3.OperationalError, match="readonly"):
        shop.execute("DELETE FROM customer")


def test_a_draft_is_written_once_for_each_key(tools: Any, world: World) -> None:
    first = tools.draft_reply("C1001", "Hello", "Text.", a_call("k"))
    assert tools.draft_reply("C1001", "Hello", "Text.", a_call("k")) == first
    assert first.body.startswith("Dear Mona Vale,\n\nText.\n")
    with closing(sqlite3.connect(world.database)) as shop:
        assert shop.execute("SELECT count(*) FROM draft").fetchone() == (1,)
    with pytest.raises(ToolError, match="no customer C9999"):
        tools.draft_reply("C9999", "Hello", "Text.", a_call("k2"))


def test_a_mail_goes_out_once_for_each_key_and_is_found(
    tools: Any, world: World, server: str
) -> None:
    assert tools.send_mail.check("Grüße", a_call("k")) is None
    sent = tools.send_mail("C1001", "Grüße", "Schöne Grüße.\n", a_call("k"))
    assert tools.send_mail("C1001", "Grüße", "Schöne Grüße.\n", a_call("k")) == sent
    assert tools.send_mail.check("Grüße", a_call("k")).message_id == sent.message_id
    [mail] = world.mails()
    assert (mail["To"], mail["Subject"]) == ("mona.vale@example.com", "Grüße")
    assert mail.get_content() == "Schöne Grüße.\n"
    assert mail["Message-ID"] == sent.message_id


def test_without_a_mail_server_nothing_is_sent(
    tools: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(world.mailbox) as address:
        pass
    monkeypatch.setenv("SHOP_SMTP", address)
    with pytest.raises(ToolError, match="Nothing was sent: there is no mail server"):
        tools.send_mail("C1001", "s", "b", a_call())


def test_a_mail_that_the_server_refuses_was_not_sent(
    tools: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: SMTP, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "554 no"

    monkeypatch.setattr("aiosmtpd.handlers.Mailbox.handle_DATA", refuse)
    with pytest.raises(ToolError, match="did not take the mail"):
        tools.send_mail("C1001", "s", "b", a_call())


def test_without_its_mailbox_nobody_can_know_whether_a_mail_was_sent(
    tools: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_MAILBOX", str(world.folder / "gone"))
    with pytest.raises(Exception, match="gone"):
        tools.send_mail.check("s", a_call())
