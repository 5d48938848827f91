"""Jobs of the service, started by name: `services.identity.tasks:rekey_sector`."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.identity import linkage_runs, rotation
from services.identity.register import Register
from services.identity.repository import people
from services.identity.repository import sectors as table
from services.identity.sectors import SectorKey
from services.identity.vault import open_vault
from services.kit.jobs import RunningJob

REKEYED_AT_ONCE = 5000


def _renamed(key: SectorKey, rows: Sequence[tuple[str, UUID]]) -> list[tuple[str, UUID]]:
    return [(key.id_of(pid), pid) for _, pid in rows]


async def link_register(job: RunningJob) -> dict[str, Any]:
    """Looks through the whole register for doubles, and puts what it finds before the clerks."""
    return await linkage_runs.run(job)


async def rekey_sector(job: RunningJob) -> dict[str, Any]:
    """Gives everybody who has an id in the sector one of the offered key version; it may be run again."""
    sector, version = job.args["sector"], job.args["version"]
    vault = await open_vault(job.kit)
    async with vault.transaction() as tx:
        register = await Register.open(tx, job.kit.settings)
        before = register.sectors.version(sector)
        total = await table.count_ids(tx, sector, before)
    key = register.sectors.opened(sector, version)
    done, after = 0, ""
    while True:
        async with job.transaction(vault) as tx:
            rows = await table.ids_after(tx, sector, before, after, REKEYED_AT_ONCE)
            ids = await asyncio.to_thread(_renamed, key, rows)
            await people.remember_sector_ids(tx, sector, version, ids)
        if not rows:
            break
        done, after = done + len(rows), rows[-1][0]
        await job.progress(done, max(done, total))
    async with job.transaction(vault) as tx:
        await rotation.prepared(tx, register, sector=sector, version=version, people=done)
    return {"sector": sector, "version": version, "people": done}
