"""Quotas of agreements: counted with the read, never past the limit however many read at once."""

import asyncio
from typing import Any

import pytest

from services.exchange.client import ExchangeClient
from services.kit.calls import DomainError
from tests.exchange.conftest import AGREEMENT, DATASET, Exchange

READS = f"/exchange/reads/{DATASET}"


async def used(exchange: Exchange) -> tuple[int, int]:
    file = (await exchange.admin.get(f"/exchange/agreements/{AGREEMENT}/file")).json()
    return file["use"][-1]["reads"], file["use"][-1]["rows"]


async def test_reads_and_rows_are_metered_by_day(exchange: Exchange) -> None:
    await exchange.with_deaths(5)
    http = await exchange.as_service("social_security")
    for limit in (2, 5):
        assert (await http.get(READS, params={"limit": limit})).status_code == 200
    assert await used(exchange) == (2, 7)


async def test_past_the_reads_of_a_day_there_is_a_time_to_come_back(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    await exchange.agree(reads_per_day=2)
    http = await exchange.as_service("social_security")
    answers = [await http.get(READS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["code"] == "quota_exceeded"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 86_400
    assert await used(exchange) == (2, 2)
    refused = (await exchange.leaves())[-1]
    assert (refused["outcome"], refused["reason"], refused["records"]) == ("refused", "quota_exceeded", 0)
    # Nothing was fetched for the one that was refused.
    assert len(exchange.provider.asked) == 2


async def test_the_last_page_holds_only_what_is_left(exchange: Exchange) -> None:
    await exchange.with_deaths(10)
    await exchange.agree(rows_per_day=7)
    client = exchange.calls("social_security").client(ExchangeClient)
    found: list[dict[str, Any]] = []

    async def everything() -> None:
        async for rows in client.read(DATASET, limit=5):
            found.extend(rows)

    with pytest.raises(DomainError) as refused:
        await everything()
    assert (len(found), await used(exchange)) == (7, (2, 7))
    assert (refused.value.code, refused.value.status) == ("RATE_LIMITED", 429)
    assert refused.value.retry_after_s is not None


@pytest.mark.parametrize("quota", [{"reads_per_day": 2}, {"rows_per_day": 8}])
async def test_many_reads_at_once_never_pass_the_quota(exchange: Exchange, quota: dict[str, int]) -> None:
    """All of them have looked at the quota before the first one is counted."""
    await exchange.with_deaths(3)
    await exchange.agree(**quota)

    async def slowly() -> None:
        """Not a barrier: each waits with a connection of the one pool that both sides share here."""
        await asyncio.sleep(0.3)

    exchange.provider.before_answer = slowly
    http = await exchange.as_service("social_security")
    answers = await asyncio.gather(*(http.get(READS) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    assert await used(exchange) == (2, 6)
    outcomes = [leaf["outcome"] for leaf in await exchange.leaves()]
    assert outcomes.count("permitted") == 2
