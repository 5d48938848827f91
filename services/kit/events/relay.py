"""From the outbox to the stream: one relay a service, which gives the log its order.

What it finds at a time is one entry of the stream (a CloudEvents batch), whose id is the last one's position.

A commit's number in the outbox is taken before the commit, so numbers become visible out of turn. The relay
therefore numbers what it sees committed: the position. A transaction that began after another's commit
always has the later position. Positions are durable before they leave the database, so that one position
never names two events.
"""

import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from services.kit import telemetry
from services.kit.alone import alone
from services.kit.events.chores import Chores
from services.kit.events.log import cloud_events, relay_name, stream_of
from services.kit.events.readers import slowest_sql
from services.kit.waking import wait, wake, woken

if TYPE_CHECKING:
    from services.kit.app import Kit
    from services.kit.database import Row

BATCH = 500
POLL_S = 1.0
"""How long a commit waits at most to be seen, should the word of it be lost."""
STREAM_AT_LEAST = 1_000
STREAM_AT_MOST = 500_000
"""Events, about 250 MB of the broker's memory. A reader further behind than this takes the log from the door
until it has caught up; long before, it is told of (`readers.BEHIND`)."""

READERS_WAITED_FOR_DAYS = 1
STREAM_KEPT_S = 14 * 24 * 3600
"""After the last event: nobody else would take away the stream of a database that is no more."""

_NUMBER_SQL = """
with due as (
    select seq, row_number() over (order by seq) as place
    from (select seq from outbox where position is null order by seq limit $1) as oldest
), head as (
    update outbox_head set position = position + (select count(*) from due), sent = greatest(sent, $2)
    where $2 > sent or exists (select from due)
    returning position - (select count(*) from due) as base
), numbered as (
    update outbox set position = head.base + due.place
    from due, head
    where outbox.seq = due.seq and outbox.position is null
    returning outbox.position, id, type, aggregate, area, time, body::text as body, traceparent
)
select * from numbered order by position
"""
_UNSENT_SQL = """
select position, id, type, aggregate, area, time, body::text as body, traceparent
from outbox where position > $1 order by position limit $2
"""


async def relay(kit: "Kit") -> None:
    """Runs for as long as the service does; of several processes of a service, one relays at a time."""
    async with kit.db.session() as connection:
        name = relay_name(kit.name)
        await alone(connection, name)

        def told(*_: Any) -> None:
            wake(name)

        await connection.add_listener(name, told)
        try:
            await _Relay(kit, connection).run()
        finally:
            await connection.remove_listener(name, told)


class _Relay:
    def __init__(self, kit: "Kit", connection: Any) -> None:
        self._service = kit.name
        self._beats = kit.beats
        self._redis = kit.redis
        self._connection = connection
        self._stream = ""
        self._chores = Chores(kit.name, connection, kit.over)
        self._position = self._sent = self._taken = 0
        self._looked_at = 0.0
        self._broker_fails = False

    async def run(self) -> None:
        head = await self._connection.fetchrow("select log, position, sent from outbox_head")
        self._stream = stream_of(self._service, head["log"])
        self._position, self._sent = head["position"], head["sent"]
        with woken(relay_name(self._service)) as waker:
            while True:
                waker.clear()
                self._beats.beat("relay")
                moved = await self._number_and_send()
                await self._chores.run_due()
                if not moved:
                    await wait(waker, POLL_S)

    async def _number_and_send(self) -> bool:
        """One batch; False when there was nothing to do, or nothing can be done just now."""
        if time.monotonic() - self._looked_at > POLL_S:
            await self._look_at_stream()
        fresh = await self._connection.fetch(_NUMBER_SQL, BATCH, self._sent)
        behind = self._position - self._sent
        self._position = max([self._position, *(row["position"] for row in fresh[-1:])])
        if self._broker_fails:
            return bool(fresh)
        if behind:
            fresh = await self._connection.fetch(_UNSENT_SQL, self._sent, BATCH)
        if not fresh:
            return False
        await self._send(fresh)
        return True

    async def _send(self, rows: "list[Row]") -> None:
        last = rows[-1]["position"]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xadd(self._stream, {"events": cloud_events(self._service, rows)}, id=f"{last}-0")
        pipeline.expire(self._stream, STREAM_KEPT_S)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            self._failed(error)
            return
        for answer in answers:
            # What is there already was sent by a relay that died before it could note it.
            if isinstance(answer, Exception) and "equal or smaller" not in str(answer):
                self._failed(answer)
                return
        self._sent = last
        telemetry.events_sent.labels(self._service).inc(len(rows))

    async def _look_at_stream(self) -> None:
        """Trims it behind its slowest reader; finds what the broker has lost since it was sent, and goes back
        to send it again."""
        self._looked_at = time.monotonic()
        taken = await self._connection.fetchval(slowest_sql(READERS_WAITED_FOR_DAYS))
        spare = self._position - STREAM_AT_LEAST
        self._taken = max(spare if taken is None else min(taken, spare), self._position - STREAM_AT_MOST, 0)
        try:
            last = await self._last_on_stream()
            if last > self._position:
                # Entries of another past of this database: it was restored from a backup.
                await self._redis.delete(self._stream)
                last = 0
            await self._redis.xtrim(self._stream, minid=f"{self._taken + 1}-0")
        except (RedisError, OSError) as error:
            self._failed(error)
            return
        self._broker_fails = False
        if max(last, self._taken) < self._sent:
            self._sent = max(last, self._taken)
            await self._connection.execute("update outbox_head set sent = $1", self._sent)
            telemetry.logger(self._service).warning(
                "the broker lost events, sending them again",
                extra={"stream": self._stream, "events": self._position - self._sent},
            )

    async def _last_on_stream(self) -> int:
        try:
            found = await self._redis.xinfo_stream(self._stream)
        except ResponseError as error:
            if "no such key" in str(error):
                return 0
            raise
        last = found["last-generated-id"]
        return int((last.decode() if isinstance(last, bytes) else last).partition("-")[0])

    def _failed(self, error: Exception) -> None:
        """The log goes on being numbered: consumers take it from the door meanwhile."""
        if not self._broker_fails:
            telemetry.logger(self._service).warning(
                "the broker does not take events", extra={"error": repr(error)}
            )
        self._broker_fails = True
        self._looked_at = time.monotonic()
