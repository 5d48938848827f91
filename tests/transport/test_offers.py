"""What transport offers to other domains."""

from datetime import UTC, datetime, timedelta

from tests.support.offers import exchange_at, fresh_at, offered
from tests.transport.conftest import Transport

PATH = "/transport/offers/zone_flows"


async def test_flows_by_the_hour_without_the_one_that_is_not_over(transport: Transport) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for zone, area in (("bridge", "330106"), ("tower", "330102")):
        await transport.zone(zone, area=area)
    await transport.sensor("gate", kind="gate", zone_from=None, zone_to="bridge", period_seconds=60)
    await transport.sensor("door", kind="gate", zone_from=None, zone_to="tower", period_seconds=60)
    await transport.push(
        transport.reading("gate", hour - timedelta(minutes=90), 5, 1),
        transport.reading("gate", hour - timedelta(minutes=50), 7),
        transport.reading("gate", hour - timedelta(minutes=10), 2),
        transport.reading("door", hour - timedelta(minutes=10), 4),
        transport.reading("gate", hour + timedelta(seconds=30), 100, seconds=20),
    )
    exchange = await exchange_at(transport.house, "transport")
    found = await offered(exchange, PATH)
    early, late = hour - timedelta(hours=2), hour - timedelta(hours=1)
    assert [
        (row["zone"], datetime.fromisoformat(row["hour"]), row["n_in"], row["n_out"]) for row in found
    ] == [
        ("bridge", early, 5, 1),
        ("bridge", late, 9, 0),
        ("tower", late, 4, 0),
    ]
    assert await offered(
        exchange,
        PATH,
        {"item": "hour", "op": "ge", "value": late.isoformat()},
        {"item": "area", "op": "prefix", "value": "330106"},
    ) == [found[1]]
    assert (await fresh_at(transport.house, "transport", "/transport/offers"))["zone_flows"] is not None
    wrong = await exchange.get(PATH, params={"after": "AAAA"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")
