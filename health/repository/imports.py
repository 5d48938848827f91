"""The lines of a bulk import on their way into the store: checked, in any order, until all are known."""

from collections.abc import AsyncIterator, Iterable, Sequence
from uuid import UUID

from health.reaching import Reach
from health.repository.store import located, split
from services.kit.database import Connection, Row

_AT_ONCE = 5000
_COLUMNS = ("bulk", "rank", "line", "type", "local", "refs", "entry")


async def unhurried(db: Connection) -> None:
    """Statements of this transaction go over all lines of an import, and take as long as it takes."""
    await db.execute("set local statement_timeout = 0")


async def parts(db: Connection, bulk: UUID) -> list[Row]:
    """The parts of its inputs still to be checked: file, n, first, lines, type, the input's place."""
    return await db.fetch(
        """select p.file, p.n, p.first, p.lines, f.type, substr(f.name, 7)::integer as place
           from bulk_file f join bulk_part p on p.file = f.id
           where f.bulk = $1 and f.role = 'input'
               and not exists (select from bulk_staged s where s.file = p.file and s.n = p.n)
           order by place, p.n""",
        bulk,
    )


async def count(db: Connection, bulk: UUID) -> int:
    """Lines of all its inputs."""
    found = await db.fetchval(
        "select coalesce(sum(lines), 0)::bigint from bulk_file where bulk = $1 and role = 'input'", bulk
    )
    return int(found)


async def stage(
    db: Connection, bulk: UUID, part: Row, *, taken: bytes, refused: Iterable[tuple[int, str]]
) -> None:
    """A part is checked: its good lines, in COPY's text form, and the others."""

    async def source() -> AsyncIterator[bytes]:
        yield taken

    await db.copy_to_table("bulk_line", source=source(), columns=_COLUMNS, format="text")
    await _note(db, bulk, refused)
    await db.execute("insert into bulk_staged values ($1, $2, $3)", bulk, part["file"], part["n"])


async def refuse(db: Connection, bulk: UUID, problems: Sequence[tuple[int, str]]) -> None:
    """These lines are not taken after all."""
    await _note(db, bulk, problems)
    lines = [line for line, _ in problems]
    await db.execute("delete from bulk_line where bulk = $1 and line = any($2)", bulk, lines)


async def _note(db: Connection, bulk: UUID, problems: Iterable[tuple[int, str]]) -> None:
    said = list(problems)
    await db.execute(
        """insert into bulk_problem select $1, line, outcome
           from unnest($2::bigint[], $3::text[]) as said (line, outcome) on conflict do nothing""",
        bulk,
        [line for line, _ in said],
        [outcome for _, outcome in said],
    )


async def repeated(db: Connection, bulk: UUID) -> list[Row]:
    """Lines whose resource an earlier line is already: line, local, and that first line."""
    return await db.fetch(
        """select line, local, first from (
               select line, local, min(line) over (partition by local) as first
               from bulk_line where bulk = $1) as said
           where line <> first""",
        bulk,
    )


async def of_others(db: Connection, bulk: UUID, *, client: str, organisation: str | None) -> list[Row]:
    """Lines that would change what another organisation keeps or deleted: line, local, whose (sector_id)."""
    # `local` has a collation of its own, with which no index on an id is entered.
    return await db.fetch(
        """select l.line, l.local, p.sector_id
           from (select line, local, type, substr(local, length(type) + 2) collate "default" as id
                 from bulk_line where bulk = $1) l
           cross join lateral (
               select pt, client, organisation from resource r where r.type = l.type and r.id = l.id
               union all
               select pt, client, organisation from deleted d where d.type = l.type and d.id = l.id) r
           left join patient_person p on p.pt = r.pt
           where r.client <> $2 and r.organisation is distinct from $3""",
        bulk,
        client,
        organisation,
    )


async def dangling(db: Connection, bulk: UUID, seen: Reach) -> list[str]:
    """What lines refer to that is neither among them nor, for the sender to see, in the store."""
    rows = await db.fetch(
        """select asked.local from (
               select distinct unnest(refs) as local from bulk_line where bulk = $1) as asked
           where not exists (select from bulk_line l where l.bulk = $1 and l.local = asked.local)""",
        bulk,
    )
    asked = [row["local"] for row in rows]
    found: list[str] = []
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        known = await located(db, seen, some)
        found += [local for local in some if not known.get(local, (None, False))[1]]
    return found


async def referring(db: Connection, bulk: UUID, locals: Sequence[str], *, limit: int) -> list[Row]:
    """Lines that refer to one of these: line, entry."""
    return await db.fetch(
        """select l.line, l.entry from bulk_line l
           where l.bulk = $1 and l.line in (
               select said.line from bulk_line said, unnest(said.refs) as target (local)
               join unnest($2::text[]) as asked (local) using (local) where said.bulk = $1)
           order by l.line limit $3""",
        bulk,
        list(locals),
        limit,
    )


async def mark(db: Connection, bulk: UUID) -> tuple[int, int]:
    """Rank and line up to which everything is kept."""
    row = await db.fetchrow("select rank, line from bulk where id = $1", bulk)
    assert row is not None
    return row["rank"], row["line"]


async def following(db: Connection, bulk: UUID, after: tuple[int, int], *, limit: int) -> list[Row]:
    """The next lines to be kept: rank, line, type, local, entry, pk."""
    return await db.fetch(
        """select rank, line, type, local, entry, pk from bulk_line
           where bulk = $1 and (rank, line) > ($2, $3) order by rank, line limit $4""",
        bulk,
        *after,
        limit,
    )


async def versions(db: Connection, locals: Iterable[str]) -> dict[str, int]:
    """The versions at which resources stand or were deleted, by `Type/id`."""
    rows = await db.fetch(
        """select asked.type || '/' || asked.id as local, coalesce(r.version, d.version) as version
           from unnest($1::text[], $2::text[]) as asked (type, id)
           left join resource r on r.type = asked.type and r.id = asked.id
           left join deleted d on d.type = asked.type and d.id = asked.id""",
        *split(locals),
    )
    return {row["local"]: row["version"] for row in rows if row["version"] is not None}


async def pks(db: Connection, bulk: UUID, locals: Iterable[str]) -> dict[str, int]:
    """The keys that those of these resources have or will have that the import brings."""
    rows = await db.fetch(
        "select local, pk from bulk_line where bulk = $1 and local = any($2)", bulk, list(locals)
    )
    return {row["local"]: row["pk"] for row in rows}


async def kept(db: Connection, bulk: UUID, end: tuple[int, int]) -> None:
    """Everything up to this line is in the store with this commit."""
    await db.execute("update bulk set rank = $2, line = $3 where id = $1", bulk, *end)


async def problems(db: Connection, bulk: UUID, *, after: int, limit: int) -> list[Row]:
    """Refused lines in their order: line, outcome."""
    return await db.fetch(
        "select line, outcome from bulk_problem where bulk = $1 and line > $2 order by line limit $3",
        bulk,
        after,
        limit,
    )


async def end(db: Connection, bulk: UUID) -> None:
    """What was only needed on the way goes: lines, inputs."""
    for table in ("bulk_line", "bulk_staged", "bulk_problem"):
        await db.execute(f"delete from {table} where bulk = $1", bulk)
    await db.execute("delete from bulk_file where bulk = $1 and role = 'input'", bulk)
