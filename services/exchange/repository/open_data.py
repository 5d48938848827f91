"""Every statement about open data: releases of its tables, applications for exports, their files."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_RELEASE = """
    product, version, state, requested_at, ended_at, reason, cells, suppressed, k,
    octet_length(csv) as csv_bytes, octet_length(parquet) as parquet_bytes,
    encode(sha256(csv), 'hex') as csv_sha256, encode(sha256(parquet), 'hex') as parquet_sha256
"""
_APPLICATION = """
    id, client_id, organisation, title, details, dataset, items, k, legal_basis, ethics, valid_until, state,
    requested_at, due_at, due_by_weekdays, overdue_at, decided_at, decided_by, reason,
    state = 'requested' and due_at <= clock_timestamp() as overdue
"""


_NOT_SHARED = "select id from dataset where provider = $1 and description ->> 'sharing' = 'none'"
NOT_MADE = "could not be made: its job failed; it may be ordered anew"
"""Not what it failed of, which may repeat a value of the rows."""
_JOB_OVER = "coalesce(job.state, 'failed') in ('failed', 'cancelled')"
"""Of a job that may have been thrown away since."""


async def take_turn(db: Connection, product: str) -> None:
    """Releases of a product are ordered one after the other."""
    await db.execute("select pg_advisory_xact_lock(hashtextextended('open release ' || $1, 0))", product)


async def at_work(db: Connection, product: str) -> Row | None:
    """The release that is being made."""
    return await db.fetchrow(
        "select version from open_release where product = $1 and state = 'queued'", product
    )


async def withhold_failed(db: Connection) -> None:
    """The releases that wait for a job that failed."""
    await db.execute(
        f"""update open_release set state = 'withheld', ended_at = clock_timestamp(), reason = $1
            where state = 'queued' and (product, version) in (
                select product, version from open_release left join job on job.id = job_id
                where open_release.state = 'queued' and {_JOB_OVER})""",
        NOT_MADE,
    )


async def add_release(db: Connection, *, product: str, job_id: UUID, requested_by: str) -> int:
    """The new release's version."""
    found = await db.fetchval(
        """insert into open_release (product, version, job_id, requested_by)
           select $1, coalesce(max(version), 0) + 1, $2, $3 from open_release where product = $1
           returning version""",
        product,
        job_id,
        requested_by,
    )
    return int(found)


async def release_of_job(db: Connection, job_id: UUID) -> Row | None:
    return await db.fetchrow("select version, state from open_release where job_id = $1", job_id)


async def publish(
    db: Connection,
    job_id: UUID,
    *,
    records: int,
    cells: int,
    suppressed: int,
    k: int,
    csv: bytes,
    parquet: bytes,
) -> None:
    await db.execute(
        """update open_release set state = 'published', ended_at = clock_timestamp(), records = $2,
               cells = $3, suppressed = $4, k = $5, csv = $6, parquet = $7
           where job_id = $1""",
        job_id,
        records,
        cells,
        suppressed,
        k,
        csv,
        parquet,
    )


async def withhold(db: Connection, job_id: UUID, reason: str) -> None:
    await db.execute(
        """update open_release set state = 'withheld', ended_at = clock_timestamp(), reason = $2
           where job_id = $1 and state = 'queued'""",
        job_id,
        reason,
    )


async def withdraw(db: Connection, product: str, version: int, reason: str) -> bool:
    """False when there is no such published release."""
    status = await db.execute(
        """update open_release set state = 'withdrawn', ended_at = clock_timestamp(), reason = $3
           where product = $1 and version = $2 and state = 'published'""",
        product,
        version,
        reason,
    )
    return status.endswith(" 1")


async def withdraw_not_shared(
    db: Connection, provider: str, datasets: Mapping[str, str], reason: str
) -> list[Row]:
    """Withdraws what was published of a provider's datasets that are not shared any more.

    Args:
        datasets: each product's.
    """
    return await db.fetch(
        f"""update open_release set state = 'withdrawn', ended_at = clock_timestamp(), reason = $4
            where state = 'published' and product in (
                select product from unnest($2::text[], $3::text[]) as made_of (product, dataset)
                where dataset in ({_NOT_SHARED}))
            returning product, version""",
        provider,
        list(datasets),
        list(datasets.values()),
        reason,
    )


async def releases(db: Connection, product: str, *, before: int | None, limit: int) -> list[Row]:
    """Newest first."""
    return await db.fetch(
        f"""select {_RELEASE} from open_release where product = $1 and ($2::integer is null or version < $2)
            order by version desc limit $3""",
        product,
        before,
        limit,
    )


async def release(db: Connection, product: str, version: int) -> Row | None:
    return await db.fetchrow(
        f"select {_RELEASE} from open_release where product = $1 and version = $2", product, version
    )


async def newest_published(db: Connection) -> dict[str, Row]:
    """The newest release that anybody may have, by product."""
    rows = await db.fetch(
        # The newest first of all: sizes and sums are read off whole files.
        f"""select {_RELEASE} from open_release where (product, version) in (
                select product, max(version) from open_release where state = 'published' group by product)"""
    )
    return {row["product"]: row for row in rows}


async def file(db: Connection, product: str, version: int, kind: str) -> bytes | None:
    """A published release's file; `kind` is csv or parquet."""
    column = {"csv": "csv", "parquet": "parquet"}[kind]
    found = await db.fetchval(
        f"select {column} from open_release where product = $1 and version = $2 and state = 'published'",
        product,
        version,
    )
    return None if found is None else bytes(found)


# --- exports -----------------------------------------------------------------------------------------


async def add_application(db: Connection, values: dict[str, Any]) -> None:
    names = list(values)
    places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    await db.execute(
        f"insert into export_application ({', '.join(names)}) values ({places})", *values.values()
    )


async def applications(
    db: Connection, *, organisation: str | None, state: str | None, before: UUID | None, limit: int
) -> list[Row]:
    """Newest first; of one organisation, or of all."""
    return await db.fetch(
        f"""select {_APPLICATION} from export_application
            where ($1::text is null or organisation = $1) and ($2::text is null or state = $2)
                and ($3::uuid is null or id < $3)
            order by id desc limit $4""",
        organisation,
        state,
        before,
        limit,
    )


async def application(db: Connection, id: UUID) -> Row | None:
    return await db.fetchrow(
        f"select {_APPLICATION}, encryption_jwk from export_application where id = $1", id
    )


async def lock_application(db: Connection, id: UUID) -> Row | None:
    return await db.fetchrow(f"select {_APPLICATION} from export_application where id = $1 for update", id)


async def decide(
    db: Connection, id: UUID, *, state: str, reason: str, decided_by: str, job_id: UUID | None
) -> None:
    await db.execute(
        """update export_application set state = $2, reason = $3, decided_by = $4, job_id = $5,
               decided_at = clock_timestamp() where id = $1""",
        id,
        state,
        reason,
        decided_by,
        job_id,
    )


async def set_state(db: Connection, id: UUID, state: str, reason: str | None = None) -> None:
    await db.execute(
        "update export_application set state = $2, reason = coalesce($3, reason) where id = $1",
        id,
        state,
        reason,
    )


async def keep_export(
    db: Connection, id: UUID, *, records: int, left_out: int, people: int, k: int, sealed: bytes
) -> None:
    await db.execute(
        """insert into export_file (application_id, records, left_out, people, k, sealed)
           values ($1, $2, $3, $4, $5, $6)""",
        id,
        records,
        left_out,
        people,
        k,
        sealed,
    )


async def export(db: Connection, id: UUID) -> Row | None:
    """The sealed file of an application whose term has not ended."""
    return await db.fetchrow(
        """select made_at, records, left_out, people, export_file.k, sealed from export_file
           join export_application on id = application_id
           where application_id = $1 and state = 'exported'
               and valid_until >= (clock_timestamp() at time zone 'Asia/Shanghai')::date""",
        id,
    )


async def end_expired(db: Connection, *, limit: int) -> list[Row]:
    """Applications whose term is over end, and their sealed files go."""
    rows = await db.fetch(
        """update export_application set state = 'ended' where id in (
               select id from export_application where state = 'exported'
                   and valid_until < (clock_timestamp() at time zone 'Asia/Shanghai')::date
               order by id limit $1 for update skip locked)
           returning id""",
        limit,
    )
    await db.execute("delete from export_file where application_id = any($1)", [row["id"] for row in rows])
    return rows


async def end_not_shared(db: Connection, provider: str, reason: str) -> list[Row]:
    """Ends exports of a provider's datasets that are not shared any more; their sealed files go."""
    rows = await db.fetch(
        f"""update export_application set state = 'ended', reason = $2
            where state = 'exported' and dataset in ({_NOT_SHARED}) returning id, dataset""",
        provider,
        reason,
    )
    await db.execute("delete from export_file where application_id = any($1)", [row["id"] for row in rows])
    return rows


async def exports_failed(db: Connection, *, limit: int) -> list[Row]:
    """Approved applications whose job failed, locked."""
    return await db.fetch(
        f"""select export_application.id, dataset from export_application left join job on job.id = job_id
            where export_application.state = 'approved' and {_JOB_OVER}
            order by export_application.id limit $1 for update of export_application skip locked""",
        limit,
    )


async def newly_overdue(db: Connection, *, limit: int) -> list[Row]:
    """Applications nobody decided in time and nobody was told of; told from now on."""
    return await db.fetch(
        """update export_application set overdue_at = clock_timestamp() where id in (
               select id from export_application
               where state = 'requested' and overdue_at is null and due_at <= clock_timestamp()
               order by due_at limit $1 for update skip locked)
           returning id, dataset, organisation, due_at""",
        limit,
    )
