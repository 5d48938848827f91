"""Jobs of the service, started by name: `health.tasks:fill_care`."""

from typing import Any

from health.fhir import reindexing, treatment
from health.fhir.bulk import export as exporting
from health.fhir.bulk import load as loading
from services.kit.jobs import RunningJob


async def fill_care(job: RunningJob) -> dict[str, Any]:
    """Works out who treats whom from records kept before that was noted; a migration starts it, once."""
    return await treatment.fill(job)


async def reindex(job: RunningJob) -> dict[str, Any]:
    """Makes the index rows of what is kept anew, for parameters that came later."""
    return await reindexing.run(job)


async def export(job: RunningJob) -> dict[str, Any]:
    """Writes the files of a bulk export."""
    return await exporting.run(job)


async def load(job: RunningJob) -> dict[str, Any]:
    """Takes in the lines of a bulk import."""
    return await loading.run(job)
