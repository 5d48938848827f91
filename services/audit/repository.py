"""Every statement of the audit: the services' leaf tables are read, its own tables written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.audit.tree import TILE, Growing, Tile
from services.kit.database import Connection, Row, Transaction

BEGINNING = "1:1:"
"""A snapshot (pg_snapshot) that sees nothing."""


@dataclass
class SourceState:
    """How far a service's leaves are in the tree (see the migration)."""

    name: str
    system: int
    done: str
    target: str | None = None
    xid: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class HeadRow:
    size: int
    root: bytes
    at: datetime
    jws: str


# --- the services' leaves ----------------------------------------------------------------------------


async def leaf_tables(db: Connection) -> list[str]:
    """The schemas whose access leaves this role may read."""
    rows = await db.fetch(
        """select nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
           where relname = 'leaf' and relkind in ('r', 'p')
               and has_schema_privilege(pg_namespace.oid, 'usage')
               and has_table_privilege(pg_class.oid, 'select')
           order by nspname"""
    )
    return [row["nspname"] for row in rows]


async def cluster(db: Connection) -> int:
    return int(await db.fetchval("select system_identifier from pg_control_system()"))


async def current_snapshot(db: Connection) -> str:
    return str(await db.fetchval("select pg_current_snapshot()::text"))


async def new_leaves(
    db: Connection, sources: Sequence[SourceState], snapshot: str, limit: int
) -> dict[str, list[Row]]:
    """Of each source, the next leaves that the snapshot sees and `done` did not, at most `limit` each.

    Leaves are told apart by the snapshot that first saw their transaction, not by their numbers: those are
    taken before the commit. So no long transaction holds up the leaves of the others.
    """
    parts = [
        f"""(select {place}::int as place, xid::text::bigint as xid, seq, at, body, hash
             from "{source.name}".leaf
             where xid >= pg_snapshot_xmin(($1::text[])[{place}]::pg_snapshot)
                 and pg_visible_in_snapshot(xid, ($2::text[])[{place}]::pg_snapshot)
                 and not pg_visible_in_snapshot(xid, ($1::text[])[{place}]::pg_snapshot)
                 and (xid, seq) > ((($3::text[])[{place}])::xid8, ($4::bigint[])[{place}])
             order by leaf.xid, seq limit $5)"""
        for place, source in enumerate(sources, 1)
    ]
    if not parts:
        return {}
    rows = await db.fetch(
        " union all ".join(parts),
        [source.done for source in sources],
        [source.target or snapshot for source in sources],
        [str(source.xid) for source in sources],
        [source.seq for source in sources],
        limit,
    )
    found: dict[str, list[Row]] = {source.name: [] for source in sources}
    for row in rows:
        found[sources[row["place"] - 1].name].append(row)
    return found


async def not_in_tree(db: Connection, source: str, rows: Sequence[Row]) -> list[Row]:
    """Without those that are in the tree already: after a move from another database cluster, transaction
    numbers come again."""
    known = await db.fetch(
        "select source_seq from tree_leaf where source = $1 and source_seq = any($2::bigint[])",
        source,
        [row["seq"] for row in rows],
    )
    seqs = {row["source_seq"] for row in known}
    return [row for row in rows if row["seq"] not in seqs]


async def bodies(db: Connection, source: str, seqs: Sequence[int]) -> dict[int, str]:
    """What stands in a source's leaves now."""
    rows = await db.fetch(f'select seq, body from "{source}".leaf where seq = any($1::bigint[])', seqs)
    return {row["seq"]: row["body"] for row in rows}


async def strays(db: Connection, source: SourceState, limit: int) -> list[int]:
    """Leaves that should be in the tree by now and are not: put in behind the sequencer's back."""
    rows = await db.fetch(
        f"""select seq from "{source.name}".leaf
            where pg_visible_in_snapshot(xid, $1::text::pg_snapshot) and not exists (
                select from tree_leaf where source = $2 and source_seq = leaf.seq)
            order by seq limit $3""",
        source.done,
        source.name,
        limit,
    )
    return [row["seq"] for row in rows]


async def unsequenced(db: Connection, source: str, *, after: int, limit: int) -> list[Row]:
    """Any leaves of a source that are not in the tree, whatever their transaction numbers say."""
    return await db.fetch(
        f"""select seq, at, body, hash from "{source}".leaf
            where seq > $2 and not exists (
                select from tree_leaf where source = $1 and source_seq = leaf.seq)
            order by seq limit $3""",
        source,
        after,
        limit,
    )


# --- how far they are in the tree --------------------------------------------------------------------


async def sources(db: Connection) -> list[SourceState]:
    rows = await db.fetch("select name, system, done, target, xid, seq from source order by name")
    return [SourceState(**dict(row)) for row in rows]


async def keep_sources(db: Connection, states: Iterable[SourceState]) -> None:
    await db.executemany(
        """insert into source (name, system, done, target, xid, seq) values ($1, $2, $3, $4, $5, $6)
           on conflict (name) do update set system = excluded.system, done = excluded.done,
               target = excluded.target, xid = excluded.xid, seq = excluded.seq""",
        [(s.name, s.system, s.done, s.target, s.xid, s.seq) for s in states],
    )


# --- the tree ----------------------------------------------------------------------------------------


async def size(db: Connection) -> int:
    found = await db.fetchval("select max(index) from tree_leaf")
    return 0 if found is None else int(found) + 1


async def right_edge(db: Connection) -> Growing:
    """What the sequencer goes on from."""
    count = await size(db)
    edges = [await _leaf_tile(db, count // TILE)] if count % TILE else [[]]
    level = 1
    while count >> (8 * level):
        inside = (count >> (8 * level)) % TILE
        number = (count >> (8 * level)) // TILE
        tile = await tiles(db, [Tile(level, number)]) if inside else {}
        edges.append(list(tile[Tile(level, number)]) if inside else [])
        level += 1
    return Growing(count, edges)


async def _leaf_tile(db: Connection, number: int) -> list[bytes]:
    rows = await db.fetch(
        "select hash from tree_leaf where index >= $1 and index < $2 order by index",
        number * TILE,
        (number + 1) * TILE,
    )
    return [row["hash"] for row in rows]


async def tiles(db: Connection, wanted: Iterable[Tile]) -> dict[Tile, list[bytes]]:
    """The hashes in these tiles; those of level 0 are the leaves' own."""
    found: dict[Tile, list[bytes]] = {}
    above: list[Tile] = []
    for tile in set(wanted):
        if tile.level:
            above.append(tile)
        else:
            found[tile] = await _leaf_tile(db, tile.number)
    if above:
        rows = await db.fetch(
            """select level, number, hashes from tile
               where (level, number) in (select * from unnest($1::smallint[], $2::bigint[]))""",
            [tile.level for tile in above],
            [tile.number for tile in above],
        )
        for row in rows:
            whole = row["hashes"]
            hashes = [whole[at : at + 32] for at in range(0, len(whole), 32)]
            found[Tile(row["level"], row["number"])] = hashes
    return found


async def append(
    tx: Transaction,
    first: int,
    rows: Sequence[tuple[str, int, bytes, datetime]],
    changed: Mapping[Tile, bytes],
) -> None:
    """Adds leaves as (source, seq, hash, at) from index `first` on, and the tiles that changed with them."""
    await tx.copy_records_to_table(
        "tree_leaf",
        records=[(first + place, *row) for place, row in enumerate(rows)],
        columns=("index", "source", "source_seq", "hash", "at"),
    )
    if changed:
        await tx.executemany(
            """insert into tile (level, number, hashes) values ($1, $2, $3)
               on conflict (level, number) do update set hashes = excluded.hashes""",
            [(tile.level, tile.number, hashes) for tile, hashes in changed.items()],
        )


async def leaf_hash_at(db: Connection, index: int) -> bytes | None:
    found = await db.fetchval("select hash from tree_leaf where index = $1", index)
    return bytes(found) if found is not None else None


async def leaves(db: Connection, *, after: int, below: int, limit: int) -> list[Row]:
    return await db.fetch(
        """select index, source, source_seq, hash, at from tree_leaf
           where index > $1 and index < $2 order by index limit $3""",
        after,
        below,
        limit,
    )


# --- signed heads ------------------------------------------------------------------------------------


async def keep_head(tx: Transaction, head: HeadRow) -> None:
    await tx.execute(
        "insert into head (size, root, at, jws) values ($1, $2, $3, $4)",
        head.size,
        head.root,
        head.at,
        head.jws,
    )


async def latest_head(db: Connection) -> HeadRow | None:
    found = await _heads(db, "order by size desc limit 1")
    return found[0] if found else None


async def head_of(db: Connection, size: int) -> HeadRow | None:
    found = await _heads(db, "where size = $1", size)
    return found[0] if found else None


async def heads_after(db: Connection, size: int, limit: int) -> list[HeadRow]:
    return await _heads(db, "where size > $1 order by size limit $2", size, limit)


async def _heads(db: Connection, which: str, *values: Any) -> list[HeadRow]:
    return [
        HeadRow(**dict(row))
        for row in await db.fetch(f"select size, root, at, jws from head {which}", *values)
    ]


async def counts(db: Connection) -> dict[str, int]:
    """How many leaves the tree has, for the start page."""
    return {"leaves": await size(db)}
