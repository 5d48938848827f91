"""What the supervisor starts: `python -m services.stack.child app | worker | migrate`."""

import asyncio
import os
import signal
import socket
import sys
import warnings
from importlib import import_module

from services.stack.house import WORKER_APP, chosen
from services.stack.processes import collect_less, die_with_parent
from services.stack.program import tell_ready
from services.stack.terminal import Refusal, say

CHILD_MEMORY_KB = 700_000
"""A pool process that a job made larger than this is replaced after the job."""


def app() -> None:
    """The application: every service behind the front door's socket, which the supervisor opened."""
    from services.stack.serve import serve_front

    serve_front(socket.socket(fileno=int(os.environ.pop("HUIMIN_DOOR_FD"))))


def worker() -> None:
    """The job worker: one pool process, which dies with its parent as the parent does with ours."""
    from celery.exceptions import SecurityWarning
    from celery.signals import worker_process_init, worker_ready

    # Celery warns root of pickled tasks; ours are JSON, and whoever may write to the broker is ourselves.
    warnings.simplefilter("ignore", SecurityWarning)

    module, _, attribute = WORKER_APP.partition(":")
    celery = getattr(import_module(module), attribute)

    def on_ready(**_: object) -> None:
        tell_ready()
        say("惠民 Huimin: worker ready")

    def on_pool_process(**_: object) -> None:
        die_with_parent(signal.SIGKILL)
        collect_less()

    worker_ready.connect(on_ready, weak=False)
    worker_process_init.connect(on_pool_process, weak=False)
    options = ["--pool=prefork", "--concurrency=1", f"--max-memory-per-child={CHILD_MEMORY_KB}"]
    options += ["--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    celery.worker_main(["--quiet", "worker", *options])


def migrate() -> None:
    """Prints one line for a person; the supervisor shows it."""
    from services.kit.settings import Settings
    from services.stack.provision import provision

    ours = os.environ.get("HUIMIN_EMBEDDED_DATABASE") == "1"
    try:
        services = chosen(os.environ.get("HUIMIN_SERVICES", ""))
        storing = tuple(service for service in services if service.stores)
        done = asyncio.run(provision(Settings(), storing, create_database=ours))
    except Refusal as refusal:
        sys.stdout.write(f"{refusal}\n")
        sys.exit(1)
    applied = sum(len(steps) for steps in done.applied.values())
    sys.stdout.write(f"PostgreSQL {done.server}, {applied} new steps\n")


def keeper() -> None:
    """Archives the log, has backups made, watches the standby (services/stack/keeper.py)."""
    from services.stack.keeper import keep

    asyncio.run(keep())


def backup() -> None:
    """The keeper's own base backup, when one is due."""
    from services.stack.backup import run_backup
    from services.stack.home import Home

    try:
        asyncio.run(run_backup(Home()))
    except Refusal as refusal:
        sys.exit(str(refusal))


def tell() -> None:
    """What the journal has, to the access log."""
    from services.stack.home import Home
    from services.stack.journal import tell as tell_all

    asyncio.run(tell_all(Home()))


if __name__ == "__main__":
    parts = (app, worker, migrate, keeper, backup, tell)
    {part.__name__: part for part in parts}[sys.argv[1]]()
