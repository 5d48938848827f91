"""Audit runs, the snapshots they read, and the rows a snapshot takes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

# Columns in the order of social_security/analytics/tables.py; a test holds the two together.
CURRENT: Mapping[str, str] = {
    "contributions": """
        select organisation, contribution_id, person, employer_uscc, scheme, area, period, base, amount,
               currency, declared_on
        from contribution where superseded_at is null""",
    "payments": """
        select organisation, payment_id, person, scheme, benefit, area, period, amount, currency, paid_on
        from payment where superseded_at is null""",
    "claims": """
        select organisation, claim_id, person, provider_uscc, scheme, area, claimed_on
        from claim where superseded_at is null""",
    "claim_lines": """
        select organisation, claim_id, line_no, item_code, service_date, quantity, unit_price, amount,
               currency
        from claim_line where superseded_at is null""",
}


async def copy_current(db: Any, table: str, target: Path, *, deadline_ms: int) -> None:
    """One table's current rows as CSV, within the caller's one snapshot of the database."""
    await allow_long_statements(db, deadline_ms)
    await db.copy_from_query(CURRENT[table], output=str(target), format="csv")


async def clock(db: Connection) -> datetime:
    found = await db.fetchval("select now()")
    assert isinstance(found, datetime)
    return found


async def keep_snapshot(
    db: Connection, *, snapshot_id: UUID, as_of: datetime, files: list[dict[str, Any]], sha256: str
) -> None:
    await db.execute(
        "insert into data_snapshot (id, as_of, files, sha256) values ($1, $2, $3, $4)",
        snapshot_id,
        as_of,
        files,
        sha256,
    )


async def outdated_snapshots(db: Connection, *, kept: int) -> list[UUID]:
    rows = await db.fetch(
        "select id from data_snapshot where removed_at is null order by as_of desc, id desc offset $1", kept
    )
    return [row["id"] for row in rows]


async def mark_removed(db: Connection, snapshots: Sequence[UUID]) -> None:
    await db.execute("update data_snapshot set removed_at = now() where id = any($1)", list(snapshots))


async def kept_snapshots(db: Connection) -> list[UUID]:
    rows = await db.fetch("select id from data_snapshot where removed_at is null")
    return [row["id"] for row in rows]


_RUN = """
    select run.*, snapshot.as_of, snapshot.sha256 as snapshot_sha256, snapshot.files as snapshot_files,
           job.state, job.error, job.progress_done, job.progress_total, job.started_at, job.finished_at
    from audit_run run
    join job on job.id = run.job_id
    left join data_snapshot snapshot on snapshot.id = run.snapshot_id
"""


async def one_at_a_time(db: Connection) -> None:
    await db.execute("select pg_advisory_xact_lock(hashtextextended('benefit audit', 7))")


async def queue(
    db: Connection, *, run_id: UUID, job_id: UUID, requested_by: str, rules: Sequence[str]
) -> None:
    await db.execute(
        "insert into audit_run (id, job_id, requested_by, requested_at, rules) "
        "values ($1, $2, $3, now(), $4)",
        run_id,
        job_id,
        requested_by,
        list(rules),
    )


async def unfinished(db: Connection) -> UUID | None:
    """A run that waits or goes on."""
    found = await db.fetchval(
        "select run.id from audit_run run join job on job.id = run.job_id "
        "where job.state in ('queued', 'running') order by run.requested_at limit 1"
    )
    return found if isinstance(found, UUID) else None


async def by_id(db: Connection, run_id: UUID) -> Row | None:
    return await db.fetchrow(f"{_RUN} where run.id = $1", run_id)


async def later_run_applied(db: Connection, run_id: UUID, as_of: datetime) -> bool:
    """Whether findings of a later snapshot stand already: an older one must not undo them."""
    found = await db.fetchval(
        "select exists (select from audit_run run "
        "join data_snapshot snapshot on snapshot.id = run.snapshot_id "
        "where run.ended = 'finished' and run.id <> $1 and snapshot.as_of > $2)",
        run_id,
        as_of,
    )
    return bool(found)


async def allow_long_statements(db: Connection, deadline_ms: int) -> None:
    await db.execute("select set_config('statement_timeout', $1, true)", str(deadline_ms))


async def finish(
    db: Connection,
    run_id: UUID,
    *,
    ended: str,
    snapshot_id: UUID,
    pack_sha256: str,
    engines: dict[str, str],
    outcomes: list[dict[str, Any]],
) -> None:
    await db.execute(
        "update audit_run set ended = $2, snapshot_id = $3, pack_sha256 = $4, engines = $5, outcomes = $6 "
        "where id = $1",
        run_id,
        ended,
        snapshot_id,
        pack_sha256,
        engines,
        outcomes,
    )
