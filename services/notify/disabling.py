"""Destinations that end: the browser that is gone, the endpoint that has failed for days or is closed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.kit.database import Row, Transaction
from services.kit.ids import uuid7
from services.notify import deliveries, notifications, templates
from services.notify.deliveries import PARTNER, Telling
from services.notify.notifications import Told
from services.notify.repository import destinations as repository

FAILING_DAYS = 3.0
CLOSED = "it answered that it is gone"
DISABLED = "notify.destination.disabled"


async def end(tx: Transaction, gone: Sequence[UUID]) -> None:
    """Nobody is there any more."""
    if gone:
        await repository.remove_destinations(tx, gone, "nobody is there any more")


async def disable(tx: Transaction, failing: Sequence[UUID], closed: Sequence[UUID]) -> None:
    """Those that have failed for days, and those that say themselves that they are closed, are told nothing
    more until their owner activates them, and their owner is told so by every other way there is."""
    disabled: list[Row] = []
    if failing:
        reason = f"failed for {FAILING_DAYS:g} days"
        disabled += await repository.disable_destinations(tx, failing, reason, failing_days=FAILING_DAYS)
    if closed:
        disabled += await repository.disable_destinations(tx, closed, CLOSED)
    if not disabled:
        return
    partners = [row for row in disabled if row["owner"].startswith(PARTNER)]
    await deliveries.plan(tx, [_telling(row) for row in partners])
    people = [
        Told(recipient=row["owner"], event=_event(row), fact=_fact(row), urgent=False)
        for row in disabled
        if not row["owner"].startswith(PARTNER)
    ]
    await notifications.tell(tx, people, datetime.now(UTC))


def _telling(row: Row) -> Telling:
    event = _event(row)
    return Telling(
        recipient=row["owner"],
        notification=UUID(event["id"]),
        fact=_fact(row),
        words=templates.words_of(event),
        event=event,
        urgent=False,
        not_before=None,
    )


def _fact(row: Row) -> str:
    return f"notify.destination/{row['id']}"


def _event(row: Row) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid7()),
        "source": "urn:huimin:service:notify",
        "type": DISABLED,
        "subject": _fact(row),
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "destination": str(row["id"]),
            "place": row["place"],
            "failing_at": row["failing_since"].isoformat(),
        },
    }
