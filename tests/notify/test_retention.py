"""What is over is deleted when its time has come; what waits, is not acknowledged or not over never is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.kit.events import chores
from services.notify import messages, retention
from services.notify.repository.messages import NewMessage
from tests.notify.watch import Watch
from tests.support.running import RunningServices

Db = Callable[[str], Awaitable[Any]]
OPEN, IN_HAND, OVER, NEWS = "w/open", "w/in-hand", "w/over", "n/none"
"""Facts that nobody has acknowledged, that somebody has, that ended, that need nobody."""
FACTS = (OPEN, IN_HAND, OVER, NEWS)
AGES = (1, 43, 45, 89, 91, 364, 366, 4000)
"""Days: before and behind each period."""


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


class Kept:
    """Rows as old as they are said to be, on the tables alone."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def insert(self, table: str, **row: Any) -> Any:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        return await self.connection.fetchrow(
            f"insert into {table} ({', '.join(row)}) values ({places}) returning *", *row.values()
        )

    async def fact(self, fact: str, days: float, *, event: UUID | None = None, **times: Any) -> None:
        await self.insert(
            "escalation", fact=fact, thing=fact, event={"id": str(event or uuid4())}, level=1, step=1, told=1,
            since=ago(days), planned_at=ago(days), **times,
        )  # fmt: skip

    async def facts(self) -> None:
        await self.fact(OPEN, 4000, next_at=ago(0))
        await self.fact(IN_HAND, 4000, acknowledged_at=ago(4000))
        await self.fact(OVER, 4000, over_at=ago(4000))

    async def told(self, fact: str, days: float) -> UUID:
        row = await self.insert(
            "told", id=uuid4(), fact=fact, event={}, words={}, urgent=False, raised_at=ago(days)
        )
        return UUID(str(row["id"]))

    async def destination(self) -> UUID:
        row = await self.insert(
            "destination", id=uuid4(), owner="anna", holder={}, channel="email", place="x", target="",
            target_hash=uuid4().bytes, language="en", state="active",
        )  # fmt: skip
        return UUID(str(row["id"]))

    async def delivery(self, destination: UUID, told: UUID, state: str, days: float) -> int:
        row = await self.insert(
            "delivery", destination=destination, told=told, owner="anna", channel="email", state=state,
            raised_at=ago(4000), timed_at=ago(days), next_at=ago(0) if state == "waiting" else None,
        )  # fmt: skip
        return int(row["id"])

    async def notification(self, fact: str, days: float) -> UUID:
        row = await self.insert(
            "notification", id=uuid4(), recipient="anna", event_id=uuid4(), fact=fact, type="t", urgent=False,
            words={}, raised_at=ago(days), sent_at=ago(days),
        )  # fmt: skip
        return UUID(str(row["id"]))

    async def left(self, table: str, column: str = "id") -> set[Any]:
        return {row[column] for row in await self.connection.fetch(f"select {column} from {table}")}

    async def clean(self) -> dict[str, int]:
        return await chores.clean(self.connection, retention.statements())


@pytest.fixture
async def kept(db: Db) -> Kept:
    return Kept(await db("notify"))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "CHUNK", 3)


async def test_deliveries_go_when_they_ended_long_ago_and_what_they_told_with_the_last(kept: Kept) -> None:
    await kept.facts()
    destination, expected, told_expected = await kept.destination(), set(), set()
    period = {"delivered": 90, "stopped": 90, "dead": 365, "waiting": 10**6}
    for state, fact, days in product(period, FACTS, AGES):
        told = await kept.told(fact, max(days, 400))
        delivery = await kept.delivery(destination, told, state, days)
        if days < period[state] or fact in {OPEN, IN_HAND}:
            expected.add(delivery)
            told_expected.add(told)
    shared = await kept.told(NEWS, 4000)
    await kept.delivery(destination, shared, "delivered", 4000)
    expected.add(await kept.delivery(await kept.destination(), shared, "waiting", 4000))
    await kept.told(NEWS, 91)
    told_expected |= {shared, await kept.told(NEWS, 89)}
    gone = await kept.clean()
    assert await kept.left("delivery") == expected
    assert await kept.left("told") == told_expected
    assert (
        gone["dead_delivery"] == 4
    )  # 366 and 4000 days, of a fact that is over and of one that needs nobody
    assert not sum((await kept.clean()).values())


async def test_notifications_go_after_a_year_unless_their_fact_is_not_over(kept: Kept) -> None:
    await kept.facts()
    expected = set()
    for fact, days in product(FACTS, AGES):
        one = await kept.notification(fact, days)
        if days < 365 or fact in {OPEN, IN_HAND}:
            expected.add(one)
    await kept.clean()
    assert await kept.left("notification") == expected


async def test_facts_go_when_they_have_been_over_for_long_and_no_notification_shows_them(kept: Kept) -> None:
    expected = set()
    for days in AGES:
        await kept.fact(f"open/{days}", days)
        await kept.fact(f"unattended/{days}", days, unattended_at=ago(days), next_at=ago(0))
        await kept.fact(f"in-hand/{days}", days, acknowledged_at=ago(days))
        await kept.fact(f"to-be-told/{days}", days, over_at=ago(days), next_at=ago(0))
        await kept.fact(f"shown/{days}", days, over_at=ago(days), acknowledged_at=ago(days))
        await kept.fact(f"ended/{days}", 4000, over_at=ago(days))
        await kept.notification(f"shown/{days}", min(days, 364))
        expected |= {f"{what}/{days}" for what in ("open", "unattended", "in-hand", "to-be-told", "shown")}
        expected |= {f"ended/{days}"} if days < 90 else set()
    await kept.clean()
    assert await kept.left("escalation", "fact") == expected
    await kept.connection.execute("update notification set sent_at = now() - interval '366 days'")
    await kept.clean()
    assert await kept.left("escalation", "fact") == {
        fact for fact in expected if not fact.startswith("shown/") or int(fact.partition("/")[2]) < 90
    }


async def test_messages_go_and_the_next_one_has_the_next_number(db: Db) -> None:
    watch = Watch(await db("notify"))
    kept = Kept(watch.connection)
    event = uuid4()
    await kept.fact(OPEN, 4000, event=event)
    new = [
        NewMessage("crowd-warnings", id, ago(0), None, {}, recipient=recipient)
        for id, recipient in [*((uuid4(), None) for _ in AGES), (event, None), (event, "anna")]
    ]
    async with watch.transaction() as tx:
        await messages.add(tx, new)
    for seq, days in enumerate([*AGES, 4000, 4000], start=1):
        await kept.connection.execute("update message set recorded_at = $2 where seq = $1", seq, ago(days))
    await kept.clean()
    fresh = {seq for seq, days in enumerate(AGES, start=1) if days < 44}
    assert await kept.left("message", "seq") == fresh | {len(AGES) + 1, len(AGES) + 2}
    await kept.connection.execute("delete from escalation")
    await kept.clean()
    assert await kept.left("message", "seq") == fresh
    async with watch.transaction() as tx:
        await messages.add(tx, [NewMessage("crowd-warnings", uuid4(), ago(0), None, {})])
    assert await kept.left("message", "seq") == fresh | {len(new) + 1}


MANY = {
    "told": """insert into told select gen_random_uuid(), 'f' || n, '{}', '{}', false, now()
        from generate_series(1, 20000) as n""",
    "delivery": """insert into delivery (destination, told, owner, channel, state, raised_at)
        select destination.id, told.id, 'anna', 'email',
            case when told.id::text < '8' then 'delivered' else 'dead' end, now() from destination, told""",
    "notification": """insert into notification (id, recipient, event_id, fact, type, urgent, words,
            raised_at, sent_at)
        select gen_random_uuid(), 'anna', gen_random_uuid(), 'f' || n, 't', false, '{}', now(), now()
        from generate_series(1, 20000) as n""",
    "message": """insert into message (seq, topic, time, event_id, data)
        select n, 't', now(), gen_random_uuid(), '{}' from generate_series(1, 20000) as n""",
    "escalation": """insert into escalation (fact, thing, event, level, since, step, told, planned_at,
            over_at)
        select 'f' || n, 'f' || n, '{}', 1, now(), 1, 1, now(), now() from generate_series(1, 20000) as n""",
}
FOUND_BY = {
    "delivery": "delivery_ended",
    "dead_delivery": "delivery_ended",
    "told": "told_by_time",
    "notification": "notification_by_time",
    "message": "message_by_time",
    "escalation": "escalation_over",
}


async def test_what_is_over_is_found_without_going_through_the_rest(kept: Kept) -> None:
    await kept.destination()
    for table, statement in MANY.items():
        await kept.connection.execute(statement)
        await kept.connection.execute(f"analyze {table}")
    for what, statement in retention.statements().items():
        rows = await kept.connection.fetch("explain " + statement.replace("$1", "5000"))
        plan = "\n".join(row[0] for row in rows)
        assert f"using {FOUND_BY[what]}" in plan or f"on {FOUND_BY[what]}" in plan, plan
        assert "Seq Scan" not in plan, plan


async def test_the_service_does_it_by_itself(house: RunningServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "CLEAN_EVERY_S", 0.0)
    async with house.kit("notify").db.transaction() as tx:
        await messages.add(tx, [NewMessage("crowd-warnings", uuid4(), ago(0), None, {})])
        await tx.execute("update message set recorded_at = now() - interval '45 days'")
    async with asyncio.timeout(60):
        while True:
            async with house.kit("notify").db.read() as connection:
                if not await connection.fetchval("select count(*) from message"):
                    break
            await asyncio.sleep(0.05)
