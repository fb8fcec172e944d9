"""Chains in which every kind of event happens.

`python tests/everything.py FILE` records them, once for each released version: a later
version has to read what this one wrote.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from worlds import (
    Story,
    approved,
    asked,
    began,
    decided,
    doubted,
    expired,
    failed,
    finished,
    rejected,
    replied,
    said,
    settled,
    started,
    use,
)

from agentrt.audit.records import read_record
from agentrt.events import (
    Approver,
    Attempt,
    BundleLoaded,
    Record,
    RuleRef,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    User,
)


def everything() -> list[Story]:
    """The store's own chain, a run with many turns, and one that was cancelled."""
    return [_store_chain(), _long_run(), _cancelled_run()]


def _store_chain() -> Story:
    story = Story("store")
    files = to_json({"rules.yaml": "default: {read: allow}\nrules: []\n"})
    story.tell(BundleLoaded(bundle="b" * 64, service="agentrt@here:1", files=files))
    return story


def _long_run() -> Story:
    story = Story("r_0123456789abcdef")
    mona = User(name="mona", roles=("clerk",), verified="oidc")
    story.tell(started("Pay what is due — 5 €", user=mona, user_ref="ref of mona"))
    _fail_and_resume(story)
    _turn_of_three(story)
    _turn_of_doubts(story)
    story.tell(asked(4), replied(said("Paid."), turn=4))
    story.tell(RunFinished(cause=story.run.seq, stop_reason="end_turn", output="Paid."))
    return story


def _fail_and_resume(story: Story) -> None:
    attempts = (Attempt(duration_ms=7), Attempt(status=529, duration_ms=9, request_id="req_1"))
    story.tell(asked(), failed().model_copy(update={"attempts": attempts}))
    story.tell(RunFailed(code="overloaded", resumable=True, message="busy"))
    story.tell(RunResumed(by="ana", by_ref="ref of ana"))


def _turn_of_three(story: Story) -> None:
    uses = [use("pay", id=f"toolu_{name}", payee=name, cents=5) for name in ("a", "b", "c")]
    story.tell(asked(ask=2), replied(said("I pay."), *uses))
    rule = RuleRef(id="payments", file="rules.yaml", line=3)
    terms = Approver(roles=("lead",), quorum=1, severity="critical", expires_at=story.run.at + 1)
    for index in range(3):
        held = decided(story.call(index), "hold", rules=(rule,), approver=terms, preview="5 cents")
        story.tell(held)
    story.tell(approved(story.call(0)), rejected(story.call(1)), expired(story.call(2)))
    story.tell(began(story.call(0)))
    story.tell(finished(story.call(0), "paid 5"))


def _turn_of_doubts(story: Story) -> None:
    uses = [use("pay", id=f"toolu_{name}", payee=name) for name in ("d", "e")]
    story.tell(asked(2), replied(*uses, turn=2))
    for index in range(2):
        story.tell(decided(story.call(index)))
        story.tell(began(story.call(index)))
        story.tell(doubted(story.call(index)))
    story.tell(settled(story.call(0), happened=True))
    story.tell(settled(story.call(1), happened=False))
    story.tell(decided(story.call(1), "deny", basis="second_attempt"))
    story.tell(asked(3), replied(said("a moment"), turn=3, stop_reason="pause_turn"))


def _cancelled_run() -> Story:
    story = Story("sim_r_0123456789abcdef")
    story.tell(started(simulated=True), asked(), replied(use("write_note", name="a")))
    story.tell(decided(story.call(), "hold"))
    story.tell(RunCancelled(by="ana", by_ref="ref of ana", reason="not needed"))
    return story


# --- recorded streams ------------------------------------------------------------------


def record(path: Path) -> None:
    """Write every record of every chain as a line of JSON."""
    lines = [json.dumps(line) for story in everything() for line in _lines(story)]
    path.write_text("\n".join(lines) + "\n")


def _lines(story: Story) -> Iterator[dict[str, Any]]:
    for written in story.written:
        yield {
            "header": written.record.header.decode(),
            "hash": written.record.hash.hex(),
            "parts": {
                part.name: {"salt": part.salt.hex(), "body": _encoded(part.body)}
                for part in written.parts
            },
            "shared": {digest: _encoded(body) for digest, body in written.shared.items()},
        }


def recorded(path: Path) -> Iterator[Record]:
    """The records of such a file, as this version reads them."""
    for line in path.read_text().splitlines():
        data = json.loads(line)
        parts = {name: base64.b64decode(part["body"]) for name, part in data["parts"].items()}
        shared = {digest: base64.b64decode(body) for digest, body in data["shared"].items()}
        yield read_record(data["header"].encode(), bytes.fromhex(data["hash"]), parts, shared)


def _encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


if __name__ == "__main__":
    record(Path(sys.argv[1]))
