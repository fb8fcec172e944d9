"""Chains in which every kind of event happens.

`python tests/everything.py FILE` records them, once for each released version: a later
version has to read what this one wrote.
"""

from __future__ import annotations

import base64
import hashlib
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
    BundleRefused,
    CallAbandoned,
    CallDoubted,
    CheckpointSigned,
    ContentForgotten,
    ContentReduced,
    ErasureResumed,
    ErasureSuspended,
    FactStated,
    Record,
    RuleRef,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    User,
)
from agentrt.run import begin_after


def everything() -> list[Story]:
    """The store's own chain, a run with many turns, one that was cancelled, one with facts."""
    return [_store_chain(), _long_run(), _cancelled_run(), _governed_run(), _doubted_run()]


def _store_chain() -> Story:
    story = Story("store")
    files = to_json({"rules.yaml": "default: {read: allow}\nrules: []\n"})
    story.tell(BundleLoaded(bundle="b" * 64, service="agentrt@here:1", files=files))
    problems = to_json(["rules.yaml:1:1: must be a mapping of keys and values"])
    story.tell(BundleRefused(bundle="b" * 64, service="agentrt@here:1", problems=problems))
    why = {"by": "ana", "by_ref": "ref of ana", "reason": "a lawsuit"}
    story.tell(ErasureSuspended(hold="h_1", subject_ref="ref of mona", **why))
    story.tell(ErasureResumed(hold="h_1", **why))
    story.tell(
        ContentForgotten(request="f_1", ground="request", kinds={"prompts": 1}, runs=1, **why)
    )
    story.tell(CheckpointSigned(origin="agentrt/s_1", size=3, root="f" * 64, key="SHA256:none"))
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
    story.tell(ContentReduced(cause=story.run.seq, replaced={"3/blocks": "c2FsdGVk"}))
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


def _doubted_run() -> Story:
    """A payment whose check broke off, that was settled by nobody, not entered, and late."""
    story = Story("r_00000000000000d0")
    story.tell(started("Pay"), asked(), replied(use("pay", payee="f")))
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    doubt = CallDoubted(
        call=story.call().id,
        attempt=1,
        returned=True,
        checked="failed",
        reason="pay broke off with ConnectionError.",
        check_said="The ledger is closed.",
    )
    story.tell(doubt, settled(story.call(), happened=True))
    refused = {"refused": story.run.seq, "checked": None, "check_said": None}
    story.tell(doubt.model_copy(update=refused))
    story.tell(CallAbandoned(call=story.call().id, attempt=1, why="not_carried"))
    story.tell(decided(story.call()))
    story.tell(began(story.call()))
    first = story.call()
    story.tell(settled(first, happened=False), decided(story.call(), "deny"))
    story.tell(finished(first, "paid late"))
    return story


def _cancelled_run() -> Story:
    story = Story("sim_r_0123456789abcdef")
    story.tell(started(simulated=True), asked(), replied(use("write_note", name="a")))
    story.tell(decided(story.call(), "hold"))
    story.tell(RunCancelled(by="ana", by_ref="ref of ana", reason="not needed"))
    return story


def _governed_run() -> Story:
    """A payment that waits for a fact, that a rule changes, and that a person lets pass."""
    story = Story("r_fedcba9876543210")
    mona = User(name="mona", roles=("clerk",), verified="oidc")
    story.tell(started("Pay what the note says", user=mona, user_ref="ref of mona"))
    uses = (
        use("read_note", id="toolu_f", name="a"),
        use("pay", id="toolu_g", payee="bob", cents=9),
    )
    story.tell(asked(), replied(*uses))
    fields = ("body", "messages[].text")
    story.tell(decided(story.call(0), labels=("reads_untrusted",), untrusted=fields))
    _wait_for_a_fact(story)
    story.tell(began(story.call(0)), finished(story.call(0), "bob is owed 9 cents"))
    story.tell(FactStated(name="run.cleared", by="ana", by_ref="ref of ana", value=b"true"))
    _pay_less(story)
    story.tell(asked(2), replied(said("Paid."), turn=2))
    story.tell(RunFinished(cause=story.run.seq, stop_reason="end_turn", output="Paid."))
    return story


CLEAR = RuleRef(id="clear", file="pay.yaml", line=2)
CLAMP = RuleRef(id="clamp", file="pay.yaml", line=7)
TRIED = RuleRef(id="tried", file="pay.yaml", line=12)


def _wait_for_a_fact(story: Story) -> None:
    story.tell(
        decided(
            story.call(1),
            "hold",
            rules=(CLEAR,),
            considered=(CLAMP,),
            shadow=(TRIED,),
            failed=("tried",),
            awaiting=("run.cleared",),
            until=story.run.at + 60_000,
            approver=Approver(expires_at=story.run.at + 120_000),
            facts=to_json(
                {
                    "values": {"run.cleared": "[unknown]", "args.cents": 9},
                    "errors": {"tried": "division by zero"},
                    "waits": {"clear": "run.cleared"},
                }
            ),
        )
    )


def _pay_less(story: Story) -> None:
    less = b'{"cents":5,"payee":"bob"}'
    story.tell(
        decided(
            story.call(1),
            "hold",
            rules=(CLAMP,),
            considered=(CLEAR,),
            changed=("cents",),
            group="g_0123456789abcdef",
            approver=Approver(roles=("lead",), expires_at=story.run.at + 120_000),
            arguments=less,
            arguments_digest=hashlib.sha256(less).hexdigest(),
            asked=b'{"cents":9,"payee":"bob"}',
            facts=to_json(
                {
                    "values": {"run.cleared": True, "args.cents": 9},
                    "limits": {"clamp": "0 and 5 more, of at most 100"},
                    "found": {"user_named('bob')": "field body of the result of read_note"},
                }
            ),
        )
    )
    story.tell(approved(story.call(1)))
    story.tell(began(story.call(1)))
    story.tell(finished(story.call(1), "paid 5"))


def _follow_up(parent: Story) -> Story:
    """A run that goes on with the conversation of another."""
    story = Story("r_00112233445566aa")
    event = started("And the rest?", user=parent.run.user, user_ref=parent.run.user_ref)
    story.tell(begin_after(parent.run, event))
    story.tell(asked(), replied(said("That was all.")))
    story.tell(RunFinished(cause=story.run.seq, stop_reason="end_turn", output="That was all."))
    return story


# --- recorded streams ------------------------------------------------------------------


def record(path: Path) -> None:
    """Write every record of every chain as a line of JSON, and a run that follows another."""
    stories = everything()
    stories += [_follow_up(stories[-1])]
    lines = [json.dumps(line) for story in stories for line in _lines(story)]
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
