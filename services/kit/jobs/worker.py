"""The Celery app. Its main process imports this and nothing of the application: it stays small."""

import asyncio
import os
from functools import cache
from uuid import UUID

from celery import Celery

RUN_JOB = "huimin.run_job"
QUEUE = "huimin"
VISIBILITY_TIMEOUT_S = 3600


@cache
def make_celery() -> Celery:
    """The app, for the broker that HUIMIN_REDIS_URL names."""
    app = Celery("huimin", broker=_broker_url())
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=VISIBILITY_TIMEOUT_S // 2 - 60,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=20,
        worker_enable_soft_shutdown_on_idle=True,
        # A broker that restarts must not cost a running job: the row knows who runs it, and a second start
        # finds the lease taken.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            # A broker that hangs must not hold a thread of the application for ever.
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "health_check_interval": 10,
        },
    )
    app.task(name=RUN_JOB)(run_job)
    return app


def _broker_url() -> str:
    return os.environ.get("HUIMIN_REDIS_URL") or "redis://127.0.0.1:6379/0"


def run_job(service: str, job_id: str) -> None:
    from services.kit.jobs.running import run

    asyncio.run(run(service, UUID(job_id)))
