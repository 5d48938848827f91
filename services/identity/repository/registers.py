"""SQL about organisations, places and guardianship."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.kit.database import Connection, Row

_UPSERT_ORGANISATIONS = """
insert into organisation as known
    (uscc, name, name_en, kind, area, parent, status, representative, valid_from, valid_to, source)
select uscc, new.name, new.name_en, new.kind, new.area, new.parent,
       coalesce(new.status, old.status, 'active'), coalesce(new.representative, old.representative),
       coalesce(new.valid_from, old.valid_from), coalesce(new.valid_to, old.valid_to), $11
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
            $7::text[], $8::uuid[], $9::date[], $10::date[])
    as new (uscc, name, name_en, kind, area, parent, status, representative, valid_from, valid_to)
left join organisation old using (uscc)
order by uscc
on conflict (uscc) do update set
    name = excluded.name, name_en = excluded.name_en, kind = excluded.kind, area = excluded.area,
    parent = excluded.parent, status = excluded.status, representative = excluded.representative,
    valid_from = excluded.valid_from, valid_to = excluded.valid_to,
    source = excluded.source, updated_at = now()
where (known.name, known.name_en, known.kind, known.area, known.parent, known.status, known.representative,
       known.valid_from, known.valid_to)
    is distinct from
      (excluded.name, excluded.name_en, excluded.kind, excluded.area, excluded.parent, excluded.status,
       excluded.representative, excluded.valid_from, excluded.valid_to)
"""

_UPSERT_PLACES = """
insert into place (code, name, name_en, parent, level, valid_from, valid_to, source)
select code, name, name_en, parent, level, valid_from, valid_to, $8
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[])
    as new (code, name, name_en, parent, level, valid_from, valid_to)
order by code
on conflict (code) do update set
    name = excluded.name, name_en = excluded.name_en, parent = excluded.parent,
    valid_from = excluded.valid_from, valid_to = excluded.valid_to,
    source = excluded.source, updated_at = now()
where (place.name, place.name_en, place.parent, place.valid_from, place.valid_to) is distinct from
    (excluded.name, excluded.name_en, excluded.parent, excluded.valid_from, excluded.valid_to)
"""

_UPSERT_GUARDIANSHIPS = """
insert into guardianship (guardian, ward, relation, valid_from, valid_to, source)
select guardian, ward, relation, valid_from, valid_to, $6
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::date[], $5::date[])
    as new (guardian, ward, relation, valid_from, valid_to)
order by guardian, ward, relation, valid_from
on conflict (guardian, ward, relation, valid_from) do update set
    valid_to = excluded.valid_to, source = excluded.source
where guardianship.valid_to is distinct from excluded.valid_to
"""


async def upsert_organisations(db: Connection, columns: Sequence[Sequence[object]], source: str) -> int:
    return _count(await db.execute(_UPSERT_ORGANISATIONS, *columns, source))


async def upsert_places(db: Connection, columns: Sequence[Sequence[object]], source: str) -> int:
    return _count(await db.execute(_UPSERT_PLACES, *columns, source))


async def upsert_guardianships(db: Connection, columns: Sequence[Sequence[object]], source: str) -> int:
    return _count(await db.execute(_UPSERT_GUARDIANSHIPS, *columns, source))


async def open_guardianships(db: Connection, columns: Sequence[Sequence[object]], source: str) -> int:
    """Those that are not there yet; what the registry said of one that is, stays."""
    return _count(
        await db.execute(
            """insert into guardianship (guardian, ward, relation, valid_from, valid_to, source)
               select guardian, ward, relation, valid_from, valid_to, $6
               from unnest($1::uuid[], $2::uuid[], $3::text[], $4::date[], $5::date[])
                   as new (guardian, ward, relation, valid_from, valid_to)
               order by guardian, ward, relation, valid_from
               on conflict do nothing""",
            *columns,
            source,
        )
    )


async def known_places(db: Connection, codes: Sequence[str]) -> set[str]:
    return {row["code"] for row in await db.fetch("select code from place where code = any($1)", codes)}


async def known_organisations(db: Connection, codes: Sequence[str]) -> set[str]:
    return {
        row["uscc"] for row in await db.fetch("select uscc from organisation where uscc = any($1)", codes)
    }


async def area_of_organisation(db: Connection, code: str) -> str | None:
    area: str | None = await db.fetchval("select area from organisation where uscc = $1", code)
    return area


async def keep_former_names(db: Connection, columns: Sequence[Sequence[object]]) -> None:
    """An area that has another name since a later day keeps the one it had until then.

    Args:
        columns: as for `upsert_places`.
    """
    await db.execute(
        """insert into place_former (code, valid_from, until, name, name_en)
           select code, place.valid_from, new.valid_from, place.name, place.name_en
           from unnest($1::text[], $2::text[], $3::text[], $4::date[])
               as new (code, name, name_en, valid_from)
           join place using (code)
           where place.name <> new.name and new.valid_from > coalesce(place.valid_from, '-infinity')
           order by 1, 2
           on conflict do nothing""",
        *(columns[at] for at in (0, 1, 2, 5)),
    )


async def add_successors(db: Connection, pairs: Sequence[tuple[str, str]]) -> int:
    return _count(
        await db.execute(
            """insert into place_successor (code, successor)
               select * from unnest($1::text[], $2::text[]) order by 1, 2 on conflict do nothing""",
            [code for code, _ in pairs],
            [successor for _, successor in pairs],
        )
    )


async def places(
    db: Connection,
    *,
    codes: Sequence[str] | None,
    parent: str | None,
    on: date | None,
    after: str,
    limit: int,
) -> list[Row]:
    """Children of `parent`, or the places of these codes, or all, in the order of their codes."""
    return await db.fetch(
        """select place.code, coalesce(former.name, place.name) as name,
                  case when former.code is null then place.name_en else former.name_en end as name_en,
                  parent, level, valid_from, valid_to,
                  array(select successor from place_successor next where next.code = place.code
                        order by successor) as successors
           from place
           left join lateral (select code, name, name_en from place_former
                              where place_former.code = place.code and until > $4
                                and (place_former.valid_from is null or place_former.valid_from <= $4)
                              limit 1) as former on $4::date is not null
           where place.code > $1 and ($2::text[] is null or place.code = any($2))
             and ($3::text is null or parent = $3)
             and ($4::date is null or ((valid_to is null or valid_to > $4)
                 and (former.code is not null or valid_from is null or valid_from <= $4)))
           order by place.code limit $5""",
        after,
        codes,
        parent,
        on,
        limit,
    )


async def organisations(
    db: Connection, *, codes: Sequence[str] | None, area: str | None, after: str, limit: int
) -> list[Row]:
    return await db.fetch(
        """select uscc, name, name_en, kind, area, parent, status, valid_from, valid_to from organisation
           where uscc > $1 and ($2::text[] is null or uscc = any($2))
             and ($3::text is null or starts_with(area, $3))
           order by uscc limit $4""",
        after,
        codes,
        area,
        limit,
    )


async def wards_of(db: Connection, guardians: Sequence[UUID], on: date) -> list[Row]:
    """Guardianships that have begun and that neither their term nor a death has ended; coming of age is for
    the caller to compute."""
    return await db.fetch(
        """select person.pid, person.name, person.birth_date, g.relation,
                  least(g.valid_to, person.death_date, guardian.death_date) as valid_to
           from guardianship g
           join person on person.pid = g.ward
           join person guardian on guardian.pid = g.guardian
           where g.guardian = any($1) and g.valid_from <= $2 and (g.valid_to is null or g.valid_to > $2)
             and (person.death_date is null or person.death_date > $2)
             and (guardian.death_date is null or guardian.death_date > $2)
           order by person.birth_date, person.pid""",
        guardians,
        on,
    )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


async def counts(db: Connection) -> dict[str, int]:
    """How many of each, for the start page."""
    row = await db.fetchrow(
        """select (select count(*) from person where root is null) as persons,
                  (select count(*) from organisation) as organisations,
                  (select count(*) from guardianship) as guardianships"""
    )
    return dict(row or {})
