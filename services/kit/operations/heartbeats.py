"""Heartbeats: when each part of a service's work was last done, and by which process.

A part says so in memory, in its own loop (`kit.beat("relay")`); a loop that hangs says nothing more. What was
said is written every few seconds as an age, so that no process's clock has a say in it.
"""

import os
import socket
import time
from typing import TYPE_CHECKING

from services.kit.operations.shapes import Process

if TYPE_CHECKING:
    from services.kit.database import Connection, Transaction

ALIVE_S = 30.0
"""Silent for longer, a process no longer counts as alive: three beats were missed."""
PROCESS = f"{socket.gethostname()}:{os.getpid()}"
_STARTED = time.monotonic()

_WRITE_SQL = """
insert into heartbeat (role, process, started_at, beat_at)
select role, $1, now() - make_interval(secs => $2), now() - make_interval(secs => age)
from unnest($3::text[], $4::float8[]) as told (role, age)
on conflict (role, process) do update set started_at = excluded.started_at, beat_at = excluded.beat_at
"""
_READ_SQL = """
select role, count(*) filter (where silent_s <= $1) as alive,
    (array_agg(process order by beat_at desc))[1] as process,
    (array_agg(started_at order by beat_at desc))[1] as started_at, min(silent_s) as silent_s
from (select *, greatest(0, extract(epoch from clock_timestamp() - beat_at))::float8 as silent_s
      from heartbeat) as told
group by role order by role
"""


class Beats:
    """What the parts of this process said of themselves."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def beat(self, role: str) -> None:
        self._told[role] = time.monotonic()

    async def write(self, tx: "Transaction") -> None:
        # A beat that a crash of the database takes back is followed by the next.
        await tx.execute("set local synchronous_commit = off")
        ages = [time.monotonic() - at for at in self._told.values()]
        await tx.execute(_WRITE_SQL, PROCESS, time.monotonic() - _STARTED, list(self._told), ages)

    def processes(self) -> list[Process]:
        """This process alone: for a service that keeps nothing in a database, or has lost it."""
        silent = {role: time.monotonic() - at for role, at in sorted(self._told.items())}
        return [
            Process(role=role, process=PROCESS, alive=int(age <= ALIVE_S), silent_s=age)
            for role, age in silent.items()
        ]


async def read(db: "Connection") -> list[Process]:
    """Of each role the process that was last at it."""
    return [Process(**dict(row)) for row in await db.fetch(_READ_SQL, ALIVE_S)]
