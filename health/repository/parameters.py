"""SQL about search parameters that are not FHIR's own, and about indexing anew for them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_CHANGING = 0x6675_6E64
"""The advisory lock that pushes share, so that a job can wait for those on their way."""
_VERSION = "(select coalesce(string_agg(version::text, ',' order by version), '') from search_parameter)"


async def parameters_version(db: Connection) -> str:
    """Which parameters there are: differs whenever one has come or gone."""
    return str(await db.fetchval(f"select {_VERSION}"))


async def parameters_held(db: Connection) -> str:
    """As `parameters_version`, inside a push: whoever calls `pushes_awaited` waits for its commit."""
    return str(await db.fetchval(f"select {_VERSION} from pg_advisory_xact_lock_shared($1)", _CHANGING))


async def pushes_awaited(db: Connection) -> None:
    """Returns once every push has ended that did not see yet what the caller committed before."""
    await db.execute("select pg_advisory_xact_lock($1)", _CHANGING)


async def parameters(db: Connection) -> list[Row]:
    """All of them: type, code, definition, version, ready, and how far the job is (done, total, state)."""
    return await db.fetch(
        """select p.type, p.code, p.definition, p.version, p.ready,
                  j.progress_done as done, j.progress_total as total, j.state
           from search_parameter p left join job j on j.id = p.job order by p.version"""
    )


async def add_parameter(
    db: Connection, pk: int, job: UUID, definitions: Sequence[tuple[str, str, dict[str, Any]]]
) -> bool:
    """Whether it could be added: False where another has its code for one of the types.

    Args:
        definitions: type, code and definition for each type that it is for.
    """
    types, codes, told = zip(*definitions, strict=True)
    added = await db.fetch(
        """insert into search_parameter (pk, type, code, definition, job)
           select $1, type, code, definition, $2
           from unnest($3::text[], $4::text[], $5::jsonb[]) as made (type, code, definition)
           on conflict (type, code) do nothing returning type""",
        pk,
        job,
        types,
        codes,
        told,
    )
    return len(added) == len(definitions)


async def ready_parameters(db: Connection, job: UUID) -> None:
    await db.execute("update search_parameter set ready = true where job = $1", job)


async def reindexed_to(db: Connection, job: UUID) -> int:
    """The pk up to which a job has come, 0 at its beginning."""
    return int(await db.fetchval("select after from reindexing where job = $1", job) or 0)


async def note_reindexed(db: Connection, job: UUID, after: int) -> None:
    await db.execute(
        """insert into reindexing (job, after) values ($1, $2)
           on conflict (job) do update set after = excluded.after""",
        job,
        after,
    )


async def count_to_reindex(db: Connection, types: Sequence[str] | None, pks: Sequence[int] | None) -> int:
    return int(await db.fetchval(f"select count(*) {_TO_REINDEX}", types, pks))


async def to_reindex(
    db: Connection, types: Sequence[str] | None, pks: Sequence[int] | None, *, after: int, limit: int
) -> list[Row]:
    """Resources in the order of their keys, held until the commit: pk, pt, type, and the body that they are
    found by."""
    return await db.fetch(
        f"""select pk, pt, type, coalesce(redacted, body) as body {_TO_REINDEX} and pk > $3
            order by pk limit $4 for no key update""",
        types,
        pks,
        after,
        limit,
    )


async def belong(db: Connection, patients: Mapping[int, int]) -> None:
    """Resources (keys) are in the compartments of these Patients (keys)."""
    await db.execute(
        """update resource r set pt = said.pt from unnest($1::bigint[], $2::bigint[]) as said (pk, pt)
           where r.pk = said.pk""",
        list(patients),
        list(patients.values()),
    )


_TO_REINDEX = """from resource
    where ($1::text[] is null or type = any($1)) and ($2::bigint[] is null or pk = any($2))"""


async def pks_of(db: Connection, locals: Sequence[str]) -> dict[str, int]:
    """Keys of stored resources, by `Type/id`."""
    rows = await db.fetch(
        """select asked.local, r.pk from unnest($1::text[]) as asked (local)
           join resource r on r.type = split_part(asked.local, '/', 1)
                and r.id = split_part(asked.local, '/', 2)""",
        locals,
    )
    return {row["local"]: row["pk"] for row in rows}
