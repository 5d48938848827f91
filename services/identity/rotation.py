"""A sector's next key version: offered, prepared, adopted; then the one before leaves.

1. `begin`: version n + 1 is offered. A job gives everybody who has an id of version n one of n + 1 as well.
2. `prepared`: the job is done, the event `identity.sector.rekeyed` says so. Still version n is given out,
   but n + 1 to whoever is new to the sector; ids of both are understood and stand in tokens. The domain
   takes the new ids of all (`sector_ids.renewals`) and stores them (`services.kit.renewal`).
3. `adopt`: the domain says that it stores the new ids. From now on version n + 1 is given out, in resolve,
   in translations and in tokens; ids of version n are understood for the overlap, in which the domain
   renews what is still on its way.
4. `retire_due`: the overlap is over, an id of version n is refused like an unknown one. Its key is kept:
   access leaves are never rewritten, and a person's own usages are found under every id ever used.

One version comes at a time: no domain ever meets three.
"""

from uuid import UUID

from services.identity.register import Register
from services.identity.repository import sectors as table
from services.identity.sector_ids import check_sectors
from services.identity.shapes import SectorKeyVersion
from services.kit.database import Connection, Transaction
from services.kit.jobs import Jobs
from services.kit.problems import conflict

JOB = "services.identity.tasks:rekey_sector"
KEPT_HERE = frozenset({"tourism", "transport", "civil", "identity"})
"""Sectors whose ids no other service stores: adopted as soon as they are prepared."""


async def begin(
    tx: Transaction, jobs: Jobs, register: Register, *, sector: str, overlap_days: int
) -> tuple[int, UUID]:
    """The offered version and the job that prepares it.

    Raises:
        Problem: 422 unknown sector; 409 another version of it still comes or goes.
    """
    check_sectors(register, sector)
    versions = await table.lock_keys(tx, sector)
    if any(row["state"] in {"offered", "leaving"} for row in versions):
        raise conflict("rotation_under_way", f"another key version of {sector} still comes or goes")
    version = versions[-1]["version"] + 1
    await table.offer_key(tx, sector, version, register.sectors.wrapped(sector, version), overlap_days)
    job = await jobs.submit(tx, kind=JOB, args={"sector": sector, "version": version})
    await tx.leaf(action="sector_key.offered", resource=f"{sector}/{version}")
    await take(tx, register)
    return version, job


async def prepared(tx: Transaction, register: Register, *, sector: str, version: int, people: int) -> None:
    """Everybody has an id of the version; harmless when that was said before."""
    row = await table.note_prepared(tx, sector, version)
    if row is None:
        return
    await tx.leaf(action="sector_key.prepared", resource=f"{sector}/{version}", records=people)
    await tx.publish(
        "identity.sector.rekeyed",
        aggregate=f"sector/{sector}",
        data={
            "sector": sector,
            "version": version,
            "from_version": register.sectors.version(sector),
            "overlap_days": row["overlap_days"],
        },
    )
    if sector in KEPT_HERE:
        await adopt(tx, register, sector=sector, version=version)


async def adopt(tx: Transaction, register: Register, *, sector: str, version: int) -> None:
    """Gives this version's ids out from now on; saying it again changes nothing.

    Raises:
        Problem: 409, the version is not there to be adopted.
    """
    versions = {row["version"]: row for row in await table.lock_keys(tx, sector)}
    row = versions.get(version)
    if row is not None and row["state"] == "current":
        return
    if row is None or row["state"] != "offered" or row["prepared_at"] is None:
        raise conflict("version_not_offered", f"version {version} of {sector} is not prepared, or over")
    await table.make_current(tx, sector, version)
    await tx.leaf(action="sector_key.adopted", resource=f"{sector}/{version}")
    await take(tx, register)


async def retire_due(tx: Transaction, register: Register) -> None:
    for row in await table.retire_keys(tx):
        await tx.leaf(action="sector_key.retired", resource=f"{row['sector']}/{row['version']}")
    await take(tx, register)


async def take(tx: Transaction, register: Register) -> None:
    """What the transaction sees of the keys is what this process goes by, once it is committed."""
    rows = await table.keys(tx)
    tx.after_commit(lambda: register.sectors.take(rows))


async def listed(db: Connection) -> list[SectorKeyVersion]:
    rows = await table.keys(db)
    return [SectorKeyVersion(**{name: row[name] for name in SectorKeyVersion.model_fields}) for row in rows]
