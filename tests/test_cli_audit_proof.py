"""Checkpoints, verification, witnesses and lists made anew, on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import PROMPT, Shop, a_shop

from agentrt.audit.keys import SigningKey
from agentrt.audit.notes import COSIGNATURE, Checkpoint, Note, Verifier
from agentrt.audit.sqlite import sqlite_module
from agentrt.audit.witness import Request


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that waits."""
    folder = tmp_path_factory.mktemp("proof")
    shop = a_shop(folder)
    done = shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "exit")
    assert done.exit_code == 8, done.stderr
    return folder


@pytest.fixture
def shop(ran: Path, tmp_path: Path) -> Shop:
    shutil.copytree(ran, tmp_path / "copy")
    return Shop(tmp_path / "copy" / "desk", tmp_path / "copy" / "key")


def sql(shop: Shop, statement: str) -> None:
    with sqlite_module().connect(shop.folder / "agentrt.db") as connection:
        connection.execute(statement)
    connection.close()


def run_again(shop: Shop) -> None:
    done = shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "exit")
    assert done.exit_code == 8, done.stderr


def test_a_run_leaves_a_checkpoint_and_verification_says_so(shop: Shop) -> None:
    found = shop.json("audit", "verify")
    assert found["ok"]
    assert found["lists"]
    assert found["checkpoints"] >= 1
    assert found["unsealed"] == 0
    said = shop.say("audit", "verify").stdout
    assert said.endswith("all under signed checkpoints\n")
    quick = shop.json("audit", "verify", "--no-lists")
    assert (quick["ok"], quick["lists"], quick["records"]) == (True, False, found["records"])


def test_a_checkpoint_kept_elsewhere_is_held_against_the_store(shop: Shop, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert shop.say("audit", "checkpoint", "-o", str(kept)).exit_code == 0
    data = shop.json("audit", "checkpoint")
    assert data["note"] == kept.read_text()
    assert not data["new"]
    Verifier.parse(data["key"]).verify(Note.parse(kept.read_text()))
    run_again(shop)
    assert shop.say("audit", "verify", "--against", str(kept)).exit_code == 0
    kept.write_text(kept.read_text().replace(data["note"].split("\n")[2][:4], "AAAA"))
    forged = shop.say("audit", "verify", "--against", str(kept))
    assert forged.exit_code == 11
    assert "remembered checkpoint" in forged.stdout
    (tmp_path / "none").write_text("no note")
    assert shop.say("audit", "verify", "--against", str(tmp_path / "none")).exit_code == 11


def test_only_what_is_new_is_verified_when_so_much_is_asked(shop: Shop) -> None:
    nothing_yet = shop.say("audit", "verify", "--since-last")
    assert nothing_yet.exit_code == 5
    assert "Nothing was verified here yet" in nothing_yet.stderr
    whole = shop.json("audit", "verify")
    run_again(shop)
    newer = shop.json("audit", "verify", "--since-last")
    assert newer["ok"]
    assert 0 < newer["records"] < whole["records"] + 3
    run_again(shop)
    sql(shop, "DROP TRIGGER event_update")
    sql(shop, "UPDATE event SET hash = zeroblob(32) WHERE pos = (SELECT max(pos) - 2 FROM event)")
    assert shop.say("audit", "verify", "--since-last").exit_code == 11


def test_a_store_that_was_rolled_back_is_said_loudly_everywhere(shop: Shop, tmp_path: Path) -> None:
    shutil.copy(shop.folder / "agentrt.db", tmp_path / "yesterday")
    run_again(shop)
    shutil.copy(tmp_path / "yesterday", shop.folder / "agentrt.db")
    reading = shop.say("runs", "list")
    assert reading.exit_code == 11
    assert "WARNING" in reading.stderr
    assert "rolled back" in reading.stderr
    assert reading.stdout
    writing = shop.say("run", PROMPT, "--simulated", shop.script, "--on-hold", "exit")
    assert writing.exit_code == 11
    assert "rolled back" in writing.stderr
    accepted = next((Path(shop.state) / "agentrt" / "stores").glob("*.seen"))
    accepted.unlink()
    run_again(shop)


def test_another_key_is_found(shop: Shop, tmp_path: Path) -> None:
    other = SigningKey.at(tmp_path / "other")
    public = f"{other.path}.pub"
    found = shop.say("audit", "verify", "--key", public)
    assert found.exit_code == 11
    assert "not one that this store's runtime signed" in found.stdout


def test_a_witness_signs_and_its_signature_is_looked_for(shop: Shop, tmp_path: Path) -> None:
    memory, key = tmp_path / "seen", tmp_path / "w1"
    party = ("--name", "example.com/w1", "--witness-key", str(key))
    done = shop.say("audit", "witness", str(memory), *party)
    assert done.exit_code == 0, done.stderr
    vkey = str(Verifier("example.com/w1", SigningKey(key).raw, COSIGNATURE))
    Verifier.parse(vkey).verify(Note.parse(memory.read_text()))
    assert shop.say("audit", "verify", "--witness", vkey).exit_code == 0
    run_again(shop)
    assert shop.say("audit", "witness", str(memory), *party).exit_code == 0
    assert shop.say("audit", "verify", "--witness", vkey, "--against", str(memory)).exit_code == 0
    stranger = str(Verifier("example.com/w2", SigningKey(key).raw, COSIGNATURE))
    missing = shop.say("audit", "verify", "--witness", stranger)
    assert missing.exit_code == 11
    assert "no signature of the witness example.com/w2" in missing.stdout


def test_a_witness_without_the_store_answers_a_request(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, memory, key = tmp_path / "request", tmp_path / "seen", tmp_path / "w1"
    assert shop.say("audit", "checkpoint", "--since", "0", "-o", str(asked)).exit_code == 0
    note = Request.parse(asked.read_bytes()).note
    own = shop.json("audit", "checkpoint")["key"]
    (tmp_path / "runtime.pub").write_text(own)
    party = ("--name", "example.com/w1", "--witness-key", str(key))
    far = Shop(tmp_path, tmp_path / "nobody")
    answer = far.say(
        "audit", "witness", str(memory), *party, "--request", str(asked),
        "--runtime-key", str(tmp_path / "runtime.pub"),
    )  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    line = tmp_path / "line"
    line.write_text(answer.stdout)
    added = shop.say("audit", "witness", *party, "--add", str(line))
    assert added.exit_code == 0, added.stderr
    vkey = str(Verifier("example.com/w1", SigningKey(key).raw, COSIGNATURE))
    assert shop.say("audit", "verify", "--witness", vkey).exit_code == 0
    assert Checkpoint.parse(note.text).size > 0
    line.write_text("— example.com/w1 AAAAAAAA\n")
    assert shop.say("audit", "witness", *party, "--add", str(line)).exit_code == 11
    assert far.say("audit", "witness", str(memory), *party, "--request", str(asked)).exit_code == 2


def test_a_receipt_is_checked_in_a_folder_without_a_project(shop: Shop, tmp_path: Path) -> None:
    made = shop.say("receipt", "@next", "-o", str(tmp_path / "held.receipt"))
    assert made.exit_code == 0, made.stderr
    again = shop.say("receipt", "make", "@next", "--withhold", "prompt")
    assert again.exit_code == 0
    (tmp_path / "runtime.pub").write_text(shop.json("audit", "checkpoint")["key"])
    approve = shop.say("approve", "@next", "--arguments", shop.digest(), "--reason", "checked")
    assert approve.exit_code == 0, approve.stderr
    call = shop.call().id
    assert shop.say("receipt", call, "-o", str(tmp_path / "yes.receipt")).exit_code == 0
    (tmp_path / "signers").write_text(shop.say("receipt", "signers").stdout)
    far = Shop(tmp_path, tmp_path / "nobody")
    trusted = ("--key", str(tmp_path / "runtime.pub"), "--signers", str(tmp_path / "signers"))
    held = far.say("receipt", "verify", str(tmp_path / "held.receipt"), *trusted)
    assert held.exit_code == 0, held.stderr
    assert "was held: not run" in held.stdout
    yes = far.json("receipt", "verify", str(tmp_path / "yes.receipt"), *trusted)
    assert yes["decision"]["kind"] == "approved"
    assert [each["known"] for each in yes["signatures"]] == [True]
    whole = (tmp_path / "yes.receipt").read_bytes()
    (tmp_path / "yes.receipt").write_bytes(whole[:500] + b"A" + whole[501:])
    assert far.say("receipt", "verify", str(tmp_path / "yes.receipt"), *trusted).exit_code == 11


def test_lists_are_made_anew_from_the_records(shop: Shop) -> None:
    assert shop.say("audit", "rebuild", "--dry-run").exit_code == 0
    sql(shop, "UPDATE call SET status = 'approved' WHERE status = 'held'")
    sql(shop, "DELETE FROM model_call")
    assert shop.say("audit", "verify").exit_code == 11
    found = shop.say("audit", "rebuild", "--dry-run")
    assert found.exit_code == 11
    assert "says status of" in found.stdout
    assert "'approved', not 'held'" in found.stdout
    assert shop.say("audit", "verify").exit_code == 11  # nothing was changed
    done = shop.json("audit", "rebuild")
    assert done["changed"]
    assert shop.json("audit", "rebuild")["differences"] == []
    assert shop.say("audit", "verify").exit_code == 0
    sql(shop, "DROP TRIGGER event_update")
    sql(shop, "UPDATE event SET hash = zeroblob(32) WHERE run LIKE 'sim%' AND seq = 2")
    broken = shop.say("audit", "rebuild")
    assert broken.exit_code == 11
    assert "not intact" in broken.stdout
