import contextlib
import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pytest
import rfc8785
from everything import recorded
from facts import any_event
from hypothesis import given
from hypothesis import strategies as st
from worlds import AT, replied, started, use

from agentrt.audit.records import (
    ENVELOPE,
    Written,
    commitment,
    read_record,
    record_hash,
    write_record,
)
from agentrt.errors import StoreCorrupt
from agentrt.events import (
    AnyEvent,
    Approver,
    CallDecided,
    FactStated,
    Record,
    RuleRef,
    RunStarted,
    event_types,
)
from agentrt.run import fold

PREV = bytes(range(32))
RUNS = st.from_regex(r"(sim_)?r_[0-9a-f]{16}", fullmatch=True)


def write(event: AnyEvent, *, run: str = "r_1", seq: int = 2, at: int = AT) -> Written:
    return write_record(event, run=run, seq=seq, at=at, prev=PREV)


def read(written: Written, *, without: frozenset[str] = frozenset()) -> Record:
    parts = {part.name: part.body for part in written.parts if part.name not in without}
    record = written.record
    return read_record(record.header, record.hash, parts, written.shared)


@given(any_event(), RUNS, st.integers(1, 10_000), st.integers(0, 2**53 - 1))
def test_a_header_is_rfc_8785(event: AnyEvent, run: str, seq: int, at: int) -> None:
    header = write(event, run=run, seq=seq, at=at).record.header
    assert header == rfc8785.dumps(json.loads(header))


@given(any_event(), RUNS, st.integers(1, 10_000), st.integers(0, 2**53 - 1))
def test_a_record_reads_back_as_it_was_written(
    event: AnyEvent, run: str, seq: int, at: int
) -> None:
    written = write(event, run=run, seq=seq, at=at)
    assert read(written) == written.record
    assert written.record.event == event


@given(any_event())
def test_the_header_names_its_place_and_commits_to_all_that_is_stored_beside_it(
    event: AnyEvent,
) -> None:
    written = write(event)
    header = json.loads(written.record.header)
    assert (header["run"], header["seq"], header["at"]) == ("r_1", 2, AT)
    assert header["prev"] == PREV.hex()
    assert header["parts"] == {
        part.name: commitment(part.salt, part.body) for part in written.parts
    }
    assert {hashlib.sha256(body).hexdigest() for body in written.shared.values()} == set(
        header["shared"].values()
    )
    assert set(written.shared) == set(header["shared"].values())
    assert {*header["parts"], *header["shared"]} == set(event.parts())


@pytest.mark.parametrize("cls", event_types().values(), ids=event_types())
def test_no_field_of_an_event_is_called_like_one_of_the_envelope(cls: type) -> None:
    assert not set(cls.model_fields) & ENVELOPE  # type: ignore[attr-defined]


@given(any_event(), st.data())
def test_forgotten_content_is_named_and_the_rest_stays(
    event: AnyEvent, data: st.DataObject
) -> None:
    written = write(event)
    names = sorted(part.name for part in written.parts)
    gone = frozenset(data.draw(st.sets(st.sampled_from(names)))) if names else frozenset()
    back = read(written, without=gone)
    assert back.forgotten == gone
    assert back.header == written.record.header
    for name in set(type(event).model_fields) - gone:
        assert getattr(back.event, name) == getattr(event, name)


def test_equal_content_has_a_different_commitment_each_time() -> None:
    first, second = write(started("yes")), write(started("yes"))
    assert first.record.header != second.record.header
    assert {len(part.salt) for part in first.parts} == {16}


def test_what_is_shared_is_stored_under_its_own_hash_without_salt() -> None:
    first, second = write(started("one")), write(started("two"))
    assert first.shared == second.shared
    assert len(first.shared) == 1


def test_a_hash_is_a_leaf_hash_of_rfc_6962() -> None:
    assert record_hash(b"") == bytes.fromhex(
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    written = write(started())
    assert written.record.hash == hashlib.sha256(b"\0" + written.record.header).digest()


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"parts":[],"shared":{}}',
        b'{"parts":{},"shared":{},"type":"run.improved"}',
        b'{"parts":{},"shared":{},"type":"call.expired"}',
    ],
)
def test_a_header_that_is_none_is_corrupt(header: bytes) -> None:
    with pytest.raises(StoreCorrupt, match="agentrt audit verify"):
        read_record(header, b"", {}, {})


@given(st.binary(max_size=60), st.integers(0, 500))
def test_a_damaged_header_is_corrupt_or_still_a_record(damage: bytes, place: int) -> None:
    written = write(replied(use("pay", payee="bob")))
    header = written.record.header
    at = place % len(header)
    broken = header[:at] + damage + header[at + len(damage) :]
    with contextlib.suppress(StoreCorrupt):
        assert isinstance(read_record(broken, b"", {}, {}), Record)


# --- recorded streams ------------------------------------------------------------------

STREAMS = {path.stem: path for path in (Path(__file__).parent / "recorded").glob("*.jsonl")}

NEW_IN = {
    "0.2": {"fact.stated", "bundle.refused"},
    "0.3": {
        "call.abandoned",
        "checkpoint.signed",
        "content.forgotten",
        "content.reduced",
        "erasure.resumed",
        "erasure.suspended",
    },
}
"""The events that each version brought, of those that streams are recorded of."""


def of_run(version: str, run: str) -> list[Record]:
    return [record for record in recorded(STREAMS[version]) if record.run == run]


def events_of_version(version: str) -> set[str]:
    later = [new for since, new in NEW_IN.items() if since > version]
    return set(event_types()).difference(*later)


@pytest.mark.parametrize("version", sorted(STREAMS))
def test_a_recorded_stream_has_every_event_of_its_version_and_intact_hashes(version: str) -> None:
    records = list(recorded(STREAMS[version]))
    assert all(record_hash(record.header) == record.hash for record in records)
    assert all(record.forgotten == frozenset() for record in records)
    assert {record.event.type for record in records} == events_of_version(version)


def test_the_newest_recorded_stream_has_every_field_of_a_decision_and_of_a_start() -> None:
    """A field that no stream has would be read by nobody until it is too late."""
    used: dict[str, set[str]] = {"call.decided": set(), "run.started": set()}
    for record in recorded(STREAMS[max(STREAMS)]):
        if record.event.type in used:
            used[record.event.type] |= {*json.loads(record.header), *record.event.parts()}
    since_0_3 = {"shown", "subjects"}
    assert set(RunStarted.model_fields) - used["run.started"] == {
        "cause",
        "zero_retention",
        *since_0_3,
    }
    by_hand = {"cause", "approvals", "editor", "editor_ref", "masked", *since_0_3}
    assert set(CallDecided.model_fields) - used["call.decided"] == by_hand


@pytest.mark.parametrize("version", sorted(STREAMS))
def test_a_run_that_any_version_recorded_folds_to_what_it_was(version: str) -> None:
    run = fold(of_run(version, "r_0123456789abcdef"))
    assert (run.status, run.output, run.turn, run.seq) == ("finished", "Paid.", 4, 31)
    assert run.prompt == "Pay what is due — 5 €"
    assert run.user is not None
    assert (run.user.name, run.user.roles, run.user.verified) == ("mona", ("clerk",), "oidc")
    assert (run.cost_usd, run.usage.input_tokens) == (Decimal("0.00028"), 40)
    assert [json.loads(message)["role"] for message in run.messages] == [
        *("user", "assistant", "user", "assistant", "user", "assistant", "assistant")
    ]
    assert [(call.status, call.result[:24], call.attempt) for call in run.all_calls] == [
        ("finished", "paid 5", 1),
        ("rejected", "pay was not run: a revie", 0),
        ("expired", "pay was not run: nobody ", 0),
        ("finished", "looked", 1),
        ("denied", "pay was not run: policy ", 1),
    ]
    first = run.all_calls[0]
    assert first.approver == Approver(
        roles=("lead",), severity="critical", expires_at=first.expires_at
    )
    assert [approval.by for approval in first.approvals] == ["ana"]
    assert first.rules == (RuleRef(id="payments", file="rules.yaml", line=3),)


@pytest.mark.parametrize("version", sorted(STREAMS))
def test_the_other_chains_of_any_version_fold_to_what_they_were(version: str) -> None:
    cancelled = fold(of_run(version, "sim_r_0123456789abcdef"))
    assert (cancelled.status, cancelled.simulated) == ("cancelled", True)
    assert [call.status for call in cancelled.calls] == ["cancelled"]
    assert fold(of_run(version, "store")).bundle == "b" * 64


def test_a_call_that_version_0_2_recorded_with_facts_and_settings_folds_to_what_it_was() -> None:
    records = of_run("0.2", "r_fedcba9876543210")
    run = fold(records)
    assert (run.status, run.output, run.seq) == ("finished", "Paid.", 15)
    read, paid = run.all_calls
    assert (read.labels, read.untrusted) == (("reads_untrusted",), ("body", "messages[].text"))
    assert (paid.status, paid.revision, paid.changed) == ("finished", 2, ("cents",))
    assert (paid.arguments_data, paid.asked) == (
        {"cents": 5, "payee": "bob"},
        b'{"cents":9,"payee":"bob"}',
    )
    assert (paid.awaiting, paid.until, paid.group) == ((), None, "g_0123456789abcdef")
    waiting = fold(records[:5]).calls[1]
    assert (waiting.awaiting, waiting.until) == (
        ("run.cleared",),
        waiting.decided_at - 1000 + 60_000,
    )
    stated = next(record.event for record in records if isinstance(record.event, FactStated))
    assert (stated.name, stated.value, stated.by) == ("run.cleared", b"true", "ana")


def test_a_follow_up_that_version_0_2_recorded_folds_to_what_it_was() -> None:
    run = fold(of_run("0.2", "r_00112233445566aa"))
    parent = fold(of_run("0.2", "r_fedcba9876543210"))
    assert (run.status, run.parent, run.inherited) == ("finished", parent.id, 4)
    assert list(run.messages)[:4] == list(parent.messages)
