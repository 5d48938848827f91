"""The door of a service's log: refused to all but services that hold `events:read`."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from services.kit.app import Kit
from services.kit.events import Draft, publish_many
from services.kit.events.door import Doors, Place
from tests.support.events import crowd_warning
from tests.support.running import RunningServices

Running = Callable[..., Awaitable[RunningServices]]
TYPE = "transport.warning.raised"


@pytest.fixture
async def house(running: Running) -> RunningServices:
    return await running("transport", "social_security")


async def publish(kit: Kit, count: int) -> list[Any]:
    """Numbered as the relay would; the one that runs beside the test finds nothing left to do."""
    async with kit.db.transaction() as tx:
        drafts = [Draft(TYPE, f"zone/{n % 3}", crowd_warning(people=n), "330106") for n in range(count)]
        ids = await publish_many(tx, drafts)
        await tx.execute(
            """update outbox set position = ranked.place from (
                   select seq, row_number() over (order by seq) as place from outbox) as ranked
               where outbox.seq = ranked.seq"""
        )
        await tx.execute("update outbox_head set position = $1", count)
    return ids


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        pytest.param({"scopes": None}, 401, "unauthenticated", id="nobody"),
        pytest.param({"scopes": "audit:read", "kind": "service"}, 403, "insufficient_scope", id="no scope"),
        pytest.param({"scopes": "events:read", "kind": "organisation"}, 403, "forbidden", id="no service"),
    ],
)
async def test_the_log_is_for_services_alone(
    house: RunningServices, who: dict[str, Any], status: int, code: str
) -> None:
    answer = await (await house.client("transport", **who)).get("/transport/outbox")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("query", ["since=1", "after=-1", "limit=0", "limit=1001", "last=x"])
async def test_what_the_door_does_not_understand_is_refused(house: RunningServices, query: str) -> None:
    client = await house.client("transport", scopes="events:read", kind="service")
    assert (await client.get(f"/transport/outbox?{query}")).status_code in {400, 422}


async def test_a_service_reads_anothers_log_page_by_page(house: RunningServices) -> None:
    ids = await publish(house.kit("transport"), 25)
    doors = Doors(house.kit("social_security").calls)
    first = await doors.page("transport", Place(), limit=10)
    assert (first.head, first.same) == (25, True)
    assert [event.id for event in first.events] == ids[:10]
    assert [event.seq for event in first.events] == list(range(1, 11))
    event = first.events[4]
    assert (event.type, event.source, event.aggregate, event.area) == (TYPE, "transport", "zone/1", "330106")
    assert event.data == crowd_warning(people=4)
    rest = await doors.page("transport", Place(first.log, 10, ids[9]), limit=100)
    assert [event.id for event in rest.events] == ids[10:]
    assert (await doors.page("transport", Place(first.log, 25, ids[24]))).events == []


async def test_a_reader_whose_place_means_something_else_now_is_told_so(house: RunningServices) -> None:
    ids = await publish(house.kit("transport"), 5)
    doors = Doors(house.kit("social_security").calls)
    log = (await doors.page("transport", Place())).log
    for place in (Place(log, 3, uuid4()), Place(log, 9, ids[4]), Place(uuid4(), 3, ids[2])):
        page = await doors.page("transport", place)
        assert not page.same
        assert [event.id for event in page.events] == ids, "the whole log, for the inbox to tell apart"
