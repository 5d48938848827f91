"""Imports as received: their bytes, what became of them, their faults and proposals."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_RECEIPT = """
    id, source, client_id, mode, sha256, size_bytes, status, received_at, finished_at, manifest, files,
    people, episodes, errors, warnings
"""


async def take_turn(db: Connection, client_id: str) -> None:
    """A client's pushes are taken down one after the other."""
    await db.execute("select pg_advisory_xact_lock(hashtextextended('education push ' || $1, 0))", client_id)


async def find(db: Connection, client_id: str, sha256: bytes) -> Row | None:
    """The import that these bytes would repeat: not finished yet, or the last of its source to take effect.

    After a later one the same bytes are news again: they put back what stood before it.
    """
    return await db.fetchrow(
        f"""
        select {_RECEIPT} from import_batch same
        where client_id = $1 and sha256 = $2 and (status = 'received' or applied_seq = (
            select max(applied_seq) from import_batch newest where newest.source = same.source))
        """,
        client_id,
        sha256,
    )


async def find_by_key(db: Connection, client_id: str, key: str) -> Row | None:
    return await db.fetchrow(
        f"""
        select {_RECEIPT} from import_batch
        where id = (select import_id from import_key where client_id = $1 and key = $2)
        """,
        client_id,
        key,
    )


async def remember_key(db: Connection, client_id: str, key: str, import_id: UUID) -> None:
    await db.execute(
        "insert into import_key (client_id, key, import_id) values ($1, $2, $3) on conflict do nothing",
        client_id,
        key,
        import_id,
    )


async def receive(
    db: Connection, *, id: UUID, source: str, client_id: str, mode: str, sha256: bytes, size_bytes: int
) -> None:
    await db.execute(
        """
        insert into import_batch (id, source, client_id, mode, sha256, size_bytes)
        values ($1, $2, $3, $4, $5, $6)
        """,
        id,
        source,
        client_id,
        mode,
        sha256,
        size_bytes,
    )


async def keep_parts(db: Connection, import_id: UUID, parts: Sequence[bytes]) -> None:
    await db.copy_records_to_table(
        "import_part",
        records=[(import_id, n, part) for n, part in enumerate(parts)],
        columns=("import_id", "n", "sealed"),
    )


async def parts(db: Connection, import_id: UUID) -> list[bytes]:
    rows = await db.fetch("select sealed from import_part where import_id = $1 order by n", import_id)
    return [row["sealed"] for row in rows]


async def lock(db: Connection, import_id: UUID) -> Row:
    """The import, held until this transaction ends."""
    row = await db.fetchrow(f"select {_RECEIPT} from import_batch where id = $1 for update", import_id)
    assert row is not None
    return row


async def finish(
    db: Connection,
    import_id: UUID,
    *,
    status: str,
    mode: str,
    manifest: Mapping[str, str],
    files: Sequence[Mapping[str, Any]],
    people: Mapping[str, int],
    episodes: Mapping[str, int],
    file_order: Sequence[str],
) -> None:
    """Writes the receipt; the faults are taken over from the staged ones, file by file and line by line."""
    await db.execute(
        """
        insert into import_fault (import_id, n, file, line, column_name, sourced_id, code, value, about)
        select $1, row_number() over (
                   order by array_position($2::text[], file) nulls first, file, line nulls first, n
               ),
               file, line, column_name, sourced_id, code, value, about
        from staged_fault
        """,
        import_id,
        list(file_order),
    )
    await db.execute(
        """
        update import_batch b
        set status = $2, mode = $3, finished_at = clock_timestamp(), manifest = $4, files = $5, people = $6,
            episodes = $7, applied_seq = case when $2 = 'applied' then nextval('import_applied_seq') end
        where id = $1
        """,
        import_id,
        status,
        mode,
        dict(manifest),
        list(files),
        dict(people),
        dict(episodes),
    )


async def count_faults(db: Connection, import_id: UUID, errors: Sequence[str]) -> None:
    await db.execute(
        """
        update import_batch set
            errors = (select count(*) from import_fault where import_id = $1 and code = any($2)),
            warnings = (select count(*) from import_fault where import_id = $1 and code <> all($2))
        where id = $1
        """,
        import_id,
        list(errors),
    )


async def forget_bytes(db: Connection, import_id: UUID) -> None:
    """A push that was refused as a whole leaves its receipt, not its children's data."""
    await db.execute("delete from import_part where import_id = $1", import_id)


async def receipt(db: Connection, source: str, import_id: UUID) -> Row | None:
    return await db.fetchrow(
        f"select {_RECEIPT} from import_batch where source = $1 and id = $2", source, import_id
    )


async def receipts(db: Connection, source: str, *, before: UUID | None, limit: int) -> list[Row]:
    """The sender's imports, newest first (ids carry the time)."""
    return await db.fetch(
        f"""
        select {_RECEIPT} from import_batch
        where source = $1 and ($2::uuid is null or id < $2) order by id desc limit $3
        """,
        source,
        before,
        limit,
    )


async def faults(db: Connection, import_id: UUID, *, after: int, limit: int) -> list[Row]:
    return await db.fetch(
        """
        select n, file, line, column_name, sourced_id, code, value, about
        from import_fault where import_id = $1 and n > $2 order by n limit $3
        """,
        import_id,
        after,
        limit,
    )


_PROPOSAL = (
    "id, import_id, source, table_name, rows, of_rows, status, proposed_at, decided_at, decided_by, note"
)


async def proposals(db: Connection, import_id: UUID) -> list[Row]:
    return await db.fetch(f"select {_PROPOSAL} from proposal where import_id = $1 order by id", import_id)


async def proposal_for_decision(db: Connection, source: str, proposal_id: UUID) -> Row | None:
    return await db.fetchrow(
        f"select {_PROPOSAL} from proposal where source = $1 and id = $2 for update", source, proposal_id
    )


async def decide(
    db: Connection, proposal_id: UUID, *, status: str, decided_by: str, note: str | None
) -> None:
    await db.execute(
        "update proposal set status = $2, decided_at = now(), decided_by = $3, note = $4 where id = $1",
        proposal_id,
        status,
        decided_by,
        note,
    )


async def proposed_rows(db: Connection, proposal_id: UUID, *, after: str, limit: int) -> list[str]:
    rows = await db.fetch(
        """
        select sourced_id from proposal_row where proposal_id = $1 and sourced_id > $2
        order by sourced_id limit $3
        """,
        proposal_id,
        after,
        limit,
    )
    return [row["sourced_id"] for row in rows]
