"""What a summary of a patient stands on."""

from collections.abc import Sequence

from health.reaching import NOBODY, Reach
from health.repository import fitting
from health.repository.reach import Args, readable, shown
from health.repository.store import SAME, about
from services.kit.database import Connection, Row

_CODE = "coalesce(m.body::json #>> '{code,coding,0,code}', m.body::json #>> '{code,text}')"


async def latest(
    db: Connection,
    reach: Reach,
    patient: int,
    *,
    types: Sequence[str],
    repeating: Sequence[str],
    left_out: Sequence[str],
    each: int,
) -> list[Row]:
    """A person's records as far as the caller may see them, the latest first: type, id, ts, body and whether
    it is `beyond` one answer, and `about` them.

    Args:
        patient: pt of the person.
        repeating: types of which the latest of each code is enough.
        left_out: states (`status`) in which a record says nothing.
        each: how many of a type there may be at most.
    """
    args = Args()
    body, said, order = shown(reach, args, "m"), about(reach, args, "m"), "order by occurred desc, pk desc"
    seen = f"{readable(reach, args)} and m.type = any({args(list(types))})"
    seen += f" and m.pt <> {NOBODY} and m.pt = any({SAME.format(pt=args(patient))})"
    seen += f" and coalesce(m.body::json ->> 'status', '') <> all({args(list(left_out))})"
    once = f"case when m.type = any({args(list(repeating))}) then coalesce({_CODE}, '') else m.id end"
    return await db.fetch(
        f"""with latest as (
                select distinct on (m.type, {once}) m.type, m.id, m.ts, m.occurred, m.pk, {body} as body,
                       {said}
                {seen} order by m.type, {once}, m.occurred desc, m.pk desc),
            placed as (
                select *, row_number() over (partition by type order by occurred desc, pk desc) as place
                from latest)
            select type, id, ts, {_fitting("body", args, order)}, pt, special, sector_id, tie
            from placed where place <= {args(each)} {order}""",
        *args.values,
    )


async def named(db: Connection, reach: Reach, locals: Sequence[str]) -> list[Row]:
    """Those of the `Type/id` that the caller may see, as of `latest`."""
    args, order = Args(), "order by m.type, m.id"
    pairs = [local.split("/", 1) for local in locals]
    types, ids = args([kind for kind, _ in pairs]), args([id for _, id in pairs])
    body, said = _fitting(shown(reach, args, "m"), args, order), about(reach, args, "m")
    return await db.fetch(
        f"""select m.type, m.id, m.ts, {body}, {said} {readable(reach, args)}
            and (m.type, m.id) in (select * from unnest({types}::text[], {ids}::text[])) {order}""",
        *args.values,
    )


def _fitting(whole: str, args: Args, order: str) -> str:
    return fitting.body(whole, order, args(fitting.ANSWER_BYTES))


async def medications(db: Connection, ids: Sequence[str]) -> dict[str, str]:
    """What Medications are called, which belong to nobody; to be told where a readable record names them, but
    for what is specially protected."""
    rows = await db.fetch(
        """select id, coalesce(said #>> '{code,text}', said #>> '{code,coding,0,display}') as name
           from resource, lateral (select coalesce(redacted, body)::json as said) shown
           where type = 'Medication' and id = any($1) and not special""",
        ids,
    )
    return {f"Medication/{row['id']}": row["name"] for row in rows if row["name"]}


async def patients_of(db: Connection, patient: int) -> list[str]:
    """Ids of all Patients of the person whose one Patient this is."""
    rows = await db.fetch(
        f"select id from resource where type = 'Patient' and pk = any({SAME.format(pt='$1')})", patient
    )
    return [row["id"] for row in rows]
