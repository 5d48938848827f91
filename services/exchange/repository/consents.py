"""SQL about consents."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_CONSENT = """
select *, revoked_at is null and valid_from <= clock_timestamp()
    and clock_timestamp() < valid_until as in_force
from consent"""
_SHARED = "withdrawn_at is null and description ->> 'sharing' <> 'none'"


async def add(db: Connection, consent: dict[str, Any]) -> None:
    await db.execute(
        """insert into consent (id, subject, given_by, organisation, purpose, actions, datasets, language,
                                valid_from, valid_until)
           values ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, clock_timestamp()), $10)""",
        *(
            consent[name]
            for name in (
                *("id", "subject", "given_by", "organisation", "purpose", "actions", "datasets"),
                *("language", "valid_from", "valid_until"),
            )
        ),
    )


async def known_datasets(db: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the datasets that are in the catalogue now, and shared."""
    rows = await db.fetch(f"select id from dataset where id = any($1::text[]) and {_SHARED}", list(ids))
    return {row["id"] for row in rows}


async def consent(db: Connection, id: UUID) -> Row | None:
    return await db.fetchrow(f"{_CONSENT} where id = $1", id)


async def consents(
    db: Connection, subjects: Collection[str], *, before: UUID | None, limit: int
) -> list[Row]:
    """A person's, newest first."""
    return await db.fetch(
        f"""{_CONSENT} where subject = any($1::text[]) and ($2::uuid is null or id < $2)
            order by id desc limit $3""",
        list(subjects),
        before,
        limit,
    )


async def revoke(db: Connection, id: UUID, *, by: str) -> datetime | None:
    """When it was revoked; None when it had been before."""
    found: datetime | None = await db.fetchval(
        """update consent set revoked_at = clock_timestamp(), revoked_by = $2
           where id = $1 and revoked_at is null returning revoked_at""",
        id,
        by,
    )
    return found


async def consenting(
    db: Connection,
    subjects: Sequence[str],
    *,
    organisations: Collection[str],
    purpose: str,
    action: str | None = None,
    dataset: str | None = None,
) -> set[str]:
    """Those of the persons whose consent covers this now; to a service's department, it covers the service.
    About a dataset that is not shared any more it covers nothing.

    Asked with a share lock, inside the transaction that answers: whoever revokes waits for its commit, or
    came before it.
    """
    rows = await db.fetch(
        f"""select subject from consent
           where subject = any($1::text[]) and purpose = $3
               and (organisation = any($2::text[]) or organisation in (
                   select organisation from department where service = any($2::text[])))
               and ($4::text is null or $4 = any(actions)) and ($5::text is null or $5 = any(datasets)
                   and exists (select from dataset where dataset.id = $5 and {_SHARED}))
               and revoked_at is null and valid_from <= clock_timestamp() and clock_timestamp() < valid_until
           order by id for share of consent""",
        list(subjects),
        list(organisations),
        purpose,
        action,
        dataset,
    )
    return {row["subject"] for row in rows}
