"""SQL about households, births, deaths and residence. All set-wise; listings by key, never by offset."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from services.kit.database import Connection, Row


class HouseholdRow(NamedTuple):
    code: str
    area: str
    kind: str
    valid_from: date
    valid_to: date | None


class MemberRow(NamedTuple):
    household: str
    pid: UUID
    valid_from: date
    relation: str
    valid_to: date | None


class BirthRow(NamedTuple):
    pid: UUID
    registered_on: date
    area: str
    place: str | None
    mother: UUID | None
    father: UUID | None


class DeathRow(NamedTuple):
    pid: UUID
    died_on: date
    registered_on: date
    area: str
    place: str | None


class MoveRow(NamedTuple):
    pid: UUID
    since: date
    area: str | None


async def upsert_households(db: Connection, rows: Sequence[HouseholdRow], source: str) -> int:
    return _count(
        await db.execute(
            """insert into household (code, area, kind, valid_from, valid_to, source)
               select code, area, kind, valid_from, valid_to, $6
               from unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::date[])
                   as new (code, area, kind, valid_from, valid_to)
               order by code
               on conflict (code) do update set
                   area = excluded.area, kind = excluded.kind, valid_from = excluded.valid_from,
                   valid_to = excluded.valid_to, source = excluded.source, updated_at = now()
               where (household.area, household.kind, household.valid_from, household.valid_to)
                   is distinct from (excluded.area, excluded.kind, excluded.valid_from, excluded.valid_to)""",
            *columns(rows, HouseholdRow),
            source,
        )
    )


async def upsert_members(db: Connection, rows: Sequence[MemberRow], source: str) -> int:
    """Who enters a household, or another relation in it, leaves on that day what was open until then."""
    values = columns(rows, MemberRow)
    left = await db.execute(
        """update household_member old set valid_to = new.valid_from
           from unnest($1::text[], $2::uuid[], $3::date[]) as new (household, pid, valid_from)
           where old.pid = new.pid and old.valid_from < new.valid_from and old.valid_to is null""",
        *values[:3],
    )
    entered = await db.execute(
        """with new as (
               select * from unnest($1::text[], $2::uuid[], $3::date[], $4::text[], $5::date[])
                   as new (household, pid, valid_from, relation, valid_to)
           ), entry as (
               select pid, valid_from, lead(valid_from) over (partition by pid order by valid_from) as next
               from (select pid, valid_from from new
                     union select pid, valid_from from household_member where pid = any($2)) as start
           )
           insert into household_member (household, pid, valid_from, relation, valid_to, source)
           select household, pid, valid_from, relation, coalesce(valid_to, next), $6
           from new join entry using (pid, valid_from)
           order by pid, valid_from
           on conflict (household, pid, valid_from) do update set
               relation = excluded.relation, valid_to = excluded.valid_to, source = excluded.source
           where (household_member.relation, household_member.valid_to)
               is distinct from (excluded.relation, excluded.valid_to)""",
        *values,
        source,
    )
    return _count(left) + _count(entered)


async def in_two_households(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """Of these people, each entry that another one of the same person overlaps."""
    return await db.fetch(
        """select one.household, one.pid, one.valid_from from household_member one
           where one.pid = any($1) and exists (
               select from household_member other
               where other.pid = one.pid
                 and (other.household, other.valid_from) <> (one.household, one.valid_from)
                 and daterange(other.valid_from, other.valid_to)
                     && daterange(one.valid_from, one.valid_to))""",
        pids,
    )


async def heads(db: Connection, households: Sequence[str]) -> list[Row]:
    """Of each household that has members: how many heads, and whether two of them at one time."""
    return await db.fetch(
        """select one.household, count(*) filter (where relation = 'head') as heads,
                  bool_or(relation = 'head' and exists (
                      select from household_member other
                      where other.household = one.household and other.relation = 'head'
                        and (other.pid, other.valid_from) <> (one.pid, one.valid_from)
                        and daterange(other.valid_from, other.valid_to)
                            && daterange(one.valid_from, one.valid_to))) as several
           from household_member one where household = any($1) group by household""",
        households,
    )


async def households(
    db: Connection, *, areas: Sequence[str] | None, on: date, after: str, limit: int
) -> list[Row]:
    """Households there are on the day, by their number, in areas whose codes begin so."""
    return await db.fetch(
        """select code, area, kind, valid_from, valid_to from household
           where code > $1 and ($2::text[] is null or area ^@ any($2))
             and valid_from <= $3 and (valid_to is null or valid_to > $3)
           order by code limit $4""",
        after,
        areas,
        on,
        limit,
    )


async def members(db: Connection, households: Sequence[str], on: date) -> list[Row]:
    """Who belongs to them on the day; whoever has died does not any more."""
    return await db.fetch(
        """select m.household, m.pid, m.relation, m.valid_from, m.valid_to
           from household_member m join person using (pid)
           where m.household = any($1) and m.valid_from <= $2 and (m.valid_to is null or m.valid_to > $2)
             and (person.death_date is null or person.death_date > $2)
           order by m.household, m.relation <> 'head', m.valid_from, m.pid""",
        households,
        on,
    )


async def upsert_births(db: Connection, rows: Sequence[BirthRow], source: str) -> int:
    return _count(
        await db.execute(
            """insert into birth (pid, registered_on, area, place, mother, father, source)
               select pid, registered_on, area, place, mother, father, $7
               from unnest($1::uuid[], $2::date[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
                   as new (pid, registered_on, area, place, mother, father)
               order by pid
               on conflict (pid) do update set
                   registered_on = excluded.registered_on, area = excluded.area, place = excluded.place,
                   mother = excluded.mother, father = excluded.father, source = excluded.source
               where (birth.registered_on, birth.area, birth.place, birth.mother, birth.father)
                   is distinct from (excluded.registered_on, excluded.area, excluded.place, excluded.mother,
                                     excluded.father)""",
            *columns(rows, BirthRow),
            source,
        )
    )


async def upsert_deaths(db: Connection, rows: Sequence[DeathRow], source: str) -> int:
    """The register's word on a death replaces what pushes had said."""
    values = columns(rows, DeathRow)
    changed = await db.execute(
        """insert into death (pid, died_on, registered_on, area, place, source)
           select pid, died_on, registered_on, area, place, $6
           from unnest($1::uuid[], $2::date[], $3::date[], $4::text[], $5::text[])
               as new (pid, died_on, registered_on, area, place)
           order by pid
           on conflict (pid) do update set
               died_on = excluded.died_on, registered_on = excluded.registered_on, area = excluded.area,
               place = excluded.place, source = excluded.source
           where (death.died_on, death.registered_on, death.area, death.place)
               is distinct from (excluded.died_on, excluded.registered_on, excluded.area, excluded.place)""",
        *values,
        source,
    )
    await db.execute(
        """update person set death_date = new.died_on, updated_at = now()
           from unnest($1::uuid[], $2::date[]) as new (pid, died_on)
           where person.pid = new.pid and person.death_date is distinct from new.died_on""",
        *values[:2],
    )
    return _count(changed)


async def births(
    db: Connection, *, areas: Sequence[str] | None, since: date, after: int, limit: int
) -> list[Row]:
    return await db.fetch(
        """select birth.*, person.birth_date from birth join person using (pid)
           where seq > $1 and registered_on >= $2 and ($3::text[] is null or birth.area ^@ any($3))
           order by seq limit $4""",
        after,
        since,
        areas,
        limit,
    )


async def deaths(
    db: Connection, *, areas: Sequence[str] | None, since: date, after: int, limit: int
) -> list[Row]:
    return await db.fetch(
        """select * from death
           where seq > $1 and registered_on >= $2 and ($3::text[] is null or area ^@ any($3))
           order by seq limit $4""",
        after,
        since,
        areas,
        limit,
    )


async def add_moves(db: Connection, rows: Sequence[MoveRow], source: str, *, only_first: bool = False) -> int:
    """Residence since a day. `only_first` begins the history of those who have none yet."""
    return _count(
        await db.execute(
            """insert into residence (pid, since, area, source)
               select pid, since, area, $4
               from unnest($1::uuid[], $2::date[], $3::text[]) as new (pid, since, area)
               where not $5 or not exists (select from residence known where known.pid = new.pid)
               order by pid, since
               on conflict (pid, since) do update set area = excluded.area, source = excluded.source
               where residence.area is distinct from excluded.area""",
            *columns(rows, MoveRow),
            source,
            only_first,
        )
    )


async def settle(db: Connection, pids: Sequence[UUID]) -> None:
    """A person's area is where the history says that the person lives now."""
    await db.execute(
        """update person set area = last.area, updated_at = now()
           from (select distinct on (pid) pid, area from residence
                 where pid = any($1) order by pid, since desc) as last
           where person.pid = last.pid and person.area is distinct from last.area""",
        pids,
    )


async def note_areas(db: Connection, pids: Sequence[UUID], source: str) -> None:
    """Where the registry now says another area without a date, a history that there is goes on today."""
    await db.execute(
        """insert into residence (pid, since, area, source)
           select person.pid, (now() at time zone 'Asia/Shanghai')::date, person.area, $2 from person
           join (select distinct on (pid) pid, area from residence
                 where pid = any($1) order by pid, since desc) as last using (pid)
           where person.area is distinct from last.area
           on conflict (pid, since) do update set area = excluded.area, source = excluded.source""",
        pids,
        source,
    )


async def residences(db: Connection, *, areas: Sequence[str] | None, after: int, limit: int) -> list[Row]:
    """Every stay, with the day the next one began, in areas whose codes begin so."""
    return await db.fetch(
        """select pid, since, area, seq,
                  (select min(next.since) from residence next
                   where next.pid = stay.pid and next.since > stay.since) as until
           from residence stay
           where seq > $1 and ($2::text[] is null or area ^@ any($2)) order by seq limit $3""",
        after,
        areas,
        limit,
    )


RESIDENTS = """
    select rpad(left(area, $2), 6, '0') as area, extract(year from birth_date)::int as birth_year, sex,
           count(*) as residents
    from (
        select person.birth_date, coalesce(person.sex, 'unknown') as sex,
               case when stay.pid is not null then stay.area
                    when not exists (select from residence r where r.pid = person.pid) then person.area
               end as area
        from person
        left join lateral (select pid, area from residence r where r.pid = person.pid and r.since <= $1
                           order by since desc limit 1) as stay on true
        where person.birth_date <= $1 and (person.death_date is null or person.death_date > $1)
          and person.root is null
    ) as resident
    where area is not null and ($3::text[] is null or area ^@ any($3))
    group by 1, 2, 3
"""


async def residents(
    db: Connection,
    *,
    on: date,
    digits: int,
    areas: Sequence[str] | None = None,
    after: tuple[str, int, str],
    limit: int,
) -> list[Row]:
    """How many lived in each area (the first digits of its code) on a day, by year of birth and sex.

    Whoever has no history of residence is counted where the register has them now.
    """
    return await db.fetch(
        f"""select * from ({RESIDENTS}) as cell
            where (area, birth_year, sex) > ($4, $5, $6) order by area, birth_year, sex limit $7""",
        on,
        digits,
        areas,
        *after,
        limit,
    )


async def changed_at(db: Connection) -> datetime | None:
    """When an entry of the population register last changed."""
    found: datetime | None = await db.fetchval("select max(updated_at) from person")
    return found


def columns(rows: Sequence[tuple[object, ...]], kind: type[tuple[object, ...]]) -> list[list[object]]:
    width = len(kind._fields)  # type: ignore[attr-defined]
    return [[row[place] for row in rows] for place in range(width)]


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
