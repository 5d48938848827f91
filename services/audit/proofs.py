"""Proofs for those who do not trust us: that a leaf is in the tree, that the tree only ever grew."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.audit import repository
from services.audit.repository import HeadRow
from services.audit.tree import Range, consistency_plan, inclusion_plan, nodes_of, range_root, tile_of
from services.kit.database import Connection
from services.kit.problems import bad_request, not_found


@dataclass(frozen=True, slots=True)
class Inclusion:
    index: int
    leaf: bytes
    head: HeadRow
    path: list[bytes]


@dataclass(frozen=True, slots=True)
class Consistency:
    first: HeadRow
    second: HeadRow
    path: list[bytes]


async def inclusion(db: Connection, *, index: int, size: int | None) -> Inclusion:
    """Raises Problem when there is no such head, or no such leaf in its tree."""
    head = await _head(db, size)
    if index >= head.size:
        raise not_found(
            f"leaf {index} is not in the tree of {head.size} leaves (they count from 0)", code="no_leaf"
        )
    leaf = await repository.leaf_hash_at(db, index)
    assert leaf is not None, "the tree has every leaf below its size"
    return Inclusion(index, leaf, head, await _path(db, inclusion_plan(index, head.size)))


async def consistency(db: Connection, *, first: int, second: int | None) -> Consistency:
    """Raises Problem when there are no such heads, or the second is the smaller one."""
    new = await _head(db, second)
    old = await _head(db, first)
    if old.size > new.size:
        raise bad_request("heads_reversed", f"a tree of {old.size} never became one of {new.size}; swap them")
    path = await _path(db, consistency_plan(old.size, new.size)) if old.size else []
    return Consistency(old, new, path)


async def _head(db: Connection, size: int | None) -> HeadRow:
    head = await (repository.latest_head(db) if size is None else repository.head_of(db, size))
    if head is None:
        what = "no head is signed yet" if size is None else f"no head of size {size} was signed"
        raise not_found(f"{what}; /audit/heads lists those there are", code="no_head")
    return head


async def _path(db: Connection, plan: Sequence[Range]) -> list[bytes]:
    tiles = await repository.tiles(db, {tile_of(node) for leaves in plan for node in nodes_of(leaves)})
    return [range_root(leaves, tiles) for leaves in plan]
