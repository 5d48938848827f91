"""The compartment of a patient or of an encounter: what belongs to it, and what that refers to."""

from dataclasses import dataclass
from datetime import datetime

from health.reaching import NOBODY, Reach
from health.repository import fitting
from health.repository.reach import Args, reached, readable, shown
from health.repository.store import about
from services.kit.database import Connection, Row

# How a reference, and an attachment that is kept here, stand in a body as it is kept, which is compact JSON.
# In a string the quotes would be escaped.
_REFERENCE, _ATTACHED = '"reference":"', '"url":"Binary/'


@dataclass(frozen=True, slots=True)
class Compartment:
    """Which compartment, and what of it.

    Attributes:
        subjects: keys of the Patients, or of the Encounter.
        references: of an encounter the reference keys by which resources belong to it; None for patients.
        types: of what is shown; None for all.
        since: when what is shown was written last, or later.
        dates: `[from, to)` in microseconds since 1970, as of `dat`: what says a date has one in there.
        date_keys: under which those dates stand.
    """

    subjects: tuple[int, ...]
    references: tuple[int, ...] | None = None
    types: tuple[str, ...] | None = None
    since: datetime | None = None
    dates: tuple[int, int] | None = None
    date_keys: tuple[int, ...] = ()


async def own_patients(db: Connection, reach: Reach) -> list[int]:
    """Keys of the Patients that are about the person whose reach it is."""
    args = Args()
    rows = await db.fetch(f"select m.pk {readable(reach, args)} and m.type = 'Patient'", *args.values)
    return [row["pk"] for row in rows]


async def members(
    db: Connection, reach: Reach, of: Compartment, *, after: tuple[bool, int], limit: int
) -> list[Row]:
    """What belongs to it, the subjects first and then in the order it came: `columns`.

    Args:
        after: of the last one seen, whether it was no subject, and its pk.
    """
    args = Args()
    place = f"(m.pk <> all({args(list(of.subjects))}), m.pk)"
    return await db.fetch(
        f"""select {columns(reach, args, f"order by {place}")} from (
                select m.* {_part(reach, args, of)} {_wanted(args, of)}
                and {place} > ({args(after[0])}, {args(after[1])}) order by {place} limit {args(limit)}) m
            order by {place}""",
        *args.values,
    )


async def mentioned(
    db: Connection, reach: Reach, of: Compartment, *, after: int, limit: int, room: int
) -> list[Row]:
    """What resources of it refer to and does not belong to it itself, each once, in the order it came.

    Args:
        room: bytes, as of `columns`.
    """
    args = Args()
    return await db.fetch(
        f"""with part as materialized (
                     select m.pk, {shown(reach, args, "m")} as body {_part(reach, args, of)}),
                 said as (
                     select split_part(value, '"', 1) as local
                     from part, unnest((string_to_array(body, '{_REFERENCE}'))[2:]) as value
                     union
                     select 'Binary/' || split_part(value, '"', 1)
                     from part, unnest((string_to_array(body, '{_ATTACHED}'))[2:]) as value)
            select {columns(reach, args, "order by m.pk", room)} from (
                select m.* from said join resource m
                    on m.type = split_part(local, '/', 1) and m.id = split_part(local, '/', 2)
                where {reached(reach, args, "m")} and m.pk not in (select pk from part) {_wanted(args, of)}
                    and m.pk > {args(after)}
                order by m.pk limit {args(limit)}) m
            order by m.pk""",
        *args.values,
    )


def columns(reach: Reach, args: Args, order: str, room: int | None = None) -> str:
    """Of a resource `m` what the caller is shown: pk, type, id, body and whether it is `beyond` the room (one
    answer) in the order of the rows, `about` it."""
    body = fitting.body(shown(reach, args, "m"), order, args(fitting.ANSWER_BYTES if room is None else room))
    return f"m.pk, m.type, m.id, {body}, {about(reach, args, 'm')}"


def _part(reach: Reach, args: Args, of: Compartment) -> str:
    subjects = args(list(of.subjects))
    if of.references is None:
        belongs = f"m.pt <> {NOBODY} and m.pt = any({subjects})"
    else:
        referring = f"select f.pk from ref f where f.hash = any({args(list(of.references))})"
        belongs = f"m.pk = any(array(select unnest({subjects}::bigint[]) union {referring}))"
    part = f"{readable(reach, args)} and {belongs}"
    if of.dates is None:
        return part
    low, high = of.dates
    dated = f"select from dat d where d.pk = m.pk and d.key = any({args(list(of.date_keys))})"
    within = f"{dated} and d.hi > {args(low)} and d.lo < {args(high)}"
    return f"{part} and (m.pk = any({subjects}) or not exists ({dated}) or exists ({within}))"


def _wanted(args: Args, of: Compartment) -> str:
    conditions = []
    if of.types is not None:
        conditions.append(f"and m.type = any({args(list(of.types))})")
    if of.since is not None:
        conditions.append(f"and m.ts >= {args(of.since)}")
    return " ".join(conditions)
