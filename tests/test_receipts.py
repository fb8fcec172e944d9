"""A receipt of each kind of decision is checked without the store, and no byte of it can change."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from worlds import (
    AT,
    Desk,
    a_policy,
    asked,
    began,
    decided,
    doubted,
    expired,
    finished,
    replied,
    settled,
    started,
    use,
)

from agentrt.approvals import ApprovalQueue, KeyFile
from agentrt.audit.keys import SigningKey
from agentrt.audit.sealer import Sealer
from agentrt.errors import NotFound, ReceiptInvalid
from agentrt.events import AnyEvent, FactStated, User
from agentrt.receipts import Checked, Signers, check_receipt, make_receipt
from agentrt.receipts.envelope import sealed_envelope, to_json
from agentrt.run import Run, begin_after

Keys = dict[str, KeyFile]
MONA = User(name="mona", roles=("clerk",), verified="oidc")
RUN = "r_0000000000000001"

RULES = """\
default: {read: allow}
rules:
  - id: no-large-payments
    decide: deny
    tools: [pay]
    when: args.cents > 1000
    why: That is too much.
  - id: payments
    decide: hold
    tools: [pay]
    why: Money that has left does not come back.
"""


@pytest.fixture
def bank(tmp_path: Path, keys: Keys) -> Any:
    policy = a_policy({"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}, RULES)
    opened = Desk(tmp_path / "bank.db", policy)
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.at(tmp_path_factory.mktemp("keys") / "runtime")


async def pays(bank: Desk, cents: int = 5) -> Run:
    return await asks(bank, use("pay", payee="bob", cents=cents))


async def asks(bank: Desk, *uses: dict[str, Any]) -> Run:
    from agentrt.audit import STORE_CHAIN
    from agentrt.events import BundleLoaded

    loaded = BundleLoaded(
        bundle=bank.policy.bundle, service="agentrt@here:1", files=to_json(dict(bank.policy.files))
    )
    await bank.store.append(Run(STORE_CHAIN), [loaded])
    begun = [
        started(bundle=bank.policy.bundle, user=MONA, user_ref=bank.store.ref("mona")),
        asked().model_copy(update={"cause": 1}),
        replied(*uses).model_copy(update={"cause": 2}),
    ]
    return await bank.decide(await bank.store.append(Run(RUN), begun))


def queue(bank: Desk) -> ApprovalQueue:
    return ApprovalQueue(bank.store, bank.policy.reviewers)


async def tell(bank: Desk, run: Run, *make: Callable[[Any], AnyEvent]) -> Run:
    for each in make:
        run = await bank.store.append(run, [each(run.calls[0])])
    return run


async def approve(bank: Desk, run: Run, keys: Keys) -> Run:
    call = run.calls[0]
    return await bank.store.append(run, [bank.signed(run, call, keys["ana"], "ana")])


async def receipt(bank: Desk, key: SigningKey, **more: Any) -> bytes:
    await Sealer(bank.store, key).seal()
    call = bank.store.calls(run=RUN)[0].id
    return make_receipt(bank.store, call, key, **more)


def checked(bank: Desk, data: bytes, key: SigningKey) -> Checked:
    """As on another machine: the file, a public key and a list of signers."""
    signers = Signers.parse(bank.policy.reviewers.allowed_signers())
    return check_receipt(data, [key.raw], signers=signers)


# --- each kind of decision -------------------------------------------------------------


async def allowed(bank: Desk, keys: Keys) -> None:
    run = await asks(bank, use("read_note", name="a"))
    await tell(bank, run, began, finished)


async def denied(bank: Desk, keys: Keys) -> None:
    await pays(bank, cents=5000)


async def held(bank: Desk, keys: Keys) -> None:
    await pays(bank)


async def approved(bank: Desk, keys: Keys) -> None:
    run = await approve(bank, await pays(bank), keys)
    await tell(bank, run, began, finished)


async def rejected(bank: Desk, keys: Keys) -> None:
    run = await pays(bank)
    call = queue(bank).view(run.calls[0].id)
    await queue(bank).reject(call, signer=keys["ana"], reason="too much")


async def ran_out(bank: Desk, keys: Keys) -> None:
    await tell(bank, await pays(bank), expired)


async def edited(bank: Desk, keys: Keys) -> None:
    run = await pays(bank)
    edit = bank.revision(run, run.calls[0]).model_copy(
        update={"editor": "ana", "editor_ref": bank.store.ref("ana")}
    )
    run = await bank.store.append(run, [edit])
    run = await approve(bank, run, keys)
    await tell(bank, run, began, finished)


def waits(call: Any) -> AnyEvent:
    return decided(call, "hold", awaiting=("run.cleared",), until=AT + 60_000, reason="not cleared")


async def deferred(bank: Desk, keys: Keys) -> None:
    await tell(bank, await pays(bank), waits)


async def deferred_and_resolved(bank: Desk, keys: Keys) -> None:
    run = await tell(bank, await pays(bank), waits)
    stated = FactStated(name="run.cleared", by="ana", by_ref=bank.store.ref("ana"), value=b"true")
    run = await bank.store.append(run, [stated])
    run = await bank.store.append(run, [bank.revision(run, run.calls[0])])
    run = await approve(bank, run, keys)
    await tell(bank, run, began, finished)


async def modified(bank: Desk, keys: Keys) -> None:
    run = await pays(bank)
    less = b'{"cents":1,"payee":"bob"}'
    await tell(
        bank,
        run,
        lambda call: decided(call, changed=("cents",), arguments=less, asked=call.arguments),
        began,
        finished,
    )


async def settled_later(bank: Desk, keys: Keys) -> None:
    run = await approve(bank, await pays(bank), keys)
    await tell(bank, run, began, doubted, lambda call: settled(call, happened=True))


KINDS: dict[str, tuple[Callable[[Desk, Keys], Awaitable[None]], str, str]] = {
    "allowed": (allowed, "allowed", "done"),
    "denied": (denied, "denied", "not run"),
    "held": (held, "held", "not run"),
    "held and approved": (approved, "approved", "done"),
    "held and rejected": (rejected, "rejected", "not run"),
    "held and expired": (ran_out, "expired", "not run"),
    "edited": (edited, "edited", "done"),
    "deferred": (deferred, "deferred", "not run"),
    "deferred and resolved": (deferred_and_resolved, "approved", "done"),
    "modified": (modified, "modified", "done"),
    "in doubt and settled": (settled_later, "approved", "happened"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receipt_of_each_decision_holds_without_the_store(
    bank: Desk, keys: Keys, key: SigningKey, kind: str
) -> None:
    do, decision, status = KINDS[kind]
    await do(bank, keys)
    data = await receipt(bank, key)
    bank.store.close()
    found = checked(bank, data, key)
    said = found.predicate
    assert (said["decision"]["kind"], said["outcome"]["status"]) == (decision, status)
    assert said["action"]["tool"] in ("pay", "read_note")
    assert said["action"]["arguments"]
    assert said["identities"]["user"] == {
        "name": "mona", "roles": ["clerk"], "verified": "oidc",
    }  # fmt: skip
    assert said["identities"]["runtime_key"] == key.public.fingerprint
    assert said["context"]["request"] == "pay the bill"
    assert said["decision"]["policy"]
    assert said["decision"]["reason"]


@pytest.mark.parametrize("kind", ["denied", "held and approved", "deferred and resolved"])
async def test_any_changed_byte_of_a_receipt_fails(
    bank: Desk, keys: Keys, key: SigningKey, kind: str
) -> None:
    await KINDS[kind][0](bank, keys)
    data = await receipt(bank, key)
    for place in range(0, len(data), 7 if kind != "denied" else 1):
        changed = bytearray(data)
        changed[place] ^= 1 + place % 127
        with pytest.raises(ReceiptInvalid):
            check_receipt(bytes(changed), [key.raw])
    for other in (data[:-1], data + b"\n", b"", data * 2):
        with pytest.raises(ReceiptInvalid):
            check_receipt(other, [key.raw])


# --- what is in it ---------------------------------------------------------------------


async def test_an_approval_is_in_it_with_the_reviewers_own_signature(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    await approved(bank, keys)
    found = checked(bank, await receipt(bank, key), key)
    ((by, fingerprint, known),) = found.approvals
    assert (by, known) == ("ana", True)
    assert found.predicate["approvals"][0]["key"] == fingerprint
    assert found.predicate["decision"]["rules"][0]["id"] == "payments"
    assert found.predicate["decision"]["rules_text"]["rules"][0]["why"].startswith("Money")
    assert found.predicate["outcome"]["attempts"][0]["approvals"] == [5]


async def test_a_deferral_tells_reason_method_and_time(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    await deferred_and_resolved(bank, keys)
    (deferral,) = checked(bank, await receipt(bank, key), key).predicate["deferrals"]
    assert deferral["awaiting"] == ["run.cleared"]
    assert deferral["reason"] == "not cleared"
    assert deferral["method"] == "fact stated"
    assert deferral["facts"][0]["by"] == "ana"
    assert deferral["resolved_at"] >= deferral["deferred_at"]


async def test_what_is_withheld_or_forgotten_is_only_committed_to(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    await approved(bank, keys)
    data = await receipt(bank, key, withhold=("arguments", "prompt", "result"))
    payload = base64.b64decode(json.loads(data)["payload"])
    assert b"pay the bill" not in payload
    found = checked(bank, data, key).predicate
    assert found["action"]["arguments"] is None
    assert found["action"]["commitments"]["arguments"]
    assert found["action"]["arguments_digest"]
    assert found["context"]["request"] is None
    assert found["outcome"]["results"][0]["result"] is None


async def test_a_follow_up_names_the_runs_that_it_follows(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    from agentrt.events import RunFinished

    run = await asks(bank, use("read_note", name="a"))
    run = await tell(bank, run, began, finished)
    first = await bank.store.append(run, [RunFinished(stop_reason="end_turn", output="ok")])
    same = {"user": MONA, "user_ref": bank.store.ref("mona")}
    later = begin_after(first, started(bundle=bank.policy.bundle, **same))
    second = await bank.store.append(
        Run("r_0000000000000002"), [later, asked(), replied(use("pay", payee="eve", cents=5))]
    )
    second = await bank.decide(second)
    await Sealer(bank.store, key).seal()
    found = checked(bank, make_receipt(bank.store, second.calls[0].id, key), key).predicate
    (ancestor,) = found["delegation"]
    assert ancestor["run"] == RUN
    assert ancestor["user"]["name"] == "mona"


async def test_earlier_calls_are_in_the_context_without_what_they_said(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    await asks(bank, use("read_note", name="secret-name"), use("pay", id="t2", payee="b", cents=5))
    data = await receipt(bank, key)
    found = checked(bank, data, key).predicate
    (earlier,) = found["context"]["earlier_calls"]
    assert (earlier["tool"], earlier["verdict"]) == ("read_note", "allow")
    assert b"secret-name" not in base64.b64decode(json.loads(data)["payload"])


# --- what is refused -------------------------------------------------------------------


def lied(data: bytes, key: SigningKey, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The receipt changed and signed again: the runtime itself lies."""
    statement = json.loads(base64.b64decode(json.loads(data)["payload"]))
    change(statement)
    return sealed_envelope(to_json(statement), key)


async def test_even_the_runtime_cannot_say_what_its_evidence_does_not_show(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    await approved(bank, keys)
    data = await receipt(bank, key)

    def changes() -> list[Callable[[dict[str, Any]], None]]:
        return [
            lambda s: s["predicate"]["identities"]["user"].update(name="eve"),
            lambda s: s["predicate"]["decision"].update(policy="0" * 64),
            lambda s: s["predicate"]["decision"].update(kind="allowed"),
            lambda s: s["predicate"]["action"]["arguments"].update(cents=1),
            lambda s: s["predicate"]["approvals"].clear(),
            lambda s: s["predicate"]["outcome"].update(status="not run"),
            lambda s: s["subject"].pop(),
            lambda s: s["predicate"]["evidence"]["shown"].pop(),
            lambda s: s["predicate"]["evidence"]["stretches"][0]["headers"].pop(),
            lambda s: s["predicate"]["evidence"].update(rules={"rules": []}),
            lambda s: s["predicate"]["evidence"].update(checkpoint="none"),
            lambda s: s["predicate"].pop("evidence"),
            lambda s: s.update(predicateType="another"),
        ]

    assert checked(bank, lied(data, key, lambda _s: None), key)
    for change in changes():
        with pytest.raises(ReceiptInvalid):
            check_receipt(lied(data, key, change), [key.raw])


async def test_a_receipt_by_another_key_or_an_unknown_signer_is_refused(
    bank: Desk, keys: Keys, key: SigningKey, tmp_path: Path
) -> None:
    await approved(bank, keys)
    data = await receipt(bank, key)
    with pytest.raises(ReceiptInvalid, match="none of the keys"):
        check_receipt(data, [SigningKey.at(tmp_path / "other").raw])
    only_bob = "".join(
        line for line in bank.policy.reviewers.allowed_signers().splitlines(True) if "bob" in line
    )
    with pytest.raises(ReceiptInvalid, match="none of the signers"):
        check_receipt(data, [key.raw], signers=Signers.parse(only_bob))
    found = check_receipt(data, [key.raw])
    assert found.approvals[0][2] is False


async def test_a_forged_approval_is_found_in_the_receipt(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    run = await pays(bank)
    await bank.store.append(run, [bank.signed(run, run.calls[0], keys["eve"], "ana")])
    data = await receipt(bank, key)
    with pytest.raises(ReceiptInvalid, match="does not hold"):
        checked(bank, data, key)


async def test_a_transplanted_approval_is_found_in_the_receipt(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    run = await pays(bank)
    call = run.calls[0]
    for more in ({"run": "r_other"}, {"store": "s_other"}, {"arguments_digest": "0" * 64}):
        yes = bank.signed(run, call, keys["ana"], "ana", **more)
        run = await bank.store.append(run, [yes])
        with pytest.raises(ReceiptInvalid, match="does not hold"):
            checked(bank, await receipt(bank, key), key)


async def test_there_is_no_receipt_before_a_decision_or_a_checkpoint(
    bank: Desk, keys: Keys, key: SigningKey
) -> None:
    run = await pays(bank)
    with pytest.raises(NotFound, match="no checkpoint yet"):
        make_receipt(bank.store, run.calls[0].id, key)
    with pytest.raises(NotFound):
        make_receipt(bank.store, "c_nothing", key)


@pytest.mark.parametrize("line", ["ana", "ana ssh-rsa AAAA", "ana ssh-ed25519 AAAA"])
def test_what_are_no_signers_is_refused(line: str) -> None:
    with pytest.raises(ReceiptInvalid):
        Signers.parse(line)
