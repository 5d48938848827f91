"""Earlier versions and deletions: what was there before, and how something ceases to be there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from health.reaching import Reach
from health.repository import fitting
from health.repository.reach import Args, keeps, reached, shown
from health.repository.store import about, link_of, split, unindex
from health.versions import Deletion
from services.kit.database import Connection, Row

# What is there and what was deleted; its version is the last one.
_STANDING = """(
    select pk, type, id, version, pt, organisation, client, special, redacted from resource
    union all select pk, type, id, version, pt, organisation, client, special, null from deleted)"""
_MENTIONING = 5
"""How many of those that refer to something are named."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Which versions are asked for.

    Attributes:
        type, id: of the resource, or of all of a type; None for all.
        since: those from this moment on.
        at: those that were the current one at some moment of this interval `[from, to)`.
        before: time, key and number of the last one seen.
    """

    type: str | None = None
    id: str | None = None
    since: datetime | None = None
    at: tuple[datetime, datetime] | None = None
    before: tuple[datetime, int, int] | None = None


async def versions(db: Connection, reach: Reach, asked: Slice, *, limit: int) -> list[Row]:
    """Versions that the caller may see, the latest first: type, id, version, ts, method, body (null of a
    deletion) and whether it is `beyond` one answer, and `about` them.

    Only the last version says whose a resource is: an earlier one may be about somebody else, as of a result
    that was filed under the wrong patient and put right. Its keeper has them all.
    """
    args = Args()
    where = [reached(reach, args, "m"), f"(h.version = m.version or {keeps(reach, args, 'm')})"]
    if asked.type is not None:
        where.append(f"m.type = {args(asked.type)}")
    if asked.id is not None:
        where.append(f"m.id = {args(asked.id)}")
    if asked.since is not None:
        where.append(f"h.ts >= {args(asked.since)}")
    if asked.at is not None:
        begin, end = asked.at
        where.append(
            f"""h.ts < {args(end)} and not exists (
                select from history n
                where n.pk = h.pk and n.version = h.version + 1 and n.ts <= {args(begin)})"""
        )
    if asked.before is not None:
        where.append(f"(h.ts, h.pk, h.version) < ({', '.join(args(part) for part in asked.before)})")
    order = "order by page.ts desc, page.pk desc, page.version desc"
    whole = f"coalesce(s.body, {shown(reach, args, 'r')})"
    sql = f"""select page.*, {fitting.body(whole, order, args(fitting.ANSWER_BYTES))} from (
                  select h.pk, m.type, m.id, h.version, h.ts, h.method, {about(reach, args, "m")}
                  from {_STANDING} m join history h on h.pk = m.pk where {" and ".join(where)}
                  order by h.ts desc, h.pk desc, h.version desc limit {args(limit)}) page
              left join superseded s on s.pk = page.pk and s.version = page.version
              left join resource r on r.pk = page.pk and r.version = page.version {order}"""
    return await db.fetch(sql, *args.values)


async def vread(db: Connection, reach: Reach, type: str, id: str, version: int) -> Row | None:
    """A certain version, as `versions` has it."""
    args = Args()
    body = f"coalesce(s.body, {shown(reach, args, 'r')})"
    return await db.fetchrow(
        f"""select h.pk, h.version, h.ts, {body} as body, {about(reach, args, "m")}
            from {_STANDING} m join history h on h.pk = m.pk and h.version = {args(version)}
            left join superseded s on s.pk = h.pk and s.version = h.version
            left join resource r on r.pk = h.pk and r.version = h.version
            where m.type = {args(type)} and m.id = {args(id)} and {reached(reach, args, "m")}
                and (h.version = m.version or {keeps(reach, args, "m")})""",
        *args.values,
    )


async def gone(db: Connection, reach: Reach, type: str, id: str) -> Row | None:
    """The deletion of a resource that the caller might see: pk, version, ts, and `about` it."""
    args = Args()
    return await db.fetchrow(
        f"""select m.pk, m.version, m.ts, null as body, {about(reach, args, "m")}
            from (select *, null as redacted from deleted) m
            where m.type = {args(type)} and m.id = {args(id)} and {reached(reach, args, "m")}""",
        *args.values,
    )


async def deletions(db: Connection, locals: Iterable[str]) -> dict[str, Row]:
    """Those of these `Type/id` that were deleted: as `Found`, and the last link of their history."""
    rows = await db.fetch(
        """select d.pk, d.type, d.id, d.version, d.ts, d.pt, d.organisation, d.client, h.link
           from unnest($1::text[], $2::text[]) as asked (type, id)
           join deleted d on d.type = asked.type and d.id = asked.id
           join history h on h.pk = d.pk and h.version = d.version""",
        *split(locals),
    )
    return {f"{row['type']}/{row['id']}": row for row in rows}


async def bodies(
    db: Connection, versions: Sequence[tuple[str, str, int]], *, client: str, organisation: str | None
) -> dict[tuple[str, str, int], str]:
    """The texts of those versions that the client or its organisation wrote, by type, id and number."""
    if not versions:
        return {}
    rows = await db.fetch(
        """select r.type, r.id, asked.version, coalesce(s.body, r.body) as body
           from unnest($1::text[], $2::text[], $3::integer[]) as asked (type, id, version)
           join resource r on r.type = asked.type and r.id = asked.id
           join history h on h.pk = r.pk and h.version = asked.version
           left join superseded s on s.pk = r.pk and s.version = asked.version
           where (s.body is not null or r.version = asked.version)
               and (h.client = $4 or h.organisation = $5)""",
        *(list(column) for column in zip(*versions, strict=True)),
        client,
        organisation,
    )
    return {(row["type"], row["id"], row["version"]): row["body"] for row in rows}


async def current(db: Connection, pks: Iterable[int]) -> dict[int, dict[str, Any]]:
    """What is kept of resources that are the caller's own: id, version and body."""
    rows = await db.fetch("select pk, id, version, body from resource where pk = any($1)", list(pks))
    return {row["pk"]: {name: row[name] for name in ("id", "version", "body")} for row in rows}


async def hold(db: Connection, pks: Iterable[int]) -> set[int]:
    """Until the commit none of these is deleted; those that are there."""
    rows = await db.fetch("select pk from resource where pk = any($1) order by pk for key share", sorted(pks))
    return {row["pk"] for row in rows}


async def hold_to_delete(db: Connection, pks: Iterable[int]) -> dict[int, Row]:
    """Locks resources against every change and new reference: pk, type, id, version, pt, last link."""
    held = sorted(pks)
    await db.execute("select from resource where pk = any($1) order by pk for update", held)
    rows = await db.fetch(
        """select r.pk, r.type, r.id, r.version, r.pt, h.link
           from resource r join history h on h.pk = r.pk and h.version = r.version where r.pk = any($1)""",
        held,
    )
    return {row["pk"]: row for row in rows}


async def delete(db: Connection, deletions: Sequence[Deletion]) -> None:
    """Takes resources away; their versions stay."""
    pks = [one.pk for one in deletions]
    await db.execute(
        """insert into superseded (pk, version, body)
           select pk, version, body from resource where pk = any($1)""",
        pks,
    )
    await db.execute(
        """with gone as (
               delete from resource r using unnest($1::bigint[], $2::integer[], $3::timestamptz[],
                                                   $4::text[], $5::text[], $6::bytea[])
                   as said (pk, version, ts, organisation, client, link)
               where r.pk = said.pk
               returning r.pk, r.type, r.id, said.version, said.ts, r.pt, r.organisation as keeper,
                         r.client as kept_for, r.special, said.organisation, said.client, said.link
           ), history as (
               insert into history (pk, version, ts, method, organisation, client, link)
               select pk, version, ts, 'DELETE', organisation, client, link from gone)
           insert into deleted (pk, type, id, version, ts, pt, organisation, client, special)
           select pk, type, id, version, ts, pt, keeper, kept_for, special from gone""",
        pks,
        [one.version for one in deletions],
        [one.ts for one in deletions],
        [one.organisation for one in deletions],
        [one.client for one in deletions],
        [link_of(one) for one in deletions],
    )
    await unindex(db, pks)
    # Whose it was stays known: the person goes on seeing who opened it. That they died is no longer said.
    await db.execute(
        """update patient_person set deceased = false, death_date = null, updated_at = $2
           where pt = any($1) and (deceased or death_date is not null)""",
        pks,
        deletions[0].ts,
    )


async def mentioning(
    db: Connection, reach: Reach, pks: Iterable[int], keys: Sequence[int]
) -> dict[int, tuple[list[str], bool]]:
    """By what is referred to: some of the resources that do, as far as the caller may see them, and whether
    there are others.

    Args:
        keys: of the kinds of rows in the index of references.
    """
    args = Args(list(pks), keys)
    rows = await db.fetch(
        f"""select asked.pk, r.type, r.id, {reached(reach, args, "r")} as seen
            from unnest($1::bigint[]) as asked (pk) cross join lateral (
                select r.* from resource r where r.pk in (
                    select f.pk from ref f where f.key = any($2) and f.target = asked.pk
                    limit {_MENTIONING})) r
            order by asked.pk, r.pk""",
        *args.values,
    )
    found: dict[int, tuple[list[str], bool]] = {}
    for row in rows:
        named, others = found.get(row["pk"], ([], False))
        local = f"{row['type']}/{row['id']}"
        found[row["pk"]] = ([*named, local], others) if row["seen"] else (named, True)
    return found
