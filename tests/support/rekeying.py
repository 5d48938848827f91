"""A service of a running house with renewed ids, in the moment before identity adopts them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.identity import rotation
from services.identity.vault import vault_of
from services.kit import renewal
from services.kit.events import Event
from services.kit.ids import uuid7
from services.kit.jobs.running import RunningJob
from services.kit.jobs.running import run as run_job
from services.kit.jobs.table import claim
from tests.support.running import RunningServices

Switch = Callable[[], Awaitable[None]]


class NotYetAdoptedError(Exception):
    """Identity goes on giving out the old ids."""


async def first_version(house: RunningServices, sector: str) -> None:
    """The sector with the one key version it starts with."""
    identity = house.kit("identity")
    async with vault_of(identity).transaction() as tx:
        await tx.execute("delete from vault.sector_key where version > 1")
        await tx.execute("update vault.sector_key set state = 'current', understood_until = null")
        await rotation.take(tx, identity.parts["register"])
    async with house.kit(sector).db.transaction() as tx:
        await tx.execute("truncate renewal, renewed_id")


async def switch(house: RunningServices, sector: str, patched: pytest.MonkeyPatch) -> None:
    """Identity prepares the next version, and the service stores its ids."""

    async def adopt(_job: RunningJob, _version: int) -> datetime:
        raise NotYetAdoptedError

    patched.setattr(renewal, "_adopt", adopt)
    identity, kit = house.kit("identity"), house.kit(sector)
    register = identity.parts["register"]
    assert identity.jobs is not None
    async with vault_of(identity).transaction() as tx:
        _, job = await rotation.begin(tx, identity.jobs, register, sector=sector, overlap_days=30)
    await run_job("identity", job)
    async with vault_of(identity).transaction() as tx:
        await rotation.take(tx, register)
    data = {"sector": sector, "version": 2, "from_version": 1, "overlap_days": 30}
    event = Event(
        uuid7(), "identity.sector.rekeyed", "identity", "sector", 1, datetime.now(UTC), None, data, None
    )
    async with kit.db.transaction() as tx:
        # The service reads the event from identity too, at its own moment.
        await tx.execute("lock table renewal in share row exclusive mode")
        await renewal.take(tx, event)
        id: UUID = await tx.fetchval("select job_id from renewal")
        await tx.execute("update job set due_at = now() where id = $1", id)
        claimed = await claim(tx, id)
    assert claimed is not None
    with pytest.raises(NotYetAdoptedError):
        await renewal.renew(RunningJob(kit, claimed))
