"""SQL about who may be, and who is, one person: blocking keys, pairs to decide, decisions, roots."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.kit.database import Connection, Row


class ReviewRow(NamedTuple):
    id: UUID
    pid: UUID
    other: UUID
    why: str
    model: str
    weight: float
    evidence: dict[str, Any]
    state: str
    source: str


class KeyRow(NamedTuple):
    key: bytes
    pid: UUID
    numbered: bool


async def clusters(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """All sources of the people these belong to, each with its own blind citizen number."""
    return await db.fetch(
        """with asked as (select distinct coalesce(root, pid) as root from person where pid = any($1)),
                members as (
                    select person.* from asked join person on person.pid = asked.root
                    union all
                    select person.* from asked join person on person.root = asked.root)
           select members.*, identifier.value_hmac as citizen_hmac from members
           left join vault.identifier on identifier.pid = members.pid
               and identifier.scheme = 'urn:huimin:id:citizen-number'""",
        pids,
    )


async def roots(db: Connection, pids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Of those who are one person with others, the eldest."""
    rows = await db.fetch("select pid, root from person where pid = any($1) and root is not null", pids)
    return {row["pid"]: row["root"] for row in rows}


async def members(db: Connection, root: UUID) -> list[UUID]:
    """Everybody who is this person, itself first."""
    rows = await db.fetch("select pid from person where root = $1 order by pid", root)
    return [root, *(row["pid"] for row in rows)]


async def set_roots(db: Connection, found: Sequence[tuple[UUID, UUID | None]]) -> None:
    await db.execute(
        """update person set root = new.root from unnest($1::uuid[], $2::uuid[]) as new (pid, root)
           where person.pid = new.pid""",
        [pid for pid, _ in found],
        [root for _, root in found],
    )


async def lock_partition(db: Connection) -> None:
    """Who is one person with whom is changed by one transaction at a time; to be taken before any row."""
    await db.execute("select pg_advisory_xact_lock(hashtext('huimin who is one person'))")


async def population(db: Connection, *, wanted: bool = True) -> tuple[int, datetime]:
    """How many there are (if wanted), as the planner believes, counted while they are few; and the time."""
    row = await db.fetchrow(
        """select case when not $1 then 0
                       when reltuples >= 10000 then reltuples::bigint
                       else (select count(*) from (select from person limit 10000) few) end as people,
                  clock_timestamp() as now
           from pg_class where oid = 'person'::regclass""",
        wanted,
    )
    assert row is not None
    return row["people"], row["now"]


# Blocking keys


async def candidates(
    db: Connection, wanted: Sequence[tuple[bytes, bool]], most: int
) -> list[tuple[bytes, UUID]]:
    """Who shares each key, at most so many for one: those without a citizen number first.

    Args:
        wanted: the key, and whether who asks has a citizen number: then others that have one are left out.
    """
    rows = await db.fetch(
        """select wanted.key, found.pid
           from unnest($1::bytea[], $2::boolean[]) as wanted (key, numbered)
           cross join lateral (
               select pid from block_key
               where block_key.key = wanted.key and block_key.numbered <= not wanted.numbered
               order by block_key.numbered, pid limit $3) found""",
        [key for key, _ in wanted],
        [numbered for _, numbered in wanted],
        most,
    )
    return [(row["key"], row["pid"]) for row in rows]


async def lock_keys(db: Connection, locks: Collection[int]) -> None:
    """Until the transaction ends; in one order for everybody, and before any other lock."""
    await db.execute(
        """select pg_advisory_xact_lock(hashtext('huimin blocking keys'), lock)
           from unnest($1::integer[]) as wanted (lock)""",
        sorted(locks),
    )


async def add_keys(db: Connection, rows: Sequence[KeyRow]) -> None:
    await db.copy_records_to_table("block_key", records=rows, columns=KeyRow._fields)


async def add_further_keys(db: Connection, rows: Sequence[KeyRow]) -> None:
    """Of people who have some already. One name more to be found by: the ones before stay."""
    await db.execute(
        """insert into block_key (key, pid, numbered)
           select * from unnest($1::bytea[], $2::uuid[], $3::boolean[]) on conflict do nothing""",
        *([row[place] for row in rows] for place in range(3)),
    )


async def number_keys(db: Connection, pids: Sequence[UUID]) -> None:
    """These people have a citizen number now."""
    await db.execute("update block_key set numbered = true where pid = any($1) and not numbered", pids)


async def unkeyed(db: Connection, limit: int) -> list[UUID]:
    rows = await db.fetch(
        "select pid from person where keyed = 0 order by pid limit $1 for no key update skip locked", limit
    )
    return [row["pid"] for row in rows]


async def set_keyed(db: Connection, pids: Sequence[UUID], version: int) -> None:
    await db.execute("update person set keyed = $2 where pid = any($1)", pids, version)


# Pairs


async def links_decided_by(db: Connection, pids: Sequence[UUID], by: str) -> None:
    await db.execute("update vault.link set decided_by = $2 where pid = any($1)", pids, by)


async def add_reviews(db: Connection, rows: Sequence[ReviewRow]) -> set[UUID]:
    """Adds the pairs that do not stand there yet, whichever way round, in one order for everybody.

    Returns:
        The ids of those added.
    """
    ordered = sorted(rows, key=lambda row: sorted((row.pid, row.other)))
    added = await db.fetch(
        """insert into match_review (id, pid, other, why, model, weight, evidence, state, source)
           select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[],
                                $6::double precision[], $7::jsonb[], $8::text[], $9::text[])
           on conflict do nothing returning id""",
        *([row[place] for row in ordered] for place in range(len(ReviewRow._fields))),
    )
    return {row["id"] for row in added}


async def people_after(db: Connection, after: UUID | None, limit: int) -> list[Row]:
    """What the model compares of everybody, in the order of their numbers."""
    return await db.fetch(
        """select pid::text as id, name, birth_date::text as birth_date, sex, area,
                  encode(phone_hmac, 'hex') as phone_hmac, null::text as citizen_number
           from person where ($1::uuid is null or pid > $1) order by pid limit $2""",
        after,
        limit,
    )


async def lock_linkage(db: Connection) -> None:
    """One run of the linkage is begun at a time."""
    await db.execute("select pg_advisory_xact_lock(hashtext('huimin linkage of the register'))")


async def linkage_runs(
    db: Connection, kind: str, *, id: UUID | None = None, after: UUID | None = None, limit: int = 1
) -> list[Row]:
    """The jobs of this kind, the latest first."""
    return await db.fetch(
        """select id, state, progress_done, progress_total, result, error, submitted_at, finished_at from job
           where kind = $1 and ($2::uuid is null or id = $2) and ($3::uuid is null or id < $3)
           order by id desc limit $4""",
        kind,
        id,
        after,
        limit,
    )


async def decide(db: Connection, rows: Sequence[tuple[UUID, UUID, UUID, str, str, str]]) -> None:
    """Notes decisions in the log and at their pairs. Each: review, pid, other, decision, by, reason."""
    columns = [[row[place] for row in rows] for place in range(6)]
    await db.execute(
        """with noted as (
               insert into match_decision (review, pid, other, decision, by, reason)
               select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[])
               returning review, decision, by, reason, at)
           update match_review set state = decision, decided_by = by, decided_at = at, reason = noted.reason,
               proposed_by = case decision when 'proposed' then by when 'same' then proposed_by end
           from noted where match_review.id = noted.review""",
        *columns,
    )


async def decisions(db: Connection, *, after: int, limit: int) -> list[Row]:
    """The log of decisions, in its order."""
    return await db.fetch(
        "select seq, review, pid, other, decision from match_decision where seq > $1 order by seq limit $2",
        after,
        limit,
    )


async def decided_pairs(db: Connection, pids: Sequence[UUID], state: str) -> list[tuple[UUID, UUID]]:
    """The pairs with this decision that one of these people is in."""
    rows = await db.fetch(
        """select pid, other from match_review where state = $2 and pid = any($1)
           union
           select pid, other from match_review where state = $2 and other = any($1)""",
        pids,
        state,
    )
    return [(row["pid"], row["other"]) for row in rows]


_REVIEWS = """
select review.*, coalesce(one.area, two.area, '') as pid_area, coalesce(two.area, one.area, '') as other_area
from match_review review
join person one on one.pid = review.pid
join person two on two.pid = review.other
"""


async def reviews(
    db: Connection, *, areas: Sequence[str] | None, state: str, after: UUID | None, limit: int
) -> list[Row]:
    """The oldest first.

    Args:
        areas: what the areas of both sides begin with; None is everywhere. A side without an area has that of
            the other.
    """
    return await db.fetch(
        f"""{_REVIEWS} where review.state = $1 and ($2::uuid is null or review.id > $2)
            and ($3::text[] is null
                 or (exists (select from unnest($3) a where starts_with(coalesce(one.area, two.area, ''), a))
                     and exists (select from unnest($3) a
                                 where starts_with(coalesce(two.area, one.area, ''), a))))
            order by review.id limit $4""",
        state,
        after,
        areas,
        limit,
    )


async def review(db: Connection, id: UUID, *, lock: bool = False) -> Row | None:
    return await db.fetchrow(
        f"{_REVIEWS} where review.id = $1 {'for no key update of review' if lock else ''}", id
    )


async def shown(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """Sources of people as a clerk sees them, their areas by name."""
    return await db.fetch(
        """select person.*, place.name as area_name, place.name_en as area_name_en from person
           left join place on place.code = person.area where pid = any($1)""",
        pids,
    )


async def review_of_pair(db: Connection, pid: UUID, other: UUID) -> UUID | None:
    found: UUID | None = await db.fetchval(
        """select id from match_review
           where least(pid, other) = least($1::uuid, $2::uuid)
             and greatest(pid, other) = greatest($1::uuid, $2::uuid)""",
        pid,
        other,
    )
    return found


async def sources(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """What each person is known by: registered identifiers (encrypted) and the senders' own systems."""
    return await db.fetch(
        """select pid, scheme as system, value_enc as sealed from vault.identifier where pid = any($1)
           union all
           select pid, source_system, local_enc from vault.link where pid = any($1)
           order by 1, 2""",
        pids,
    )


async def sector_ids(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """Every id given out for these people: sector, id, pid."""
    return await db.fetch(
        "select sector, id, pid from vault.sector_id where pid = any($1) order by sector, id", pids
    )


async def understood_ids(db: Connection, sector: str, pids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Of each of these people the ids of a sector for all entries that are one person with them, in every key
    version that is prepared and not over; the current ones first."""
    rows = await db.fetch(
        """select asked.pid, id from person asked
           join person one on one.pid = coalesce(asked.root, asked.pid)
                or one.root = coalesce(asked.root, asked.pid)
           join vault.sector_id on sector_id.pid = one.pid and sector = $1
           join vault.sector_key key using (sector, version)
           where asked.pid = any($2) and (key.state <> 'offered' or key.prepared_at is not null)
               and (key.understood_until is null or key.understood_until > now())
           order by key.state <> 'current', id""",
        sector,
        pids,
    )
    found: dict[UUID, list[str]] = {pid: [] for pid in pids}
    for row in rows:
        found[row["pid"]].append(row["id"])
    return found
