"""Every statement of the audit: the services' leaf tables are read, its own tables written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.audit.shapes import Outcome
from services.audit.tree import TILE, Growing, Tile, hashes_in
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


class AlteredLogError(Exception):
    """The log's own tables contradict each other; somebody has to look before it goes on."""


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


async def at_source(db: Connection, source: str, seqs: Sequence[int]) -> list[Row]:
    """What stands in a source's leaves now: seq, at, subject, body, hash."""
    return await db.fetch(
        f'select seq, at, subject, body, hash from "{source}".leaf where seq = any($1::bigint[])', seqs
    )


async def strays(db: Connection, source: SourceState, limit: int) -> list[int]:
    """Leaves that are not in the tree and should be by now, or never would be: put in behind its back."""
    rows = await db.fetch(
        f"""select seq from "{source.name}".leaf
            where (pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
                    or xid >= pg_snapshot_xmax(pg_current_snapshot()))
                and not exists (select from tree_leaf where source = $2 and source_seq = leaf.seq)
            order by seq limit $3""",
        source.done,
        source.name,
        limit,
    )
    return [row["seq"] for row in rows]


async def newest_seq(db: Connection, source: str) -> int:
    return int(await db.fetchval(f'select coalesce(max(seq), 0) from "{source}".leaf'))


async def bulk_leaves(db: Connection, source: str, after: int, up_to: int) -> list[Row]:
    """Leaves that name their persons by a Merkle root, or have persons: seq, body, members."""
    return await db.fetch(
        f"""with member as (
                select leaf_seq, array_agg(subject) as subjects from "{source}".leaf_member
                where leaf_seq > $1 and leaf_seq <= $2 group by leaf_seq)
            select coalesce(leaf.seq, leaf_seq) as seq, leaf.body, coalesce(subjects, '{{}}') as subjects
            from (select seq, body from "{source}".leaf
                  where seq > $1 and seq <= $2 and position('"subjects_root"' in body) > 0) leaf
            full join member on leaf_seq = leaf.seq order by 1""",
        after,
        up_to,
    )


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
    """What the sequencer goes on from.

    Raises:
        AlteredLogError: the tiles do not have what the leaves say; nothing is built on that.
    """
    count = await size(db)
    edges: list[list[bytes]] = []
    level = 0
    while not level or count >> (8 * level):
        number, inside = divmod(count >> (8 * level), TILE)
        tile = await tiles(db, [Tile(level, number)]) if inside else {}
        edges.append(tile.get(Tile(level, number), [])[:inside])
        if len(edges[-1]) < inside:
            raise AlteredLogError(
                f"of {count} leaves, tile {level}/{number} has not {inside} but {len(edges[-1])}"
            )
        level += 1
    return Growing(count, edges)


async def tiles(db: Connection, wanted: Iterable[Tile]) -> dict[Tile, list[bytes]]:
    """The hashes in these tiles."""
    asked = set(wanted)
    rows = await db.fetch(
        """select level, number, hashes from tile
           where (level, number) in (select * from unnest($1::smallint[], $2::bigint[]))""",
        [tile.level for tile in asked],
        [tile.number for tile in asked],
    )
    return {Tile(row["level"], row["number"]): hashes_in(row["hashes"]) for row in rows}


async def tiles_after(db: Connection, after: Tile, limit: int) -> list[Row]:
    """Tiles by level and number: level, number, hashes."""
    return await db.fetch(
        """select level, number, hashes from tile where (level, number) > ($1, $2)
           order by level, number limit $3""",
        after.level,
        after.number,
        limit,
    )


async def leaf_tiles(db: Connection, first: int, last: int) -> list[Row]:
    """The tiles of level 0 over these leaves: number, hashes."""
    return await db.fetch(
        """select number, hashes from tile where level = 0 and number between $1 and $2 order by number""",
        first // TILE,
        last // TILE,
    )


async def stray_tiles(db: Connection, size: int) -> list[Tile]:
    """Tiles beyond the end of a tree of that size."""
    rows = await db.fetch(
        "select level, number from tile where level > 6 or number > ($1::bigint - 1) >> (8 * (level + 1))",
        size,
    )
    return [Tile(row["level"], row["number"]) for row in rows]


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


async def daily_heads(db: Connection, after: date, limit: int) -> list[tuple[date, HeadRow]]:
    """The last head of each day (UTC) behind the given one, oldest first; of today the newest so far."""
    rows = await db.fetch(
        """with recursive day (day) as (
               (select (at at time zone 'UTC')::date from head where at >= ($1::date + 1) at time zone 'UTC'
                order by at limit 1)
               union all
               select (select (at at time zone 'UTC')::date from head
                       where at >= (day + 1) at time zone 'UTC' order by at limit 1)
               from day where day is not null)
           select day, last.size, last.root, last.at, last.jws from day cross join lateral (
               select size, root, at, jws from head where at < (day + 1) at time zone 'UTC'
               order by at desc, size desc limit 1) last
           where day is not null limit $2""",
        after,
        limit,
    )
    return [(day, HeadRow(*row)) for day, *row in rows]


async def heads_after(db: Connection, size: int, limit: int) -> list[HeadRow]:
    return await _heads(db, "where size > $1 order by size limit $2", size, limit)


async def _heads(db: Connection, which: str, *values: Any) -> list[HeadRow]:
    return [
        HeadRow(**dict(row))
        for row in await db.fetch(f"select size, root, at, jws from head {which}", *values)
    ]


# --- whose data it was -------------------------------------------------------------------------------

_STEPS = "consents.check", "guardianships.read", "sector_ids.read", "sector_ids.translated", "wards.read"
"""What one service of the suite asks another before it reads or refuses."""
_HITS = """
select {place} as place, leaf.seq, leaf.at, leaf.body
from "{schema}".leaf
where leaf.subject = any(${ids}::text[])
    and leaf.at between $1::timestamptz - {around} and $2::timestamptz + {around}
union all
select {place}, leaf.seq, leaf.at, leaf.body
from (select distinct leaf_seq from "{schema}".leaf_member where subject = any(${ids}::text[])) member
    join "{schema}".leaf on leaf.seq = leaf_seq
where leaf.at between $1::timestamptz - {around} and $2::timestamptz + {around}
    and (leaf.subject = any(${ids}::text[])) is not true"""
_AROUND = "interval '5 minutes'"
"""So much before and after the time that is asked for, what a step belongs to is looked for."""

_USAGES = """
with hit as (
    select place, seq, at, body like '%"hidden":%' as hidden,
           body like '%"purpose":"own_records"%' as own,
           left(nullif(split_part(body, '"trace":"', 2), ''), 32) as trace,
           split_part(split_part(body, '"action":"', 2), '"', 1) in ({steps})
               and body like '%"client":"service:%' as step
    from ({hits}) as found
),
head as (select least($3::bigint, (select max(size) from head)) as size),
logged as materialized (
    select hit.*, tree_leaf.index from hit join tree_leaf
        on tree_leaf.source = (array[{names}])[hit.place] and tree_leaf.source_seq = hit.seq
    where tree_leaf.index < (select size from head)
),
placed as materialized (
    select * from logged where at between $1 and $2 and ($4 or own is false)
        and not (step and trace is not null
            and trace in (select trace from logged as whole where not step and trace is not null))
),
counted as (
    select count(*) filter (where not hidden) as total, count(*) filter (where hidden) as hidden from placed
),
page as (
    select place, seq, index, at from placed
    where not hidden and (at, index) < ($5::timestamptz, $6::bigint)
        and ($7::bigint is null or index = $7)
    order by at desc, index desc offset $8 limit $9
)
select head.size, counted.total, counted.hidden, page.index, page.at,
       case page.place {bodies} end as body
from head cross join counted left join page on true order by page.at desc, page.index desc"""
_BODY = """when {place} then (select body from "{schema}".leaf where seq = page.seq)"""


async def usages(
    db: Connection,
    subjects: Mapping[str, Sequence[str]],
    *,
    since: datetime,
    until: datetime,
    size: int | None,
    own: bool,
    before: tuple[datetime, int],
    index: int | None,
    offset: int,
    limit: int,
) -> list[Row]:
    """The leaves about a person, newest first, in one statement over the services' leaf tables.

    What is hidden is counted alone. What services ask each other on the way to an access is part of it: it
    comes only when the access it was a step of does not. There is always a row: an empty page's has the
    totals and no index. A key stands in a leaf's body nowhere but as a key, since quotes inside its values
    are escaped.

    Args:
        subjects: the person's ids by service; the services are those of `leaf_tables`.
        size: of the tree that is looked at; the newest head's when it is None or larger.
        before: time and leaf index that the page begins below.
    """
    names = sorted(subjects)
    hits = [_HITS.format(place=n, schema=name, ids=9 + n, around=_AROUND) for n, name in enumerate(names, 1)]
    bodies = [_BODY.format(place=n, schema=name) for n, name in enumerate(names, 1)]
    sql = _USAGES.format(
        hits=" union all ".join(hits),
        names=", ".join(f"'{name}'" for name in names),
        steps=", ".join(f"'{action}'" for action in _STEPS),
        bodies=" ".join(bodies),
    )
    ids = [list(subjects[name]) for name in names]
    return await db.fetch(sql, since, until, size, own, *before, index, offset, limit, *ids)


async def first_access(db: Connection) -> datetime | None:
    """When the first accesses on record were: the tree takes leaves in within a second of their commit."""
    found: datetime | None = await db.fetchval(
        "select min(at) from (select at from tree_leaf order by index limit 1000) as first"
    )
    return found


# --- what became of backups and drills ---------------------------------------------------------------

_OUTCOME = "id, at, kind, ok, seconds, rpo_s, rto_s, bytes, detail"


async def keep_outcome(tx: Transaction, outcome: Outcome) -> bool:
    """Whether it was not known yet."""
    found = await tx.fetchval(
        f"""insert into outcome ({_OUTCOME}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            on conflict (id) do nothing returning true""",
        *outcome.model_dump().values(),
    )
    return bool(found)


async def outcome(db: Connection, id: UUID) -> Outcome:
    return Outcome(**dict(await db.fetchrow(f"select {_OUTCOME} from outcome where id = $1", id) or {}))


async def outcomes(
    db: Connection, kind: str | None, behind: tuple[datetime, UUID] | None, limit: int
) -> list[Outcome]:
    """Newest first, those behind a time and id."""
    rows = await db.fetch(
        f"""select {_OUTCOME} from outcome
            where ($1::text is null or kind = $1) and ($2::timestamptz is null or (at, id) < ($2, $3::uuid))
            order by at desc, id desc limit $4""",
        kind,
        *(behind or (None, None)),
        limit,
    )
    return [Outcome(**dict(row)) for row in rows]


async def newest_outcomes(db: Connection) -> list[Outcome]:
    """The newest of each kind."""
    rows = await db.fetch(
        f"select distinct on (kind) {_OUTCOME} from outcome order by kind, at desc, id desc"
    )
    return [Outcome(**dict(row)) for row in rows]


async def counts(db: Connection) -> dict[str, int]:
    """How many leaves the tree has, for the start page."""
    return {"leaves": await size(db)}
