"""Signed notes, checkpoints and cosignatures as C2SP writes them, and the key in its file."""

from __future__ import annotations

import base64
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt.audit.keys import SigningKey, public_key_of
from agentrt.audit.notes import COSIGNATURE, Checkpoint, Note, Signature, Verifier
from agentrt.errors import KeyUnusable, NoteInvalid

# The key and note of golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb"
    "6KE6RyyBwJnAM=\n"
)
EXAMPLE = (  # of c2sp.org/tlog-cosignature
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2o"
    "yin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.at(tmp_path_factory.mktemp("keys") / "new" / "runtime_ed25519")


def test_a_note_that_go_signed_is_verified() -> None:
    note = Note.parse(GO_NOTE)
    assert str(note) == GO_NOTE
    Verifier.parse(PETER).verify(note)
    assert str(Verifier.parse(PETER)) == PETER
    with pytest.raises(NoteInvalid):
        Verifier.parse(PETER).verify(Note.parse(GO_NOTE.replace("your", "my")))


def test_the_checkpoint_of_the_specification_reads_and_writes_back() -> None:
    note = Note.parse(EXAMPLE)
    assert str(note) == EXAMPLE
    found = Checkpoint.parse(note.text)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.text == note.text
    assert note.signatures[0].key_id.hex() == "033de0ae"
    assert int.from_bytes(note.signatures[1].body[:8], "big") == 1679315147


def test_a_checkpoint_is_signed_and_cosigned(key: SigningKey) -> None:
    text = Checkpoint("agentrt/s_1", 7, b"\x01" * 32).text
    note = Note(text, (key.signed(text, name="agentrt/s_1"),))
    note = note.plus([key.cosigned(text, name="example.com/w1", at_s=1_800_000_000)])
    again = Note.parse(str(note))
    assert again == note
    key.verifier("agentrt/s_1").verify(again)
    Verifier("example.com/w1", key.raw, COSIGNATURE).verify(again)
    for other in ("agentrt/s_2", "example.com/w1"):
        with pytest.raises(NoteInvalid):
            key.verifier(other).verify(again)


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_one_changed_byte_of_a_checkpoint_is_found(place: int, bits: int) -> None:
    key, text = KEY, Checkpoint("agentrt/s_1", 7, b"\x01" * 32).text
    whole = bytearray(str(Note(text, (key.signed(text, name="agentrt/s_1"),))).encode())
    whole[place % len(whole)] ^= bits
    with pytest.raises(NoteInvalid):
        Verifier("agentrt/s_1", key.raw).verify(Note.parse(bytes(whole)))


@pytest.fixture(scope="module", autouse=True)
def _shared_key(key: SigningKey) -> None:
    global KEY
    KEY = key


KEY: SigningKey


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no signature\n",
        "a\n\n— name AAAA\n",
        "a\n\n— name AAAAAAAA",
        "a\n\n- name AAAAAAAA\n",
        "a\n\n— na+me AAAAAAAA\n",
        "a\n\n— name AAAAAAA\n",
        "a\tb\n\n— name AAAAAAAA\n",
        "a\n\n" + "— name AAAAAAAA\n" * 33,
        "a" * 70_000 + "\n\n— name AAAAAAAA\n",
    ],
)
def test_what_is_no_signed_note_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Note.parse(text)
    with pytest.raises(NoteInvalid):
        Note.parse(b"\xff\n\n")


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "\n1\nAAAA\n",
        "a\n01\n" + base64.b64encode(b"\x00" * 32).decode() + "\n",
        "a\n-1\n" + base64.b64encode(b"\x00" * 32).decode() + "\n",
        "a\n1\n" + base64.b64encode(b"\x00" * 31).decode() + "\n",
        "a\n1\n" + base64.b64encode(b"\x00" * 32).decode() + "\n\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)


def test_signatures_of_unknown_keys_are_passed_over(key: SigningKey) -> None:
    text = Checkpoint("agentrt/s_1", 7, b"\x01" * 32).text
    stranger = Signature("agentrt/s_1", b"\x00" * 4, b"\x00" * 64)
    note = Note(text, (stranger, key.signed(text, name="agentrt/s_1")))
    key.verifier("agentrt/s_1").verify(note)


# --- keys ------------------------------------------------------------------------------


def test_the_key_is_made_once_for_its_owner_alone_and_ssh_reads_it(key: SigningKey) -> None:
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.path.parent.stat().st_mode) == 0o700
    again = SigningKey.at(key.path)
    assert again.raw == key.raw
    public = key.path.with_name("runtime_ed25519.pub").read_text()
    assert public_key_of(public) == key.raw
    assert public_key_of(str(key.verifier("agentrt/s_1"))) == key.raw
    done = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(key.path)], capture_output=True, text=True, check=True
    )
    assert public_key_of(done.stdout) == key.raw
    assert done.stdout.split()[:2] == str(key.public).split()


def test_a_key_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    open_to_all = SigningKey.at(tmp_path / "key")
    open_to_all.path.chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        SigningKey.at(open_to_all.path).sign(b"")
    other = tmp_path / "other"
    other.write_text("no key")
    other.chmod(0o600)
    with pytest.raises(KeyUnusable, match="not a key"):
        SigningKey.at(other).sign(b"")
    with pytest.raises(KeyUnusable, match="public key"):
        public_key_of("no key")
    with pytest.raises(KeyUnusable):
        public_key_of(f"{PETER[:-4]}AAAA")
