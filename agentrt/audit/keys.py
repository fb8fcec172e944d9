"""A signing key in a file: the runtime's, which signs checkpoints and receipts; a witness's.

An Ed25519 key as OpenSSH keeps it, without a passphrase since a runtime has nobody to ask, with
its public half beside it in a `.pub` file to hand out. It belongs outside the database: who can
write the one must not be able to sign for the other.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agentrt.audit.notes import COSIGNATURE, ED25519, Signature, Verifier, cosigned
from agentrt.errors import KeyUnusable
from agentrt.key_files import put_whole
from agentrt.policy.public_keys import PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["SigningKey", "public_key_of"]

_SSH_TYPE = b"ssh-ed25519"


@dataclass(frozen=True)
class SigningKey:
    """The key at `path`, read when it first signs."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> SigningKey:
        """The key at `path`, made (0600) if there is none. Raises KeyUnusable."""
        key = cls(path)
        if not path.exists():
            _make(path)
        return key

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature. Raises KeyUnusable."""
        return self._private.sign(data)

    @cached_property
    def raw(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._private.public_key().public_bytes_raw()

    @property
    def public(self) -> PublicKey:
        """The public key as SSH writes it."""
        return _ssh(self.raw)

    def signed(self, text: str, *, name: str) -> Signature:
        """The signature under a note, as the log called `name`."""
        return Signature(name, Verifier(name, self.raw).key_id, self.sign(text.encode()))

    def cosigned(self, text: str, *, name: str, at_s: int) -> Signature:
        """The signature of a witness called `name`, who saw the checkpoint at `at_s`."""
        key_id = Verifier(name, self.raw, COSIGNATURE).key_id
        body = at_s.to_bytes(8, "big") + self.sign(cosigned(text, at_s))
        return Signature(name, key_id, body)

    def verifier(self, name: str, kind: int = ED25519) -> Verifier:
        """The public key under a name, for those who check."""
        return Verifier(name, self.raw, kind)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        try:
            found = load_ssh_private_key(_contents(self.path), password=None)
        except (ValueError, TypeError) as error:
            raise KeyUnusable(
                f"{self.path} is not a key to sign with: {error}. It must be an OpenSSH Ed25519 "
                "key without a passphrase; move it away, and a new one is made."
            ) from None
        if not isinstance(found, Ed25519PrivateKey):
            raise KeyUnusable(f"{self.path} is not an Ed25519 key: `ssh-keygen -t ed25519`.")
        return found


def public_key_of(text: str) -> bytes:
    """The 32 bytes of a key given as an SSH line or as a vkey. Raises KeyUnusable."""
    line = text.strip()
    try:
        if line.startswith("ssh-"):
            return PublicKey.parse(line).raw
        return Verifier.parse(line).raw
    except Exception as error:
        raise KeyUnusable(
            "This is no public key: give the .pub file of the runtime's key, or a verifier key "
            f"name+id+key ({error})."
        ) from error


def _ssh(raw: bytes) -> PublicKey:
    strings = (_SSH_TYPE, raw)
    return PublicKey(b"".join(len(each).to_bytes(4, "big") + each for each in strings))


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(64 * 1024)
    except OSError as error:
        raise KeyUnusable(f"The key {path} cannot be read: {error.strerror}.") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUnusable(f"Others can read the key {path}: `chmod 600 {path}`.")
    return data


def _make(path: Path) -> None:
    """A new key at `path` and its `.pub`; one that another process made first is left alone."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = f"{_ssh(private.public_key().public_bytes_raw())} agentrt runtime\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if put_whole(path, text, mode=0o600):
            path.with_name(f"{path.name}.pub").unlink(missing_ok=True)
            put_whole(path.with_name(f"{path.name}.pub"), public.encode(), mode=0o644)
    except OSError as error:
        raise KeyUnusable(f"The key {path} cannot be written: {error.strerror}.") from error
