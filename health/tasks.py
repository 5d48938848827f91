"""Jobs of the service, started by name: `health.tasks:fill_care`."""

from typing import Any

from health.fhir import treatment
from services.kit.jobs import RunningJob


async def fill_care(job: RunningJob) -> dict[str, Any]:
    """Works out who treats whom from records kept before that was noted; a migration starts it, once."""
    return await treatment.fill(job)
