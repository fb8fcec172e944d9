"""Signed notes and checkpoints, exactly as C2SP writes them.

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature (v1, Ed25519).
Anyone who has a tool for these can check ours without us.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from agentrt.errors import NoteInvalid

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "Checkpoint",
    "Note",
    "Signature",
    "Verifier",
    "cosigned",
    "is_name",
]

ED25519, COSIGNATURE = 0x01, 0x04
"""The signature types of a log's own signature and of a witness's."""

_DASH = "\N{EM DASH} "
_NOTE_BYTES_MAX = 64 * 1024
_SIGNATURES_MAX = 32
_RAW_BYTES = 32


def is_name(text: str) -> bool:
    """Whether a key may be called so."""
    return bool(text) and "+" not in text and not any(each.isspace() for each in text)


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note: who signed, by which key, and the bytes of the signature."""

    name: str
    key_id: bytes
    body: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        """A line `— name base64`. Raises NoteInvalid."""
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not is_name(name):
            raise NoteInvalid("A line under the note is not a signature.")
        data = _decoded(encoded)
        if len(data) < 5:
            raise NoteInvalid(f"The signature of {name} is too short to be one.")
        return cls(name, data[:4], data[4:])

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.body).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it."""

    text: str
    """It ends with a newline."""
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: str | bytes) -> Self:
        """The note of these bytes. Raises NoteInvalid."""
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > _NOTE_BYTES_MAX:
            raise NoteInvalid("This is too long to be a signed note.")
        try:
            whole = raw.decode()
        except UnicodeDecodeError:
            raise NoteInvalid("This is not a signed note: it is not UTF-8.") from None
        if any(each < " " and each != "\n" for each in whole):
            raise NoteInvalid("This is not a signed note: it has control characters.")
        text, blank, below = whole.rpartition("\n\n")
        if not blank or not below.endswith("\n"):
            raise NoteInvalid("This is not a signed note: no signature stands below a blank line.")
        lines = below[:-1].split("\n")
        if len(lines) > _SIGNATURES_MAX:
            raise NoteInvalid("This note has too many signatures.")
        return cls(f"{text}\n", tuple(Signature.parse(line) for line in lines))

    def plus(self, signatures: Iterable[Signature]) -> Note:
        """The note with further signatures."""
        new = [each for each in signatures if each not in self.signatures]
        return Note(self.text, (*self.signatures, *new))

    def __str__(self) -> str:
        return f"{self.text}\n" + "".join(f"{each}\n" for each in self.signatures)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How large a tree was and what its root was."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint that the text of a note is. Raises NoteInvalid."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise NoteInvalid("This note is not a checkpoint: it does not have its three lines.")
        origin, size, root, *_extensions = lines
        if not size.isascii() or not size.isdecimal() or str(int(size)) != size:
            raise NoteInvalid(f"This note is not a checkpoint: {size!r} is not a size.")
        digest = _decoded(root)
        if len(digest) != hashlib.sha256().digest_size:
            raise NoteInvalid("This note is not a checkpoint: its root is not a SHA-256 hash.")
        return cls(origin, int(size), digest)

    @property
    def text(self) -> str:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key, the name it signs under, and how: as `name+id+key`, the vkey of C2SP."""

    name: str
    raw: bytes
    """The 32 bytes of RFC 8032."""
    kind: int = ED25519

    @classmethod
    def parse(cls, text: str) -> Self:
        """The verifier of a vkey. Raises NoteInvalid."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        if not is_name(name) or len(data) != 1 + _RAW_BYTES:
            raise NoteInvalid(f"{text.strip()!r} is not a verifier key: write name+id+key.")
        found = cls(name, data[1:], data[0])
        if found.kind not in (ED25519, COSIGNATURE):
            raise NoteInvalid("Only Ed25519 verifier keys are known here.")
        if found.key_id.hex() != key_id:
            raise NoteInvalid(f"The id of the verifier key of {name} is not that of the key.")
        return found

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before its signatures."""
        kind = bytes([self.kind])
        return hashlib.sha256(self.name.encode() + b"\n" + kind + self.raw).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.raw).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verify(self, note: Note) -> Signature:
        """Its signature under the note, checked. Raises NoteInvalid."""
        for each in note.signatures:
            if (each.name, each.key_id) == (self.name, self.key_id):
                self._check(each, note.text)
                return each
        raise NoteInvalid(f"The note is not signed by this key of {self.name}.")

    def _check(self, signature: Signature, text: str) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        message, body = text.encode(), signature.body
        if self.kind == COSIGNATURE:
            message, body = cosigned(text, int.from_bytes(body[:8], "big")), body[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(body, message)
        except (InvalidSignature, ValueError):
            raise NoteInvalid(f"The signature of {self.name} is not over this note.") from None


def cosigned(text: str, at_s: int) -> bytes:
    """What a witness signs: the whole text of the note, and when it saw it (POSIX seconds)."""
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _decoded(text: str) -> bytes:
    """Standard base64 in the one form it has. Raises NoteInvalid."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text:
        raise NoteInvalid("This is not a signed note: a part of it is not base64.")
    return data
