"""A reviewer's signature over a statement: SSHSIG, as git and ssh-keygen make it.

The format is OpenSSH's PROTOCOL.sshsig; for keys in a security key also PROTOCOL.u2f.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agentrt.approvals.statement import Statement
from agentrt.errors import ApprovalError, SignatureInvalid
from agentrt.key_files import put_whole
from agentrt.policy.public_keys import ED25519, ED25519_SK, PublicKey, wire_strings
from agentrt.policy.reviewers import APPROVAL_NAMESPACE, Reviewer, Reviewers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from sshsig.sshsig import SshsigSignature

__all__ = ["KeyFile", "Signer", "authenticate", "make_key", "verify"]

_ARMOR_MAX = 8 * 1024
_MAGIC = b"SSHSIG"
_HASH = b"sha512"
_PRIVATE_BEGINS = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_PRIVATE_MAGIC = b"openssh-key-v1\0"
_USER_PRESENT = 0x01
_KEYGEN_TIMEOUT_S = 120.0


class Signer(Protocol):
    """Who can sign as a reviewer."""

    @property
    def public_key(self) -> str:
        """The key as a line of `reviewers.yaml`."""

    def sign(self, statement: bytes) -> str:
        """SSHSIG armour over `statement`. Raises ApprovalError when it cannot."""


def authenticate(
    statement: bytes, armored: str, reviewers: Reviewers, *, at: int
) -> tuple[Statement, Reviewer, str]:
    """What was signed, by whom, with which key (its fingerprint).

    `at` is the time that counts for the key's validity, in milliseconds since the epoch.
    Says nothing of roles or of the call. Raises SignatureInvalid.
    """
    said = Statement.from_bytes(statement)
    reviewer = reviewers.get(said.reviewer)
    if reviewer is None:
        raise SignatureInvalid(f"{said.reviewer!r} is no reviewer: see reviewers.yaml.")
    if not reviewer.valid_at(at):
        raise SignatureInvalid(f"The keys of {reviewer.name} are not valid at this time.")
    return said, reviewer, verify(statement, armored, reviewer.keys)


def verify(statement: bytes, armored: str, keys: Iterable[PublicKey]) -> str:
    """The fingerprint of the one of `keys` that signed. Raises SignatureInvalid."""
    envelope = _opened(armored)
    key = next((key for key in keys if key.blob == envelope.public_key), None)
    if key is None:
        raise SignatureInvalid("The signature is not by a key of this reviewer.")
    if envelope.namespace != APPROVAL_NAMESPACE.encode():
        raise SignatureInvalid("The signature was made for something else than an approval.")
    if envelope.hash_algo != _HASH:
        raise SignatureInvalid("The signature is not over SHA-512.")
    if key.kind == ED25519_SK:
        _check_touched(key, envelope, statement)
    else:
        _check(key, armored, envelope, statement)
    return key.fingerprint


def _opened(armored: str) -> SshsigSignature:
    from sshsig.sshsig import SshsigSignature, ssh_dearmor_sshsig

    if len(armored) > _ARMOR_MAX:
        raise SignatureInvalid("The signature is too long to be one.")
    try:
        blob = ssh_dearmor_sshsig(armored)
        envelope = SshsigSignature(blob)
    except (ValueError, NotImplementedError):
        raise SignatureInvalid("This is not an SSH signature.") from None
    # sshsig overlooks wrong lengths and what is left over; ssh-keygen does not.
    if bytes(envelope) != blob:
        raise SignatureInvalid("This is not a whole SSH signature.")
    return envelope


def _check(key: PublicKey, armored: str, envelope: SshsigSignature, statement: bytes) -> None:
    import sshsig

    _signature_of(key, envelope)  # sshsig only asserts the type, which -O takes away
    allowed = sshsig.PublicKey.from_ssh_encoding(key.blob)
    try:
        sshsig.verify(statement, armored, [allowed], APPROVAL_NAMESPACE)
    except (sshsig.InvalidSignature, ValueError):
        raise SignatureInvalid from None


def _check_touched(key: PublicKey, envelope: SshsigSignature, statement: bytes) -> None:
    """A security key signs digests, flags and a counter; sshsig does not know this type."""
    from cryptography.exceptions import InvalidSignature

    raw, rest = _signature_of(key, envelope)
    if len(rest) != 5 or not rest[0] & _USER_PRESENT:
        raise SignatureInvalid("The security key was not touched for this signature.")
    digests = [hashlib.sha256(part).digest() for part in (key.application, _signed(statement))]
    try:
        _loaded(key).verify(raw, digests[0] + rest + digests[1])
    except InvalidSignature:
        raise SignatureInvalid from None


def _signature_of(key: PublicKey, envelope: SshsigSignature) -> tuple[bytes, bytes]:
    """The 64 bytes of the signature, and what follows them; only sk keys have a rest."""
    blob = envelope.signature
    head = _string(key.kind.encode()) + (64).to_bytes(4, "big")
    raw, rest = blob[len(head) : len(head) + 64], blob[len(head) + 64 :]
    if not blob.startswith(head) or len(raw) < 64 or (rest and key.kind == ED25519):
        raise SignatureInvalid
    return raw, rest


def _loaded(key: PublicKey) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(key.raw)


def _signed(statement: bytes) -> bytes:
    """The bytes under the signature: PROTOCOL.sshsig, section 3."""
    digest = hashlib.sha512(statement).digest()
    return _MAGIC + b"".join(
        _string(part) for part in (APPROVAL_NAMESPACE.encode(), b"", _HASH, digest)
    )


def _armor(key: PublicKey, signature: bytes) -> str:
    """The text of a signature: PROTOCOL.sshsig, sections 1 and 2."""
    parts = (key.blob, APPROVAL_NAMESPACE.encode(), b"", _HASH, signature)
    blob = _MAGIC + (1).to_bytes(4, "big") + b"".join(_string(part) for part in parts)
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@dataclass(frozen=True)
class KeyFile:
    """A reviewer's key in a file, as ssh keeps it.

    An Ed25519 key without a passphrase is used here; for a passphrase, a security key, or a
    `.pub` file whose key an agent holds, `ssh-keygen` asks, touches or talks to the agent.
    """

    path: Path

    @property
    def public_key(self) -> str:
        """The key as a line of `reviewers.yaml`. Raises ApprovalError."""
        return str(self._read()[0])

    @property
    def asks(self) -> bool:
        """Whether signing may ask at the terminal, for a passphrase, a PIN or a touch."""
        key, plain = self._read()
        return plain is None or key.kind != ED25519

    def sign(self, statement: bytes) -> str:
        """SSHSIG armour over `statement`. Raises ApprovalError when it cannot."""
        key, plain = self._read()
        if plain is not None and key.kind == ED25519:
            return _sign_here(key, plain, statement)
        return _sign_with_keygen(self.path, key, statement)

    def _read(self) -> tuple[PublicKey, bytes | None]:
        """The public key, and the file's bytes where no passphrase guards them."""
        data = _contents(self.path)
        try:
            if data.startswith(_PRIVATE_BEGINS):
                return _public_part(data)
            return PublicKey.parse(data.decode()), None
        except ValueError as error:
            message = f"{self.path} is not a key to approve with: {error}."
            raise ApprovalError(f"{message} `ssh-keygen -t ed25519` makes one.") from None


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(64 * 1024)
    except OSError as error:
        raise ApprovalError(f"The key {path} cannot be read: {error.strerror}.") from error
    if b"PRIVATE KEY" in data and stat.S_IMODE(mode) & 0o077:
        raise ApprovalError(f"Others can read the key {path}: `chmod 600 {path}`.")
    return data


def _public_part(data: bytes) -> tuple[PublicKey, bytes | None]:
    """The public key of an OpenSSH private key file: PROTOCOL.key keeps it in the clear."""
    lines = data.decode("ascii").split()
    inner = base64.b64decode("".join(line for line in lines[4:-4]), validate=True)
    if not inner.startswith(_PRIVATE_MAGIC):
        raise ValueError("this is not an OpenSSH private key")
    cipher, rest = _next_string(inner.removeprefix(_PRIVATE_MAGIC))
    _kdf, rest = _next_string(rest)
    _options, rest = _next_string(rest)
    blob, _private = _next_string(rest[4:])
    return PublicKey(blob), data if cipher == b"none" else None


def _next_string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    return wire_strings(data[:end])[0], data[end:]


def _sign_here(key: PublicKey, plain: bytes, statement: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        private = load_ssh_private_key(plain, password=None)
    except ValueError as error:
        raise ApprovalError(f"The private part of the key {key} is damaged: {error}.") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ApprovalError("The key file says Ed25519 and holds another key: make a new one.")
    return _armor(key, _string(ED25519.encode()) + _string(private.sign(_signed(statement))))


def _sign_with_keygen(path: Path, key: PublicKey, statement: bytes) -> str:
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise ApprovalError(f"Signing with {path} needs ssh-keygen: install OpenSSH's client.")
    command = [keygen, "-Y", "sign", "-q", "-n", APPROVAL_NAMESPACE, "-f", str(path.absolute())]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, input=statement, capture_output=True, check=False, timeout=_KEYGEN_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise ApprovalError(f"Nobody unlocked or touched the key {path} in time.") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise ApprovalError(f"ssh-keygen could not sign with {path}: {said}")
    armored = done.stdout.decode(errors="replace")
    verify(statement, armored, [key])
    return armored


def make_key(path: Path, *, comment: str) -> KeyFile:
    """A new Ed25519 key at `path` (0600) with its `.pub`. Raises ApprovalError if one is there."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(path.name + ".pub")
    if path.exists() or public_path.exists():
        raise ApprovalError(f"There is a key at {path} already: keep it, or choose another place.")
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    _make_folder(path.parent)
    _create(path, text, mode=0o600)
    key = KeyFile(path)
    _create(public_path, f"{key.public_key} {' '.join(comment.split())}\n".encode(), mode=0o644)
    return key


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ApprovalError(f"A key cannot be written to {folder}: {error.strerror}.") from error


def _create(path: Path, data: bytes, *, mode: int) -> None:
    try:
        created = put_whole(path, data, mode=mode)
    except OSError as error:
        raise ApprovalError(f"The key {path} cannot be written: {error.strerror}.") from error
    if not created:
        raise ApprovalError(f"There is a key at {path} already: it was left as it is.")
