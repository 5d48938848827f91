"""Jobs: work that outlives a request. The row is the truth; Celery only starts what is due.

    Jobs.submit     a row in the fact's own commit
    poller          hands rows that are due, or whose worker died, to Celery
    run             in the worker: claims the row under a fence, keeps its lease, notes how it ended
    last_heartbeat  when a job last came all that way: what says that a worker lives
    celery          the Celery app (`services.kit.jobs:celery`), made when somebody asks for it

A second run of the same job is harmless: without the newest fence nothing of it can be written.
"""

from typing import TYPE_CHECKING, Any

from services.kit.jobs.heartbeat import last_heartbeat
from services.kit.jobs.table import Job, JobLostError, Jobs, State

if TYPE_CHECKING:
    from celery import Celery

    from services.kit.jobs.polling import poller
    from services.kit.jobs.running import RunningJob

    celery: Celery

__all__ = ["Job", "JobLostError", "Jobs", "RunningJob", "State", "celery", "last_heartbeat", "poller"]


def __getattr__(name: str) -> Any:
    """Celery's and the application's libraries load where they are used: neither needs the other's."""
    match name:
        case "celery":
            from services.kit.jobs.worker import make_celery

            return make_celery()
        case "poller":
            from services.kit.jobs.polling import poller

            return poller
        case "RunningJob":
            from services.kit.jobs.running import RunningJob

            return RunningJob
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
