from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from review_desk import Desk

from agentrt.approvals import ApprovalQueue, KeyFile, make_key
from agentrt.errors import ApprovalError, NotAllowed
from agentrt.policy import PublicKey, Reviewer, Reviewers
from agentrt.tui.signing import Signing

needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def guarded_key(path: Path) -> KeyFile:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "correct horse", "-f", str(path)]
    subprocess.run(command, check=True)
    return KeyFile(path)


class Screens:
    """Counts how often the screens stepped aside."""

    asides = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        self.asides += 1
        yield


async def test_a_plain_key_signs_while_the_screens_stay(desk: Desk) -> None:
    call, screens = desk.hold(1, "write_file", {}, severity="low"), Screens()
    signing = Signing.of(desk.queue, desk.ana, read_only=False)
    assert signing.name == "ana (support-lead)"
    shown = desk.queue.view(call)
    await signing.send([shown], "approve", reason="", aside=screens.aside)
    assert desk.status(call) == "approved"
    assert screens.asides == 0


@needs_ssh_keygen
async def test_a_key_that_asks_takes_the_screens_down_while_it_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = guarded_key(desk.folder / "guarded")
    answer = desk.folder / "askpass"
    answer.write_text("#!/bin/sh\necho correct horse\n")
    answer.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(answer))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    bob = Reviewer(name="bob", roles=("owner",), keys=(PublicKey.parse(key.public_key),))
    queue = ApprovalQueue(desk.store, Reviewers((bob,)))
    call, screens = desk.hold(1, "write_file", {}, severity="low"), Screens()
    signing = Signing.of(queue, key, read_only=False)
    await signing.send([queue.view(call)], "reject", reason="not now", aside=screens.aside)
    assert desk.status(call) == "rejected"
    assert screens.asides == 1


async def test_read_only_screens_have_nothing_to_sign_with(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    signing = Signing.of(desk.queue, desk.ana, read_only=True)
    assert (signing.reviewer, signing.name) == (None, "read only")
    with pytest.raises(ApprovalError, match="read only"):
        await signing.send([desk.queue.view(call)], "approve", reason="", aside=Screens().aside)
    assert desk.status(call) == "held"


def test_the_queue_knows_whose_key_it_is(desk: Desk) -> None:
    assert desk.queue.reviewer(desk.lee).name == "lee"
    with pytest.raises(NotAllowed, match=r"reviewers\.yaml"):
        desk.queue.reviewer(make_key(desk.folder / "stranger", comment="?"))


def test_a_key_that_cannot_be_read_leaves_the_screens_read_only(desk: Desk) -> None:
    signing = Signing.of(desk.queue, KeyFile(desk.folder / "nowhere"), read_only=False)
    assert signing.reviewer is None
    assert "cannot be read" in signing.nobody
