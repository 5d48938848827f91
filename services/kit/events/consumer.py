"""Taking in the logs of other services: from their streams while these are whole, from their doors otherwise.

One consumer is active for each consuming service. It reads each source's log strictly by position; a
position that does not follow the last one is a gap, and nothing behind a gap is touched until the source's
door has given what belongs in it.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import RedisError

from services.kit import telemetry
from services.kit.alone import alone
from services.kit.calls import DomainError
from services.kit.events.dead_letters import due, failed_again, lock, taken
from services.kit.events.door import PAGE, Doors, Logs
from services.kit.events.inbox import Inbox
from services.kit.events.log import Event, Subscription, stream_of

if TYPE_CHECKING:
    from services.kit.app import Kit

ENTRIES = 20
"""Of a stream, read at a time; each holds up to as many events as a relay finds at a time."""
TOGETHER = 500
"""Events, taken in one commit where there are so many."""
BLOCK_MS = 500
SWEEP_EVERY_S = 10.0
"""How late an event comes at most of which the broker, though it answers, does not know."""
TELL_AFTER = 5_000
TELL_EVERY_S = 2.0
TELL_AGAIN_S = 60.0
"""A source hears how far we are after so many events or so long; that we still listen, each minute."""
RETRY_S = 1.0
RETRY_PARKED_S = 0.2


async def consume(kit: "Kit", subscriptions: Sequence[Subscription], *, logs: Logs | None = None) -> None:
    """Runs for as long as the service does; of several processes of a service, one consumes at a time."""
    async with kit.db.session() as connection:
        await alone(connection, f"huimin consume {kit.name}")
        await _Consumer(kit, subscriptions, logs or Doors(kit.calls)).run(connection)


class _Consumer:
    def __init__(self, kit: "Kit", subscriptions: Sequence[Subscription], logs: Logs) -> None:
        self._service = kit.name
        self._beats = kit.beats
        self._database = kit.db
        self._redis = kit.redis
        self._logs = logs
        self._inbox = Inbox(kit.db, subscriptions)
        # When each source's door is asked next: at once, then now and then, and whenever something is amiss.
        self._sweep_at = dict.fromkeys(self._inbox.cursors, 0.0)
        self._told: dict[str, tuple[float, int]] = dict.fromkeys(self._inbox.cursors, (-TELL_AGAIN_S, 0))
        self._gaps: set[str] = set()
        self._silent: set[str] = set()
        self._parked_at = 0.0

    async def run(self, session: Any) -> None:
        await self._inbox.load()
        while True:
            self._beats.beat("consumer")
            await self._sweep_due(session)
            await self._take_from_streams()
            await self._tell_due()
            await self._retry_parked()

    async def _take_from_streams(self) -> None:
        whole = {
            stream_of(cursor.source, cursor.place.log): cursor
            for cursor in self._inbox.cursors.values()
            if cursor.place.log is not None and cursor.source not in self._gaps
        }
        if not whole:
            await asyncio.sleep(RETRY_S)
            return
        places: dict[Any, Any] = {stream: f"{cursor.place.position}-0" for stream, cursor in whole.items()}
        try:
            async with asyncio.timeout(BLOCK_MS / 1000 + 5):
                answer: Any = await self._redis.xread(places, count=ENTRIES, block=BLOCK_MS)
        except (RedisError, OSError, TimeoutError) as error:
            telemetry.logger(self._service).warning(
                "the broker does not answer, events come from their sources", extra={"error": repr(error)}
            )
            self._sweep_at = dict.fromkeys(self._sweep_at, 0.0)
            await asyncio.sleep(RETRY_S)
            return
        entries = answer.items() if isinstance(answer, dict) else answer
        for stream, found in entries:
            name = stream.decode() if isinstance(stream, bytes) else stream
            batch = found[0] if found and isinstance(found[0], list) else found
            events: list[Event] = []
            for _, fields in batch:
                events += map(Event.parse, orjson.loads(fields[b"events"]))
                if len(events) >= TOGETHER:
                    await self._take(whole[name].source, events)
                    events = []
            await self._take(whole[name].source, events)

    async def _take(self, source: str, events: list[Event]) -> None:
        """The part that follows the cursor without a gap; a gap sends us to the door first."""
        position = self._inbox.cursors[source].place.position
        # A relay that took over may have sent some a second time, in another entry.
        fresh = [event for event in events if event.seq > position]
        whole = [event for place, event in enumerate(fresh, start=1) if event.seq == position + place]
        if whole:
            await self._inbox.take(source, whole)
            # While events come, one that the broker lost shows as a gap; only the last ones do not.
            self._sweep_at[source] = time.monotonic() + SWEEP_EVERY_S
        if len(whole) < len(fresh):
            self._gaps.add(source)
            self._sweep_at[source] = 0.0

    async def _sweep_due(self, session: Any) -> None:
        now = time.monotonic()
        for source, at in self._sweep_at.items():
            if at > now:
                continue
            # Also finds out whether our session, and with it the lock, is still there.
            await session.fetchval("select 1")
            try:
                await self._sweep(source)
            except DomainError as error:
                if source not in self._silent:
                    telemetry.logger(self._service).warning(
                        "a source does not give its log", extra={"source": source, "error": str(error)}
                    )
                self._silent.add(source)
                self._sweep_at[source] = now + RETRY_S
            else:
                self._silent.discard(source)
                self._gaps.discard(source)
                self._sweep_at[source] = now + SWEEP_EVERY_S

    async def _sweep(self, source: str) -> None:
        """Takes in everything the source's door has behind our cursor."""
        cursor = self._inbox.cursors[source]
        while True:
            page = await self._logs.page(source, cursor.place)
            if not page.same:
                telemetry.logger(self._service).error(
                    "a source's log was restored or made anew, taking it in from its beginning",
                    extra={"source": source, "position": cursor.place.position, "head": page.head},
                )
            if not page.same or cursor.place.log is None:
                await self._inbox.begin(source, page.log)
            if page.events:
                fetched = await self._inbox.take(source, page.events)
                telemetry.events_fetched.labels(self._service).inc(fetched)
            if len(page.events) < PAGE:
                return

    async def _tell_due(self) -> None:
        now = time.monotonic()
        for source, (at, position) in self._told.items():
            place = self._inbox.cursors[source].place
            ahead = place.position - position
            due = now - at > (TELL_EVERY_S if ahead else TELL_AGAIN_S)
            if place.log is None or not (due or ahead >= TELL_AFTER):
                continue
            with suppress(DomainError):  # the next sweep says what is wrong with it
                await self._logs.told(source, place)
                position = place.position
            self._told[source] = (now, position)

    async def _retry_parked(self) -> None:
        if time.monotonic() < self._parked_at or not any(c.parked for c in self._inbox.cursors.values()):
            return
        self._parked_at = time.monotonic() + RETRY_PARKED_S
        async with self._database.read() as connection:
            letters = await due(connection)
        for letter in letters:
            async with self._database.transaction() as tx:
                if not await lock(tx, letter.id):
                    continue
                failure = await self._inbox.attempt(tx, letter.event)
                if failure is None:
                    await taken(tx, letter.id)
                else:
                    await failed_again(tx, letter, failure)
        await self._inbox.load_parked()
