"""The Merkle tree of RFC 6962: roots, and proofs that one thing is in it or that it only grew.

Everything here is pure. A tree is read through a function that gives the hash of a complete
subtree, `at(level, n)`: the one over the leaves from `n * 2**level` on. Such a subtree never
changes once it is there, so it can be stored, and every proof takes O(log size) of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agentrt.errors import NotProven

__all__ = [
    "EMPTY_ROOT",
    "At",
    "Frontier",
    "check_consistency",
    "check_inclusion",
    "complete_subtrees",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "root",
]

At = Callable[[int, int], bytes]

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 section 2.1; the prefix keeps a leaf from passing for a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all that it takes to go on appending."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()
    """Of the complete subtrees that the tree consists of, the widest first."""

    def plus(self, leaf: bytes) -> tuple[Frontier, list[tuple[int, int, bytes]]]:
        """The tree with one more leaf hash, and the subtrees this completes: level, n, hash."""
        hashes, new = [*self.hashes, leaf], [(0, self.size, leaf)]
        level, n = 0, self.size
        while n & 1:
            right, left = hashes.pop(), hashes.pop()
            level, n = level + 1, n >> 1
            hashes.append(_node(left, right))
            new.append((level, n, hashes[-1]))
        return Frontier(self.size + 1, tuple(hashes)), new

    @property
    def root(self) -> bytes:
        """The root hash."""
        if not self.hashes:
            return EMPTY_ROOT
        *others, last = self.hashes
        for left in reversed(others):
            last = _node(left, last)
        return last


def complete_subtrees(size: int) -> Iterator[tuple[int, int]]:
    """Level and n of the subtrees that a tree of this size consists of, the widest first."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield level, start >> level
            start += 1 << level


def root(size: int, at: At) -> bytes:
    """The root hash of the first `size` leaves."""
    return Frontier(size, tuple(at(*place) for place in complete_subtrees(size))).root


def inclusion_proof(index: int, size: int, at: At) -> list[bytes]:
    """The audit path of RFC 6962 section 2.1.1 for the leaf at `index`."""
    if not 0 <= index < size:
        raise NotProven(f"A tree of {size} leaves has no leaf {index}.")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_over(middle, end, at))
            end = middle
        else:
            path.append(_over(start, middle, at))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, at: At) -> list[bytes]:
    """The proof of RFC 6962 section 2.1.2 that the tree of `old` leaves is how `new` began."""
    if not 0 <= old <= new:
        raise NotProven(f"A tree of {new} leaves did not grow out of one of {old}.")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_over(middle, end, at))
            end = middle
        else:
            path.append(_over(start, middle, at))
            start, whole = middle, False
    return ([] if whole else [_over(start, end, at)]) + path[::-1]


def _over(start: int, end: int, at: At) -> bytes:
    """The hash over leaves `start` to `end`, which begin a complete subtree."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return at(level, start >> level)
    middle = start + _split(width)
    return _node(_over(start, middle, at), _over(middle, end, at))


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def check_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], *, root: bytes
) -> None:
    """RFC 9162 section 2.1.3.2. Raises NotProven."""
    if not 0 <= index < size:
        raise NotProven(f"A tree of {size} leaves has no leaf {index}.")
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise NotProven("The inclusion proof is too long.")
        if place & 1 or place == last:
            found = _node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or found != root:
        raise NotProven("The inclusion proof does not lead to the root of the checkpoint.")


def check_consistency(
    old: int, new: int, path: Sequence[bytes], *, old_root: bytes, new_root: bytes
) -> None:
    """RFC 9162 section 2.1.4.2: the tree only grew from one to the other. Raises NotProven."""
    if old in (0, new):
        before = EMPTY_ROOT if old == 0 else new_root
        if path or old_root != before:
            raise NotProven(f"These are two different trees of {old} leaves.")
        return
    if not 0 < old < new:
        raise NotProven(f"A tree of {new} leaves did not grow out of one of {old}.")
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        raise NotProven("The consistency proof is too short.")
    ours, theirs = _climb(old - 1, new - 1, hashes)
    if ours != old_root or theirs != new_root:
        raise NotProven(f"The tree of {new} leaves did not grow out of this one of {old}.")


def _climb(place: int, last: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of the old and of the new tree that a consistency proof leads to."""
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise NotProven("The consistency proof is too long.")
        if place & 1 or place == last:
            old, new = _node(sibling, old), _node(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = _node(new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise NotProven("The consistency proof is too short.")
    return old, new
