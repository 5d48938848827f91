"""Whose records a caller may see, as a condition in SQL: nothing is read first and left out afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from health.reaching import NOBODY, Granted, Reach
from health.versions import Treating
from services.kit import renewal
from services.kit.database import Connection, Row

REGISTERS = frozenset({"HealthcareService", "Location", "Organization", "Practitioner", "PractitionerRole"})
"""Who and where, not whose: open to everybody who may read health records at all."""

ORGANISATION_CODE = "urn:huimin:id:uscc"
"""System of the identifier by which an Organization is one that identity knows (GB 32100)."""

# Records of the same person, whichever hospital's Patient they hang on, and under whichever entry of the
# population register they were kept before it was decided that these are one.
SAME_PERSON = """(
    patient_person mine left join merged_person merged using (sector_id)
    join lateral (
        select coalesce(merged.now, mine.sector_id) as id
        union select other.sector_id from merged_person other
        where other.now = coalesce(merged.now, mine.sector_id) and other.now <> other.sector_id
    ) entry on true
    join patient_person same on same.sector_id = entry.id)"""
# A Patient that has been said to be somebody else's since opens nothing of theirs.
_OPENED_AS = "mine.pt = e.pt and mine.updated_at <= e.begun_at"
_RUNNING = "actor = {actor} and ends_at > now()"
# A card number of another hospital can be guessed, and likeness is not proof.
_KNOWN_BY_NUMBER = "(same.numbered or same.pt = mine.pt)"
_NOT_OBJECTED = """not exists (
    select from treatment_claim objected where objected.objected_at is not null
        and objected.organisation = care.organisation
        and objected.sector_id in (mine.sector_id, same.sector_id))"""
_OPENED = f"""array(
    select pt from emergency_access where {_RUNNING}
    union select same.pt from emergency_access e join {SAME_PERSON} on {_OPENED_AS} where e.{_RUNNING})"""

_WITHOUT_CARE = f"""from resource r where type = any($1) and pt <> {NOBODY}
    and not exists (select from care where care.pk = r.pk)"""


class Args:
    """Arguments of a statement that is put together."""

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)

    def __call__(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


def readable(reach: Reach, args: Args, relation: str = "resource") -> str:
    """What every read starts from: rows of a table with `pt` that the caller may see, as `m`."""
    if relation == "resource":
        return f"from resource m where {reached(reach, args, 'm')}"
    if reach.everybody:
        return f"from {relation} m where true"
    if reach.sector_ids and reach.granted.everything:
        return f"from {relation} m where {_own(reach.sector_ids, args, 'm')}"
    # As a scalar: an index row is looked up by its key, whatever the planner thinks of the condition.
    return f"from {relation} m where (select {reached(reach, args, 'o')} from resource o where o.pk = m.pk)"


def reached(reach: Reach, args: Args, r: str) -> str:
    """Whether the caller may see the resource `r`."""
    if reach.everybody:
        return "true"
    if reach.granted.everything:
        return _open(reach, args, r)
    return f"({_granted(reach.granted, args, r)} and {_open(reach, args, r)})"


def _open(reach: Reach, args: Args, r: str) -> str:
    if reach.sector_ids:
        return _own(reach.sector_ids, args, r)
    ties = list(_ties(reach, args, r))
    registers = [f"{r}.type = any({args(sorted(REGISTERS))})"] if ties else ["false"]
    return f"({' or '.join([*(condition for _, condition in ties), *registers])})"


def _granted(granted: Granted, args: Args, r: str) -> str:
    """Whether the token's scopes are for the resource `r`."""
    alternatives = [f"{r}.type = any({args(sorted(granted.types))})"]
    for type, clauses in granted.narrowed:
        has = [
            f"exists (select from tok t where t.hash = any({args(list(hashes))}) and t.pk = {r}.pk)"
            for hashes in clauses
        ]
        alternatives.append(f"({' and '.join([f'{r}.type = {args(type)}', *has])})")
    return f"({' or '.join(alternatives)})"


def tie(reach: Reach, args: Args, r: str) -> str:
    """By which relation the caller sees `r`: null where it needs none."""
    cases = [f"when {condition} then '{name}'" for name, condition in _ties(reach, args, r)]
    return f"case {' '.join(cases)} end" if cases else "null"


def shown(reach: Reach, args: Args, r: str) -> str:
    """The body of `r` as the caller may see it: without its specially protected parts, unless the tie to the
    patient opens them too."""
    if reach.everybody or reach.sector_ids:
        return f"{r}.body"
    opened = [_tie(name, reach, args, r) for name in sorted(reach.special)]
    whole = f"{r}.redacted is null{''.join(f' or {condition}' for condition in opened)}"
    return f"case when {whole} then {r}.body else {r}.redacted end"


def keeps(reach: Reach, args: Args, r: str) -> str:
    """Whether all versions of `r` are the caller's to see, which only its keeper's are."""
    if reach.everybody:
        return "true"
    kept = next((condition for name, condition in _ties(reach, args, r) if name == "custodian"), "false")
    if reach.granted.everything:
        return kept
    # What narrows a scope is held against the last version alone.
    return f"({r}.type = any({args(sorted(reach.granted.types))}) and {kept})"


def _own(sector_ids: Sequence[str], args: Args, r: str) -> str:
    # That somebody's are meant is said too, or the index of patients' records is not taken.
    persons = f"select pt from patient_person where sector_id = any({args(list(sector_ids))})"
    return f"({r}.pt <> {NOBODY} and {r}.pt in ({persons}))"


def _ties(reach: Reach, args: Args, r: str) -> Iterable[tuple[str, str]]:
    for name in ("custodian", "consent", "treatment", "break_glass"):
        if name in reach.relations:
            condition = _tie(name, reach, args, r)
            yield name, condition if name in reach.special else f"(not {r}.special and {condition})"


def _tie(name: str, reach: Reach, args: Args, r: str) -> str:
    match name:
        case "custodian":
            return f"({r}.client = {args(reach.client)} or {r}.organisation = {args(reach.organisation)})"
        case "treatment":
            return f"""exists (
                select from {SAME_PERSON} join care on care.pt = same.pt
                where mine.pt = {r}.pt and care.organisation = {args(reach.organisation)}
                    and care.until > now() and {_KNOWN_BY_NUMBER} and {_NOT_OBJECTED})"""
        case "consent":
            persons = args(list(reach.consented))
            return f"{r}.pt = any(array(select pt from patient_person where sector_id = any({persons})))"
        case _:
            return f"{r}.pt = any({_OPENED.format(actor=args(reach.actor))})"


async def beyond(db: Connection, granted: Granted, pks: Iterable[int]) -> bool:
    """Whether any of the resources is one that the token's scopes are not for."""
    if granted.everything:
        return False
    args = Args(list(pks))
    condition = f"pk = any($1) and not {_granted(granted, args, 'r')}"
    return bool(await db.fetchval(f"select exists (select from resource r where {condition})", *args.values))


# Who is one person with whom


async def note_merged(db: Connection, now: Mapping[str, str], *, told: int) -> None:
    """By which id each of these goes; what was told later than this stands."""
    await db.execute("lock table merged_person in share row exclusive mode")
    stored = await renewal.renewed(db, [*now, *now.values()])
    now = {stored.get(id, id): stored.get(root, root) for id, root in now.items()}
    await db.execute("delete from merged_person where sector_id = any($1) and told < $2", list(now), told)
    await db.execute(
        """insert into merged_person (sector_id, now, told)
           select said.sector_id, said.now, $3 from unnest($1::text[], $2::text[]) as said (sector_id, now)
           where not exists (select from merged_person known where known.sector_id = said.sector_id)""",
        list(now),
        list(now.values()),
        told,
    )


# Who treats whom


async def keep_care(db: Connection, treating: Iterable[Treating]) -> None:
    """Index rows of who treats whom; an organisation is known by its code (services.identity)."""
    rows = [(t.pk, t.pt, t.organisation, t.keeper, t.until) for t in treating]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await db.execute(
        """insert into care (organisation, pt, until, pk)
           select code, pt, max(until), pk from (
               select told.pk, told.pt, told.until, coalesce(code.value, told.keeper) as code
               from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[])
                    as told (pk, pt, organisation, keeper, until)
               left join resource o on o.type = 'Organization' and o.id = told.organisation
               left join lateral (
                   select i ->> 'value' as value from json_array_elements(o.body::json -> 'identifier') i
                   where i ->> 'system' = $6) code on true) as treats
           where code is not null group by code, pt, pk""",
        *columns,
        ORGANISATION_CODE,
    )


async def without_care(db: Connection, kinds: Sequence[str], *, after: int, limit: int) -> list[Row]:
    """Patients' records of these types that no relation follows from, held until the commit: pk, pt,
    organisation, ts, body."""
    return await db.fetch(
        f"""select pk, pt, organisation, ts, body {_WITHOUT_CARE} and pk > $2
            order by pk limit $3 for no key update of r""",
        kinds,
        after,
        limit,
    )


async def count_without_care(db: Connection, kinds: Sequence[str]) -> int:
    return int(await db.fetchval(f"select count(*) {_WITHOUT_CARE}", kinds))


async def opened_by_care(db: Connection, pts: Iterable[int], *, kept: bool = False) -> dict[str, list[str]]:
    """The persons (sector ids) of these Patients by the organisation that may now read what others keep.

    Args:
        kept: these Patients are what may be read, not what the relation stands on.
    """
    whose = "mine" if kept else "same"
    rows = await db.fetch(
        f"""select care.organisation, array_agg(distinct mine.sector_id order by mine.sector_id) as subjects
            from {SAME_PERSON} join care on care.pt = same.pt join resource r on r.pk = mine.pt
            where {whose}.pt = any($1) and care.until > now() and {_KNOWN_BY_NUMBER} and {_NOT_OBJECTED}
                and r.organisation is distinct from care.organisation
            group by care.organisation order by care.organisation""",
        list(pts),
    )
    return {row["organisation"]: row["subjects"] for row in rows}


async def open_reasons(db: Connection, actor: str) -> dict[int, str]:
    """Why the actor opened the records of these patients that are open now."""
    rows = await db.fetch(
        f"""select pt, reason from emergency_access where {_RUNNING.format(actor="$1")}
            union all select same.pt, e.reason from emergency_access e join {SAME_PERSON} on {_OPENED_AS}
            where e.{_RUNNING.format(actor="$1")}""",
        actor,
    )
    return {row["pt"]: row["reason"] for row in rows}


async def untied(db: Connection, reach: Reach, locals: Iterable[str]) -> list[str]:
    """The persons (sector ids) behind those of the `Type/id` that the caller may not see."""
    pairs = [local.split("/", 1) for local in locals]
    args = Args([type for type, _ in pairs], [id for _, id in pairs])
    rows = await db.fetch(
        f"""select distinct p.sector_id from unnest($1::text[], $2::text[]) as asked (type, id)
            join resource r on r.type = asked.type and r.id = asked.id
            join patient_person p on p.pt = r.pt
            where p.sector_id is not null and not {reached(reach, args, "r")}""",
        *args.values,
    )
    return [row["sector_id"] for row in rows]


async def whose(db: Connection, type: str, id: str) -> Row | None:
    """Whose a resource is or was, for the leaf of a refused access: sector_id, special."""
    return await db.fetchrow(
        """select p.sector_id, r.special from (
               select type, id, pt, special from resource union all select type, id, pt, special from deleted
           ) r join patient_person p using (pt) where r.type = $1 and r.id = $2""",
        type,
        id,
    )
