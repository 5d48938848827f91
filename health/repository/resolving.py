"""What references lead to, and what refers to resources, for many at once."""

from collections.abc import Iterable, Sequence

from health.criteria import Criteria
from health.reaching import Reach
from health.repository import clauses
from health.repository.compartment import columns
from health.repository.reach import Args, reached
from services.kit.database import Connection, Row


async def resolved(db: Connection, reach: Reach, locals: Iterable[str]) -> list[Row]:
    """Those of the `Type/id` that the caller may see: `columns`."""
    pairs = [local.split("/", 1) for local in locals]
    args, order = Args([type for type, _ in pairs], [id for _, id in pairs]), "order by m.pk"
    return await db.fetch(
        f"""select {columns(reach, args, order)} from unnest($1::text[], $2::text[]) as asked (type, id)
            join resource m on m.type = asked.type and m.id = asked.id
            where {reached(reach, args, "m")} {order}""",
        *args.values,
    )


async def referring(
    db: Connection,
    reach: Reach,
    criteria: Criteria,
    hashes: Sequence[tuple[int, int]],
    *,
    limit: int,
    most: int,
) -> list[Row]:
    """For each of several resources the first few that refer to it and are searched for: `nth` says which,
    and the rest is as of `resolved`.

    Args:
        hashes: number of each resource, and a reference key that leads to it.
        limit, most: rows of one key, and of all together.
    """
    args = Args([nth for nth, _ in hashes], [hash for _, hash in hashes])
    order = "order by found.nth, m.pk"
    return await db.fetch(
        f"""select found.nth, {columns(reach, args, order)} from (
                select asked.nth, one.pk from unnest($1::integer[], $2::bigint[]) as asked (nth, hash)
                cross join lateral (
                    select m.pk from ref f join resource m on m.pk = f.pk
                    where f.hash = asked.hash and m.type = any({args(list(criteria.types))})
                        and {reached(reach, args, "m")} and {clauses.all_hold(criteria, args, "m.pk", reach)}
                    order by f.pk limit {args(limit)}) one
                order by asked.nth, one.pk limit {args(most)}) found
            join resource m on m.pk = found.pk {order}""",
        *args.values,
    )
