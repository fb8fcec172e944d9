"""Proofs out of a store: that a record is under a checkpoint, that one grew out of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from agentrt.audit.merkle import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    root,
)
from agentrt.audit.notes import Checkpoint, Note
from agentrt.audit.records import record_hash
from agentrt.audit.tables import EventRow, columns
from agentrt.audit.tree import Leaf, first_leaf_over, reader
from agentrt.errors import NotFound, NotProven

__all__ = ["Sealed", "consistency_of", "sealed"]

_event = columns(EventRow)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stretch of a run's records, and the proof that its last is the head in a leaf."""

    headers: tuple[bytes, ...]
    """Each names the hash of the one before it; the last is the head of the leaf."""
    leaf: Leaf
    index: int
    path: tuple[bytes, ...]

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises NotProven unless every header is under the checkpoint."""
        import json

        hashes = [record_hash(header) for header in self.headers]
        for before, header in zip(hashes, self.headers[1:], strict=False):
            if json.loads(header).get("prev") != before.hex():
                raise NotProven("A record does not name the hash of the one before it.")
        last = json.loads(self.headers[-1])
        if Leaf(last["run"], last["seq"], hashes[-1]) != self.leaf:
            raise NotProven("The last record is not the head that was sealed.")
        check_inclusion(
            self.leaf.hash, self.index, checkpoint.size, self.path, root=checkpoint.root
        )


def sealed(connection: Connection, run: str, seq: int, checkpoint: Checkpoint) -> Sealed:
    """A record's place under a checkpoint: the records up to the first leaf that covers it.

    Raises NotFound while no checkpoint covers it.
    """
    found = first_leaf_over(connection, run, seq)
    if found is None or found[0] >= checkpoint.size:
        raise NotFound(
            f"Record {seq} of {run} is under no checkpoint yet: `agentrt audit checkpoint`."
        )
    index, leaf = found
    query = select(_event.header).where(_event.run == run, _event.seq.between(seq, leaf.seq))
    headers = connection.execute(query.order_by(_event.seq)).scalars()
    return Sealed(
        headers=tuple(header.encode() for header in headers),
        leaf=leaf,
        index=index,
        path=tuple(inclusion_proof(index, checkpoint.size, reader(connection))),
    )


def consistency_of(connection: Connection, old: int, note: Note) -> Sequence[bytes]:
    """The proof that the tree of `old` leaves is how the tree of this checkpoint began."""
    checkpoint = Checkpoint.parse(note.text)
    at = reader(connection)
    path = consistency_proof(old, checkpoint.size, at)
    roots = {"old_root": root(old, at), "new_root": checkpoint.root}
    check_consistency(old, checkpoint.size, path, **roots)
    return path
