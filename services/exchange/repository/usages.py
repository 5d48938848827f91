"""SQL about what people say of usages of their data, and about rights to hide one."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row


async def open_report(db: Connection, report: dict[str, Any]) -> bool:
    """False when the person has one about this usage that is not closed yet."""
    found = await db.fetchval(
        """insert into usage_report (id, subject, reported_by, leaf_index, usage, organisation, words, due_at,
                                     due_by_weekdays)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
           on conflict (subject, leaf_index) where state <> 'closed' do nothing returning true""",
        *(
            report[name]
            for name in (
                *("id", "subject", "reported_by", "leaf_index", "usage", "organisation", "words", "due_at"),
                "due_by_weekdays",
            )
        ),
    )
    return bool(found)


async def report(db: Connection, id: UUID) -> Row | None:
    return await db.fetchrow("select * from usage_report where id = $1", id)


async def lock_report(db: Connection, id: UUID) -> Row | None:
    return await db.fetchrow("select * from usage_report where id = $1 for no key update", id)


async def reports_of(
    db: Connection, subjects: Collection[str], *, before: UUID | None, limit: int
) -> list[Row]:
    """A person's, newest first."""
    return await db.fetch(
        """select * from usage_report where subject = any($1::text[]) and ($2::uuid is null or id < $2)
           order by id desc limit $3""",
        list(subjects),
        before,
        limit,
    )


async def reports_for(
    db: Connection,
    organisation: str | None,
    *,
    of_nobody: bool,
    state: str | None,
    before: UUID | None,
    limit: int,
) -> list[Row]:
    """Those about usages by the organisation, newest first; `of_nobody`: and by the suite's own services."""
    return await db.fetch(
        """select * from usage_report
           where (organisation = $1 or ($2 and organisation is null))
               and ($3::text is null or state = $3) and ($4::uuid is null or id < $4)
           order by id desc limit $5""",
        organisation,
        of_nobody,
        state,
        before,
        limit,
    )


async def answer(db: Connection, id: UUID, *, words: str, by: str) -> None:
    await db.execute(
        """update usage_report
           set state = 'answered', answer = $2, answered_by = $3, answered_at = clock_timestamp()
           where id = $1""",
        id,
        words,
        by,
    )


async def close(db: Connection, id: UUID) -> None:
    await db.execute(
        "update usage_report set state = 'closed', closed_at = clock_timestamp() where id = $1", id
    )


async def overdue(db: Connection, *, limit: int) -> list[Row]:
    """Marks those whose term has passed without an answer; each comes once."""
    return await db.fetch(
        """update usage_report set overdue_at = clock_timestamp()
           where id in (
               select id from usage_report
               where state = 'open' and overdue_at is null and due_at <= clock_timestamp()
               order by due_at limit $1 for update skip locked)
           returning *""",
        limit,
    )


async def add_hiding_right(
    db: Connection, id: UUID, *, organisation: str, legal_basis: str, until: datetime, decided_by: str
) -> Row | None:
    return await db.fetchrow(
        """insert into hiding_right (id, organisation, legal_basis, valid_until, decided_by)
           values ($1, $2, $3, $4, $5) returning *""",
        id,
        organisation,
        legal_basis,
        until,
        decided_by,
    )


async def hiding_rights(db: Connection, *, before: UUID | None, limit: int) -> list[Row]:
    return await db.fetch(
        "select * from hiding_right where $1::uuid is null or id < $1 order by id desc limit $2",
        before,
        limit,
    )


async def may_hide(db: Connection, id: UUID, organisations: Collection[str]) -> bool:
    """Whether the right is there, one of these organisations', and in force now."""
    found = await db.fetchval(
        """select true from hiding_right where id = $1
               and (organisation = any($2::text[]) or organisation in (
                   select organisation from department where service = any($2::text[])))
               and valid_from <= clock_timestamp() and clock_timestamp() < valid_until""",
        id,
        list(organisations),
    )
    return bool(found)
