"""The tree of RFC 6962 against the test vectors of Certificate Transparency, and its laws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    complete_subtrees,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
)
from agentrt.errors import NotProven

# The inputs and roots of certificate-transparency's merkletree tests.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

At = Callable[[int, int], bytes]
leaves = st.lists(st.binary(max_size=4), min_size=1, max_size=70, unique=True)


def tree(data: list[bytes]) -> tuple[Frontier, At]:
    frontier, nodes = Frontier(), {}
    for each in data:
        frontier, new = frontier.plus(leaf_hash(each))
        nodes |= {(level, n): digest for level, n, digest in new}
    return frontier, lambda level, n: nodes[level, n]


def by_the_book(data: list[bytes]) -> bytes:
    """MTH as RFC 6962 defines it, with nothing kept."""
    if len(data) < 2:
        return hashlib.sha256(b"\x00" + data[0]).digest() if data else hashlib.sha256().digest()
    split = 1
    while split * 2 < len(data):
        split *= 2
    left, right = by_the_book(data[:split]), by_the_book(data[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_roots_are_those_of_certificate_transparency() -> None:
    assert Frontier().root == EMPTY_ROOT == by_the_book([])
    for size, expected in enumerate(ROOTS, start=1):
        assert tree(INPUTS[:size])[0].root.hex() == expected


@pytest.mark.parametrize(("place", "expected"), INCLUSION.items())
def test_inclusion_proofs_are_those_of_certificate_transparency(
    place: tuple[int, int], expected: list[str]
) -> None:
    _, at = tree(INPUTS)
    assert [each.hex() for each in inclusion_proof(*place, at)] == expected


@pytest.mark.parametrize(("sizes", "expected"), CONSISTENCY.items())
def test_consistency_proofs_are_those_of_certificate_transparency(
    sizes: tuple[int, int], expected: list[str]
) -> None:
    _, at = tree(INPUTS)
    assert [each.hex() for each in consistency_proof(*sizes, at)] == expected


@given(leaves)
@settings(deadline=None)
def test_the_root_is_what_the_rfc_defines_at_every_size(data: list[bytes]) -> None:
    frontier, at = tree(data)
    assert frontier.root == by_the_book(data)
    assert len(frontier.hashes) == len(list(complete_subtrees(len(data))))
    for size in range(len(data) + 1):
        assert root(size, at) == by_the_book(data[:size])


@given(leaves, st.data())
@settings(deadline=None)
def test_every_leaf_is_proven_in_every_tree_that_has_it_and_nowhere_else(
    data: list[bytes], draw: st.DataObject
) -> None:
    _, at = tree(data)
    size = draw.draw(st.integers(1, len(data)))
    index = draw.draw(st.integers(0, size - 1))
    path, leaf, top = inclusion_proof(index, size, at), leaf_hash(data[index]), root(size, at)
    check_inclusion(leaf, index, size, path, root=top)
    assert len(path) <= size.bit_length()
    for other in range(size):
        if other != index:
            with pytest.raises(NotProven):
                check_inclusion(leaf_hash(data[other] + b"!"), index, size, path, root=top)
            with pytest.raises(NotProven):
                check_inclusion(leaf, other, size, path, root=top)
    for wrong in (path[:-1], [*path, EMPTY_ROOT]):
        if wrong != path:
            with pytest.raises(NotProven):
                check_inclusion(leaf, index, size, wrong, root=top)


@given(leaves, st.data())
@settings(deadline=None)
def test_growth_is_proven_and_nothing_else(data: list[bytes], draw: st.DataObject) -> None:
    _, at = tree(data)
    new = draw.draw(st.integers(1, len(data)))
    old = draw.draw(st.integers(0, new))
    path = consistency_proof(old, new, at)
    roots = {"old_root": root(old, at), "new_root": root(new, at)}
    check_consistency(old, new, path, **roots)
    other, other_at = tree([*data[: max(old - 1, 0)], b"another", *data[old:]])
    if old > 0 and other.root != roots["new_root"]:
        with pytest.raises(NotProven):
            check_consistency(old, new, path, **{**roots, "old_root": root(old, other_at)})
        with pytest.raises(NotProven):
            check_consistency(old, new, path, **{**roots, "new_root": EMPTY_ROOT})
        if 0 < old < new:
            with pytest.raises(NotProven):
                check_consistency(old, new, [*path, EMPTY_ROOT], **roots)
            with pytest.raises(NotProven):
                check_consistency(old, new, path[:-1], **roots)


def test_what_cannot_be_proven_is_refused() -> None:
    _, at = tree(INPUTS)
    with pytest.raises(NotProven):
        inclusion_proof(8, 8, at)
    with pytest.raises(NotProven):
        consistency_proof(9, 8, at)
    with pytest.raises(NotProven):
        check_consistency(9, 8, [], old_root=EMPTY_ROOT, new_root=EMPTY_ROOT)
