"""A witness: a second party that remembers a store's checkpoints and signs those that only grew.

It needs neither the store nor its key: a request carries the newest checkpoint and the proof that
it grew out of the one that the witness saw last. Its form is that of c2sp.org/tlog-witness
(`add-checkpoint`), and the answer is a cosignature/v1 line of c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agentrt.audit.keys import SigningKey
from agentrt.audit.merkle import check_consistency
from agentrt.audit.notes import Checkpoint, Note, Signature, Verifier
from agentrt.errors import NoteInvalid, NotProven

__all__ = ["Request", "Witness"]

PROOF_LINES_MAX = 63


@dataclass(frozen=True, slots=True)
class Request:
    """What a witness is asked to sign: a checkpoint, and how it grew out of `old` leaves."""

    old: int
    proof: Sequence[bytes]
    note: Note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The request of these bytes. Raises NoteInvalid."""
        head, _, note = data.partition(b"\n\n")
        first, *lines = head.decode(errors="replace").split("\n")
        word, _, size = first.partition(" ")
        if word != "old" or not size.isascii() or not size.isdecimal():
            raise NoteInvalid(
                "This asks nothing of a witness: `agentrt audit checkpoint --since SIZE` does."
            )
        if len(lines) > PROOF_LINES_MAX:
            raise NoteInvalid("The consistency proof is too long.")
        try:
            proof = [base64.b64decode(line, validate=True) for line in lines]
        except ValueError:
            raise NoteInvalid("The consistency proof is not base64.") from None
        return cls(int(size), proof, Note.parse(note))

    def __str__(self) -> str:
        lines = [f"old {self.old}", *(base64.b64encode(each).decode() for each in self.proof)]
        return "".join(f"{line}\n" for line in lines) + f"\n{self.note}"


@dataclass(frozen=True)
class Witness:
    """A witness with a name, a key, and a file in which it keeps the last checkpoint it signed."""

    name: str
    key: SigningKey
    memory: Path

    def last(self) -> Note | None:
        """The checkpoint that it signed last. Raises NoteInvalid."""
        return Note.parse(self.memory.read_bytes()) if self.memory.exists() else None

    def cosign(self, request: Request, *, log: bytes, at_s: int) -> Signature:
        """Its signature under the checkpoint, once it is remembered.

        `log` is the public key of the store's runtime, from somewhere the witness trusts. Raises
        NoteInvalid when it did not sign the checkpoint, NotProven when the tree did not grow out
        of what was signed before: then something was changed, cut or rolled back.
        """
        checkpoint = Checkpoint.parse(request.note.text)
        Verifier(checkpoint.origin, log).verify(request.note)
        with self._alone():
            self._check(request, checkpoint)
            signature = self.key.cosigned(request.note.text, name=self.name, at_s=at_s)
            self._remember(request.note.plus([signature]))
        return signature

    def _check(self, request: Request, checkpoint: Checkpoint) -> None:
        before = self.last()
        if before is None:
            if request.old:
                raise NotProven(
                    f"This witness saw nothing yet: ask it with --since 0, not {request.old}."
                )
            return
        then = Checkpoint.parse(before.text)
        if then.origin != checkpoint.origin:
            raise NotProven(f"This witness watches {then.origin}, not {checkpoint.origin}.")
        if request.old != then.size:
            raise NotProven(
                f"This witness saw {then.size} heads last: ask it with --since {then.size}."
            )
        check_consistency(
            then.size,
            checkpoint.size,
            request.proof,
            old_root=then.root,
            new_root=checkpoint.root,
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two requests at once could both be held to the same checkpoint before them."""
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{self.memory}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _remember(self, note: Note) -> None:
        """Durable before the signature is given away."""
        draft = self.memory.with_name(f".{self.memory.name}.{secrets.token_hex(8)}")
        with draft.open("w", encoding="utf-8") as file:
            file.write(str(note))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.memory)
