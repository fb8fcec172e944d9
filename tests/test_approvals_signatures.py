import base64
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from agentrt.approvals.signatures import KeyFile, authenticate, make_key, verify
from agentrt.approvals.statement import Statement
from agentrt.errors import ApprovalError, SignatureInvalid
from agentrt.policy import PublicKey, Reviewer, Reviewers

AT = 1_780_000_000_000


def a_statement(**changes: object) -> Statement:
    fields: dict[str, object] = {
        "verdict": "approve",
        "store": "store-1",
        "run": "run-1",
        "call": "toolu_1",
        "revision": 1,
        "tool": "refund_payment",
        "tool_digest": "1" * 64,
        "arguments_digest": "2" * 64,
        "rules_digest": "3" * 64,
        "bundle": "4" * 64,
        "head": "5" * 64,
        "reviewer": "ana@example.com",
        "reason": "The parcel was lost.",
        "signed_at": AT,
        "expires_at": AT + 600_000,
    }
    return Statement.model_validate(fields | changes)


STATEMENT = a_statement().to_bytes()
needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return make_key(tmp_path_factory.mktemp("key") / "approval_key", comment="ana@laptop")


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return make_key(tmp_path_factory.mktemp("other") / "approval_key", comment="eve")


def public(key: KeyFile) -> PublicKey:
    return PublicKey.parse(key.public_key)


def ana(key: KeyFile, **more: object) -> Reviewer:
    return Reviewer.model_validate(
        {"name": "ana@example.com", "roles": ("lead",), "keys": (key.public_key,), **more}
    )


def keygen(*arguments: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["ssh-keygen", *arguments], input=text, capture_output=True, check=False, timeout=30
    )


def keygen_verifies(
    reviewers: Reviewers, statement: bytes, armored: str, folder: Path, *more: str
) -> bool:
    (folder / "allowed_signers").write_text(reviewers.allowed_signers())
    (folder / "signature").write_text(armored)
    done = keygen(
        *("-Y", "verify", "-f", str(folder / "allowed_signers"), "-I", "ana@example.com"),
        *("-n", "agentrt-approval", "-s", str(folder / "signature"), *more),
        text=statement,
    )
    return done.returncode == 0


def wire(*strings: bytes) -> bytes:
    return b"".join(len(string).to_bytes(4, "big") + string for string in strings)


def armor(blob: bytes, *, width: int = 70) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def opened(armored: str) -> bytes:
    return base64.b64decode("".join(armored.splitlines()[1:-1]))


def test_a_signature_verifies_and_names_the_key(key: KeyFile, other_key: KeyFile) -> None:
    keys = [public(other_key), public(key)]
    assert verify(STATEMENT, key.sign(STATEMENT), keys) == public(key).fingerprint


def test_a_changed_statement_does_not_verify(key: KeyFile) -> None:
    armored = key.sign(STATEMENT)
    for changed in (
        a_statement(verdict="reject").to_bytes(),
        a_statement(arguments_digest="0" * 64).to_bytes(),
        a_statement(run="run-2").to_bytes(),
        a_statement(head="0" * 64).to_bytes(),
        STATEMENT + b" ",
    ):
        with pytest.raises(SignatureInvalid):
            verify(changed, armored, [public(key)])


def test_the_key_inside_a_signature_counts_for_nothing(key: KeyFile, other_key: KeyFile) -> None:
    with pytest.raises(SignatureInvalid, match="not by a key of this reviewer"):
        verify(STATEMENT, other_key.sign(STATEMENT), [public(key)])
    with pytest.raises(SignatureInvalid, match="not by a key of this reviewer"):
        verify(STATEMENT, key.sign(STATEMENT), [])


def test_another_key_under_my_name_does_not_verify(key: KeyFile, other_key: KeyFile) -> None:
    blob = opened(other_key.sign(STATEMENT))
    forged = armor(blob.replace(public(other_key).blob, public(key).blob))
    with pytest.raises(SignatureInvalid):
        verify(STATEMENT, forged, [public(key)])


@needs_ssh_keygen
def test_a_signature_made_for_git_is_no_approval(key: KeyFile) -> None:
    signed = keygen("-Y", "sign", "-n", "git", "-f", str(key.path), text=STATEMENT).stdout.decode()
    with pytest.raises(SignatureInvalid, match="something else"):
        verify(STATEMENT, signed, [public(key)])


@needs_ssh_keygen
def test_only_sha512_is_accepted(key: KeyFile) -> None:
    options = ("-n", "agentrt-approval", "-O", "hashalg=sha256", "-f", str(key.path))
    signed = keygen("-Y", "sign", *options, text=STATEMENT).stdout.decode()
    with pytest.raises(SignatureInvalid, match="SHA-512"):
        verify(STATEMENT, signed, [public(key)])


def test_renaming_the_namespace_of_a_signature_does_not_help() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    mine = ed25519_key(private)
    signed = b"SSHSIG" + wire(b"git", b"", b"sha512", hashlib.sha512(STATEMENT).digest())
    signature = wire(b"ssh-ed25519", private.sign(signed))
    blob = envelope(mine, signature)
    with pytest.raises(SignatureInvalid):
        verify(STATEMENT, armor(blob), [mine])


def test_a_rewrapped_signature_is_over_the_same_statement(key: KeyFile) -> None:
    armored = key.sign(STATEMENT)
    rewrapped = armor(opened(armored), width=33)
    assert rewrapped != armored
    reviewers = Reviewers((ana(key),))
    first, _, _ = authenticate(STATEMENT, armored, reviewers, at=AT)
    second, _, _ = authenticate(STATEMENT, rewrapped, reviewers, at=AT)
    assert first.digest == second.digest


def test_a_signature_cut_anywhere_does_not_verify(key: KeyFile) -> None:
    blob = opened(key.sign(STATEMENT))
    for end in range(len(blob)):
        with pytest.raises(SignatureInvalid):
            verify(STATEMENT, armor(blob[:end]), [public(key)])


def test_no_changed_byte_gets_past(key: KeyFile) -> None:
    blob = opened(key.sign(STATEMENT))
    for index in range(len(blob)):
        changed = bytearray(blob)
        changed[index] ^= 0x20
        with pytest.raises(SignatureInvalid):
            verify(STATEMENT, armor(bytes(changed)), [public(key)])


@given(st.binary() | st.binary().map(lambda data: b"SSHSIG\0\0\0\1" + data))
def test_random_bytes_in_armour_are_only_invalid(data: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify(
            STATEMENT, armor(data), [ed25519_key(Ed25519PrivateKey.from_private_bytes(b"k" * 32))]
        )


@given(st.lists(st.binary(max_size=80), min_size=2, max_size=2), st.binary(max_size=20))
def test_random_signatures_of_a_known_key_are_only_invalid(parts: list[bytes], rest: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    for mine in (ed25519_key(private), touch_key(private)):
        for signature in (wire(*parts) + rest, wire(mine.kind.encode(), parts[1]) + rest):
            with pytest.raises(SignatureInvalid):
                verify(STATEMENT, armor(envelope(mine, signature)), [mine])


@given(st.text())
def test_random_text_is_only_invalid(text: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(STATEMENT, text, [])


def test_what_is_too_long_is_not_read(key: KeyFile) -> None:
    with pytest.raises(SignatureInvalid, match="too long"):
        verify(STATEMENT, key.sign(STATEMENT) + "\n" * 9000, [public(key)])


# Who signed


def test_authenticating_gives_statement_reviewer_and_key(key: KeyFile) -> None:
    reviewers = Reviewers((ana(key),))
    said, reviewer, fingerprint = authenticate(STATEMENT, key.sign(STATEMENT), reviewers, at=AT)
    assert (said.call, reviewer.name) == ("toolu_1", "ana@example.com")
    assert reviewers.by_key(fingerprint) is reviewer


def test_nobody_signs_in_the_name_of_another(key: KeyFile, other_key: KeyFile) -> None:
    eve = Reviewer.model_validate({"name": "eve", "keys": (other_key.public_key,)})
    with pytest.raises(SignatureInvalid, match="not by a key of this reviewer"):
        authenticate(STATEMENT, other_key.sign(STATEMENT), Reviewers((ana(key), eve)), at=AT)


def test_an_unknown_reviewer_is_refused(key: KeyFile) -> None:
    with pytest.raises(SignatureInvalid, match="is no reviewer"):
        authenticate(STATEMENT, key.sign(STATEMENT), Reviewers(), at=AT)


@needs_ssh_keygen
def test_an_expired_reviewer_is_refused_here_and_by_ssh_keygen(
    key: KeyFile, tmp_path: Path
) -> None:
    armored = key.sign(STATEMENT)
    past = Reviewers((ana(key, valid_before="2020-01-01"),))
    with pytest.raises(SignatureInvalid, match="not valid at this time"):
        authenticate(STATEMENT, armored, past, at=AT)
    assert not keygen_verifies(past, STATEMENT, armored, tmp_path)


@needs_ssh_keygen
@pytest.mark.parametrize("day", ["2025-12-31", "2026-01-02", "2026-12-30", "2027-01-02"])
def test_ssh_keygen_agrees_on_when_a_key_is_valid(key: KeyFile, tmp_path: Path, day: str) -> None:
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    reviewer = ana(key, valid_after="2026-01-01", valid_before="2027-01-01T00:00:00Z")
    option = f"verify-time={moment:%Y%m%d%H%M%S}Z"
    agrees = keygen_verifies(
        Reviewers((reviewer,)), STATEMENT, key.sign(STATEMENT), tmp_path, "-O", option
    )
    assert agrees == reviewer.valid_at(int(moment.timestamp() * 1000))


# Both ways with OpenSSH


@needs_ssh_keygen
def test_ssh_keygen_verifies_what_we_sign(key: KeyFile, tmp_path: Path) -> None:
    reviewers, armored = Reviewers((ana(key),)), key.sign(STATEMENT)
    assert keygen_verifies(reviewers, STATEMENT, armored, tmp_path)
    assert not keygen_verifies(reviewers, STATEMENT + b" ", armored, tmp_path)


@needs_ssh_keygen
def test_we_sign_exactly_as_ssh_keygen_does(key: KeyFile) -> None:
    signed = keygen(
        *("-Y", "sign", "-n", "agentrt-approval", "-f", str(key.path)), text=STATEMENT
    ).stdout.decode()
    assert signed == key.sign(STATEMENT)  # Ed25519 is deterministic


@needs_ssh_keygen
def test_a_key_made_by_ssh_keygen_signs(tmp_path: Path) -> None:
    keygen("-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id"))
    key = KeyFile(tmp_path / "id")
    assert verify(STATEMENT, key.sign(STATEMENT), [public(key)])


@needs_ssh_keygen
def test_a_key_with_a_passphrase_signs_through_ssh_keygen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keygen("-q", "-t", "ed25519", "-N", "correct horse", "-f", str(tmp_path / "id"))
    answer = tmp_path / "askpass"
    answer.write_text("#!/bin/sh\necho correct horse\n")
    answer.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(answer))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    key = KeyFile(tmp_path / "id")
    assert verify(STATEMENT, key.sign(STATEMENT), [public(key)])


@needs_ssh_keygen
def test_a_wrong_passphrase_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keygen("-q", "-t", "ed25519", "-N", "correct horse", "-f", str(tmp_path / "id"))
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(ApprovalError, match="ssh-keygen could not sign"):
        KeyFile(tmp_path / "id").sign(STATEMENT)


@needs_ssh_keygen
@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh-agent is not installed")
def test_a_key_in_an_agent_signs_by_its_public_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(tmp_path / "id", comment="agent")
    socket = tmp_path / "agent"
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it prints its address once it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(key.path)], check=True, timeout=30)
        key.path.unlink()
        held = KeyFile(tmp_path / "id.pub")
        assert verify(STATEMENT, held.sign(STATEMENT), [public(held)])
    finally:
        agent.terminate()
        agent.communicate(timeout=30)


def test_without_ssh_keygen_a_guarded_key_says_what_is_missing(
    key: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert key.sign(STATEMENT)  # a plain key needs no program
    with pytest.raises(ApprovalError, match="needs ssh-keygen"):
        KeyFile(key.path.with_name("approval_key.pub")).sign(STATEMENT)


# Keys in a security key, played by software


def ed25519_key(private: Ed25519PrivateKey) -> PublicKey:
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PublicKey(wire(b"ssh-ed25519", raw))


def touch_key(private: Ed25519PrivateKey) -> PublicKey:
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PublicKey(wire(b"sk-ssh-ed25519@openssh.com", raw, b"ssh:"))


def envelope(key: PublicKey, signature: bytes) -> bytes:
    parts = wire(key.blob, b"agentrt-approval", b"", b"sha512", signature)
    return b"SSHSIG" + (1).to_bytes(4, "big") + parts


def touched(private: Ed25519PrivateKey, *, flags: int = 1) -> str:
    """What `ssh-keygen -Y sign` gives for a key of which the hardware is this software."""
    signed = b"SSHSIG" + wire(
        b"agentrt-approval", b"", b"sha512", hashlib.sha512(STATEMENT).digest()
    )
    state = bytes([flags]) + (7).to_bytes(4, "big")
    over = hashlib.sha256(b"ssh:").digest() + state + hashlib.sha256(signed).digest()
    signature = wire(b"sk-ssh-ed25519@openssh.com", private.sign(over)) + state
    return armor(envelope(touch_key(private), signature))


@needs_ssh_keygen
def test_a_security_key_signature_verifies_here_and_by_ssh_keygen(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    mine = touch_key(private)
    assert verify(STATEMENT, touched(private), [mine]) == mine.fingerprint
    reviewer = Reviewer(name="ana@example.com", keys=(mine,))
    assert keygen_verifies(Reviewers((reviewer,)), STATEMENT, touched(private), tmp_path)


def test_a_security_key_that_was_not_touched_is_refused() -> None:
    private = Ed25519PrivateKey.generate()
    with pytest.raises(SignatureInvalid, match="not touched"):
        verify(STATEMENT, touched(private, flags=0), [touch_key(private)])


def test_a_security_key_signature_is_over_the_statement() -> None:
    private = Ed25519PrivateKey.generate()
    with pytest.raises(SignatureInvalid):
        verify(STATEMENT + b" ", touched(private), [touch_key(private)])


# Key files


def test_a_new_key_is_for_its_owner_only(tmp_path: Path) -> None:
    key = make_key(tmp_path / "deep" / "key", comment="ana@laptop")
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert (tmp_path / "deep" / "key.pub").read_text() == f"{key.public_key} ana@laptop\n"
    assert sorted(os.listdir(tmp_path / "deep")) == ["key", "key.pub"]


@needs_ssh_keygen
def test_ssh_keygen_reads_a_new_key(key: KeyFile) -> None:
    line = keygen("-y", "-f", str(key.path)).stdout.decode().strip()
    assert line == key.public_key
    assert public(key).fingerprint in keygen("-l", "-f", str(key.path)).stdout.decode()


@pytest.mark.parametrize("name", ["key", "key.pub"])
def test_a_key_that_is_there_is_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ApprovalError, match="already"):
        make_key(tmp_path / "key", comment="")
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_place_that_cannot_hold_a_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApprovalError, match="cannot be written"):
        make_key(tmp_path / "file" / "key", comment="")


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ApprovalError, match="already"):
        make_key(tmp_path / "key", comment="")
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = make_key(tmp_path / "key", comment="")
    key.path.chmod(mode)
    with pytest.raises(ApprovalError, match="chmod 600"):
        key.sign(STATEMENT)


def test_a_key_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ApprovalError, match="cannot be read"):
        KeyFile(tmp_path / "key").sign(STATEMENT)


@needs_ssh_keygen
def test_an_rsa_key_is_refused(tmp_path: Path) -> None:
    keygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(tmp_path / "id"))
    for name in ("id", "id.pub"):
        with pytest.raises(ApprovalError, match="not accepted"):
            KeyFile(tmp_path / name).sign(STATEMENT)


def test_a_damaged_key_file_is_said_and_nothing_else(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key", comment="")
    whole = key.path.read_bytes()
    for end in range(0, len(whole), 7):
        key.path.write_bytes(whole[:end])
        with pytest.raises(ApprovalError):
            key.sign(STATEMENT)


def test_importing_signatures_loads_no_cryptography() -> None:
    code = "import agentrt.approvals.signatures, sys; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
