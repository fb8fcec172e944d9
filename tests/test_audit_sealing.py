"""Heads of runs are put under checkpoints, who remembers one finds a cut, and a witness does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from everything import everything
from worlds import asked, replied, said, started

from agentrt.audit import AuditStore
from agentrt.audit.keys import SigningKey
from agentrt.audit.notes import COSIGNATURE, Checkpoint, Note, Verifier
from agentrt.audit.proofs import consistency_of, sealed
from agentrt.audit.sealer import Sealer
from agentrt.audit.sealing import origin_of
from agentrt.audit.seen import Seen
from agentrt.audit.tree import reader
from agentrt.audit.witness import Request, Witness
from agentrt.errors import NoteInvalid, NotFound, NotProven, StoreCutBack, StoreUnavailable
from agentrt.events import CheckpointSigned
from agentrt.run import Run


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.at(tmp_path / "keys" / "runtime")


async def tell_everything(store: AuditStore) -> None:
    for story in everything():
        await store.append(Run(story.run.id), [record.event for record in story.records])


async def begin(store: AuditStore, id: str) -> Run:
    return await store.append(Run(id), [started(), asked(), replied(said("Hello"))])


def size(note: Note) -> int:
    return Checkpoint.parse(note.text).size


async def test_every_head_is_sealed_once_and_an_unchanged_store_needs_no_other_checkpoint(
    store: AuditStore, key: SigningKey
) -> None:
    await tell_everything(store)
    sealer = Sealer(store, key)
    note, new = await sealer.seal()
    assert new
    assert size(note) == len(everything())
    key.verifier(origin_of(store.id)).verify(note)
    for again in (await sealer.seal(), await Sealer(store, key).seal(), await sealer.seal()):
        assert again == (note, False)
    await begin(store, "r_1111111111111111")
    later, new = await sealer.seal()
    assert new
    # The new run, and the store's own chain with its checkpoint.signed.
    assert size(later) == len(everything()) + 2


async def test_the_first_checkpoint_of_a_key_and_those_asked_for_are_recorded_and_sealed(
    store: AuditStore, key: SigningKey
) -> None:
    sealer = Sealer(store, key)
    for number in range(4):
        await begin(store, f"r_{number:016x}")
        await sealer.seal(asked=number == 3)
    signed = [r.event for r in store.records("store") if isinstance(r.event, CheckpointSigned)]
    assert [event.size for event in signed] == [1, 5]
    assert {event.key for event in signed} == {key.public.fingerprint}
    assert store.verify().ok


async def test_each_record_is_proven_to_be_under_the_newest_checkpoint(
    store: AuditStore, key: SigningKey
) -> None:
    await tell_everything(store)
    sealer = Sealer(store, key)
    await sealer.seal()
    for number in range(5):
        await begin(store, f"r_{number:016x}")
        note, _ = await sealer.seal()
    checkpoint = Checkpoint.parse(note.text)
    with store.reading() as connection:
        for story in everything():
            for record in store.records(story.run.id):
                if record.event.type == "checkpoint.signed":
                    continue
                found = sealed(connection, record.run, record.seq, checkpoint)
                assert found.headers[0] == record.header
                found.check(checkpoint)
        with pytest.raises(NotFound, match="no checkpoint yet"):
            sealed(connection, "store", 99, checkpoint)


async def test_a_proof_fails_for_another_header_leaf_or_checkpoint(
    store: AuditStore, key: SigningKey
) -> None:
    await tell_everything(store)
    note, _ = await Sealer(store, key).seal()
    checkpoint = Checkpoint.parse(note.text)
    from dataclasses import replace

    with store.reading() as connection:
        found = sealed(connection, everything()[1].run.id, 4, checkpoint)
    changed = found.headers[0].replace(b'"seq":4', b'"seq":5')
    assert changed != found.headers[0]
    for wrong in (
        replace(found, headers=(changed, *found.headers[1:])),
        replace(found, headers=found.headers[:-1]),
        replace(found, index=found.index ^ 1),
        replace(found, path=found.path[::-1]),
        replace(found, leaf=replace(found.leaf, seq=1)),
    ):
        with pytest.raises(NotProven):
            wrong.check(checkpoint)
    with pytest.raises(NotProven):
        found.check(replace(checkpoint, root=b"\x00" * 32))


async def test_two_processes_do_not_seal_against_each_other(
    tmp_path: Path, key: SigningKey
) -> None:
    path = tmp_path / "agentrt.db"
    with AuditStore(path) as one, AuditStore(path) as two:
        sealers = [Sealer(one, key), Sealer(two, key)]

        async def work(store: AuditStore, sealer: Sealer, base: int) -> None:
            for number in range(12):
                await begin(store, f"r_{base + number:016x}")
                await sealer.seal()

        await asyncio.gather(work(one, sealers[0], 0), work(two, sealers[1], 100))
        note, _ = await sealers[0].seal()
        with one.reading() as connection:
            for old in range(size(note) + 1):
                consistency_of(connection, old, note)
        assert one.verify().ok


async def test_a_sealer_seals_at_once_what_matters_and_the_rest_when_it_ends(
    store: AuditStore, key: SigningKey, tmp_path: Path
) -> None:
    sealer = Sealer(store, key, every_s=3600, apart_s=0)
    sealer.begin()
    run = await begin(store, "r_1111111111111111")
    sealer.hear(run)
    told = [record.event for story in everything() for record in story.records]
    sealer.hear(next(event for event in told if event.type == "run.finished"))
    seen = Seen(tmp_path / "seen")
    async with asyncio.timeout(60):
        while seen.last(store.id) is None:
            seen.look(store)
            await asyncio.sleep(0.01)
    await begin(store, "r_2222222222222222")
    await sealer.end()
    seen.look(store)
    last = seen.last(store.id)
    assert last is not None
    assert size(last) == 3


# --- who remembers ---------------------------------------------------------------------


async def history(path: Path, key: SigningKey) -> Path:
    """A store with two checkpoints; a copy of what it was at the first."""
    old = path.with_name("yesterday.db")
    with AuditStore(path) as store:
        await tell_everything(store)
        await Sealer(store, key).seal()
    shutil.copy(path, old)
    with AuditStore(path) as store:
        await begin(store, "r_1111111111111111")
        await Sealer(store, key).seal()
    return old


@pytest.mark.sqlite
async def test_who_saw_a_checkpoint_finds_that_the_store_was_rolled_back(
    tmp_path: Path, key: SigningKey
) -> None:
    path, seen = tmp_path / "agentrt.db", Seen(tmp_path / "seen")
    old = await history(path, key)
    with AuditStore(path) as store:
        assert seen.look(store) is None
        assert seen.look(store) is None
    shutil.copy(old, path)
    with AuditStore(path) as store:
        assert store.verify().ok  # nothing in it shows it
        with pytest.raises(StoreCutBack, match="rolled back"):
            seen.look(store)
        for number in range(9):  # also when it has grown again
            await begin(store, f"r_{number:016x}")
        await Sealer(store, key).seal()
        with pytest.raises(StoreCutBack, match="another history"):
            seen.look(store)


@pytest.mark.sqlite
async def test_who_saw_a_checkpoint_finds_another_key_and_another_store(
    tmp_path: Path, key: SigningKey
) -> None:
    path, seen = tmp_path / "agentrt.db", Seen(tmp_path / "seen")
    await history(path, key)
    with AuditStore(path) as store:
        seen.look(store)
        await begin(store, "r_2222222222222222")
        await Sealer(store, SigningKey.at(tmp_path / "thief")).seal()
        with pytest.raises(StoreCutBack, match="another key"):
            seen.look(store)
    other = tmp_path / "other.db"
    with AuditStore(other) as store:
        await begin(store, "r_2222222222222222")
        await Sealer(store, key).seal()
        assert seen.look(store) is None
    shutil.move(other, path)
    with AuditStore(path) as store, pytest.raises(StoreCutBack, match="moved it here"):
        seen.look(store)
    path.unlink()
    with AuditStore(path) as store:
        assert "Another audit store" in (seen.look(store) or "")
        assert seen.look(store) is None


@pytest.mark.sqlite
async def test_a_home_that_cannot_be_written_stops_nobody(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "file").touch()
    await history(tmp_path / "agentrt.db", key)
    with AuditStore(tmp_path / "agentrt.db") as store:
        Seen(tmp_path / "file" / "seen").look(store)


# --- witnesses -------------------------------------------------------------------------


async def request(store: AuditStore, old: int, key: SigningKey) -> Request:
    note, _ = await Sealer(store, key).seal()
    with store.reading() as connection:
        return Request.parse(
            str(Request(old, consistency_of(connection, old, note), note)).encode()
        )


async def test_a_witness_signs_what_only_grew_and_nothing_else(
    store: AuditStore, key: SigningKey, tmp_path: Path
) -> None:
    party = Witness("example.com/w1", SigningKey.at(tmp_path / "w1"), tmp_path / "w1.checkpoint")
    await begin(store, "r_1111111111111111")
    first = await request(store, 0, key)
    line = party.cosign(first, log=key.raw, at_s=1_800_000_000)
    note = first.note.plus([line])
    Verifier(party.name, party.key.raw, COSIGNATURE).verify(note)
    assert party.last() == note
    await begin(store, "r_2222222222222222")
    with pytest.raises(NotProven, match="--since 1"):
        party.cosign(await request(store, 0, key), log=key.raw, at_s=1_800_000_001)
    second = await request(store, 1, key)
    with pytest.raises(NotProven, match="did not grow"):
        party.cosign(
            Request(1, [b"\x00" * 32, *second.proof[1:]], second.note), log=key.raw, at_s=1
        )
    with pytest.raises(NoteInvalid):
        party.cosign(second, log=party.key.raw, at_s=1)
    party.cosign(second, log=key.raw, at_s=1_800_000_002)
    with AuditStore(tmp_path / "forked.db") as forked:
        await begin(forked, "r_3333333333333333")
        with pytest.raises(NotProven, match="watches"):
            party.cosign(await request(forked, 0, key), log=key.raw, at_s=1_800_000_003)


@pytest.mark.sqlite
async def test_a_witness_refuses_a_store_that_was_rolled_back(
    tmp_path: Path, key: SigningKey
) -> None:
    path = tmp_path / "agentrt.db"
    old = await history(path, key)
    party = Witness("example.com/w1", SigningKey.at(tmp_path / "w1"), tmp_path / "w1.checkpoint")
    with AuditStore(path) as store:
        party.cosign(await request(store, 0, key), log=key.raw, at_s=1)
    shutil.copy(old, path)
    with AuditStore(path) as store:
        await begin(store, "r_4444444444444444")
        now, _ = await Sealer(store, key).seal()
        with pytest.raises(NotProven, match="two different trees"):
            party.cosign(Request(len(everything()) + 2, [], now), log=key.raw, at_s=2)


def test_what_is_no_request_is_refused() -> None:
    for text in (b"", b"old x\n\n", b"old 1\n!!\n\nx", b"old 1\n" + b"AAAA\n" * 64 + b"\nx"):
        with pytest.raises(NoteInvalid):
            Request.parse(text)


async def test_a_store_that_is_read_only_seals_nothing(store: AuditStore, key: SigningKey) -> None:
    await begin(store, "r_1111111111111111")
    with AuditStore(store.path, read_only=True) as reading, pytest.raises(StoreUnavailable):
        await Sealer(reading, key).seal()
    with store.reading() as connection, pytest.raises(Exception, match="lacks its node"):
        reader(connection)(0, 0)
