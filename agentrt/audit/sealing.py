"""Sealing: the heads of all runs go into the tree, and a key signs a checkpoint over it.

A record is sealed once the head of its run, or a later one, is a leaf: each head names the hash of
the record before, so one leaf covers a whole run. Nothing else orders the runs among themselves.
One transaction does it all, and only one process at a time: the second finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, insert, select, text

from agentrt.audit.appends import Draft
from agentrt.audit.appends import insert as insert_records
from agentrt.audit.claims import STORE_CHAIN
from agentrt.audit.keys import SigningKey
from agentrt.audit.notes import Checkpoint, Note, Signature
from agentrt.audit.reads import read_records
from agentrt.audit.tables import CheckpointRow, CosignatureRow, EventRow, columns
from agentrt.audit.tree import (
    Leaf,
    append_leaves,
    frontier_of,
    last_sealed,
    tree_size,
)
from agentrt.events import CheckpointSigned
from agentrt.run import Run, fold

__all__ = ["Seal", "checkpoint_at", "late_places", "newest_checkpoint", "origin_of", "says_more"]

RECORDED_EVERY_MS = 3_600_000
"""How often a checkpoint that nobody asked for is recorded in the store's own chain."""

POSTGRES_LOCK = 0x61677274
"""Names the lock of the one who seals: `agrt`."""

POSTGRES_LATE = 10_000
"""Places that transactions on PostgreSQL may be behind: they commit out of order."""

_event, _checkpoint = columns(EventRow), columns(CheckpointRow)
_cosignature = columns(CosignatureRow)


def origin_of(store: str) -> str:
    """The first line of a store's checkpoints, and the name of the key under them."""
    return f"agentrt/{store}"


@dataclass
class Seal:
    """Seals one store with one key."""

    store: str
    """The id of the store."""
    key: SigningKey
    _chain: Run = field(default_factory=lambda: Run(STORE_CHAIN))
    """The store's own chain as far as it was read."""
    _recorded_at: int = 0

    def __call__(
        self, connection: Connection, *, at: int, asked: bool = False
    ) -> tuple[Note, bool]:
        """Seal what is not sealed yet: the newest checkpoint, and whether it is new.

        `asked` looks at every run, not only at those with new records, and records the
        checkpoint in the store's own chain.
        """
        _one_at_a_time(connection)
        newest = connection.execute(
            select(_checkpoint.note, _checkpoint.pos).order_by(_checkpoint.size.desc()).limit(1)
        ).one_or_none()
        last = 0 if newest is None or asked else newest.pos
        leaves = list(_unsealed(connection, after=last))
        if newest is not None and not leaves:
            return Note.parse(newest.note), False
        return self._sign(connection, leaves, at=at, asked=asked), True

    def _sign(self, connection: Connection, leaves: list[Leaf], *, at: int, asked: bool) -> Note:
        frontier = frontier_of(connection, tree_size(connection))
        if leaves:
            frontier = append_leaves(connection, frontier, leaves)
        origin = origin_of(self.store)
        checkpoint = Checkpoint(origin, frontier.size, frontier.root)
        note = Note(checkpoint.text, (self.key.signed(checkpoint.text, name=origin),))
        top = connection.execute(select(func.max(_event.pos))).scalar() or 0
        row = {"size": frontier.size, "note": str(note), "at": at, "pos": top}
        connection.execute(insert(CheckpointRow), [row])
        if asked or self._is_due(connection, at):
            self._record(connection, checkpoint, at)
        return note

    def _is_due(self, connection: Connection, at: int) -> bool:
        """Whether this key was never recorded here, or not for long."""
        if not self._recorded_at:
            self._catch_up(connection)
        return at - self._recorded_at >= RECORDED_EVERY_MS

    def _catch_up(self, connection: Connection) -> None:
        """Read what is new in the store's own chain."""
        last = select(_event.hash).where(_event.run == STORE_CHAIN, _event.seq == self._chain.seq)
        if self._chain.seq and connection.execute(last).scalar() != self._chain.head:
            self._chain = Run(STORE_CHAIN)  # it was read in a transaction that was undone
        where = (_event.run == STORE_CHAIN, _event.seq > self._chain.seq)
        newer = read_records(connection, *where, order=_event.seq)
        self._chain = fold(newer, run=self._chain) if newer else self._chain
        for record in newer:
            event = record.event
            if isinstance(event, CheckpointSigned) and event.key == self.key.public.fingerprint:
                self._recorded_at = record.at

    def _record(self, connection: Connection, checkpoint: Checkpoint, at: int) -> None:
        self._catch_up(connection)
        signed = CheckpointSigned(
            origin=checkpoint.origin,
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            key=self.key.public.fingerprint,
        )
        draft = Draft.of(self._chain).plus([signed], at=at)
        insert_records(connection, draft)
        self._recorded_at = at


def _one_at_a_time(connection: Connection) -> None:
    """On SQLite the transaction that writes is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": POSTGRES_LOCK})


def late_places(connection: Connection) -> int:
    """How far behind others a record may arrive: on SQLite they arrive in order."""
    return POSTGRES_LATE if connection.dialect.name == "postgresql" else 0


def _unsealed(connection: Connection, *, after: int) -> Iterator[Leaf]:
    """The heads that no leaf covers, of runs with a record behind a place of arrival."""
    after = max(0, after - late_places(connection))
    query = select(_event.run).distinct()
    query = query.where(_event.pos > after) if after else query
    runs = sorted(connection.execute(query).scalars())
    sealed = last_sealed(connection, runs)
    heads = [head for run in runs if (head := _head(connection, run)).seq > sealed[run]]
    if [head.run for head in heads] == [STORE_CHAIN] and not says_more(
        connection, sealed[STORE_CHAIN]
    ):
        return
    yield from heads


def says_more(connection: Connection, sealed: int) -> bool:
    """Whether the store's own chain tells of more than checkpoints: those alone need no other."""
    query = select(_event.seq).where(
        _event.run == STORE_CHAIN, _event.seq > sealed, _event.type != "checkpoint.signed"
    )
    return connection.execute(query.limit(1)).one_or_none() is not None


def _head(connection: Connection, run: str) -> Leaf:
    query = select(_event.seq, _event.hash).where(_event.run == run)
    seq, head = connection.execute(query.order_by(_event.seq.desc()).limit(1)).one()
    return Leaf(run, seq, head)


def newest_checkpoint(connection: Connection) -> Note | None:
    """The newest checkpoint with the signatures of witnesses, if there is one."""
    size = connection.execute(select(func.max(_checkpoint.size))).scalar()
    return None if size is None else checkpoint_at(connection, size)


def checkpoint_at(connection: Connection, size: int) -> Note | None:
    """The checkpoint over so many leaves with the signatures of witnesses, if there is one."""
    text = connection.execute(select(_checkpoint.note).where(_checkpoint.size == size)).scalar()
    if text is None:
        return None
    lines = connection.execute(select(_cosignature.line).where(_cosignature.size == size))
    return Note.parse(text).plus(Signature.parse(line) for line in lines.scalars())
