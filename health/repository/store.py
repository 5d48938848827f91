"""Resources: what is read of them, what a push means among them, what it adds."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from health.criteria import Tokens
from health.reaching import Reach
from health.repository import fitting, indexed
from health.repository.clauses import holds
from health.repository.reach import SAME_PERSON, Args, reached, readable, shown, tie
from health.versions import Deletion, Found, Person, Version
from services.kit.canonical import chain
from services.kit.database import Connection, Row

FOUND = "r.pk, r.type, r.id, r.version, r.ts, r.pt, r.organisation, r.client"
_WHOSE = "(select p.sector_id from patient_person p where p.pt = {}.pt) as sector_id"

SAME = f"""array(select {{pt}}::bigint union select same.pt from {SAME_PERSON} where mine.pt = {{pt}})"""


# Reading


async def read(db: Connection, reach: Reach, type: str, id: str) -> Row | None:
    """The current version: pk, version, ts, body, and what the access leaf says (`about`)."""
    args = Args()
    body = shown(reach, args, "m")
    return await db.fetchrow(
        f"select m.pk, m.version, m.ts, {body} as body, {about(reach, args, 'm')} {readable(reach, args)}"
        f" and m.type = {args(type)} and m.id = {args(id)}",
        *args.values,
    )


def about(reach: Reach, args: Args, r: str) -> str:
    """Whose it is (sector_id, pt), whether specially protected, and by what tie the caller sees it."""
    special = f"{r}.special or {r}.redacted is not null as special"
    return f"{r}.pt, {special}, {_WHOSE.format(r)}, {tie(reach, args, r)} as tie"


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
    """A person's records as far as the caller may see them, the latest first: pk, type, id, occurred, body
    and whether it is `beyond` one answer, and `about` them.

    Args:
        patient: pt of the person, where the reach does not say whose records.
        hashes: token keys, one of which a record must have; None for all records.
        before: occurrence and pk of the last one seen.
    """
    args, order = Args(), "order by m.occurred desc, m.pk desc"
    sql = f"select m.* {readable(reach, args)} and m.type = any({args(list(types))})"
    if patient is not None:
        sql += f" and m.pt = any({SAME.format(pt=args(patient))})"
    if hashes is not None:
        sql += f" and {holds(Tokens(tuple(hashes)), args, 'm.pk', reach)}"
    if before is not None:
        sql += f" and (m.occurred, m.pk) < ({args(before[0])}, {args(before[1])})"
    body = fitting.body(shown(reach, args, "m"), order, args(fitting.ANSWER_BYTES))
    return await db.fetch(
        f"""select m.pk, m.type, m.id, m.occurred, {body}, {about(reach, args, "m")}
            from ({sql} {order} limit {args(limit)}) m {order}""",
        *args.values,
    )


async def names(db: Connection, locals: Iterable[str]) -> dict[str, str]:
    """Names of Organizations, by `Type/id`."""
    types, ids = split(locals)
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
    args = Args(*split(locals))
    rows = await db.fetch(
        f"""select {FOUND}, {reached(reach, args, "r")}
            from unnest($1::text[], $2::text[]) as asked (type, id)
            join resource r on r.type = asked.type and r.id = asked.id""",
        *args.values,
    )
    return {found.local: (found, seen) for found, seen in ((Found(*row), seen) for *row, seen in rows)}


async def locked(db: Connection, pks: Iterable[int]) -> dict[int, Row]:
    """Locks resources for an update, always in the same order; pk, version, ts, body, last link."""
    held = sorted(pks)
    await db.execute("select from resource where pk = any($1) order by pk for no key update", held)
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
                select {FOUND} from tok t join resource r on r.pk = t.pk
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


def split(locals: Iterable[str]) -> tuple[list[str], list[str]]:
    pairs = [local.split("/", 1) for local in locals]
    return [type for type, _ in pairs], [id for _, id in pairs]


# Keeping

COPIED_FROM = 50
"""So many versions go in by COPY, fewer by one statement without a round trip for each table."""


async def next_pks(db: Connection, number: int) -> list[int]:
    rows = await db.fetch("select nextval('resource_pk') as pk from generate_series(1, $1)", number)
    return [row["pk"] for row in rows]


async def keep(db: Connection, versions: Sequence[Version]) -> list[bytes]:
    """Writes versions, their history and their index rows; returns the history's links in the same order."""
    changed = [v for v in versions if v.version > 1 and not v.again]
    if changed:
        await _supersede(db, changed)
    links = [link_of(v) for v in versions]
    created = [v for v in versions if v.version == 1 or v.again]
    if again := [v.pk for v in versions if v.again]:
        await db.execute("delete from deleted where pk = any($1)", again)
    said = [(v.pk, v.pt, v.index) for v in versions]
    if len(versions) >= COPIED_FROM:
        await _copied(db, created, zip(versions, links, strict=True))
        await indexed.copy(db, said)
    else:
        args = Args()
        statements = [
            *_added(args, created, zip(versions, links, strict=True)),
            *indexed.insertions(args, said),
        ]
        await db.execute(indexed.together(statements), *args.values)
    return links


async def _copied(
    db: Connection, created: Sequence[Version], linked: Iterable[tuple[Version, bytes]]
) -> None:
    for table, kinds, rows in (
        ("resource", _RESOURCE, map(_row, created)),
        ("history", _HISTORY, (_link_row(v, link) for v, link in linked)),
    ):
        await db.copy_records_to_table(table, records=rows, columns=[kind.split()[0] for kind in kinds])


_RESOURCE = (
    *("pk bigint", "type text", "id text", "version integer", "ts timestamptz", "pt bigint"),
    *("occurred bigint", "organisation text", "client text", "body text", "special boolean"),
    "redacted text",
)
_HISTORY = (
    *("pk bigint", "version integer", "ts timestamptz", "method text", "organisation text"),
    *("client text", "link bytea"),
)


def _added(args: Args, created: Sequence[Version], linked: Iterable[tuple[Version, bytes]]) -> Iterator[str]:
    if created:
        yield indexed.insertion(args, "resource", _RESOURCE, zip(*map(_row, created), strict=True))
    yield indexed.insertion(
        args, "history", _HISTORY, zip(*(_link_row(v, link) for v, link in linked), strict=True)
    )


def _row(v: Version) -> tuple[Any, ...]:
    return v.pk, v.type, v.id, v.version, v.ts, *_said(v)


def _link_row(v: Version, link: bytes) -> tuple[Any, ...]:
    return v.pk, v.version, v.ts, v.method, v.organisation, v.client, link


def _said(v: Version) -> tuple[int, int, str | None, str, str, bool, str | None]:
    """The columns that a new version replaces."""
    return v.pt, v.occurred, v.organisation, v.client, v.body, v.special, v.redacted


def link_of(version: Version | Deletion) -> bytes:
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
               body = $8, special = $9, redacted = $10
           where pk = $1""",
        [(v.pk, v.version, v.ts, *_said(v)) for v in versions],
    )
    await unindex(db, pks)


async def unindex(db: Connection, pks: Sequence[int]) -> None:
    """Takes away every row that follows from what these resources say."""
    await indexed.forget(db, pks)
    for table in ("care", "search_parameter"):
        await db.execute(f"delete from {table} where pk = any($1)", list(pks))


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
