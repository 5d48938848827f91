"""What the one relay of a service does on the side: figures for operators, and throwing away what is over."""

import time
from collections.abc import Mapping
from typing import Any

from services.kit import telemetry
from services.kit.events.readers import BEHIND, lag, slowest_sql
from services.kit.jobs.heartbeat import KIND as BEAT

FIGURES_EVERY_S = 10.0
CLEAN_EVERY_S = 600.0
CHUNK = 5_000

_OVER = {
    # A service that is away for a month has missed something for good.
    "outbox": f"""delete from outbox where ctid = any(array(
        select ctid from outbox where time < now() - interval '7 days'
            and position <= (select sent from outbox_head)
            and position <= coalesce(({slowest_sql(30)}), position) limit $1))""",
    # Longer than the log is kept, so that no event can come a second time after its note is gone.
    "inbox": """delete from inbox where ctid = any(array(
        select ctid from inbox where at < now() - interval '14 days' limit $1))""",
    "job": """delete from job where id = any(array(
        select id from job where finished_at < now() - interval '30 days' limit $1))""",
    "beat": f"""delete from job where id = any(array(
        select id from job where finished_at < now() - interval '1 hour' and kind = '{BEAT}' limit $1))""",
    "process": """delete from heartbeat where ctid = any(array(
        select ctid from heartbeat where beat_at < now() - interval '1 day' limit $1))""",
    "push_failure": """delete from push_failure where ctid = any(array(
        select ctid from push_failure where hour < now() - interval '30 days' limit $1))""",
    # A batch that is named by its content counts once for good; a key the client chose, for a month.
    "idempotency": """delete from idempotency where ctid = any(array(
        select ctid from idempotency where at < now() - interval '30 days'
            and key not like 'sha256:%' limit $1))""",
}
_FIGURES_SQL = """
select
    (select count(*) from outbox where position is null)
        + (select position - sent from outbox_head) as waiting,
    coalesce(extract(epoch from now() - (select min(time) from outbox where position is null)), 0) as oldest,
    (select count(*) from dead_letter where next_at is null) as dead,
    (select count(*) from dead_letter where next_at is not null) as parked
"""


class Chores:
    """Runs on the relay's own session, between its batches."""

    def __init__(self, service: str, connection: Any, over: Mapping[str, str]) -> None:
        self._service = service
        self._connection = connection
        self._over = {**_OVER, **over}
        self._figures_at = 0.0
        self._cleaned_at = time.monotonic()
        self._behind: set[str] = set()

    async def run_due(self) -> None:
        now = time.monotonic()
        if now - self._figures_at > FIGURES_EVERY_S:
            self._figures_at = now
            await self._figures()
        if now - self._cleaned_at > CLEAN_EVERY_S:
            self._cleaned_at = now
            await clean(self._connection, self._over)

    async def _figures(self) -> None:
        found = await self._connection.fetchrow(_FIGURES_SQL)
        telemetry.outbox_waiting.labels(self._service).set(found["waiting"])
        telemetry.outbox_oldest_seconds.labels(self._service).set(max(0.0, float(found["oldest"])))
        telemetry.dead_letters.labels(self._service).set(found["dead"])
        telemetry.parked_events.labels(self._service).set(found["parked"])
        counts = dict(await self._connection.fetch("select state, count(*) from job group by state"))
        for state in ("queued", "running", "done", "failed", "cancelled"):
            telemetry.jobs_by_state.labels(self._service, state).set(counts.get(state, 0))
        await self._readers()

    async def _readers(self) -> None:
        readers = await lag(self._connection)
        for one in readers:
            telemetry.events_behind.labels(self._service, one.reader).set(one.behind)
            if one.behind > BEHIND and one.reader not in self._behind:
                telemetry.logger(self._service).error(
                    "a reader of the log is far behind",
                    extra={"reader": one.reader, "behind": one.behind, "heard_at": one.heard_at.isoformat()},
                )
        self._behind = {one.reader for one in readers if one.behind > BEHIND}


async def clean(connection: Any, over: Mapping[str, str] = _OVER) -> dict[str, int]:
    """Deletes, in small commits, what nobody needs any more; returns how much of each."""
    gone = dict.fromkeys(over, 0)
    for table, statement in over.items():
        while True:
            deleted = int((await connection.execute(statement, CHUNK)).rpartition(" ")[2])
            gone[table] += deleted
            if deleted < CHUNK:
                break
    return gone
