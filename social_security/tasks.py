"""Jobs of the service, started by name: `social_security.tasks:run_audit`."""

from typing import Any
from uuid import UUID

from services.exchange.client import ExchangeClient
from services.identity.client import IdentityClient
from services.kit.jobs import RunningJob
from social_security import benefit_audit


async def run_audit(job: RunningJob) -> dict[str, Any]:
    finished = await benefit_audit.run(
        database=job.kit.db,
        commit=job.transaction,
        exchange=job.kit.calls.client(ExchangeClient),
        identity=job.kit.calls.client(IdentityClient),
        home=job.kit.settings.home,
        run_id=UUID(job.args["run_id"]),
        progress=job.progress,
    )
    return finished.model_dump(mode="json", include={"id", "status", "outcomes"}, exclude_none=True)
