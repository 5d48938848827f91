"""Access leaves of this service, as those may see them whom they are about or who answer for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from health.repository.reach import ORGANISATION_CODE, Args
from services.kit.database import Connection, Row

MEMBERS_SHOWN = 100
"""Of the patients of one bulk access."""
REFUSED = "refused"
"""Outcome of an attempt at what the caller may not see."""


@dataclass(frozen=True, slots=True)
class Accesses:
    """Which accesses are asked for; what is None or empty asks for nothing.

    Attributes:
        subjects: about one of these persons (sector ids).
        organisation: made for this organisation.
        seqs: these leaves.
        actions: of each of these groups with one of its actions (true), or with none of them (false).
        agents: by one of these clients, persons or organisations (codes, or Organization resources).
        resources: of one of these, as leaves name them.
        since, until: at a time of `[since, until)`.
    """

    subjects: tuple[str, ...] | None = None
    organisation: str | None = None
    seqs: tuple[int, ...] | None = None
    actions: tuple[tuple[tuple[str, ...], bool], ...] = ()
    agents: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


async def accesses(
    db: Connection, asked: Accesses, *, before: tuple[datetime, int] | None = None, limit: int
) -> list[Row]:
    """Leaves, the latest first: seq, at, body, and the persons they are about (subjects).

    Args:
        before: time and number of the last one seen; a group of leaves is not numbered in the order of time.
    """
    args = Args()
    place = "" if before is None else f"and (l.at, l.seq) < ({args(before[0])}, {args(before[1])})"
    page = f"""select l.seq, l.at, l.body, l.subject {_meant(asked, args)} {place}
               order by l.at desc, l.seq desc limit {args(limit)}"""
    return await db.fetch(
        f"""select page.seq, page.at, page.body, case when page.subject is not null then array[page.subject]
                else array(select m.subject from leaf_member m where m.leaf_seq = page.seq
                           order by m.subject limit {MEMBERS_SHOWN}) end as subjects
            from ({page}) page order by page.at desc, page.seq desc""",
        *args.values,
    )


async def count_accesses(db: Connection, asked: Accesses) -> int:
    args = Args()
    return int(await db.fetchval(f"select count(*) {_meant(asked, args)}", *args.values))


def _meant(asked: Accesses, args: Args) -> str:
    where = []
    if asked.subjects is None:
        start = "from leaf l where"
    else:
        ids = args(list(asked.subjects))
        start = f"""from (select seq from leaf where subject = any({ids})
                          union select leaf_seq from leaf_member where subject = any({ids})) about
                    join leaf l using (seq) where"""
    if asked.organisation is not None:
        where.append(f"l.body::json ->> 'organisation' = {args(asked.organisation)}")
        if asked.subjects is not None:
            # Whose it was that was refused is not for those to know to whom it was.
            where.append(f"l.body::json ->> 'outcome' is distinct from '{REFUSED}'")
    else:
        # By a recorded right this one is only counted in the exchange's list.
        where.append("l.body::json ->> 'hidden' is null")
    if asked.seqs is not None:
        where.append(f"l.seq = any({args(list(asked.seqs))})")
    if asked.since is not None:
        where.append(f"l.at >= {args(asked.since)}")
    if asked.until is not None:
        where.append(f"l.at < {args(asked.until)}")
    for actions, one_of in asked.actions:
        among = f"l.body::json ->> 'action' = any({args(list(actions))})"
        where.append(among if one_of else f"not {among}")
    for name, values in (("resource", asked.resources), ("outcome", asked.outcomes)):
        if values:
            where.append(f"l.body::json ->> '{name}' = any({args(list(values))})")
    if asked.agents:
        where.append(_by(asked.agents, args))
    return f"{start} {' and '.join(where)}"


def _by(agents: Sequence[str], args: Args) -> str:
    given, system = args(list(agents)), args(ORGANISATION_CODE)
    return f"""(array[l.body::json ->> 'client', l.body::json ->> 'actor', l.body::json ->> 'organisation']
        && {given}::text[] or l.body::json ->> 'organisation' in (
            select i ->> 'value' from resource o, json_array_elements(o.body::json -> 'identifier') i
            where o.type = 'Organization' and 'Organization/' || o.id = any({given})
                and i ->> 'system' = {system}))"""


async def patients_of(
    db: Connection, sector_ids: Iterable[str], organisation: str | None
) -> dict[str, list[str]]:
    """The Patients (`Patient/id`) of each person; those an organisation keeps, where one is named."""
    kept = "" if organisation is None else "and r.organisation = $2"
    rows = await db.fetch(
        f"""select p.sector_id, array_agg('Patient/' || r.id order by r.pk) as patients
            from patient_person p join resource r on r.pk = p.pt
            where p.sector_id = any($1) {kept} group by p.sector_id""",
        list(sector_ids),
        *([] if organisation is None else [organisation]),
    )
    return {row["sector_id"]: row["patients"] for row in rows}


async def persons_of(db: Connection, ids: Iterable[str], organisation: str | None) -> list[str]:
    """The persons (sector ids) of Patients, those alone that the organisation keeps where one is named; with
    every entry of the register that was decided to be the same person."""
    kept = "" if organisation is None else "and r.organisation = $2"
    rows = await db.fetch(
        f"""select distinct same.id from resource r join patient_person p on p.pt = r.pk
            left join merged_person merged using (sector_id)
            cross join lateral (
                select p.sector_id as id union select merged.now
                union select other.sector_id from merged_person other
                where other.now = coalesce(merged.now, p.sector_id)) same
            where r.type = 'Patient' and r.id = any($1) and same.id is not null {kept}""",
        list(ids),
        *([] if organisation is None else [organisation]),
    )
    return [row["id"] for row in rows]
