"""Dead letters through a real service's doors: who sees them, what they say, having one tried again."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.kit.events.dead_letters import park
from services.kit.events.log import Event

Running = Callable[..., Awaitable[Any]]
SECRET_VALUE = "what the event says of a person"


async def parked(house: Any) -> None:
    """A letter that waits for a person: its source does not run here, so nothing takes it up."""
    event = Event(
        id=UUID(int=7),
        type="elsewhere.thing.changed",
        source="elsewhere",
        aggregate="thing/1",
        seq=1,
        time=datetime.now(UTC),
        area=None,
        data={"note": SECRET_VALUE},
        traceparent=None,
    )
    async with house.kit("exchange").db.transaction() as tx:
        await park(tx, event, attempts=3, reason="LookupError: not there")
        await tx.execute("update dead_letter set next_at = null")


@pytest.mark.parametrize(("scopes", "status"), [(None, 401), ("events:read", 403), ("exchange:read", 403)])
async def test_only_operators_see_dead_letters(running: Running, scopes: str | None, status: int) -> None:
    house = await running("exchange")
    client = await house.client("exchange", scopes=scopes)
    assert (await client.get("/exchange/dead-letters")).status_code == status
    assert (await client.post("/exchange/dead-letters/1/replay")).status_code == status


async def test_a_letter_tells_its_reason_without_its_data_and_is_tried_again_on_request(
    running: Running,
) -> None:
    house = await running("exchange")
    await parked(house)
    client = await house.client("exchange", scopes="events:replay")
    answer = await client.get("/exchange/dead-letters")
    [letter] = answer.json()["items"]
    assert (letter["type"], letter["reason"], letter["attempts"], letter["next_at"]) == (
        "elsewhere.thing.changed",
        "LookupError: not there",
        3,
        None,
    )
    assert SECRET_VALUE not in answer.text
    assert (await client.post(f"/exchange/dead-letters/{letter['id']}/replay")).status_code == 202
    [again] = (await client.get("/exchange/dead-letters")).json()["items"]
    assert again["next_at"] is not None
    assert again["attempts"] == 0


async def test_a_letter_that_is_not_there_is_a_404(running: Running) -> None:
    house = await running("exchange")
    client = await house.client("exchange", scopes="events:replay")
    answer = await client.post("/exchange/dead-letters/99/replay")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no dead letter 99 waits here")
