"""A reviewer's public key: one line as in `id_ed25519.pub`, checked.

The wire form is RFC 8709 for `ssh-ed25519` and OpenSSH's PROTOCOL.u2f for the kind that
lives in a security key.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Self

__all__ = ["ED25519", "ED25519_SK", "PublicKey", "wire_strings"]

ED25519 = "ssh-ed25519"
ED25519_SK = "sk-ssh-ed25519@openssh.com"

_STRINGS_OF = {ED25519: 2, ED25519_SK: 3}
_RAW_BYTES = 32


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key. Two are the same when `blob` is."""

    blob: bytes
    """The key in SSH's wire form, the type first."""

    def __post_init__(self) -> None:
        _refuse_kind(self.kind)
        strings = wire_strings(self.blob)
        if len(strings) != _STRINGS_OF[self.kind] or len(self.raw) != _RAW_BYTES:
            raise ValueError(f"this is not a whole {self.kind} key")

    @classmethod
    def parse(cls, line: str) -> Self:
        """The key of a line `type base64 [comment]`. Raises ValueError."""
        kind, _, rest = line.strip().partition(" ")
        _refuse_kind(kind)
        try:
            blob = base64.b64decode((rest.split() or [""])[0], validate=True)
        except ValueError:
            raise ValueError("this is not a line like 'ssh-ed25519 AAAA... comment'") from None
        key = cls(blob)
        if key.kind != kind:
            raise ValueError(f"the line says {kind!r} and the key in it is {key.kind!r}")
        return key

    @property
    def kind(self) -> str:
        """The key's type, such as `ssh-ed25519`."""
        return wire_strings(self.blob)[0].decode(errors="replace")

    @property
    def raw(self) -> bytes:
        """The 32 bytes of RFC 8032."""
        return wire_strings(self.blob)[1]

    @property
    def application(self) -> bytes:
        """What a security key binds its signatures to, usually `ssh:`; empty for others."""
        return b"".join(wire_strings(self.blob)[2:])

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


def _refuse_kind(kind: str) -> None:
    if kind not in _STRINGS_OF:
        raise ValueError(f"keys of type {kind!r} are not accepted, only {ED25519} and {ED25519_SK}")


def wire_strings(data: bytes) -> list[bytes]:
    """All length-prefixed strings of `data` (RFC 4251, section 5). Raises ValueError."""
    strings = []
    while data:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise ValueError("the key is cut short")
        strings.append(data[4 : 4 + length])
        data = data[4 + length :]
    return strings or [b""]
