"""`python -m tests.support.bare`: the supervisor with its servers and nothing else, up in a second."""

import asyncio
import sys

from services.stack.backup_plan import BackupPlan
from services.stack.home import Home
from services.stack.suite import start_servers
from services.stack.supervisor import Supervisor
from services.stack.terminal import Refusal, say


async def run() -> None:
    supervisor = Supervisor(Home())
    await supervisor.claim()
    try:
        supervisor.handle_signals()
        await start_servers(supervisor, plan=BackupPlan.of(supervisor.home))
        say("ready")
        await supervisor.run_until_stopped()
    finally:
        await supervisor.stop()


if __name__ == "__main__":
    try:
        asyncio.run(run())
    except Refusal as refusal:
        sys.exit(str(refusal))
