"""The Merkle tree as it is stored: leaves that are run heads, and the subtrees over them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from agentrt.audit.merkle import At, Frontier, complete_subtrees, leaf_hash
from agentrt.audit.tables import LeafRow, NodeRow, columns
from agentrt.errors import StoreCorrupt

__all__ = [
    "Leaf",
    "append_leaves",
    "first_leaf_over",
    "frontier_of",
    "last_sealed",
    "leaf_at",
    "reader",
    "sealed_head",
    "tree_size",
]

_leaf, _node = columns(LeafRow), columns(NodeRow)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The head of a run: the hash of its record `seq`, which covers all before it."""

    run: str
    seq: int
    head: bytes

    @property
    def data(self) -> bytes:
        """What the tree is made over: RFC 8785 JSON."""
        fields = {"head": self.head.hex(), "run": self.run, "seq": self.seq}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def hash(self) -> bytes:
        """Its hash in the tree."""
        return leaf_hash(self.data)


def tree_size(connection: Connection) -> int:
    """How many leaves there are."""
    last = connection.execute(select(func.max(_leaf.idx))).scalar()
    return 0 if last is None else int(last) + 1


def reader(connection: Connection) -> At:
    """The hashes of complete subtrees, each of which takes one look."""
    query = select(_node.hash)

    def at(level: int, n: int) -> bytes:
        found = connection.execute(query.where(_node.level == level, _node.n == n)).scalar()
        if not isinstance(found, bytes):
            raise StoreCorrupt(
                f"The tree of checkpoints lacks its node {n} of level {level}: somebody took it "
                "away. `agentrt audit verify` tells all."
            )
        return found

    return at


def frontier_of(connection: Connection, size: int) -> Frontier:
    """The right edge of the tree of `size` leaves."""
    at = reader(connection)
    return Frontier(size, tuple(at(*place) for place in complete_subtrees(size)))


def append_leaves(connection: Connection, frontier: Frontier, leaves: Sequence[Leaf]) -> Frontier:
    """Write leaves at the end of the tree, and the subtrees that they complete."""
    rows, nodes = [], []
    for leaf in leaves:
        rows.append({"idx": frontier.size, "run": leaf.run, "seq": leaf.seq, "head": leaf.head})
        frontier, new = frontier.plus(leaf.hash)
        nodes += [{"level": level, "n": n, "hash": digest} for level, n, digest in new]
    connection.execute(insert(LeafRow), rows)
    connection.execute(insert(NodeRow), nodes)
    return frontier


def last_sealed(connection: Connection, runs: Iterable[str]) -> dict[str, int]:
    """Up to which record each of these runs is in the tree."""
    found = {}
    for run in runs:
        query = select(func.max(_leaf.seq)).where(_leaf.run == run)
        found[run] = connection.execute(query).scalar() or 0
    return found


def first_leaf_over(connection: Connection, run: str, seq: int) -> tuple[int, Leaf] | None:
    """The first leaf that covers a record, and its place; None while there is none."""
    query = select(_leaf.idx, _leaf.run, _leaf.seq, _leaf.head).where(
        _leaf.run == run, _leaf.seq >= seq
    )
    row = connection.execute(query.order_by(_leaf.seq).limit(1)).one_or_none()
    return None if row is None else (row.idx, Leaf(row.run, row.seq, row.head))


def sealed_head(connection: Connection, run: str, *, below: int) -> Leaf | None:
    """The last head of a run among the first `below` leaves."""
    query = select(_leaf.run, _leaf.seq, _leaf.head).where(_leaf.run == run, _leaf.idx < below)
    row = connection.execute(query.order_by(_leaf.seq.desc()).limit(1)).one_or_none()
    return None if row is None else Leaf(row.run, row.seq, row.head)


def leaf_at(connection: Connection, idx: int) -> Leaf:
    """The leaf at a place. Raises StoreCorrupt."""
    query = select(_leaf.run, _leaf.seq, _leaf.head).where(_leaf.idx == idx)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise StoreCorrupt(f"The tree of checkpoints lacks its leaf {idx}.")
    return Leaf(row.run, row.seq, row.head)
