"""The Merkle tree of RFC 6962 section 2, kept so that appending and proving touch O(log n) hashes.

Complete subtrees of 256, 65,536 … leaves never change. Their roots are kept in tiles of 256: tile `i` of
level L holds the roots of the subtrees over 256**L leaves each, numbers 256 i to 256 i + 255. Level 0 repeats
the leaves' own hashes. Any node of a proof lies within one tile, or is put together from one.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from services.kit.canonical import leaf_hash, node_hash, tree_root

EMPTY_ROOT = hashlib.sha256(b"").digest()
TILE_HEIGHT = 8
TILE = 1 << TILE_HEIGHT

__all__ = [
    "EMPTY_ROOT",
    "TILE",
    "Growing",
    "Node",
    "Range",
    "Tile",
    "consistency_plan",
    "hashes_in",
    "includes",
    "inclusion_plan",
    "is_continued_by",
    "leaf_hash",
    "node_hash",
    "nodes_of",
    "range_root",
    "tile_of",
    "tree_root",
]


class Range(NamedTuple):
    """The leaves from `start` up to, not including, `end`."""

    start: int
    end: int


class Node(NamedTuple):
    """The complete subtree over the 2**height leaves from number * 2**height."""

    height: int
    number: int


class Tile(NamedTuple):
    level: int
    number: int


def hashes_in(tile: bytes) -> list[bytes]:
    return [tile[at : at + 32] for at in range(0, len(tile), 32)]


@dataclass
class Growing:
    """The right edge of the tree: of each level the last, incomplete tile.

    Attributes:
        size: number of leaves.
        edges: per level, the hashes in the incomplete tile; nothing for a level not reached.
    """

    size: int = 0
    edges: list[list[bytes]] = field(default_factory=lambda: [[]])

    def append(self, hashes: Iterable[bytes]) -> dict[Tile, bytes]:
        """Adds leaves; returns the tiles that are new or longer than before."""
        changed: dict[Tile, bytes] = {}
        waiting = list(hashes)
        place = 0
        while place < len(waiting):
            part = waiting[place : place + TILE - len(self.edges[0])]
            place += len(part)
            self.size += len(part)
            self._put(0, part, changed)
        return changed

    def _put(self, level: int, part: list[bytes], changed: dict[Tile, bytes]) -> None:
        edge = self.edges[level]
        edge += part
        changed[Tile(level, ((self.size >> (TILE_HEIGHT * level)) - 1) >> TILE_HEIGHT)] = b"".join(edge)
        if len(edge) == TILE:
            self.edges[level] = []
            if level + 1 == len(self.edges):
                self.edges.append([])
            self._put(level + 1, [tree_root(edge)], changed)

    def root(self) -> bytes:
        """The tree's root (the Merkle tree hash of RFC 6962 section 2.1)."""
        found: list[bytes] = []
        for edge in self.edges:
            # What is incomplete below counts as the last, smaller subtree of the level above.
            row = edge + found
            found = [tree_root(row)] if row else []
        return found[0] if found else EMPTY_ROOT


def inclusion_plan(index: int, size: int) -> list[Range]:
    """The subtrees whose roots prove that leaf `index` is in the tree of `size` (section 2.1.1).

    Raises:
        ValueError: it is not.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(Range(split, end))
            end = split
        else:
            path.append(Range(start, split))
            start = split
    return path[::-1]


def consistency_plan(first: int, second: int) -> list[Range]:
    """The subtrees whose roots prove that the tree of `first` became that of `second` (section 2.1.2).

    Raises:
        ValueError: the first is empty, or larger than the second.
    """
    if not 0 < first <= second:
        raise ValueError(f"no tree of {first} became one of {second}")
    path: list[Range] = []
    start, end, whole = 0, second, True
    while first != end:
        split = start + _split(end - start)
        if first <= split:
            path.append(Range(split, end))
            end = split
        else:
            path.append(Range(start, split))
            start, whole = split, False
    if not whole:
        path.append(Range(start, end))
    return path[::-1]


def nodes_of(leaves: Range) -> list[Node]:
    """The complete subtrees a subtree of a plan is made of, from left to right."""
    found: list[Node] = []
    start, end = leaves
    while start < end:
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        found.append(Node(height, start >> height))
        start += 1 << height
    return found


def tile_of(node: Node) -> Tile:
    """The tile a complete subtree's root is in, or can be put together from."""
    level, height = divmod(node.height, TILE_HEIGHT)
    return Tile(level, node.number >> (TILE_HEIGHT - height))


def range_root(leaves: Range, tiles: Mapping[Tile, Sequence[bytes]]) -> bytes:
    """The root over a subtree of a plan, from the tiles of its nodes."""
    hashes = [_node_root(node, tiles[tile_of(node)]) for node in nodes_of(leaves)]
    found = hashes.pop()
    while hashes:
        found = node_hash(hashes.pop(), found)
    return found


def _node_root(node: Node, tile: Sequence[bytes]) -> bytes:
    width = 1 << (node.height % TILE_HEIGHT)
    first = (node.number * width) % TILE
    return tree_root(list(tile[first : first + width]))


def includes(root: bytes, size: int, index: int, leaf: bytes, path: Iterable[bytes]) -> bool:
    """Whether the path proves that the leaf hash is at `index` of the tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for other in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(other, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_continued_by(
    first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the path proves that the second tree only appends to the first (RFC 9162 section 2.1.4.2)."""
    if first > second or first < 0:
        return False
    if first == second:
        return first_root == second_root and not path
    if first == 0:
        return first_root == EMPTY_ROOT and not path
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << ((size - 1).bit_length() - 1)
