"""AARM (Autonomous Action Runtime Management, 2026-03): its verification table, one test a row.

R7 (drift) and R9 (least privilege) are not core. MODIFY is `set`, STEP_UP a hold for a person,
DEFER a hold that waits for a fact.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from till import ALLOW, Till, read_mail, refund, send_mail

from agentrt.approvals import KeyFile
from agentrt.audit import STORE_CHAIN
from agentrt.audit.keys import SigningKey
from agentrt.audit.sealer import Sealer
from agentrt.errors import PolicyError, ReceiptInvalid, StoreError
from agentrt.events import BundleLoaded, CallDecided
from agentrt.exports import FORMATS, Cursor, Reader, Source
from agentrt.loop import state
from agentrt.policy import Policy, stated_fact
from agentrt.policy.cel import BOOL
from agentrt.receipts import Signers, check_receipt, make_receipt
from agentrt.receipts.envelope import sealed_envelope, to_json
from agentrt.run import Run

Keys = dict[str, KeyFile]
MakeTill = Callable[..., Till]

CLEARED = stated_fact("run.cleared", BOOL, about="Whether somebody looked at it.")
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS

DENY = "  - {id: no, decide: deny, tools: [refund], when: args.cents > 100, why: Too much.}\n"
HOLD = (
    "  - {id: ask, decide: hold, tools: [refund], why: A person looks., approve: {expires: 1h}}\n"
)
SET = "  - {id: less, decide: allow, tools: [refund], set: {cents: '10'}, why: Ten at most.}\n"
DEFER = (
    "  - {id: clear, decide: deny, tools: [refund], when: '!run.cleared', why: Not cleared., "
    "defer: 10m}\n"
)
AFTER_MAIL = (
    "  - {id: leak, decide: deny, tools: [send_mail], why: A mail was read.,\n"
    "     when: 'run.calls_of[\"read_mail\"] > 0'}\n"
)


def rules(*more: str) -> str:
    return f"rules:\n{ALLOW}{''.join(more)}"


@pytest.fixture
def till(tmp_path: Path, keys: Keys) -> Iterator[MakeTill]:
    opened: list[Till] = []

    def make(*more: str, **options: Any) -> Till:
        people = {"ana": (keys["ana"], ("owner",)), "bob": (keys["bob"], ("lead",))}
        path = tmp_path / f"till{len(opened)}.db"
        opened.append(Till(path, rules(*more), people, facts=[CLEARED], **options))
        return opened[-1]

    yield make
    for each in opened:
        each.store.close()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.at(tmp_path_factory.mktemp("keys") / "runtime")


async def receipt_of(desk: Till, key: SigningKey, run: str = "r_1", index: int = 0) -> bytes:
    if desk.store.bundle(desk.policy.bundle) is None:
        files = to_json(dict(desk.policy.files))
        loaded = BundleLoaded(bundle=desk.policy.bundle, service="agentrt", files=files)
        await desk.store.append(Run(STORE_CHAIN), [loaded])
    await Sealer(desk.store, key).seal()
    return make_receipt(desk.store, desk.call(run, index).id, key)


def checked(desk: Till, data: bytes, key: SigningKey) -> dict[str, Any]:
    signers = Signers.parse(desk.policy.reviewers.allowed_signers())
    return check_receipt(data, [key.raw], signers=signers).predicate


async def told(desk: Till, key: SigningKey, run: str = "r_1", index: int = 0) -> dict[str, Any]:
    return checked(desk, await receipt_of(desk, key, run, index), key)


def decision(desk: Till, run: str = "r_1", index: int = 0) -> CallDecided:
    wanted = desk.call(run, index).id
    events = [record.event for record in desk.store.records(run)]
    return [e for e in events if isinstance(e, CallDecided) and e.call == wanted][-1]


# --- R1: interception ------------------------------------------------------------------


async def test_r1_a_call_that_a_deny_rule_matches_does_not_run_and_has_a_receipt(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till(DENY)
    await desk.run("r_1", refund(500))
    assert (desk.stands("r_1"), desk.done) == (["denied"], [])
    said = await told(desk, key)
    assert (said["decision"]["kind"], said["outcome"]["status"]) == ("denied", "not run")


async def test_r1_a_call_whose_rule_needs_a_missing_fact_is_held_without_effect_and_has_a_receipt(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5))
    assert desk.done == []
    said = await told(desk, key)
    assert (said["decision"]["kind"], said["outcome"]["status"]) == ("deferred", "not run")


async def test_r1_when_the_governing_part_is_unavailable_the_call_fails_and_nothing_bypasses_it(
    till: MakeTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = till()
    await desk.begin("r_1", refund(5))

    def unavailable(*_args: Any, **_more: Any) -> Any:
        raise PolicyError

    with monkeypatch.context() as broken:
        broken.setattr(Policy, "decide", unavailable)
        with pytest.raises(PolicyError):
            await desk.carry("r_1")
    assert desk.done == []
    desk.store.close()  # and without a store
    with pytest.raises(StoreError):
        await desk.carry("r_1")
    assert desk.done == []


# --- R2: context -----------------------------------------------------------------------


async def test_r2_in_step_n_all_earlier_calls_and_classes_are_in_the_context(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till()
    await desk.run("r_1", read_mail())
    await desk.reply("r_1", refund(5))
    await desk.reply("r_1", send_mail("bob"))
    said = await told(desk, key, index=2)
    assert [each["tool"] for each in said["context"]["earlier_calls"]] == ["read_mail", "refund"]
    assert said["context"]["earlier_calls"][0]["untrusted"] == ["body"]
    assert said["context"]["request"] == "Give it back."


async def test_r2_an_earlier_context_entry_that_is_changed_is_found(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till()
    await desk.run("r_1", read_mail())
    await desk.reply("r_1", refund(5))
    data = await receipt_of(desk, key, index=1)
    statement = json.loads(base64.b64decode(json.loads(data)["payload"]))
    stretch = statement["predicate"]["evidence"]["stretches"][0]
    changed = [header.replace('"read_mail"', '"read_file"') for header in stretch["headers"]]
    assert changed != stretch["headers"]
    stretch["headers"] = changed
    with pytest.raises(ReceiptInvalid):
        check_receipt(sealed_envelope(to_json(statement), key), [key.raw])


# --- R3: evaluation --------------------------------------------------------------------


async def test_r3_a_forbidden_call_is_denied_whatever_the_context(till: MakeTill) -> None:
    desk = till(DENY, HOLD)
    await desk.run("r_1", refund(500))
    await desk.run("r_2", read_mail(), refund(500))
    assert (desk.call("r_1").status, desk.call("r_2", 1).status) == ("denied", "denied")


async def test_r3_an_allowed_call_after_sensitive_data_was_read_is_denied_by_context(
    till: MakeTill,
) -> None:
    desk = till(AFTER_MAIL)
    await desk.run("r_1", send_mail("bob"))
    await desk.run("r_2", read_mail())
    await desk.reply("r_2", send_mail("bob"))
    assert desk.call("r_1").status == "finished"
    assert desk.call("r_2", 1).status == "denied"


async def test_r3_a_call_denied_by_default_with_confirming_context_is_allowed_or_held(
    till: MakeTill,
) -> None:
    confirmed = (
        "rules:\n  - {id: r, decide: allow, tools: [read_mail], why: Go.}\n"
        "  - {id: c, decide: allow, tools: [send_mail], why: It was asked for.,\n"
        "     when: 'run.calls_of[\"read_mail\"] > 0'}\n"
    )
    desk = till()
    desk.reread(confirmed)
    await desk.run("r_1", send_mail("bob"))
    await desk.run("r_2", read_mail())
    await desk.reply("r_2", send_mail("bob"))
    assert desk.call("r_1").status == "held"
    assert desk.call("r_2", 1).status == "finished"


async def test_r3_ambiguous_context_defers(till: MakeTill) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5))
    assert decision(desk).awaiting == ("run.cleared",)


# --- R4: decisions ---------------------------------------------------------------------

FIVE = {
    "allow": ((), "finished", [5]),
    "deny": ((DENY.replace("> 100", "> 1"),), "denied", []),
    "modify": ((SET,), "finished", [10]),
    "step up": ((HOLD,), "held", []),
    "defer": ((DEFER,), "held", []),
}


@pytest.mark.parametrize("name", FIVE)
async def test_r4_each_of_the_five_is_enforced_as_it_says(till: MakeTill, name: str) -> None:
    more, status, done = FIVE[name]
    desk = till(*more)
    await desk.run("r_1", refund(5))
    assert (desk.call("r_1").status, desk.done) == (status, done)


async def test_r4_step_up_without_an_answer_in_time_is_denied(till: MakeTill) -> None:
    desk = till(HOLD)
    await desk.run("r_1", refund(5))
    desk.clock.now += 60 * MINUTE_MS
    await desk.queue.expire_due()
    await desk.carry("r_1")
    assert (desk.stands("r_1"), desk.done) == (["expired"], [])


async def test_r4_defer_without_resolution_in_time_is_denied(till: MakeTill) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5))
    desk.clock.now += DAY_MS + 10 * MINUTE_MS
    await desk.queue.expire_due()
    await desk.carry("r_1")
    assert (desk.stands("r_1"), desk.done) == (["expired"], [])


async def test_r4_what_follows_a_deferred_call_waits_and_independent_reads_go_on(
    till: MakeTill,
) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5), read_mail(), send_mail("bob"))
    assert desk.stands("r_1") == ["held", "finished", "allowed"]
    assert desk.done == []


# --- R5: receipts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", FIVE)
async def test_r5_a_receipt_for_each_of_the_five_decisions_has_all_fields(
    till: MakeTill, key: SigningKey, keys: Keys, name: str
) -> None:
    more, _, _ = FIVE[name]
    desk = till(*more)
    await desk.run("r_1", refund(5))
    if name == "step up":
        await desk.queue.approve(desk.call("r_1").id, signer=keys["ana"], reason="It is due.")
        await desk.carry("r_1")
    said = await told(desk, key)
    kinds = {"allow": "allowed", "deny": "denied", "modify": "modified", "defer": "deferred"}
    assert said["decision"]["kind"] == kinds.get(name, "approved")
    action, identities, verdict = said["action"], said["identities"], said["decision"]
    assert action["tool"] == "refund"
    assert action["arguments"]["cents"] == (10 if name == "modify" else 5)
    assert identities["user"]["name"] == "mona"
    assert {identities["agent"], identities["session"]} == {"desk", "r_1"}
    assert identities["service"]
    assert identities["runtime_key"] == key.public.fingerprint
    assert verdict["policy"] == desk.policy.bundle
    assert verdict["reason"]
    assert verdict["at"] > 0
    assert verdict["rules_text"]
    assert said["outcome"]["status"]
    assert said["delegation"] == []
    assert bool(said["approvals"]) == (name == "step up")
    assert bool(said["deferrals"]) == (name == "defer")


async def test_r5_it_verifies_offline_and_fails_once_requester_or_policy_hash_is_changed(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till()
    await desk.run("r_1", refund(5))
    data = await receipt_of(desk, key)
    bundle = desk.policy.bundle
    desk.store.close()
    assert checked(desk, data, key)
    payload = base64.b64decode(json.loads(data)["payload"])
    for old, new in ((b'"mona"', b'"eve"'), (bundle.encode(), b"0" * 64)):
        assert old in payload
        changed = payload.replace(old, new)
        envelope = json.loads(data) | {"payload": base64.b64encode(changed).decode()}
        with pytest.raises(ReceiptInvalid):
            check_receipt(to_json(envelope) + b"\n", [key.raw])
        with pytest.raises(ReceiptInvalid):  # not even by the runtime's own key
            check_receipt(sealed_envelope(changed, key), [key.raw])


async def test_r5_the_receipt_of_a_deferred_call_has_reason_method_and_time(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5))
    desk.clock.now += MINUTE_MS
    await state(desk.store, desk.policy, "r_1", "run.cleared", True, by="ana")
    await desk.carry("r_1")
    (deferral,) = (await told(desk, key))["deferrals"]
    assert "waits for run.cleared" in deferral["reason"]
    assert deferral["method"] == "fact stated"
    assert deferral["resolved_at"] - deferral["deferred_at"] >= MINUTE_MS


# --- R6: identity ----------------------------------------------------------------------


async def test_r6_calls_by_several_principals_and_sessions_are_attributed_rightly(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till()
    for run, user in (("r_1", "mona"), ("r_2", "eve"), ("r_3", None)):
        await desk.run(run, refund(5), user=user)
    for run, user in (("r_1", "mona"), ("r_2", "eve"), ("r_3", None)):
        said = (await told(desk, key, run))["identities"]
        assert said["session"] == run
        assert (said["user"] or {}).get("name") == user
        assert said["user_ref"] == (desk.store.ref(user) if user else None)


async def test_r6_deferred_then_resolved_the_first_identity_is_in_the_resolutions_receipt(
    till: MakeTill, key: SigningKey
) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5))
    await state(desk.store, desk.policy, "r_1", "run.cleared", True, by="ana")
    await desk.carry("r_1")
    said = await told(desk, key)
    assert said["outcome"]["status"] == "done"
    assert said["identities"]["user"]["name"] == "mona"
    assert said["deferrals"][0]["facts"][0]["by"] == "ana"


# --- R8: telemetry ---------------------------------------------------------------------


# A trace leaves when its run is over, so a run that waits is in none of them yet.
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"otel"}))
async def test_r8_an_export_has_events_in_its_schema_deferrals_included(
    till: MakeTill, name: str
) -> None:
    desk = till(DEFER)
    await desk.run("r_1", refund(5))
    reader = Reader(Source(desk.store), Cursor(desk.store.id, 0), FORMATS[name].lines)
    lines = []
    while (batch := reader.read()) is not None:
        lines += batch
    whole = "\n".join(line.text for line in lines)
    assert desk.call("r_1").id in whole
    assert len(lines) >= len(desk.store.records("r_1"))
    assert "mona" not in whole
