"""The tree and its checkpoints, made again from the leaves and held to the records.

What a chain cannot know is checked here: that a run was not cut off below where it was sealed, that
no run is gone whole, and that no chain was made anew with other hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from agentrt.audit.findings import Finding, Verification
from agentrt.audit.merkle import Frontier, complete_subtrees
from agentrt.audit.notes import COSIGNATURE, Checkpoint, Note, Signature, Verifier
from agentrt.audit.tables import (
    CheckpointRow,
    CosignatureRow,
    EventRow,
    LeafRow,
    NodeRow,
    columns,
)
from agentrt.audit.tree import Leaf
from agentrt.errors import NoteInvalid

__all__ = ["Trust", "check_run_seals", "check_tree"]

_event, _leaf, _node = columns(EventRow), columns(LeafRow), columns(NodeRow)
_checkpoint, _cosignature = columns(CheckpointRow), columns(CosignatureRow)

PAGE = 4_096


@dataclass(frozen=True)
class Trust:
    """What whoever verifies knows from elsewhere."""

    keys: Sequence[bytes] = ()
    """Public keys of the runtime, of today and before; none: signatures are not checked."""
    notes: Sequence[Note] = ()
    """Checkpoints that somebody remembered."""
    witnesses: Sequence[Verifier] = ()


@dataclass
class _Tree:
    """The walk over the leaves."""

    connection: Connection
    result: Verification
    origin: str
    trust: Trust
    frontier: Frontier = field(default_factory=Frontier)
    sealed: dict[str, int] = field(default_factory=dict)
    """Up to which record each run is sealed."""
    wanted: dict[int, list[tuple[str, bytes]]] = field(default_factory=dict)
    """The roots that the tree is said to have had at some sizes, and by what."""

    def find(self, what: str, run: str = "the store", seq: int | None = None) -> None:
        self.result.findings.append(Finding(run, seq, what))


def check_tree(
    connection: Connection,
    result: Verification,
    *,
    origin: str,
    trust: Trust,
    since: Frontier | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> Mapping[str, int]:
    """Check the tree, or what came to it `since`; up to which record each run is sealed there."""
    tree = _Tree(connection, result, origin, trust, since or Frontier())
    for text, size in _notes(connection, tree.frontier.size):
        _want(tree, text, size)
    for note in trust.notes:
        _want(tree, str(note), None)
    _check_roots(tree)
    while leaves := _leaves(connection, tree.frontier.size):
        _check_leaves(tree, leaves)
        progress(result.records)
    _check_end(tree)
    _check_witnesses(tree)
    result.heads = tree.frontier.size
    return tree.sealed


def _want(tree: _Tree, text: str, size: int | None) -> None:
    """Hold the tree to a checkpoint; `size` says under which one it is stored."""
    where = "a remembered checkpoint" if size is None else f"the checkpoint over {size} heads"
    try:
        note = Note.parse(text)
        checkpoint = Checkpoint.parse(note.text)
        _check_belongs(tree, checkpoint, size)
        _check_signature(tree, note, checkpoint)
    except NoteInvalid as error:
        tree.find(f"{where} is not one that this store's runtime signed: {error}")
        return
    tree.wanted.setdefault(checkpoint.size, []).append((where, checkpoint.root))


def _check_belongs(tree: _Tree, checkpoint: Checkpoint, size: int | None) -> None:
    if checkpoint.origin != tree.origin:
        raise NoteInvalid(f"it is one of {checkpoint.origin}")
    if size is not None and checkpoint.size != size:
        raise NoteInvalid(f"it is one over {checkpoint.size}")


def _check_signature(tree: _Tree, note: Note, checkpoint: Checkpoint) -> None:
    if not tree.trust.keys:
        return
    problems = []
    for key in tree.trust.keys:
        try:
            Verifier(checkpoint.origin, key).verify(note)
        except NoteInvalid as error:
            problems.append(error)
        else:
            return
    raise problems[0]


def _notes(connection: Connection, after: int) -> Iterator[tuple[str, int]]:
    query = select(_checkpoint.note, _checkpoint.size).where(_checkpoint.size >= after)
    yield from ((row.note, row.size) for row in connection.execute(query))


# --- leaves -----------------------------------------------------------------------------------


def _leaves(connection: Connection, start: int) -> Sequence[Any]:
    """The next leaves, each with the hash that its record has now."""
    within = _leaf.idx.between(start, start + PAGE - 1)
    if connection.execute(select(_leaf.idx).where(within).limit(1)).one_or_none() is None:
        return ()
    query = (
        select(_leaf.idx, _leaf.run, _leaf.seq, _leaf.head, _event.hash)
        .outerjoin_from(LeafRow, EventRow, (_event.run == _leaf.run) & (_event.seq == _leaf.seq))
        .where(within)
    )
    return connection.execute(query.order_by(_leaf.idx)).all()


def _check_leaves(tree: _Tree, leaves: Sequence[Any]) -> None:
    first, nodes = tree.frontier.size, []
    for idx, run, seq, head, now in leaves:
        if idx != tree.frontier.size:
            tree.find(f"the tree lacks its leaf {tree.frontier.size}")
            tree.frontier = Frontier(idx, tree.frontier.hashes)  # its root is wrong from here on
        _check_leaf(tree, run, seq, head, now)
        tree.frontier, new = tree.frontier.plus(Leaf(run, seq, head).hash)
        nodes += new
        if tree.frontier.size in tree.wanted:
            _check_roots(tree)
    _check_nodes(tree, nodes, first)


def _check_leaf(tree: _Tree, run: str, seq: int, head: bytes, now: bytes | None) -> None:
    if now is None:
        tree.find("it was sealed and is gone: the run was cut off before it", run, seq)
    elif now != head:
        tree.find("it is not the record that was sealed: its chain was made anew", run, seq)
    if seq <= tree.sealed.get(run, 0):
        tree.find("it was sealed after a later one", run, seq)
    tree.sealed[run] = max(seq, tree.sealed.get(run, 0))


def _check_nodes(tree: _Tree, nodes: Sequence[tuple[int, int, bytes]], first: int) -> None:
    """The stored subtrees are those that the leaves make."""
    stored: dict[tuple[int, int], bytes] = {}
    for level in {level for level, _, _ in nodes}:
        within = (
            _node.level == level,
            _node.n.between(first >> level, tree.frontier.size >> level),
        )
        rows = tree.connection.execute(select(_node.n, _node.hash).where(*within))
        stored |= {(level, row.n): row.hash for row in rows}
    for level, n, digest in nodes:
        if stored.get((level, n)) != digest:
            tree.find(f"node {n} of level {level} of the tree is not what its leaves make")
            return  # one says enough: those above it are wrong as well


def _check_roots(tree: _Tree) -> None:
    for where, root in tree.wanted.pop(tree.frontier.size, ()):
        tree.result.checkpoints += 1
        if tree.frontier.root != root:
            tree.find(f"{where} has another root than the tree: its history was made anew")


def _check_end(tree: _Tree) -> None:
    size = tree.frontier.size
    for missing, claims in sorted(tree.wanted.items()):
        for where, _ in claims:
            if missing > size:
                tree.find(
                    f"{where} is over {missing} heads, and there are {size}: the store was cut or "
                    "rolled back"
                )
    newest = tree.connection.execute(select(func.max(_checkpoint.size))).scalar() or 0
    if newest < size:
        tree.find(f"{size - newest} leaves of the tree stand under no checkpoint")
    count = tree.connection.execute(select(func.count()).select_from(NodeRow)).scalar_one()
    if count > (expected := 2 * size - len(list(complete_subtrees(size)))):
        tree.find(f"the tree has {count - expected} nodes too many")


def _check_witnesses(tree: _Tree) -> None:
    """What each witness signed last is a checkpoint of this store."""
    newest: dict[str, tuple[int, str]] = {}
    query = select(_cosignature.size, _cosignature.name, _cosignature.line)
    for size, name, line in tree.connection.execute(query.order_by(_cosignature.size)):
        newest[name] = (size, line)
    for party in tree.trust.witnesses:
        if party.name not in newest:
            tree.find(f"no signature of the witness {party.name} is in the store")
    for name, (size, line) in newest.items():
        try:
            _check_cosignature(tree, name, size, line)
        except NoteInvalid as error:
            tree.find(f"what the witness {name} signed over {size} heads is not here: {error}")


def _check_cosignature(tree: _Tree, name: str, size: int, line: str) -> None:
    query = select(_checkpoint.note).where(_checkpoint.size == size)
    text = tree.connection.execute(query).scalar()
    if text is None:
        raise NoteInvalid("that checkpoint is gone")
    note = Note(Note.parse(text).text, (Signature.parse(line),))
    for party in tree.trust.witnesses:
        if party.name == name:
            Verifier(name, party.raw, COSIGNATURE).verify(note)


def check_run_seals(connection: Connection, result: Verification, run: str) -> None:
    """Hold one run to where it was sealed."""
    sealed = select(_leaf.idx).where(_leaf.run == run).limit(1)
    if connection.execute(sealed).one_or_none() is None:
        return
    query = (
        select(_leaf.seq, _leaf.head, _event.hash)
        .outerjoin_from(LeafRow, EventRow, (_event.run == _leaf.run) & (_event.seq == _leaf.seq))
        .where(_leaf.run == run)
    )
    for seq, head, now in connection.execute(query.order_by(_leaf.seq)):
        if now is None:
            what = "it was sealed and is gone: the run was cut off before it"
            result.findings.append(Finding(run, seq, what))
        elif now != head:
            what = "it is not the record that was sealed: its chain was made anew"
            result.findings.append(Finding(run, seq, what))
