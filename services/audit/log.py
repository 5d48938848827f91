"""Reading the log: its heads, its leaves with what stands at their sources now."""

from collections import defaultdict
from collections.abc import Sequence

from services.audit import repository
from services.audit.repository import HeadRow
from services.audit.shapes import Head, HeadPage, Leaf, LeafPage, Stray, StrayPage
from services.kit.database import Connection, Row
from services.kit.problems import not_found


def head_shape(row: HeadRow) -> Head:
    return Head(size=row.size, root=row.root.hex(), at=row.at, jws=row.jws)


async def latest_head(db: Connection) -> Head:
    """Raises Problem 404 before the first head is signed, about a second after the first start."""
    found = await repository.latest_head(db)
    if found is None:
        raise not_found("no head is signed yet; ask again in a second", code="no_head")
    return head_shape(found)


async def heads(db: Connection, *, after: int, limit: int) -> HeadPage:
    rows = await repository.heads_after(db, after, limit)
    return HeadPage(
        heads=[head_shape(row) for row in rows], next=rows[-1].size if len(rows) == limit else None
    )


async def leaves(db: Connection, *, after: int, size: int | None, limit: int) -> LeafPage:
    """Leaves as they went into the tree, with their bodies as they stand at the sources now."""
    below = (await latest_head(db)).size if size is None else size
    rows = await repository.leaves(db, after=after, below=below, limit=limit)
    bodies = await _bodies(db, rows)
    found = [
        Leaf(
            index=row["index"],
            source=row["source"],
            seq=row["source_seq"],
            at=row["at"],
            hash=row["hash"].hex(),
            body=bodies.get((row["source"], row["source_seq"])),
        )
        for row in rows
    ]
    return LeafPage(leaves=found, next=found[-1].index if len(found) == limit else None)


async def _bodies(db: Connection, rows: Sequence[Row]) -> dict[tuple[str, int], str]:
    wanted: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        wanted[row["source"]].append(row["source_seq"])
    readable = set(await repository.leaf_tables(db))
    found: dict[tuple[str, int], str] = {}
    for source, seqs in wanted.items():
        if source in readable:
            bodies = await repository.bodies(db, source, seqs)
            found.update(((source, seq), body) for seq, body in bodies.items())
    return found


async def strays(db: Connection, *, limit: int) -> StrayPage:
    readable = set(await repository.leaf_tables(db))
    found: list[Stray] = []
    for source in await repository.sources(db):
        if source.name in readable and len(found) < limit:
            seqs = await repository.strays(db, source, limit - len(found))
            found += [Stray(source=source.name, seq=seq) for seq in seqs]
    return StrayPage(strays=found)
