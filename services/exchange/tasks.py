"""Jobs of the exchange, started by name: `services.exchange.tasks:make_release`."""

from typing import Any

from services.exchange.open_data import exports, releases
from services.kit.jobs import RunningJob


async def make_release(job: RunningJob) -> dict[str, Any]:
    return await releases.make(job)


async def make_export(job: RunningJob) -> dict[str, Any]:
    return await exports.make(job)
