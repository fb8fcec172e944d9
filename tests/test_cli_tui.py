import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.audit import AuditStore


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """How the screen was opened, instead of opening it."""
    seen: list[dict[str, object]] = []

    def run_app(store: AuditStore, queue: ApprovalQueue, signer: object, **how: object) -> None:
        seen.append({"signer": signer, **how})

    monkeypatch.setattr("agentrt.tui.run_app", run_app)
    monkeypatch.setattr("agentrt.cli.tui.at_terminal", lambda: True)
    return seen


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = a_shop(tmp_path)
    shop.say("run", PROMPT, "--simulated", shop.script)
    return shop


def test_it_opens_with_the_reviewers_key(shop: Shop, opened: list[dict[str, object]]) -> None:
    assert shop.say("tui", "--at", "@next").exit_code == 0
    assert opened == [
        {
            "signer": KeyFile(shop.key),
            "read_only": False,
            "at": shop.call().id,
            "environment": "development",
            "warning": None,
        }
    ]


def test_a_store_that_was_rolled_back_is_shown_with_a_warning_and_nobody_decides(
    shop: Shop, opened: list[dict[str, object]], tmp_path: Path
) -> None:
    shutil.copy(shop.folder / "agentrt.db", tmp_path / "yesterday")
    shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "exit")
    shutil.copy(tmp_path / "yesterday", shop.folder / "agentrt.db")
    assert shop.say("tui").exit_code == 11
    assert (opened[0]["signer"], opened[0]["read_only"]) == (None, True)
    assert "rolled back" in str(opened[0]["warning"])


def test_read_only_takes_no_key(shop: Shop, opened: list[dict[str, object]]) -> None:
    assert shop.say("tui", "--read-only").exit_code == 0
    assert (opened[0]["signer"], opened[0]["read_only"]) == (None, True)


def test_who_has_no_key_may_look(
    shop: Shop, opened: list[dict[str, object]], tmp_path: Path
) -> None:
    assert shop.say("tui", env={"AGENTRT_KEY": str(tmp_path / "none")}).exit_code == 0
    assert opened[0]["read_only"] is True


def test_without_a_store_it_says_what_makes_one(
    tmp_path: Path, opened: list[dict[str, object]]
) -> None:
    result = a_shop(tmp_path).say("tui")
    assert result.exit_code == 1
    assert "agentrt run" in result.stderr
    assert opened == []


def test_at_a_real_terminal_the_screen_comes_up_and_q_leaves_it(shop: Shop) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "agentrt", "-C", str(shop.folder), "tui"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**shop.environment, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "36"},
    )
    os.close(theirs)
    try:
        shown = _read_until(ours, b"refund_order")
        os.write(ours, b"q")
        _read_until(ours, None)
        assert process.wait(timeout=30) == 0
        assert b"refund_order" in shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_until(terminal: int, text: bytes | None) -> bytes:
    """What the terminal shows until `text` is in it; None: until the program lets go of it."""
    shown, until = b"", time.monotonic() + 30
    while time.monotonic() < until and (text is None or text not in shown):
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
    return shown
