"""SQL about organisations, places and guardianship."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.kit.database import Connection, Row

_UPSERT_ORGANISATIONS = """
insert into organisation (uscc, name, name_en, kind, area, parent, source)
select uscc, name, name_en, kind, area, parent, $7
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    as new (uscc, name, name_en, kind, area, parent)
order by uscc
on conflict (uscc) do update set
    name = excluded.name, name_en = excluded.name_en, kind = excluded.kind, area = excluded.area,
    parent = excluded.parent, source = excluded.source, updated_at = now()
where (organisation.name, organisation.name_en, organisation.kind, organisation.area, organisation.parent)
    is distinct from (excluded.name, excluded.name_en, excluded.kind, excluded.area, excluded.parent)
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


async def known_places(db: Connection, codes: Sequence[str]) -> set[str]:
    return {row["code"] for row in await db.fetch("select code from place where code = any($1)", codes)}


async def known_organisations(db: Connection, codes: Sequence[str]) -> set[str]:
    return {
        row["uscc"] for row in await db.fetch("select uscc from organisation where uscc = any($1)", codes)
    }


async def places(
    db: Connection, *, codes: Sequence[str] | None, parent: str | None, after: str, limit: int
) -> list[Row]:
    """Children of `parent`, or the places of these codes, or all, in the order of their codes."""
    return await db.fetch(
        """select code, name, name_en, parent, level, valid_from, valid_to from place
           where code > $1 and ($2::text[] is null or code = any($2)) and ($3::text is null or parent = $3)
           order by code limit $4""",
        after,
        codes,
        parent,
        limit,
    )


async def organisations(
    db: Connection, *, codes: Sequence[str] | None, area: str | None, after: str, limit: int
) -> list[Row]:
    return await db.fetch(
        """select uscc, name, name_en, kind, area, parent from organisation
           where uscc > $1 and ($2::text[] is null or uscc = any($2))
             and ($3::text is null or starts_with(area, $3))
           order by uscc limit $4""",
        after,
        codes,
        area,
        limit,
    )


async def wards_of(db: Connection, guardian: UUID, on: date) -> list[Row]:
    """Guardianships that have begun and were not ended; coming of age is for the caller to compute."""
    return await db.fetch(
        """select person.pid, person.name, person.birth_date, g.relation, g.valid_to
           from guardianship g join person on person.pid = g.ward
           where g.guardian = $1 and g.valid_from <= $2 and (g.valid_to is null or g.valid_to > $2)
           order by person.birth_date, person.pid""",
        guardian,
        on,
    )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


async def counts(db: Connection) -> dict[str, int]:
    """How many of each, for the start page."""
    row = await db.fetchrow(
        """select (select count(*) from person) as persons,
                  (select count(*) from organisation) as organisations,
                  (select count(*) from guardianship) as guardianships"""
    )
    return dict(row or {})
