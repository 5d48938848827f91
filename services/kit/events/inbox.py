"""Taking events in: cursor, inbox rows and effects in one commit."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from services.kit import telemetry
from services.kit.events.dead_letters import park
from services.kit.events.door import Place
from services.kit.events.log import Event, ManyHandler, Subscription

if TYPE_CHECKING:
    from services.kit.database import Database, Transaction

DATABASE_TROUBLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""Not the event's fault: it is taken again as if nothing had happened."""
WAITS = "waits behind an earlier event of its aggregate"


class CursorMovedError(Exception):
    """Somebody else has taken in events of this source meanwhile; start again from the stored cursor."""


@dataclass
class Cursor:
    """How far a source's log is taken in."""

    source: str
    place: Place = field(default_factory=Place)
    parked: set[str] = field(default_factory=set)
    """Aggregates with an event that failed: their later ones wait behind it."""


class Inbox:
    """The receiving side of one service."""

    def __init__(self, database: "Database", subscriptions: Sequence[Subscription]) -> None:
        self._database = database
        self._subscriptions = subscriptions
        self._by_type: dict[str, tuple[ManyHandler, ...]] = {}
        self.cursors = {s.source: Cursor(s.source) for s in subscriptions}

    async def load(self) -> None:
        """Reads the stored cursors, and makes those that are not there yet at the log's beginning."""
        async with self._database.transaction() as tx:
            await tx.execute(
                """insert into inbox_cursor (source, position) select unnest($1::text[]), 0
                   on conflict do nothing""",
                list(self.cursors),
            )
            rows = await tx.fetch("select source, log, position, event_id from inbox_cursor")
        for row in rows:
            if row["source"] in self.cursors:
                place = Place(row["log"], row["position"], row["event_id"])
                self.cursors[row["source"]].place = place
        await self.load_parked()

    async def load_parked(self) -> None:
        async with self._database.read() as connection:
            rows = await connection.fetch("select distinct source, aggregate from dead_letter")
        for cursor in self.cursors.values():
            cursor.parked = {row["aggregate"] for row in rows if row["source"] == cursor.source}

    def handlers(self, type: str) -> tuple[ManyHandler, ...]:
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
                taken, parked = await self._take_together(tx, cursor, events)
        except (CursorMovedError, *DATABASE_TROUBLE):
            raise
        except Exception:  # noqa: BLE001 - a handler's; once more, each event by itself
            async with self._database.transaction() as tx:
                taken, parked = await self._take_singly(tx, cursor, events)
        cursor.place, cursor.parked = behind(cursor, events), parked
        telemetry.events_applied.labels(self._database.service, source).inc(taken)
        return taken

    async def begin(self, source: str, log: UUID) -> None:
        """At the beginning of the source's log: a new one, or one whose positions mean other events now.

        What was taken before has its inbox row and is not taken again.
        """
        cursor = self.cursors[source]
        async with self._database.transaction() as tx:
            await _move(tx, cursor, Place(log))
        cursor.place = Place(log)

    async def _take_together(
        self, tx: "Transaction", cursor: Cursor, events: Sequence[Event]
    ) -> tuple[int, set[str]]:
        fresh = await self._fresh(tx, cursor, events)
        free = [event for event in fresh if event.aggregate not in cursor.parked]
        for event in fresh:
            if event.aggregate in cursor.parked:
                await park(tx, event, attempts=0, reason=WAITS)
        for _, run in groupby(free, key=lambda event: self.handlers(event.type)):
            await self.effect(tx, list(run))
        return len(free), cursor.parked

    async def _take_singly(
        self, tx: "Transaction", cursor: Cursor, events: Sequence[Event]
    ) -> tuple[int, set[str]]:
        parked, taken = set(cursor.parked), 0
        for event in await self._fresh(tx, cursor, events):
            if event.aggregate in parked:
                await park(tx, event, attempts=0, reason=WAITS)
                continue
            failure = await self.attempt(tx, event)
            if failure is None:
                taken += 1
            else:
                await park(tx, event, attempts=1, reason=failure)
                parked.add(event.aggregate)
        return taken, parked

    async def _fresh(self, tx: "Transaction", cursor: Cursor, events: Sequence[Event]) -> list[Event]:
        """Moves the cursor behind the events; returns those that concern us and were not taken before."""
        await _move(tx, cursor, behind(cursor, events))
        ours = [event for event in events if self.handlers(event.type)]
        new = await _note(tx, cursor.source, ours)
        return [event for event in ours if event.id in new]

    async def attempt(self, tx: "Transaction", event: Event) -> str | None:
        """The effect of one event, undone if it fails; what it failed of, or None."""
        failure: str | None = None
        with suppress(_Undone):
            async with tx.savepoint():
                try:
                    await self.effect(tx, [event])
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

    async def effect(self, tx: "Transaction", events: Sequence[Event]) -> None:
        """Of events that have the same handlers."""
        for handler in self.handlers(events[0].type):
            await handler(tx, events)


class _Undone(Exception):
    """Carries a rollback out of a savepoint; nobody else sees it."""


def behind(cursor: Cursor, events: Sequence[Event]) -> Place:
    return Place(cursor.place.log, events[-1].seq, events[-1].id)


async def _move(tx: "Transaction", cursor: Cursor, to: Place) -> None:
    """Moves the cursor if it still stands where we believe; its row lock keeps a second consumer out."""
    moved = await tx.execute(
        """update inbox_cursor set log = $3, position = $4, event_id = $5
           where source = $1 and position = $2 and event_id is not distinct from $6""",
        cursor.source,
        cursor.place.position,
        to.log,
        to.position,
        to.event_id,
        cursor.place.event_id,
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
