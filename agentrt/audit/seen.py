"""What was seen of audit stores: the last checkpoint of each, kept where the store is not.

A store that was cut or rolled back to an older copy is intact in itself; only somebody who
remembers can tell. So whoever opens one compares it with what was there the last time.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from agentrt.audit.merkle import root
from agentrt.audit.notes import Checkpoint, Note
from agentrt.audit.sealing import newest_checkpoint, origin_of
from agentrt.audit.store import AuditStore
from agentrt.audit.tree import reader
from agentrt.errors import NoteInvalid, StoreCorrupt, StoreCutBack

__all__ = ["Seen", "check_grew"]


class Seen:
    """A folder with a checkpoint for each store that was ever opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def look(self, store: AuditStore) -> str | None:
        """Hold the store to what was seen of it, and remember what it is now.

        Returns what is worth saying though it is no proof of harm: that another store stands
        in the place of one that was known. Raises StoreCutBack or StoreCorrupt.
        """
        with store.reading() as connection:
            newest = newest_checkpoint(connection)
            before = self.last(store.id)
            if before is not None:
                self._compare(connection, store, before, newest)
        if newest is not None and str(newest) != str(before or ""):
            self._keep(self._file(store.id), str(newest))
        return self._note_place(store)

    def last(self, store: str) -> Note | None:
        """The last checkpoint that was seen of a store."""
        return _read(self._file(store))

    def last_verified(self, store: str) -> Note | None:
        """The last checkpoint up to which every record was checked."""
        return _read(self._file(store, "verified"))

    def verified(self, store: str, note: Note) -> None:
        """Remember that every record up to a checkpoint was checked."""
        self._keep(self._file(store, "verified"), str(note))

    def _compare(
        self, connection: Connection, store: AuditStore, before: Note, newest: Note | None
    ) -> None:
        hint = (
            f"The last one seen is in {self._file(store.id)}. If you restored a backup on purpose "
            "and mean to go on with it, remove that file. Otherwise keep both, and find out who "
            "had the store in hand: `agentrt audit verify` tells what it can."
        )
        check_grew(connection, store, before, newest, hint=hint)

    def _note_place(self, store: AuditStore) -> str | None:
        """Remember which store is at its path; what to say when it is another than before."""
        path = store.location if store.path is None else str(store.path.resolve())
        file = self._folder / "places" / hashlib.sha256(path.encode()).hexdigest()[:32]
        before = file.read_text(encoding="utf-8") if file.is_file() else store.id
        if before != store.id or not file.is_file():
            self._keep(file, store.id)
        if before == store.id:
            return None
        said = f"Another audit store is at {path} than the last time: {store.id}, it was {before}."
        if self.last(store.id) is not None:
            raise StoreCutBack(f"{said} This one was seen elsewhere: somebody moved it here.")
        return said

    def _file(self, store: str, kind: str = "seen") -> Path:
        return self._folder / f"{store}.{kind}"

    def _keep(self, file: Path, text: str) -> None:
        """Write it whole or not at all. A home that cannot be written remembers nothing."""
        draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, file)
        except OSError:
            with suppress(OSError):
                draft.unlink()


def check_grew(
    connection: Connection, store: AuditStore, before: Note, newest: Note | None, *, hint: str
) -> None:
    """Raises StoreCutBack unless the store's tree grew out of the checkpoint `before`."""
    then = Checkpoint.parse(before.text)
    if then.origin != origin_of(store.id):
        raise StoreCutBack(
            f"The checkpoint is one of {then.origin}, and this store is {store.id}: they are two."
        )
    now = Checkpoint.parse(newest.text) if newest is not None else Checkpoint("", 0, b"")
    if now.size < then.size:
        raise StoreCutBack(
            f"{store.location} was cut or rolled back: it had a checkpoint over {then.size} heads, "
            f"and its newest is over {now.size}. {hint}"
        )
    at = reader(connection)
    if root(then.size, at) != then.root or root(now.size, at) != now.root:
        raise StoreCutBack(
            f"{store.location} has another history than it had: its tree did not grow out of the "
            f"checkpoint over {then.size} heads. {hint}"
        )
    if newest is not None and {(s.name, s.key_id) for s in before.signatures[:1]} != {
        (s.name, s.key_id) for s in newest.signatures[:1]
    }:
        raise StoreCutBack(
            f"The checkpoints of {store.location} are signed by another key than before. {hint}"
        )


def _read(file: Path) -> Note | None:
    try:
        return Note.parse(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, NoteInvalid) as error:
        raise StoreCorrupt(
            f"What was remembered in {file} cannot be read ({error}). If you know why, remove it."
        ) from error
