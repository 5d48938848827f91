"""The Celery app. Its main process imports this and nothing of the application: it stays small."""

import asyncio
import os
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from celery import Celery
from celery.signals import worker_ready

if TYPE_CHECKING:
    from redis.asyncio import Redis

RUN_JOB = "huimin.run_job"
HEARTBEAT = "huimin.heartbeat"
QUEUE = "huimin"
ALIVE_KEY = "huimin:worker:alive"
ALIVE_S = 60
HEARTBEAT_EVERY_S = 20.0
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
            "health_check_interval": 10,
        },
    )
    app.task(name=RUN_JOB)(run_job)
    app.task(name=HEARTBEAT)(heartbeat)
    worker_ready.connect(_start_heartbeats, weak=False, dispatch_uid="huimin heartbeats")
    return app


def _broker_url() -> str:
    return os.environ.get("HUIMIN_REDIS_URL") or "redis://127.0.0.1:6379/0"


def run_job(service: str, job_id: str) -> None:
    from services.kit.jobs.running import run

    asyncio.run(run(service, UUID(job_id)))


def heartbeat() -> None:
    note_alive(_broker_url())


def note_alive(broker_url: str) -> None:
    """A worker's pool process took something up just now."""
    import redis

    with redis.Redis.from_url(broker_url, socket_timeout=2.0) as broker:
        try:
            broker.set(ALIVE_KEY, f"{time.time():.0f}", ex=ALIVE_S)
        except redis.RedisError:
            return  # without a broker nobody can ask either


async def worker_alive(broker: "Redis") -> bool:
    """Whether a worker has taken something up in the last minute: a process that is up may still be stuck."""
    return bool(await broker.exists(ALIVE_KEY))


def _start_heartbeats(**_: Any) -> None:
    threading.Thread(target=_send_heartbeats, name="heartbeats", daemon=True).start()


def _send_heartbeats() -> None:
    """Through the broker to our own pool and back: what arrives proves the whole way."""
    while True:
        try:
            make_celery().send_task(HEARTBEAT, expires=2 * HEARTBEAT_EVERY_S, retry=False)
        except Exception:  # noqa: BLE001 - kombu raises what its transport raises; a missing beat says it all
            time.sleep(1.0)
            continue
        time.sleep(HEARTBEAT_EVERY_S)
