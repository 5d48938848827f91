"""The tree against RFC 6962 by definition, and against pymerkle."""

import hashlib

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audit.tree import (
    EMPTY_ROOT,
    TILE,
    Growing,
    Range,
    Tile,
    consistency_plan,
    includes,
    inclusion_plan,
    is_continued_by,
    leaf_hash,
    nodes_of,
    range_root,
    tile_of,
)
from services.kit.canonical import node_hash, set_root

MOST = 1400


def by_definition(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    n = len(hashes)
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashes[0]
    k = 1
    while k * 2 < n:
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(hashes[:k]) + by_definition(hashes[k:])).digest()


HASHES = [leaf_hash(str(n).encode()) for n in range(MOST)]
ORACLE = pymerkle.InmemoryTree(algorithm="sha256")
for _n in range(MOST):
    ORACLE.append_entry(str(_n).encode())


class Kept:
    """The tree as the database keeps it."""

    def __init__(self) -> None:
        self.growing = Growing()
        self.tiles: dict[Tile, bytes] = {}

    def grow_to(self, size: int) -> None:
        self.tiles |= self.growing.append(HASHES[self.growing.size : size])

    def path(self, plan: list[Range]) -> list[bytes]:
        return [
            range_root(leaves, {tile_of(n): self.tile(tile_of(n)) for n in nodes_of(leaves)})
            for leaves in plan
        ]

    def tile(self, tile: Tile) -> list[bytes]:
        if tile.level == 0:
            return HASHES[tile.number * TILE : (tile.number + 1) * TILE]
        whole = self.tiles[tile]
        return [whole[at : at + 32] for at in range(0, len(whole), 32)]


def kept(size: int, steps: tuple[int, ...] = ()) -> Kept:
    found = Kept()
    for step in (*sorted(s for s in steps if s < size), size):
        found.grow_to(step)
    return found


SIZES = st.integers(0, MOST) | st.sampled_from([0, 1, 2, 255, 256, 257, 511, 512, 513, 1024, 1025])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 255, 256, 257, 512, 700, 1024, MOST])
def test_the_root_is_that_of_the_rfc_and_of_pymerkle(size: int) -> None:
    root = kept(size).growing.root()
    assert root == by_definition(HASHES[:size])
    assert root == ORACLE.get_root(size)


def test_the_empty_tree_has_the_root_the_rfc_gives() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Growing().root() == EMPTY_ROOT


@settings(max_examples=60, deadline=None)
@given(SIZES, st.lists(st.integers(0, MOST), max_size=5))
def test_it_does_not_matter_in_which_steps_the_tree_grew(size: int, steps: list[int]) -> None:
    assert kept(size, tuple(steps)).growing.root() == by_definition(HASHES[:size])
    assert kept(size, tuple(steps)).tiles == kept(size).tiles


@settings(max_examples=150, deadline=None)
@given(SIZES.filter(bool), st.data())
def test_an_inclusion_proof_holds_for_its_leaf_alone(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    tree = kept(size)
    root, path = tree.growing.root(), tree.path(inclusion_plan(index, size))
    assert len(path) <= (size - 1).bit_length()
    assert includes(root, size, index, HASHES[index], path)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index)) if size > 1 else None
    if other is not None:
        assert not includes(root, size, other, HASHES[index], path)
        assert not includes(root, size, index, HASHES[other], path)
        assert not includes(root, size, index, HASHES[index], path[:-1])
    assert not includes(root, size, index, HASHES[index], [*path, root])
    assert not includes(root, size, size, HASHES[index], path)


@settings(max_examples=150, deadline=None)
@given(SIZES.filter(bool), st.data())
def test_a_consistency_proof_holds_for_its_two_trees_alone(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    tree = kept(second)
    old, new = by_definition(HASHES[:first]), tree.growing.root()
    path = tree.path(consistency_plan(first, second))
    assert is_continued_by(first, old, second, new, path)
    if first < second:
        assert not is_continued_by(first, new, second, new, path)
        assert not is_continued_by(first, old, second, old, path)
        assert not is_continued_by(first, old, second, new, path[:-1])
        assert not is_continued_by(second, new, first, old, path)


@settings(max_examples=60, deadline=None)
@given(SIZES.filter(bool), st.data())
def test_pymerkle_finds_the_same_paths(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    theirs = ORACLE.prove_inclusion(index + 1, size)
    pymerkle.verify_inclusion(HASHES[index], kept(size).growing.root(), theirs)
    # Theirs is the leaf itself, then the siblings upwards.
    assert kept(size).path(inclusion_plan(index, size)) == list(theirs.path[1:])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 3)])
def test_a_leaf_that_is_not_there_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree of"):
        inclusion_plan(index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3), (-1, 3)])
def test_trees_that_did_not_follow_each_other_have_no_proof(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="no tree of"):
        consistency_plan(first, second)


def test_a_set_of_persons_has_one_root_however_it_is_given() -> None:
    a, b = leaf_hash(b"h1_a"), leaf_hash(b"h1_b")
    assert set_root(["h1_b", "h1_a", "h1_b"]) == node_hash(a, b)
    assert set_root([]) == EMPTY_ROOT
