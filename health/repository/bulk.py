"""Bulk exports and imports: what was asked for, and its files."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_BULK = """b.id, b.kind, b.client, b.organisation, b.who, b.asked, b.job, b.asked_at, b.as_of, b.rank, b.line,
           b.ready_at, b.expires_at"""
_FILE = "f.id, f.bulk, f.role, f.name, f.type, f.client, f.organisation, f.lines, f.size, f.crc, f.expires_at"

OVER = {
    "bulk files": """delete from bulk_file where ctid = any(array(
        select ctid from bulk_file where expires_at < now() limit least($1, 50)))""",
    "bulk exports": """delete from bulk where ctid = any(array(
        select ctid from bulk where kind = 'export' and expires_at < now() limit $1))""",
}
"""What the service's chores throw away: files whose time is over, and exports with them."""


async def add(
    db: Connection,
    id: UUID,
    kind: str,
    *,
    client: str,
    organisation: str | None,
    who: dict[str, Any],
    asked: dict[str, Any],
    job: UUID,
) -> None:
    await db.execute(
        """insert into bulk (id, kind, client, organisation, who, asked, job)
           values ($1, $2, $3, $4, $5, $6, $7)""",
        id,
        kind,
        client,
        organisation,
        who,
        asked,
        job,
    )


async def find(db: Connection, id: UUID) -> Row | None:
    """What was asked for, with its job as it stands: state, progress, error."""
    return await db.fetchrow(
        f"""select {_BULK}, j.state, j.progress_done, j.progress_total, j.error
            from bulk b join job j on j.id = b.job where b.id = $1""",
        id,
    )


async def unfinished(db: Connection, client: str) -> int:
    """How many of a client's are under way."""
    await _one_at_a_time(db, client)
    return int(
        await db.fetchval(
            """select count(*) from bulk b join job j on j.id = b.job
               where b.client = $1 and b.ready_at is null and j.state in ('queued', 'running')""",
            client,
        )
    )


async def _one_at_a_time(db: Connection, client: str) -> None:
    """Of two requests of a client the second waits until the first counts."""
    await db.execute("select pg_advisory_xact_lock(hashtextextended($1, 15))", client)


async def ready(db: Connection, id: UUID, *, as_of: datetime | None, kept: timedelta) -> None:
    """It is done: its files may be fetched, for so long."""
    await db.execute(
        "update bulk set as_of = $2, ready_at = now(), expires_at = now() + $3 where id = $1",
        id,
        as_of,
        kept,
    )
    await db.execute("update bulk_file set expires_at = now() + $2 where bulk = $1", id, kept)


async def forget(db: Connection, id: UUID) -> None:
    """Removes it with everything that was written for it."""
    await clear(db, id)
    await db.execute("delete from bulk_line where bulk = $1", id)
    await db.execute("delete from bulk_staged where bulk = $1", id)
    await db.execute("delete from bulk where id = $1", id)


# Files


async def clear(db: Connection, id: UUID) -> None:
    """Removes what an attempt before has written."""
    await db.execute("delete from bulk_file where bulk = $1", id)


async def add_file(
    db: Connection,
    id: UUID,
    *,
    bulk: UUID | None,
    role: str,
    name: str,
    type: str,
    client: str,
    organisation: str | None,
    kept: timedelta,
    sha256: bytes | None = None,
) -> None:
    await db.execute(
        """insert into bulk_file (id, bulk, role, name, type, client, organisation, sha256, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9)""",
        id,
        bulk,
        role,
        name,
        type,
        client,
        organisation,
        sha256,
        kept,
    )


async def end_of(db: Connection, file: UUID) -> Row:
    """Where a file goes on: n of the next part, first of its lines, and the CRC of what is there."""
    row = await db.fetchrow(
        """select (select coalesce(max(p.n) + 1, 0) from bulk_part p where p.file = f.id) as n,
                  f.lines + 1 as first, f.crc
           from bulk_file f where f.id = $1""",
        file,
    )
    assert row is not None, "parts are added to files that are there"
    return row


async def add_part(
    db: Connection, file: UUID, n: int, *, first: int, lines: int, body: bytes, size: int, crc: int
) -> None:
    """Adds a part to a file.

    Args:
        size: bytes of the part before it was compressed.
        crc: of the whole file with it (RFC 1952).
    """
    await db.execute("insert into bulk_part values ($1, $2, $3, $4, $5)", file, n, first, lines, body)
    await db.execute(
        "update bulk_file set lines = lines + $2, size = size + $3, crc = $4 where id = $1",
        file,
        lines,
        size,
        crc,
    )


async def files(db: Connection, bulk: UUID) -> list[Row]:
    """The files that are not over, in the order of their names."""
    return await db.fetch(
        f"select {_FILE} from bulk_file f where f.bulk = $1 and f.expires_at > now() order by f.name", bulk
    )


async def file_named(db: Connection, bulk: UUID, name: str) -> Row | None:
    return await db.fetchrow(
        f"""select {_FILE} from bulk_file f join bulk b on b.id = f.bulk
            where f.bulk = $1 and f.name = $2 and f.expires_at > now() and b.ready_at is not null""",
        bulk,
        name,
    )


async def part(db: Connection, file: UUID, n: int) -> bytes | None:
    found: bytes | None = await db.fetchval("select body from bulk_part where file = $1 and n = $2", file, n)
    return found


# Uploads


async def upload_known(db: Connection, sha256: bytes, *, client: str) -> UUID | None:
    """The same bytes from the same client, on their way to an import already."""
    found: UUID | None = await db.fetchval(
        """select id from bulk_file
           where role = 'input' and bulk is null and sha256 = $1 and client = $2 and expires_at > now()""",
        sha256,
        client,
    )
    return found


async def uploads(db: Connection, ids: Sequence[UUID], *, client: str) -> list[Row]:
    """Those of a client's uploads that no import has taken yet, held until the commit: id, sha256, lines."""
    return await db.fetch(
        """select id, sha256, lines from bulk_file
           where id = any($1) and role = 'input' and bulk is null and client = $2 and expires_at > now()
           order by id for update""",
        list(ids),
        client,
    )


async def take_uploads(
    db: Connection, ids: Sequence[UUID], types: Sequence[str], *, bulk: UUID, kept: timedelta
) -> None:
    """The uploads are the import's now, in this order, and said to be of these types."""
    await db.execute(
        """update bulk_file f set bulk = $3, name = format('input-%s', place), type = said.type,
               expires_at = now() + $4
           from unnest($1::uuid[], $2::text[]) with ordinality as said (id, type, place)
           where f.id = said.id""",
        list(ids),
        list(types),
        bulk,
        kept,
    )


async def under_way(db: Connection, client: str, digest: str) -> UUID | None:
    """A client's import of the same content that is not ready yet."""
    await _one_at_a_time(db, client)
    found: UUID | None = await db.fetchval(
        """select b.id from bulk b join job j on j.id = b.job
           where b.client = $1 and b.ready_at is null and b.asked ->> 'digest' = $2
               and j.state in ('queued', 'running')""",
        client,
        digest,
    )
    return found
