"""Taking a push in: staging tables of the one transaction, checks over whole sets, versions, receipts.

Table and column names come from `social_security/imports/kinds.py`, never from what was sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit import renewal
from services.kit.database import Connection, Row


@dataclass(frozen=True, slots=True)
class Staging:
    """One kind of rows, as the repository needs to know it."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    by_number: bool

    @property
    def name(self) -> str:
        return f"staged_{self.table}"

    @property
    def sent(self) -> tuple[str, ...]:
        """What of a row was sent, besides where it stood."""
        return (("citizen_number", *self.columns)) if self.by_number else self.columns


def _of(alias: str, columns: Iterable[str]) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _same(columns: Iterable[str], left: str, right: str) -> str:
    return " and ".join(f"{left}.{column} = {right}.{column}" for column in columns)


async def take_turn(db: Connection, *, organisation: str, deadline_ms: int) -> datetime:
    """One push of an organisation at a time, and the time that counts as its recording."""
    # A large push waits for identity between two statements for longer than a request may.
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        await db.execute("select set_config($1, $2, true)", limit, str(deadline_ms))
    await db.execute("select pg_advisory_xact_lock(hashtextextended($1, 7))", organisation)
    found = await db.fetchval("select clock_timestamp()")
    assert isinstance(found, datetime)
    return found


async def make_staging(db: Connection, staging: Staging) -> None:
    number = ", ''::text as citizen_number" if staging.by_number else ""
    await db.execute(
        f"create temporary table {staging.name} on commit drop as "
        f"select 0 as line{number}, {', '.join(staging.columns)} from {staging.table} with no data"
    )


async def stage(db: Connection, staging: Staging, records: Iterable[Sequence[Any]]) -> None:
    await db.copy_records_to_table(
        staging.name, schema_name="pg_temp", records=records, columns=("line", *staging.sent)
    )


async def staged(db: Connection, staging: Staging) -> int:
    """Counts what is staged and lets the planner know it; returns how many distinct keys there are."""
    await db.execute(f"analyze {staging.name}")
    return int(
        await db.fetchval(
            f"select count(*) from (select from {staging.name} group by {', '.join(staging.key)}) keys"
        )
    )


async def drop_repetitions(db: Connection, staging: Staging) -> int:
    """Rows that say word for word what an earlier one said are that row; returns how many there were."""
    same = " and ".join(
        f"later.{c} is not distinct from earlier.{c}" for c in staging.sent if c not in staging.key
    )
    found = await db.fetchval(
        f"with gone as (delete from {staging.name} later using {staging.name} earlier "
        f"where {_same(staging.key, 'later', 'earlier')} and earlier.line < later.line and {same} "
        "returning 1) "
        "select count(*) from gone"
    )
    return int(found)


async def contradictions(db: Connection, staging: Staging, limit: int) -> list[Row]:
    """Lines whose key stands on another line too, with other values; `other` is that line."""
    keys = ", ".join(staging.key)
    return await db.fetch(
        f"select line, case line when low then high else low end as other from ("
        f"select line, min(line) over same as low, max(line) over same as high from {staging.name} "
        f"window same as (partition by {keys})) keyed where low < high order by line limit $1",
        limit,
    )


async def without_claim(db: Connection, *, organisation: str, limit: int) -> list[Row]:
    """Staged claim lines whose claim is neither in this push nor kept from an earlier one."""
    return await db.fetch(
        """
        select line.line, line.claim_id from staged_claim_line line
        where not exists (select from staged_claim claim where claim.claim_id = line.claim_id)
          and not exists (select from claim where claim.organisation = $1
                          and claim.claim_id = line.claim_id and claim.superseded_at is null)
        order by line.line limit $2
        """,
        organisation,
        limit,
    )


async def unstage(db: Connection, staging: Staging, lines: Sequence[int]) -> None:
    await db.execute(f"delete from {staging.name} where line = any($1)", list(lines))


async def numbers_staged(db: Connection, stagings: Sequence[Staging]) -> list[str]:
    """Each citizen number of the push once."""
    union = " union all ".join(f"select citizen_number from {staging.name}" for staging in stagings)
    rows = await db.fetch(f"select distinct citizen_number from ({union}) numbers order by 1")
    return [row[0] for row in rows]


async def lines_of(db: Connection, staging: Staging, numbers: Sequence[str], limit: int) -> list[Row]:
    return await db.fetch(
        f"select line, citizen_number from {staging.name} where citizen_number = any($1) "
        "order by line limit $2",
        list(numbers),
        limit,
    )


async def stage_people(db: Connection, people: Iterable[tuple[str, str]]) -> None:
    """Who each number of the push is, in this sector."""
    await db.execute(
        "create temporary table staged_person (citizen_number text primary key, person text not null) "
        "on commit drop"
    )
    await db.copy_records_to_table(
        "staged_person", schema_name="pg_temp", records=people, columns=("citizen_number", "person")
    )
    await db.execute("analyze staged_person")


async def settle_people(db: Connection, stagings: Sequence[Staging]) -> None:
    """A push may have waited for identity while ids were renewed."""
    tables = [staging.table for staging in stagings if staging.by_number]
    if tables:
        await renewal.settle(db, "staged_person", "person", tables=tables)


async def supersede(db: Connection, staging: Staging, *, organisation: str, at: datetime) -> int:
    """Ends the versions that the push corrects; returns how many."""
    kept, values = _of("kept", staging.columns), _of("sent", staging.columns)
    if staging.by_number:
        kept, values = f"kept.person, {kept}", f"who.person, {values}"
    status = await db.execute(
        f"update {staging.table} kept set superseded_at = $2 from {_source(staging)} "
        f"where kept.organisation = $1 and kept.superseded_at is null "
        f"and {_same(staging.key, 'kept', 'sent')} and ({kept}) is distinct from ({values})",
        organisation,
        at,
    )
    return int(status.rpartition(" ")[2])


async def insert_versions(
    db: Connection, staging: Staging, *, organisation: str, receipt_id: UUID, at: datetime
) -> int:
    """Keeps every staged row that has no current version (new ones, and those just superseded)."""
    person, who = ("person, ", "who.person, ") if staging.by_number else ("", "")
    status = await db.execute(
        f"insert into {staging.table} "
        f"(organisation, receipt_id, recorded_at, {person}{', '.join(staging.columns)}) "
        f"select $1, $2, $3, {who}{_of('sent', staging.columns)} from {_source(staging)} "
        f"where not exists (select from {staging.table} kept where kept.organisation = $1 "
        f"and kept.superseded_at is null and {_same(staging.key, 'kept', 'sent')})",
        organisation,
        receipt_id,
        at,
    )
    return int(status.rpartition(" ")[2])


def _source(staging: Staging) -> str:
    if not staging.by_number:
        return f"{staging.name} sent"
    return f"{staging.name} sent join staged_person who using (citizen_number)"


async def claim_subjects(db: Connection, *, organisation: str) -> list[str]:
    """Whose claims the staged lines belong to."""
    rows = await db.fetch(
        """
        select distinct claim.person from staged_claim_line line
        join claim on claim.organisation = $1 and claim.claim_id = line.claim_id
            and claim.superseded_at is null
        """,
        organisation,
    )
    return [row[0] for row in rows]


async def newest_receipts(db: Connection, *, organisation: str, digest: str) -> tuple[Row | None, Row | None]:
    """The organisation's last push of all, and its last one with this digest."""
    last = await db.fetchrow(
        "select * from receipt where organisation = $1 order by received_at desc, id desc limit 1",
        organisation,
    )
    same = await db.fetchrow(
        "select * from receipt where organisation = $1 and digest = $2 "
        "order by received_at desc, id desc limit 1",
        organisation,
        digest,
    )
    return last, same


async def keep_receipt(
    db: Connection,
    *,
    receipt_id: UUID,
    organisation: str,
    client_id: str,
    digest: str,
    sha256: str,
    mode: str,
    refused: int,
    received_at: datetime,
) -> None:
    await db.execute(
        "insert into receipt "
        "(id, organisation, client_id, digest, sha256, mode, files, refused, received_at) "
        "values ($1, $2, $3, $4, $5, $6, '[]', $7, $8)",
        receipt_id,
        organisation,
        client_id,
        digest,
        sha256,
        mode,
        refused,
        received_at,
    )


async def fill_receipt(db: Connection, receipt_id: UUID, *, files: list[dict[str, Any]]) -> None:
    """What became of each file, once that is known, in the commit that made the receipt."""
    await db.execute("update receipt set files = $2 where id = $1", receipt_id, files)


async def keep_refusals(
    db: Connection, receipt_id: UUID, refusals: Iterable[tuple[str, int, list[dict[str, Any]]]]
) -> None:
    await db.copy_records_to_table(
        "refusal",
        records=((receipt_id, kind, line, faults) for kind, line, faults in refusals),
        columns=("receipt_id", "kind", "line", "faults"),
    )


async def receipt_by_id(db: Connection, receipt_id: UUID, *, organisation: str) -> Row | None:
    return await db.fetchrow(
        "select * from receipt where id = $1 and organisation = $2", receipt_id, organisation
    )


async def refusals_of(
    db: Connection, receipt_id: UUID, *, after: tuple[str, int] | None, limit: int
) -> list[Row]:
    kind, line = after or ("", 0)
    return await db.fetch(
        "select kind, line, faults from refusal where receipt_id = $1 and (kind, line) > ($2, $3) "
        "order by kind, line limit $4",
        receipt_id,
        kind,
        line,
        limit,
    )


async def counts(db: Connection) -> dict[str, int]:
    """Rows kept by kind. Receipts know: counting the rows themselves takes seconds at a city's size."""
    rows = await db.fetch(
        """
        select file->>'kind' as kind, sum((file->>'inserted')::bigint)::bigint as n
        from receipt, jsonb_array_elements(files) file group by 1
        union all select 'findings', count(*) from finding where status = 'open'
        """
    )
    kept = {row["kind"]: row["n"] for row in rows}
    return {
        kind: kept.get(kind, 0) for kind in ("contributions", "payments", "claims", "claim_lines", "findings")
    }
