"""From the job table to Celery: what is due, and what lost its worker."""

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID

from services.kit import telemetry
from services.kit.jobs import heartbeat
from services.kit.jobs.table import Jobs, due, not_handed
from services.kit.waking import wait, woken

if TYPE_CHECKING:
    from services.kit.app import Kit

POLL_S = 1.0


async def poller(kit: "Kit") -> None:
    """Runs for as long as the service does, in each of its processes."""
    beat_at = time.monotonic() + heartbeat.FIRST_AFTER_S
    with woken(f"{kit.name} jobs") as waker:
        while True:
            waker.clear()
            kit.beats.beat("jobs")
            if time.monotonic() > beat_at:
                async with kit.db.transaction() as tx:
                    await heartbeat.submit_due(tx, Jobs(kit.name))
                beat_at = time.monotonic() + heartbeat.EVERY_S / 2
            handed = await hand_over(kit)
            if not handed:
                await wait(waker, POLL_S)


async def hand_over(kit: "Kit") -> list[UUID]:
    """One round; what was handed over. What the broker lost is handed again after a growing pause, what it
    did not take in the next round."""
    async with kit.db.transaction() as tx:
        ids = await due(tx)
    if ids:
        try:
            # Celery's client is synchronous, and its import takes a moment: both off the event loop.
            await asyncio.to_thread(_send, kit.name, ids)
        except Exception as error:  # noqa: BLE001 - kombu raises what its transport raises
            telemetry.logger(kit.name).warning(
                "jobs not handed over", extra={"jobs": [str(id) for id in ids], "error": repr(error)}
            )
            async with kit.db.transaction() as tx:
                await not_handed(tx, ids)
            return []
    return ids


def _send(service: str, ids: list[UUID]) -> None:
    from services.kit.jobs.worker import RUN_JOB, make_celery

    for id in ids:
        make_celery().send_task(RUN_JOB, args=(service, str(id)))
