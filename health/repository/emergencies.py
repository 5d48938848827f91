"""Emergency accesses and their reviews."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.kit.database import Connection, Row

_REVIEW = """v.id, v.organisation, v.opened_at, v.due_at, v.overdue_at, v.state, v.words, v.decided_by,
    v.decided_at, e.actor, e.reason, e.begun_at, e.ends_at, r.id as patient,
    (select sector_id from patient_person p where p.pt = e.pt) as sector_id"""
_JOINED = """access_review v join emergency_access e using (id)
    join (select pk, id from resource union all select pk, id from deleted) r on r.pk = e.pt"""


async def patient_of(db: Connection, id: str) -> Row | None:
    """A Patient whose record may be opened: pt, sector_id, organisation."""
    return await db.fetchrow(
        """select r.pk as pt, r.organisation, p.sector_id from resource r
           left join patient_person p on p.pt = r.pk where r.type = 'Patient' and r.id = $1""",
        id,
    )


async def add_emergency_access(
    db: Connection,
    *,
    id: UUID,
    pt: int,
    organisation: str,
    client: str,
    actor: str,
    reason: str,
    begun_at: datetime,
    ends_at: datetime,
    due_at: datetime,
) -> None:
    """The access, and the review of it that is to be done by `due_at`."""
    await db.execute(
        """insert into emergency_access (id, pt, organisation, client, actor, reason, begun_at, ends_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8)""",
        id,
        pt,
        organisation,
        client,
        actor,
        reason,
        begun_at,
        ends_at,
    )
    await db.execute(
        "insert into access_review (id, organisation, opened_at, due_at) values ($1, $2, $3, $4)",
        id,
        organisation,
        begun_at,
        due_at,
    )


async def emergency_accesses_of(
    db: Connection, sector_ids: Sequence[str], *, before: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    """The openings of a person's records, the latest first, and what the reviews of them came to."""
    return await db.fetch(
        """select e.id, e.organisation, e.reason, e.begun_at, e.ends_at, v.state, v.words, v.decided_at
           from emergency_access e join access_review v using (id)
           where e.pt in (select pt from patient_person where sector_id = any($1))
               and ($2::timestamptz is null or (e.begun_at, e.id) < ($2, $3))
           order by e.begun_at desc, e.id desc limit $4""",
        list(sector_ids),
        *(before or (None, None)),
        limit,
    )


async def reviews(
    db: Connection,
    organisation: str,
    *,
    state: str | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """An organisation's reviews, the oldest first."""
    return await db.fetch(
        f"""select {_REVIEW} from {_JOINED}
            where v.organisation = $1 and ($2::text is null or v.state = $2)
                and ($3::timestamptz is null or (v.opened_at, v.id) > ($3, $4))
            order by v.opened_at, v.id limit $5""",
        organisation,
        state,
        *(after or (None, None)),
        limit,
    )


async def lock_review(db: Connection, id: UUID) -> Row | None:
    return await db.fetchrow(f"select {_REVIEW} from {_JOINED} where v.id = $1 for update of v", id)


async def decide_review(
    db: Connection, id: UUID, *, state: str, words: str, decided_by: str, decided_at: datetime
) -> None:
    await db.execute(
        """update access_review set state = $2, words = $3, decided_by = $4, decided_at = $5
           where id = $1""",
        id,
        state,
        words,
        decided_by,
        decided_at,
    )


async def mark_overdue(db: Connection) -> list[Row]:
    """Reviews that nobody decided in time and of which that was not told yet: id, organisation, due_at."""
    return await db.fetch(
        """update access_review set overdue_at = now() where id in (
               select id from access_review
               where state = 'pending' and overdue_at is null and due_at <= now()
               order by due_at limit 100 for update skip locked)
           returning id, organisation, due_at"""
    )
