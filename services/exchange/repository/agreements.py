"""SQL about agreements, the steps they took, and what was read under them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.kit.database import Connection, Row

TODAY = "(clock_timestamp() at time zone 'Asia/Shanghai')::date"
"""The day quotas count by."""
_AGREEMENT = """
select *, created_at as requested_at,
    state = 'active' and valid_from <= clock_timestamp() and clock_timestamp() < valid_until
        and lack is null as in_force,
    state = 'requested' and due_at < clock_timestamp() as overdue
from agreement cross join lateral (
    select case when withdrawn_at is not null then 'dataset_withdrawn'
                when description ->> 'sharing' = 'none' then 'not_shared'
                when cardinality(missing) > 0 then 'agreement_mismatch' end as lack,
           case when withdrawn_at is null and description ->> 'sharing' = 'none'
                then array[description ->> 'legal_basis'] else missing end as lacking
    from (select 1) as always left join dataset on dataset.id = agreement.dataset
    left join lateral (
        select array(
            (select unnest(agreement.items)
             except select item ->> 'name' from jsonb_array_elements(description -> 'items') as item)
            union
            (select asked ->> 'item' from jsonb_array_elements(agreement.filter) as asked
             except select item ->> 'name' from jsonb_array_elements(description -> 'items') as item
                    where (item ->> 'filterable')::boolean)
            order by 1) as missing) as found on dataset.id is not null) as ground"""
"""`lack`: why the dataset in the catalogue does not carry the agreement; one not heard of yet does."""
_COLUMNS = (
    "id", "dataset", "provider", "consumer", "items", "filter", "purpose", "details", "legal_basis",
    "needs_consent", "reads_per_day", "rows_per_day", "valid_from", "valid_until", "state", "due_at",
    "due_by_weekdays", "requested_by", "decided_by",
)  # fmt: skip


async def add(db: Connection, agreement: dict[str, Any]) -> bool:
    """Whether it is new; one that is known stays as it is."""
    places = ", ".join(f"${n}" for n in range(1, len(_COLUMNS) + 1))
    sql = f"insert into agreement ({', '.join(_COLUMNS)}) values ({places}) on conflict do nothing"
    return bool(await db.fetchval(f"{sql} returning true", *(agreement[name] for name in _COLUMNS)))


async def agreements(
    db: Connection, *, state: str | None, before: tuple[datetime, str] | None, limit: int
) -> list[Row]:
    """Newest first."""
    at, id = before or (None, None)
    return await db.fetch(
        f"""{_AGREEMENT} where ($1::text is null or state = $1)
            and ($2::timestamptz is null or (created_at, id) < ($2, $3::text))
            order by created_at desc, id desc limit $4""",
        state,
        at,
        id,
        limit,
    )


async def agreement(db: Connection, id: str) -> Row | None:
    return await db.fetchrow(f"{_AGREEMENT} where id = $1", id)


async def lock(db: Connection, id: str) -> Row | None:
    return await db.fetchrow(f"{_AGREEMENT} where id = $1 for no key update of agreement", id)


async def between(
    db: Connection, *, consumer: str, dataset: str, id: str | None, limit: int = 10
) -> list[Row]:
    """What one service agreed on about a dataset: in force first, then what ends last."""
    return await db.fetch(
        f"""{_AGREEMENT} where consumer = $1 and dataset = $2 and ($3::text is null or id = $3)
            order by in_force desc, valid_until desc, id limit $4""",
        consumer,
        dataset,
        id,
        limit,
    )


async def held(db: Connection, id: str) -> Row | None:
    """With a share lock: whoever suspends the agreement waits for this commit, or came before it."""
    return await db.fetchrow(f"{_AGREEMENT} where id = $1 for share of agreement", id)


async def set_state(db: Connection, id: str, state: str) -> None:
    await db.execute("update agreement set state = $2 where id = $1", id, state)


async def decide(db: Connection, id: str, state: str, *, decided_by: str) -> None:
    await db.execute("update agreement set state = $2, decided_by = $3 where id = $1", id, state, decided_by)


async def add_step(
    db: Connection, id: str, *, state: str, reason: str, decided_by: str, organisation: str | None = None
) -> None:
    await db.execute(
        """insert into agreement_step (agreement_id, at, state, reason, decided_by, organisation)
           values ($1, clock_timestamp(), $2, $3, $4, $5)""",
        id,
        state,
        reason,
        decided_by,
        organisation,
    )


async def steps(db: Connection, id: str, *, limit: int) -> list[Row]:
    """The newest, in the order they were taken."""
    rows = await db.fetch(
        """select at, state, reason, organisation from agreement_step where agreement_id = $1
           order by at desc limit $2""",
        id,
        limit,
    )
    return rows[::-1]


async def newly_overdue(db: Connection, *, limit: int) -> list[Row]:
    """Requests whose term passed and of which nobody was told so far; they are marked as told."""
    return await db.fetch(
        """update agreement set overdue_told_at = clock_timestamp() where id in (
                select id from agreement
                where state = 'requested' and due_at < clock_timestamp() and overdue_told_at is null
                order by id limit $1 for no key update skip locked)
            returning id, dataset, provider, consumer, due_at""",
        limit,
    )


async def expired(db: Connection, *, limit: int) -> list[Row]:
    """Agreements past their validity that still stand as active or suspended; they end."""
    return await db.fetch(
        """update agreement set state = 'ended' where id in (
               select id from agreement
               where state in ('active', 'suspended') and valid_until <= clock_timestamp()
               order by id limit $1 for no key update skip locked)
           returning id, dataset, provider, consumer, valid_until""",
        limit,
    )


async def groundless(db: Connection, provider: str) -> list[Row]:
    """Active agreements about a provider's datasets that these do not carry any more."""
    return await db.fetch(
        f"{_AGREEMENT} where provider = $1 and state = 'active' and lack is not null order by id "
        "for no key update of agreement",
        provider,
    )


async def used_today(db: Connection, id: str) -> tuple[int, int]:
    """Reads and rows so far."""
    row = await db.fetchrow(
        f"select reads, rows from agreement_use where agreement_id = $1 and day = {TODAY}", id
    )
    return (row["reads"], row["rows"]) if row is not None else (0, 0)


async def use(db: Connection, id: str, rows: int) -> bool:
    """Counts one read of so many rows; False, and nothing counted, when the day's quota would not hold it.

    One statement on one row: of two reads at the same time the second sees what the first counted.
    """
    counted = await db.fetchval(
        f"""insert into agreement_use as used (agreement_id, day, reads, rows)
            select id, {TODAY}, 1, $2 from agreement where id = $1 and $2 <= rows_per_day
            on conflict (agreement_id, day) do update
                set reads = used.reads + 1, rows = used.rows + excluded.rows
                where (select used.reads < reads_per_day and used.rows + excluded.rows <= rows_per_day
                       from agreement where id = $1)
            returning true""",
        id,
        rows,
    )
    return bool(counted)


async def use_by_day(db: Connection, id: str, *, days: int) -> list[Row]:
    """The last days in order, those without a read too."""
    return await db.fetch(
        f"""select days.day::date as day, coalesce(reads, 0) as reads, coalesce(rows, 0) as rows
            from generate_series({TODAY} - $2::int + 1, {TODAY}, interval '1 day') as days (day)
            left join agreement_use as used on used.agreement_id = $1 and used.day = days.day::date
            order by days.day""",
        id,
        days,
    )


async def seconds_left_today(db: Connection) -> int:
    """Until quotas begin anew."""
    return int(
        await db.fetchval(
            f"""select ceil(extract(epoch from
                    (({TODAY} + 1)::timestamp at time zone 'Asia/Shanghai') - clock_timestamp()))"""
        )
    )


async def departments(db: Connection, *, limit: int = 100) -> list[Row]:
    return await db.fetch("select * from department order by service limit $1", limit)


async def department(db: Connection, service: str) -> Row | None:
    return await db.fetchrow("select * from department where service = $1", service)


async def seed_departments(db: Connection, departments: Sequence[dict[str, Any]]) -> None:
    """The names that ship with the suite; what was registered since stays."""
    await db.execute(
        """insert into department (service, name_zh, name_en)
           select * from unnest($1::text[], $2::text[], $3::text[]) on conflict do nothing""",
        *([one[name] for one in departments] for name in ("service", "name_zh", "name_en")),
    )


async def register_department(
    db: Connection, service: str, *, organisation: str, name_zh: str, name_en: str
) -> bool:
    """False when another service has that organisation already."""
    taken = await db.fetchval(
        "select true from department where organisation = $1 and service <> $2", organisation, service
    )
    if taken:
        return False
    await db.execute(
        """insert into department (service, organisation, name_zh, name_en) values ($1, $2, $3, $4)
           on conflict (service) do update set
               organisation = excluded.organisation,
               name_zh = excluded.name_zh, name_en = excluded.name_en""",
        service,
        organisation,
        name_zh,
        name_en,
    )
    return True
