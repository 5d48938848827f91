"""A person's ids from one sector to another, and from one key version to the next.

An id of another sector is no slip: nobody holds one but by a leak. It is refused wherever it is presented,
the whole request with it, and the attempt stands in the log under the person it is about.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.identity.register import Register
from services.identity.repository import people
from services.identity.repository import sectors as table
from services.identity.shapes import MergedId, MergedIdsPage, Renewal, RenewalsPage
from services.kit.database import Row, Transaction
from services.kit.leaves import LeafBuffer
from services.kit.problems import Fault, conflict, unprocessable


async def translate(
    tx: Transaction, leaves: LeafBuffer, register: Register, *, source: str, target: str, ids: Sequence[str]
) -> list[str | None]:
    """Each sector id as the target sector knows the same person; None for one that nobody has."""
    check_sectors(register, source, target)
    owners = await _owners(tx, leaves, register, source, ids)
    roots = {row["asked"]: row["root"] for row in await table.entries_of(tx, _distinct(owners))}
    pids = sorted(set(roots.values()))
    translated = await given_out(tx, register, target, pids)
    await tx.leaf(
        action="sector_ids.translated",
        subjects=register.log_ids(pids),
        records=len(ids),
        resource=f"{source} to {target}",
        reason="identification",
    )
    return [translated[roots[owners[id]]] if id in owners else None for id in ids]


async def everywhere(
    tx: Transaction,
    leaves: LeafBuffer,
    register: Register,
    *,
    source: str,
    targets: Sequence[str],
    ids: Sequence[str],
    purpose: str | None = None,
) -> list[dict[str, list[str]] | None]:
    """For each id all ids the same person has had in the target sectors; None for one that nobody has.

    The one given out now comes first. Ids of earlier key versions, and of entries that were decided to be
    the same person, follow: what was logged under them is this person's too.
    """
    check_sectors(register, source, *targets)
    owners = await _owners(tx, leaves, register, source, ids)
    entries: dict[UUID, list[UUID]] = {}
    for row in await table.entries_of(tx, _distinct(owners)):
        entries.setdefault(row["asked"], []).append(row["pid"])
    await tx.leaf(
        action="sector_ids.read",
        subjects=register.log_ids(entries),
        records=len(ids),
        resource=f"{source} to {' '.join(sorted(targets))}",
        purpose=purpose,
        reason="identification",
    )

    def named(pids: Sequence[UUID], sector: str) -> list[str]:
        return [key.id_of(pid) for key in register.sectors.ever(sector) for pid in pids]

    found: list[dict[str, list[str]] | None] = []
    for id in ids:
        pids = entries[owners[id]] if id in owners else None
        found.append({sector: named(pids, sector) for sector in targets} if pids else None)
    return found


async def renewals(
    tx: Transaction, register: Register, *, sector: str, after: str, limit: int
) -> RenewalsPage:
    """Every id of a sector as the prepared version has it, in the order of the old ones.

    An entry keeps an id of its own, also where it was decided to be one person with another: what a domain
    stores apart stays apart, and such a decision can be taken back.

    Raises:
        Problem: 409, no version is prepared, or this process has not heard of it yet.
    """
    coming = register.sectors.offered(sector)
    if coming is None:
        raise conflict("version_not_offered", f"no version of {sector} is prepared")
    before = register.sectors.version(sector)
    rows = await table.ids_after(tx, sector, before, after, limit + 1)
    shown = [(old, coming.id_of(pid), pid) for old, pid in rows[:limit]]
    await people.remember_sector_ids(tx, sector, coming.version, [(new, pid) for _, new, pid in shown])
    await tx.leaf(
        action="sector_ids.renewed",
        subjects=register.log_ids({pid for _, _, pid in shown}),
        records=len(shown),
        resource=f"{sector}/{coming.version}",
        reason="identification",
    )
    return RenewalsPage(
        version=coming.version,
        items=[Renewal(old=old, new=new) for old, new, _ in shown],
        next=shown[-1][0] if len(rows) > limit else None,
        total=None if after else await table.count_ids(tx, sector, before),
    )


async def merged(
    tx: Transaction, register: Register, *, sector: str, after: str, limit: int
) -> MergedIdsPage:
    """Ids of a sector that go by another one now, in their order: what a domain stores apart, and a
    translation answers as one, is put together by them. A decision taken back takes its ids off the list."""
    rows = await table.merged_ids(tx, sector, after=after, limit=limit + 1)
    shown = rows[:limit]
    now = await given_out(tx, register, sector, sorted({row["root"] for row in shown}))
    await tx.leaf(
        action="sector_ids.merged",
        subjects=register.log_ids({row["pid"] for row in shown} | now.keys()),
        records=len(shown),
        resource=sector,
        reason="identification",
    )
    return MergedIdsPage(
        items=[MergedId(id=row["id"], now=now[row["root"]]) for row in shown],
        next=shown[-1]["id"] if len(rows) > limit else None,
    )


def check_sectors(register: Register, *sectors: str) -> None:
    for sector in sectors:
        if sector not in register.sectors:
            raise unprocessable("unknown_sector", f"there is no sector {sector}")


async def _owners(
    tx: Transaction, leaves: LeafBuffer, register: Register, sector: str, ids: Sequence[str]
) -> dict[str, UUID]:
    """Whose each id is; one that nobody has or that is not understood any more is missing.

    Raises:
        Problem: 422, one of them is an id of another sector.
    """
    rows = await table.owners(tx, list(set(ids)))
    foreign = {row["id"]: row for row in rows if row["sector"] != sector}
    if foreign:
        await _refuse(tx, leaves, register, sector, ids, foreign)
    return {row["id"]: row["pid"] for row in rows if row["understood"]}


async def _refuse(
    tx: Transaction,
    leaves: LeafBuffer,
    register: Register,
    sector: str,
    ids: Sequence[str],
    foreign: Mapping[str, Row],
) -> None:
    people_named = register.log_ids({row["pid"] for row in foreign.values()})
    await leaves.write(
        tx.principal,
        action="sector_ids.presented",
        subjects=people_named,
        records=len(foreign),
        resource=sector,
        outcome="refused",
        reason="foreign_sector_id",
    )
    message = f"an id of another sector than {sector}"
    faults = [
        Fault(message, path=f"ids.{place}", code="foreign_sector_id")
        for place, id in enumerate(ids)
        if id in foreign
    ]
    raise unprocessable("foreign_sector_id", f"{len(faults)} faults; nothing was answered", *faults)


def _distinct(owners: Mapping[str, UUID]) -> list[UUID]:
    return sorted(set(owners.values()))


async def given_out(
    tx: Transaction, register: Register, sector: str, pids: Sequence[UUID]
) -> dict[UUID, str]:
    """What each of these goes by in a sector, its way back kept.

    While a version comes, everybody has an id of it, and whoever has none of the current one is given that:
    the domain is told of every old id once, and must meet no other afterwards.
    """
    current, coming = register.sectors.current(sector), register.sectors.offered(sector)
    key = coming or current
    new = {pid: key.id_of(pid) for pid in pids}
    await people.remember_sector_ids(tx, sector, key.version, [(id, pid) for pid, id in new.items()])
    if coming is None:
        return new
    had = await table.with_id(tx, sector, current.version, pids)
    return {pid: current.id_of(pid) if pid in had else new[pid] for pid in pids}
