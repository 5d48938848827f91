"""Reading the log: its heads, its leaves with what stands at their sources now, its tiles."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson

from services.audit import repository
from services.audit.repository import HeadRow
from services.audit.shapes import DailyHead, DailyHeadPage, Head, HeadPage, Stray, StrayPage, Tile, TilePage
from services.audit.tree import Tile as Place
from services.kit.canonical import set_root
from services.kit.database import Connection, Row
from services.kit.problems import not_found

MEMBERS_AT_A_TIME = 50_000
"""Leaves of one source whose persons are looked at together."""


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


async def daily_heads(db: Connection, *, after: date | None, limit: int) -> DailyHeadPage:
    rows = await repository.daily_heads(db, after or date(1970, 1, 1), limit)
    found = [DailyHead(day=day, **head_shape(row).model_dump()) for day, row in rows]
    return DailyHeadPage(heads=found, next=found[-1].day if len(found) == limit else None)


async def leaves(db: Connection, *, after: int, size: int | None, limit: int) -> tuple[bytes, int]:
    """A LeafPage as JSON, and how many leaves it has: as they went into the tree, as they stand now.

    JSON at once, because a million leaves as objects take longer than their hashes.
    """
    below = (await latest_head(db)).size if size is None else size
    rows = await repository.leaves(db, after=after, below=below, limit=limit)
    sources = await _at_sources(db, rows)
    found = [_leaf(row, sources.get((row["source"], row["source_seq"]))) for row in rows]
    tiles = await repository.leaf_tiles(db, rows[0]["index"], rows[-1]["index"]) if rows else []
    page = {
        "leaves": found,
        "tiles": [{"level": 0, "number": t["number"], "hashes": t["hashes"].hex()} for t in tiles],
        "next": found[-1]["index"] if len(found) == limit else None,
    }
    return orjson.dumps(page), len(found)


def _leaf(row: Row, now: Row | None) -> dict[str, Any]:
    return {
        "index": row["index"],
        "source": row["source"],
        "seq": row["source_seq"],
        "at": row["at"],
        "hash": row["hash"].hex(),
        "body": now["body"] if now is not None else None,
        "beside": list(_beside(row, now)) if now is not None else [],
    }


def _beside(row: Row, now: Row) -> Iterator[str]:
    """Columns of a leaf that do not say what its body says: people's own lists are read by them."""
    if now["hash"] != row["hash"]:
        yield "hash"
    try:
        said = orjson.loads(now["body"])
        at = datetime.fromisoformat(said["at"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        return  # such a body has another hash, which names the leaf
    if now["subject"] != said.get("subject"):
        yield "subject"
    if not now["at"] == row["at"] == at:
        yield "at"


async def _at_sources(db: Connection, rows: Sequence[Row]) -> dict[tuple[str, int], Row]:
    wanted: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        wanted[row["source"]].append(row["source_seq"])
    readable = set(await repository.leaf_tables(db))
    found: dict[tuple[str, int], Row] = {}
    for source, seqs in wanted.items():
        if source in readable:
            now = await repository.at_source(db, source, seqs)
            found.update(((source, row["seq"]), row) for row in now)
    return found


async def tiles(db: Connection, *, after: str, limit: int) -> TilePage:
    level, _, number = after.partition("/")
    rows = await repository.tiles_after(db, Place(int(level), int(number)), limit)
    found = [Tile(level=r["level"], number=r["number"], hashes=r["hashes"].hex()) for r in rows]
    return TilePage(
        tiles=found, next=f"{found[-1].level}/{found[-1].number}" if len(found) == limit else None
    )


async def strays(db: Connection, *, limit: int) -> StrayPage:
    size = await repository.size(db)
    found = [
        Stray(source=f"audit.tile {tile.level}", seq=tile.number, what="inserted beyond the tree's end")
        for tile in await repository.stray_tiles(db, size)
    ]
    readable = set(await repository.leaf_tables(db))
    for source in await repository.sources(db):
        if source.name in readable and len(found) < limit:
            seqs = await repository.strays(db, source, limit - len(found))
            what = "inserted at its source; it is not in the tree"
            found += [Stray(source=source.name, seq=seq, what=what) for seq in seqs]
            found += await _wrong_members(db, source.name, limit - len(found))
    return StrayPage(strays=found[:limit], size=size)


async def _wrong_members(db: Connection, source: str, limit: int) -> list[Stray]:
    """Leaves of bulk accesses whose persons are not those whose Merkle root they carry."""
    found: list[Stray] = []
    newest = await repository.newest_seq(db, source)
    for after in range(0, newest, MEMBERS_AT_A_TIME):
        for row in await repository.bulk_leaves(db, source, after, after + MEMBERS_AT_A_TIME):
            if set_root(row["subjects"]).hex() != _subjects_root(row["body"]):
                found.append(Stray(source=source, seq=row["seq"], what=_OTHER_PERSONS))
                if len(found) >= limit:
                    return found
    return found


_OTHER_PERSONS = "the persons listed with it are not those of its body"


def _subjects_root(body: str | None) -> str | None:
    try:
        root: str | None = orjson.loads(body or "{}").get("subjects_root")
    except (ValueError, AttributeError):
        return None
    return root
