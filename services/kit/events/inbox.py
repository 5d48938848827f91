"""Taking events in: cursor, inbox rows and effects in one commit."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from services.kit import telemetry
from services.kit.events.dead_letters import park
from services.kit.events.log import Event, Handler, Subscription

if TYPE_CHECKING:
    from services.kit.database import Database, Transaction

DATABASE_TROUBLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""Not the event's fault: it is taken again as if nothing had happened."""


class CursorMovedError(Exception):
    """Somebody else has taken in events of this source meanwhile; start again from the stored cursor."""


@dataclass
class Cursor:
    """How far a source's log is taken in."""

    source: str
    position: int = 0
    event_id: UUID | None = None
    parked: set[str] = field(default_factory=set)
    """Aggregates with an event that failed: their later ones wait behind it."""


class Inbox:
    """The receiving side of one service."""

    def __init__(self, database: "Database", subscriptions: Sequence[Subscription]) -> None:
        self._database = database
        self._subscriptions = subscriptions
        self._by_type: dict[str, tuple[Handler, ...]] = {}
        self.cursors = {s.source: Cursor(s.source) for s in subscriptions}

    async def load(self) -> None:
        """Reads the stored cursors, and makes those that are not there yet at the log's beginning."""
        async with self._database.transaction() as tx:
            await tx.execute(
                """insert into inbox_cursor (source, position) select unnest($1::text[]), 0
                   on conflict do nothing""",
                list(self.cursors),
            )
            rows = await tx.fetch("select source, position, event_id from inbox_cursor")
        for row in rows:
            if row["source"] in self.cursors:
                cursor = self.cursors[row["source"]]
                cursor.position, cursor.event_id = row["position"], row["event_id"]
        await self.load_parked()

    async def load_parked(self) -> None:
        async with self._database.read() as connection:
            rows = await connection.fetch("select distinct source, aggregate from dead_letter")
        for cursor in self.cursors.values():
            cursor.parked = {row["aggregate"] for row in rows if row["source"] == cursor.source}

    def handlers(self, type: str) -> tuple[Handler, ...]:
        if type not in self._by_type:
            self._by_type[type] = tuple(s.handler for s in self._subscriptions if s.matches(type))
        return self._by_type[type]

    async def take(self, source: str, events: Sequence[Event]) -> int:
        """Takes in what follows the cursor; returns how many events had an effect.

        Events that were taken before have none. One whose handler fails is parked, and with it what
        follows in its aggregate; the rest goes on.

        Raises:
            CursorMovedError: nothing was done.
        """
        cursor = self.cursors[source]
        try:
            async with self._database.transaction() as tx:
                taken, parked = await self._take(tx, cursor, events, self._run)
        except (CursorMovedError, *DATABASE_TROUBLE):
            raise
        except Exception:  # noqa: BLE001 - a handler's; once more, each event on its own
            async with self._database.transaction() as tx:
                taken, parked = await self._take(tx, cursor, events, self._run_or_park)
        cursor.position, cursor.event_id = events[-1].seq, events[-1].id
        cursor.parked |= parked
        telemetry.events_applied.labels(self._database.service, source).inc(taken)
        return taken

    async def rewind(self, source: str) -> None:
        """Back to the beginning of a log whose positions mean other events now; the inbox knows the old."""
        cursor = self.cursors[source]
        async with self._database.transaction() as tx:
            await _move(tx, cursor, 0, None)
        cursor.position, cursor.event_id = 0, None

    async def _take(
        self,
        tx: "Transaction",
        cursor: Cursor,
        events: Sequence[Event],
        run: "Callable[[Transaction, Event], Awaitable[bool]]",
    ) -> tuple[int, set[str]]:
        await _move(tx, cursor, events[-1].seq, events[-1].id)
        ours = [event for event in events if self.handlers(event.type)]
        fresh = await _note(tx, cursor.source, ours)
        taken, parked = 0, set[str]()
        for event in ours:
            if event.id not in fresh:
                continue
            if event.aggregate in cursor.parked or event.aggregate in parked:
                await park(tx, event, attempts=0, reason="waits behind an earlier event of its aggregate")
                parked.add(event.aggregate)
            elif await run(tx, event):
                taken += 1
            else:
                parked.add(event.aggregate)
        return taken, parked

    async def _run(self, tx: "Transaction", event: Event) -> bool:
        await self.effect(tx, event)
        return True

    async def _run_or_park(self, tx: "Transaction", event: Event) -> bool:
        failure = await self.attempt(tx, event)
        if failure is not None:
            await park(tx, event, attempts=1, reason=failure)
        return failure is None

    async def attempt(self, tx: "Transaction", event: Event) -> str | None:
        """The effect alone, undone if it fails; what it failed of, or None."""
        failure: str | None = None
        with suppress(_Undone):
            async with tx.savepoint():
                try:
                    await self.effect(tx, event)
                except DATABASE_TROUBLE:
                    raise
                except Exception as error:
                    failure = telemetry.mask(f"{type(error).__name__}: {error}")[:1000]
                    telemetry.logger(self._database.service).warning(
                        "an event's effect failed",
                        extra={"event": str(event.id), "type": event.type, "error": failure},
                    )
                    raise _Undone from error
        return failure

    async def effect(self, tx: "Transaction", event: Event) -> None:
        with telemetry.span(f"take {event.type}", parent=event.traceparent, kind="consumer"):
            for handler in self.handlers(event.type):
                await handler(tx, event)


class _Undone(Exception):
    """Carries a rollback out of a savepoint; nobody else sees it."""


async def _move(tx: "Transaction", cursor: Cursor, position: int, event_id: UUID | None) -> None:
    """Moves the cursor if it still stands where we believe; its row lock keeps a second consumer out."""
    moved = await tx.execute(
        "update inbox_cursor set position = $3, event_id = $4 where source = $1 and position = $2",
        cursor.source,
        cursor.position,
        position,
        event_id,
    )
    if moved != "UPDATE 1":
        raise CursorMovedError(cursor.source)


async def _note(tx: "Transaction", source: str, events: Sequence[Event]) -> set[UUID]:
    """Notes the events in the inbox; returns those that were not there yet."""
    if not events:
        return set()
    rows = await tx.fetch(
        """insert into inbox (event_id, source, position)
           select event_id, $1, position from unnest($2::uuid[], $3::bigint[]) as taken (event_id, position)
           on conflict do nothing returning event_id""",
        source,
        [event.id for event in events],
        [event.seq for event in events],
    )
    return {row["event_id"] for row in rows}
