"""Findings: who may read which, and how a run's findings replace those of the run before."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row
from services.kit.principals import Principal

COLUMNS = (
    "finding_key",
    "rule",
    "rule_version",
    "form",
    "subject",
    "party_role",
    "result",
    "severity",
    "evidence",
    "observed",
    "allowed_zh",
    "allowed_en",
    "explain_zh",
    "explain_en",
    "amount_at_risk",
    "currency",
    "areas",
)
_SEEN = ("status", "first_run", "last_run", "first_seen_at", "last_seen_at", "vanished_at")
_SELECT = f"select {', '.join((*COLUMNS, *_SEEN))} from finding"
_IN_AREAS = "exists (select from unnest(areas) area where area like any($1::text[]))"


def readable(principal: Principal) -> tuple[str, list[Any]]:
    """Every read for staff begins here: findings in the areas the principal's rights are limited to.

    An area stands for all below it: 370000 is a province, 370100 a city of it (GB/T 2260).
    """
    prefixes = principal.area_prefixes
    if prefixes is None:
        return f"{_SELECT} where true", []
    return f"{_SELECT} where {_IN_AREAS}", [_below(prefixes)]


def _below(prefixes: Iterable[str]) -> list[str]:
    return [prefix + "%" for prefix in prefixes]


async def counts_in(db: Connection, *, run: UUID, prefixes: Iterable[str]) -> dict[str, Row]:
    """By rule, what the newest run came to in some areas: found, new, vanished."""
    rows = await db.fetch(
        f"""
        select rule, count(*) filter (where status = 'open') as found,
               count(*) filter (where status = 'open' and first_run = $2) as new,
               count(*) filter (where status = 'vanished') as vanished
        from finding where {_IN_AREAS} and last_run = $2 group by rule
        """,
        _below(prefixes),
        run,
    )
    return {row["rule"]: row for row in rows}


async def page(
    db: Connection,
    *,
    principal: Principal,
    rule: str | None,
    status: str | None,
    after: tuple[Decimal, str] | None,
    limit: int,
) -> list[Row]:
    """By amount at risk, largest first."""
    sql, args = readable(principal)
    for column, value in (("rule", rule), ("status", status)):
        if value is not None:
            args.append(value)
            sql += f" and {column} = ${len(args)}"
    if after is not None:
        args += after
        sql += f" and (amount_at_risk < ${len(args) - 1} or "
        sql += f"(amount_at_risk = ${len(args) - 1} and finding_key > ${len(args)}))"
    args.append(limit)
    return await db.fetch(f"{sql} order by amount_at_risk desc, finding_key limit ${len(args)}", *args)


async def about(
    db: Connection, persons: Sequence[str], *, after: tuple[datetime, str] | None, limit: int
) -> list[Row]:
    """Every flag on one person, newest first: whatever its state, and whoever it may blame."""
    args: list[Any] = [list(persons)]
    sql = f"{_SELECT} where subject = any($1)"
    if after is not None:
        args += after
        sql += " and (first_seen_at < $2 or (first_seen_at = $2 and finding_key > $3))"
    args.append(limit)
    return await db.fetch(f"{sql} order by first_seen_at desc, finding_key limit ${len(args)}", *args)


async def stage(db: Connection) -> None:
    await db.execute(
        f"create temporary table found on commit drop as "
        f"select {', '.join(COLUMNS)} from finding with no data"
    )


async def stage_some(db: Connection, records: Iterable[Sequence[Any]]) -> None:
    await db.copy_records_to_table("found", schema_name="pg_temp", records=records, columns=COLUMNS)


async def replace(
    db: Connection, *, run: UUID, rules: Sequence[str], at: datetime
) -> dict[str, dict[str, int]]:
    """Takes over what was staged for the rules that ran.

    A finding known before keeps its first sight and is brought up to date; one that vanished and is back is
    open again; one of these rules that is no longer found is marked vanished, never deleted.

    Returns:
        By rule, how many are new, known, back and vanished.
    """
    await db.execute("analyze found")
    counts: dict[str, dict[str, int]] = {
        rule: dict.fromkeys(("new", "known", "back", "vanished"), 0) for rule in rules
    }
    rows = await db.fetch(
        """
        select found.rule, case when kept.finding_key is null then 'new'
                                when kept.status = 'vanished' then 'back' else 'known' end as what,
               count(*) as n
        from found left join finding kept using (finding_key) group by 1, 2
        """
    )
    for row in rows:
        counts[row["rule"]][row["what"]] = row["n"]
    columns = ", ".join(COLUMNS)
    changed = ", ".join(f"{c} = excluded.{c}" for c in COLUMNS if c not in {"finding_key", "rule"})
    await db.execute(
        f"""
        insert into finding ({columns}, status, first_run, last_run, first_seen_at, last_seen_at)
        select {columns}, 'open', $1, $1, $2, $2 from found
        on conflict (finding_key) do update set {changed}, status = 'open', last_run = $1, last_seen_at = $2,
            vanished_at = null
        """,
        run,
        at,
    )
    vanished = await db.fetch(
        """
        with gone as (
            update finding set status = 'vanished', vanished_at = $2, last_run = $1
            where rule = any($3) and status = 'open'
              and not exists (select from found where found.finding_key = finding.finding_key)
            returning rule
        ) select rule, count(*) as n from gone group by rule
        """,
        run,
        at,
        list(rules),
    )
    for row in vanished:
        counts[row["rule"]]["vanished"] = row["n"]
    return counts
