"""Resources: what is read of them, what a push means among them, what it adds."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from health.models import (
    Clause,
    Criteria,
    Dates,
    Found,
    Ids,
    Person,
    Reach,
    References,
    Tokens,
    Version,
    When,
)
from health.repository.reach import SAME_PERSON, Args, reached, readable, tie
from services.kit.canonical import chain
from services.kit.database import Connection, Row

_FOUND = "r.pk, r.type, r.id, r.version, r.ts, r.pt, r.organisation, r.client"
_WHOSE = "(select p.sector_id from patient_person p where p.pt = {}.pt) as sector_id"

_SAME = f"""array(select {{pt}}::bigint union select same.pt from {SAME_PERSON} where mine.pt = {{pt}})"""

# How a stored [lo, hi) compares with the asked one (FHIR R4 search.html#prefix).
_COMPARED = {
    "eq": "d.lo >= {lo} and d.hi <= {hi}",
    "ne": "(d.lo < {lo} or d.hi > {hi})",
    "gt": "d.hi > {hi}",
    "lt": "d.lo < {lo}",
    "ge": "(d.hi > {hi} or (d.lo >= {lo} and d.hi <= {hi}))",
    "le": "(d.lo < {lo} or (d.lo >= {lo} and d.hi <= {hi}))",
    "sa": "d.lo >= {hi}",
    "eb": "d.hi <= {lo}",
    "ap": "d.lo < {hi} and d.hi > {lo}",
}


# Reading


async def read(db: Connection, reach: Reach, type: str, id: str) -> Row | None:
    """The current version: pk, version, ts, body, and what the access leaf says (`_about`)."""
    args = Args()
    return await db.fetchrow(
        f"select m.pk, m.version, m.ts, m.body, {_about(reach, args, 'm')} {readable(reach, args)}"
        f" and m.type = {args(type)} and m.id = {args(id)}",
        *args.values,
    )


async def vread(db: Connection, pk: int, version: int) -> Row | None:
    """A certain version of a resource: version, ts, body."""
    return await db.fetchrow(
        """select h.version, h.ts, coalesce(s.body, r.body) as body
           from resource r join history h on h.pk = r.pk and h.version = $2
           left join superseded s on s.pk = h.pk and s.version = h.version
           where r.pk = $1 and (s.body is not null or h.version = r.version)""",
        pk,
        version,
    )


def _about(reach: Reach, args: Args, r: str) -> str:
    """Whose it is (sector_id, pt), whether specially protected, and by what tie the caller sees it."""
    return f"{r}.pt, {r}.special, {_WHOSE.format(r)}, {tie(reach, args, r)} as tie"


async def search(
    db: Connection, reach: Reach, criteria: Criteria, *, after: int = 0, limit: int
) -> list[Row]:
    """Resources in the order they came first: pk, type, id, version, ts, body, and `_about` them."""
    args = Args()
    sql = f"""select r.pk, r.type, r.id, r.version, r.ts, r.body, {_about(reach, args, "r")}
              from (select m.pk {_matching(reach, criteria, args)} and m.pk > {args(after)}
                    order by m.pk limit {args(limit)}) page
              join resource r on r.pk = page.pk order by r.pk"""
    return await db.fetch(sql, *args.values)


async def count(db: Connection, reach: Reach, criteria: Criteria) -> int:
    args = Args()
    return int(await db.fetchval(f"select count(*) {_matching(reach, criteria, args)}", *args.values))


async def matching(
    db: Connection, reach: Reach, criteria: Criteria, *, client: str, limit: int
) -> list[Found]:
    """The first few stored resources a search means, the client's own before others'."""
    args = Args()
    sql = f"""select {_FOUND} from (select m.pk {_matching(reach, criteria, args)}) found
              join resource r on r.pk = found.pk
              order by r.client <> {args(client)}, r.pk limit {args(limit)}"""
    return [Found(*row) for row in await db.fetch(sql, *args.values)]


def _matching(reach: Reach, criteria: Criteria, args: Args) -> str:
    """The relation a search runs through, as `m`, and its conditions.

    A single reference or token leads: its index gives keys in the order of pages, so that a page costs what
    it shows, and no estimate of a planner can turn that into a scan of the type.
    """
    leading = next((c for kind in (References, Tokens) for c in criteria.clauses if _leads(c, kind)), None)
    match leading:
        case References((hash,)):
            start = f"{readable(reach, args, 'ref')} and m.hash = {args(hash)}"
        case Tokens((hash,)):
            start = f"{readable(reach, args, 'tok')} and m.hash = {args(hash)}"
        case _:
            start = f"{readable(reach, args)} and m.type = {args(criteria.type)}"
    return " and ".join([start, *(_clause(c, args) for c in criteria.clauses if c is not leading)])


def _leads(clause: Clause, kind: type[References] | type[Tokens]) -> bool:
    return isinstance(clause, kind) and len(clause.hashes) == 1


def _clause(clause: Clause, args: Args) -> str:
    match clause:
        case Ids(ids):
            return f"exists (select from resource i where i.id = any({args(list(ids))}) and i.pk = m.pk)"
        case Tokens(hashes):
            return f"exists (select from tok t where t.hash = any({args(list(hashes))}) and t.pk = m.pk)"
        case References(hashes):
            return f"exists (select from ref f where f.hash = any({args(list(hashes))}) and f.pk = m.pk)"
        case Dates(key, any_of):
            compared = " or ".join(f"({_compared(when, args)})" for when in any_of)
            return f"exists (select from dat d where d.key = {args(key)} and d.pk = m.pk and ({compared}))"


def _compared(when: When, args: Args) -> str:
    compared = _COMPARED[when.comparison]
    given = {"lo": when.lo, "hi": when.hi}
    return compared.format(**{name: args(v) for name, v in given.items() if f"{{{name}}}" in compared})


async def timeline(
    db: Connection,
    reach: Reach,
    *,
    patient: int | None = None,
    types: Sequence[str],
    hashes: Sequence[int] | None,
    before: tuple[int, int] | None,
    limit: int,
) -> list[Row]:
    """A person's records as far as the caller may see them, the latest first: pk, type, id, occurred, body,
    and `_about` them.

    Args:
        patient: pt of the person, where the reach does not say whose records.
        hashes: token keys, one of which a record must have; None for all records.
        before: occurrence and pk of the last one seen.
    """
    args = Args()
    sql = f"select m.pk, m.type, m.id, m.occurred, m.body, {_about(reach, args, 'm')} {readable(reach, args)}"
    sql += f" and m.type = any({args(list(types))})"
    if patient is not None:
        sql += f" and m.pt = any({_SAME.format(pt=args(patient))})"
    if hashes is not None:
        sql += f" and {_clause(Tokens(tuple(hashes)), args)}"
    if before is not None:
        sql += f" and (m.occurred, m.pk) < ({args(before[0])}, {args(before[1])})"
    return await db.fetch(f"{sql} order by m.occurred desc, m.pk desc limit {args(limit)}", *args.values)


async def names(db: Connection, locals: Iterable[str]) -> dict[str, str]:
    """Names of Organizations, by `Type/id`."""
    types, ids = _split(locals)
    rows = await db.fetch(
        """select r.type, r.id, r.body::json ->> 'name' as name
           from unnest($1::text[], $2::text[]) as asked (type, id)
           join resource r on r.type = asked.type and r.id = asked.id""",
        types,
        ids,
    )
    return {f"{row['type']}/{row['id']}": row["name"] for row in rows if row["name"]}


async def sector_ids(db: Connection, pts: Iterable[int]) -> list[str]:
    """The persons behind patient compartments, each once."""
    rows = await db.fetch(
        "select distinct sector_id from patient_person where pt = any($1) and sector_id is not null",
        list(pts),
    )
    return [row["sector_id"] for row in rows]


async def counts(db: Connection) -> dict[str, int]:
    """How much is kept, for the start page and for checks."""
    row = await db.fetchrow(
        """select (select count(*) from resource) as resources,
                  (select count(*) from resource where type = 'Patient') as patients"""
    )
    assert row is not None
    return dict(row)


async def deaths(
    db: Connection, *, after: str | None, limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """sector_id and death_date of the dead, by sector_id.

    Where hospitals differ the latest day holds: benefits are checked against it.

    Args:
        clause: of `row_filters.sql` over these two columns, its parameters from $3 on.
    """
    return await db.fetch(
        f"""select * from (
                select sector_id, max(death_date) as death_date from patient_person
                where death_date is not null group by sector_id) as offered
            where sector_id > $1 and {clause} order by sector_id limit $2""",
        after or "",
        limit,
        *values,
    )


async def deaths_changed_at(db: Connection) -> datetime | None:
    found: datetime | None = await db.fetchval(
        "select max(updated_at) from patient_person where death_date is not null"
    )
    return found


# Finding what a push means


async def located(db: Connection, reach: Reach, locals: Iterable[str]) -> dict[str, tuple[Found, bool]]:
    """What is stored of these `Type/id`, and whether the caller may see it."""
    args = Args(*_split(locals))
    rows = await db.fetch(
        f"""select {_FOUND}, {reached(reach, args, "r")}
            from unnest($1::text[], $2::text[]) as asked (type, id)
            join resource r on r.type = asked.type and r.id = asked.id""",
        *args.values,
    )
    return {found.local: (found, seen) for found, seen in ((Found(*row), seen) for *row, seen in rows)}


async def locked(db: Connection, pks: Iterable[int]) -> dict[int, Row]:
    """Locks resources for an update, always in the same order; pk, version, ts, body, last link."""
    held = sorted(pks)
    await db.execute("select from resource where pk = any($1) order by pk for update", held)
    # Only a statement begun after the wait sees what the holder before wrote.
    rows = await db.fetch(
        """select r.pk, r.version, r.ts, r.body, h.link
           from resource r join history h on h.pk = r.pk and h.version = r.version
           where r.pk = any($1)""",
        held,
    )
    return {row["pk"]: row for row in rows}


async def known_by(
    db: Connection, reach: Reach, hashes: Iterable[int], *, client: str
) -> dict[int, list[Found]]:
    """The first few stored resources by each token key, the client's own before others'."""
    args = Args(list(hashes), client)
    rows = await db.fetch(
        f"""select asked.hash, found.* from unnest($1::bigint[]) as asked (hash) cross join lateral (
                select {_FOUND} from tok t join resource r on r.pk = t.pk
                where t.hash = asked.hash and {reached(reach, args, "r")}
                order by r.client <> $2, t.pk limit 6) as found""",
        *args.values,
    )
    found: dict[int, list[Found]] = {}
    for hash, *row in rows:
        found.setdefault(hash, []).append(Found(*row))
    return found


async def reserve(db: Connection, keys: Iterable[int]) -> None:
    """Until the commit, nobody else makes a resource known by these keys."""
    await db.execute(
        "select pg_advisory_xact_lock(key) from (select unnest($1::bigint[]) as key order by 1) as keys",
        list(keys),
    )


def _split(locals: Iterable[str]) -> tuple[list[str], list[str]]:
    pairs = [local.split("/", 1) for local in locals]
    return [type for type, _ in pairs], [id for _, id in pairs]


# Keeping


async def next_pks(db: Connection, number: int) -> list[int]:
    rows = await db.fetch("select nextval('resource_pk') as pk from generate_series(1, $1)", number)
    return [row["pk"] for row in rows]


async def keep(db: Connection, versions: Sequence[Version]) -> list[bytes]:
    """Writes versions, their history and their index rows; returns the history's links in the same order."""
    changed = [v for v in versions if v.version > 1]
    if changed:
        await _supersede(db, changed)
    links = [link_of(v) for v in versions]
    created = [v for v in versions if v.version == 1]
    tokens = [(hash, v.pk, v.pt) for v in versions for hash in v.tokens]
    references = [(hash, v.pk, v.pt) for v in versions for hash in v.references]
    dates = [(*row, v.pk, v.pt) for v in versions for row in v.dates]
    await db.execute(
        _KEEP,
        *_columns(11, [(v.pk, v.type, v.id, v.version, v.ts, *_said(v)) for v in created]),
        *_columns(
            7,
            [
                (v.pk, v.version, v.ts, v.method, v.organisation, v.client, link)
                for v, link in zip(versions, links, strict=True)
            ],
        ),
        *_columns(3, tokens),
        *_columns(3, references),
        *_columns(5, dates),
    )
    return links


# One statement, because a visit's dozen rows cost less than the five round trips of a COPY each.
_KEEP = """
with resources as (
    insert into resource (pk, type, id, version, ts, pt, occurred, organisation, client, body, special)
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::integer[], $5::timestamptz[],
                         $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::boolean[])
), versions as (
    insert into history (pk, version, ts, method, organisation, client, link)
    select * from unnest($12::bigint[], $13::integer[], $14::timestamptz[], $15::text[], $16::text[],
                         $17::text[], $18::bytea[])
), tokens as (
    insert into tok (hash, pk, pt) select * from unnest($19::bigint[], $20::bigint[], $21::bigint[])
), "references" as (
    insert into ref (hash, pk, pt) select * from unnest($22::bigint[], $23::bigint[], $24::bigint[])
)
insert into dat (key, lo, hi, pk, pt)
select * from unnest($25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[])
"""


def _said(v: Version) -> tuple[int, int, str | None, str, str, bool]:
    """The columns that a new version replaces."""
    return v.pt, v.occurred, v.organisation, v.client, v.body, v.special


def _columns(width: int, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def link_of(version: Version) -> bytes:
    """A version's link in its resource's hash chain: over who sent it and the body as it is kept."""
    return chain(version.previous, f"{version.client}\n{version.body}".encode())


async def _supersede(db: Connection, versions: Sequence[Version]) -> None:
    pks = [v.pk for v in versions]
    await db.execute(
        """insert into superseded (pk, version, body)
           select pk, version, body from resource where pk = any($1)""",
        pks,
    )
    await db.executemany(
        """update resource set version = $2, ts = $3, pt = $4, occurred = $5, organisation = $6, client = $7,
               body = $8, special = $9
           where pk = $1""",
        [(v.pk, v.version, v.ts, *_said(v)) for v in versions],
    )
    for table in ("tok", "ref", "dat", "care"):
        await db.execute(f"delete from {table} where pk = any($1)", pks)


async def keep_people(db: Connection, people: Sequence[Person], now: datetime) -> None:
    """Which person each Patient is about; the latest word replaces an earlier one."""
    dates: list[date | None] = [person.death_date for person in people]
    await db.execute(
        """insert into patient_person (pt, sector_id, outcome, deceased, death_date, updated_at, numbered)
           select pt, sector_id, outcome, deceased, death_date, $6, numbered
           from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::date[], $7::boolean[])
                as person (pt, sector_id, outcome, deceased, death_date, numbered)
           on conflict (pt) do update set sector_id = excluded.sector_id, outcome = excluded.outcome,
               deceased = excluded.deceased, death_date = excluded.death_date,
               updated_at = excluded.updated_at, numbered = excluded.numbered""",
        [person.pt for person in people],
        [person.sector_id for person in people],
        [person.outcome for person in people],
        [person.deceased for person in people],
        dates,
        now,
        [person.numbered for person in people],
    )
