"""SQL about people: identifiers, links, sector ids. All set-wise; a batch costs the same few statements."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from services.kit.database import Connection, Row


class PersonRow(NamedTuple):
    pid: UUID
    name: str | None
    birth_date: date | None
    sex: str | None
    death_date: date | None
    area: str | None
    phone_hmac: bytes | None
    registered: bool
    keyed: int
    root: UUID | None
    created_at: datetime


class IdentifierRow(NamedTuple):
    """A registered identifier (scheme) or a link (source system) about to be written."""

    system: str
    blind: bytes
    sealed: bytes
    pid: UUID


async def pids_by_identifier(
    db: Connection, keys: Sequence[tuple[str, bytes]]
) -> dict[tuple[str, bytes], UUID]:
    rows = await db.fetch(
        """select scheme, value_hmac, pid from vault.identifier
           join unnest($1::text[], $2::bytea[]) as wanted (scheme, value_hmac) using (scheme, value_hmac)""",
        [system for system, _ in keys],
        [blind for _, blind in keys],
    )
    return {(row["scheme"], row["value_hmac"]): row["pid"] for row in rows}


async def pids_by_link(
    db: Connection, keys: Sequence[tuple[str, bytes]], scope: str
) -> dict[tuple[str, bytes], UUID]:
    """Whom an organisation's own identifiers mean."""
    rows = await db.fetch(
        """select source_system, local_hmac, pid from vault.link
           join unnest($1::text[], $2::bytea[]) as wanted (source_system, local_hmac)
               using (source_system, local_hmac)
           where scope = $3""",
        [system for system, _ in keys],
        [blind for _, blind in keys],
        scope,
    )
    return {(row["source_system"], row["local_hmac"]): row["pid"] for row in rows}


async def former_pids_by_link(
    db: Connection, keys: Sequence[tuple[str, bytes]], source: str
) -> dict[tuple[str, bytes], UUID]:
    """Whom they meant to a service before organisations were told apart."""
    rows = await db.fetch(
        """select source_system, local_hmac, pid from vault.link
           join unnest($1::text[], $2::bytea[]) as wanted (source_system, local_hmac)
               using (source_system, local_hmac)
           where scope = '' and source = $3""",
        [system for system, _ in keys],
        [blind for _, blind in keys],
        source,
    )
    return {(row["source_system"], row["local_hmac"]): row["pid"] for row in rows}


async def persons(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """What is known of each, with the blind index of the citizen number."""
    return await db.fetch(
        """select person.*, identifier.value_hmac as citizen_hmac from person
           left join vault.identifier on identifier.pid = person.pid
               and identifier.scheme = 'urn:huimin:id:citizen-number'
           where person.pid = any($1)""",
        pids,
    )


async def lock_persons(db: Connection, pids: Sequence[UUID]) -> None:
    """In one order for everybody, so that two batches about the same people wait and do not deadlock."""
    await db.execute("select from person where pid = any($1) order by pid for no key update", pids)


async def add_persons(db: Connection, rows: Sequence[PersonRow]) -> None:
    await db.copy_records_to_table("person", records=rows, columns=PersonRow._fields)


async def fill_persons(db: Connection, rows: Sequence[PersonRow]) -> None:
    """A push adds what was not known; the registry's word (`registered`) replaces what was."""
    await db.execute(
        """update person set
             name = case when new.registered then coalesce(new.name, person.name)
                         else coalesce(person.name, new.name) end,
             birth_date = case when new.registered then coalesce(new.birth_date, person.birth_date)
                               else coalesce(person.birth_date, new.birth_date) end,
             sex = case when new.registered then coalesce(new.sex, person.sex)
                        else coalesce(person.sex, new.sex) end,
             death_date = case when new.registered then coalesce(new.death_date, person.death_date)
                               else coalesce(person.death_date, new.death_date) end,
             area = case when new.registered then coalesce(new.area, person.area)
                         else coalesce(person.area, new.area) end,
             phone_hmac = case when new.registered then coalesce(new.phone_hmac, person.phone_hmac)
                               else coalesce(person.phone_hmac, new.phone_hmac) end,
             registered = person.registered or new.registered,
             updated_at = now()
           from unnest($1::uuid[], $2::text[], $3::date[], $4::text[], $5::date[], $6::text[], $7::bytea[],
                       $8::boolean[])
               as new (pid, name, birth_date, sex, death_date, area, phone_hmac, registered)
           where person.pid = new.pid""",
        *_columns(rows, 8),
    )


async def claim_identifiers(db: Connection, rows: Sequence[IdentifierRow], source: str) -> int:
    """Adds identifiers in key order and returns how many are ours; another's claim is waited for."""
    return await _claim(
        db,
        """insert into vault.identifier (scheme, value_hmac, value_enc, pid, source)
           select system, blind, sealed, pid, $5
           from unnest($1::text[], $2::bytea[], $3::bytea[], $4::uuid[]) as new (system, blind, sealed, pid)
           on conflict do nothing""",
        rows,
        source,
    )


async def claim_links(db: Connection, rows: Sequence[IdentifierRow], source: str, scope: str) -> int:
    return await _claim(
        db,
        """insert into vault.link (source_system, local_hmac, local_enc, pid, source, scope)
           select system, blind, sealed, pid, $5, $6
           from unnest($1::text[], $2::bytea[], $3::bytea[], $4::uuid[]) as new (system, blind, sealed, pid)
           on conflict do nothing""",
        rows,
        source,
        scope,
    )


async def _claim(db: Connection, sql: str, rows: Sequence[IdentifierRow], *said: str) -> int:
    ordered = sorted(rows, key=lambda row: (row.system, row.blind))
    status = await db.execute(sql, *_columns(ordered, 4), *said)
    return int(status.rpartition(" ")[2])


async def remember_sector_ids(
    db: Connection, sector: str, version: int, ids: Sequence[tuple[str, UUID]]
) -> None:
    """Keeps the way back from these ids; the ones already kept cost an index look-up each."""
    ordered = sorted(ids)
    await db.execute(
        """insert into vault.sector_id (id, sector, version, pid)
           select new.id, $3, $4, new.pid from unnest($1::text[], $2::uuid[]) as new (id, pid)
           where not exists (select from vault.sector_id known where known.id = new.id)
           on conflict do nothing""",
        [id for id, _ in ordered],
        [pid for _, pid in ordered],
        sector,
        version,
    )


async def pids_by_sector_id(db: Connection, sector: str, ids: Sequence[str]) -> dict[str, UUID]:
    rows = await db.fetch(
        "select id, pid from vault.sector_id where id = any($1) and sector = $2", ids, sector
    )
    return {row["id"]: row["pid"] for row in rows}


async def person(db: Connection, pid: UUID) -> Row | None:
    return await db.fetchrow(
        """select person.*, place.name as area_name, place.name_en as area_name_en from person
           left join place on place.code = person.area where person.pid = $1""",
        pid,
    )


async def identifiers_of(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    return await db.fetch(
        "select scheme, value_enc from vault.identifier where pid = any($1) order by scheme", pids
    )


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(width)]
