"""What stood on a dataset not shared, not offered or not whole any more ends at once, and says why."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.exchange import catalogue
from services.exchange.client import ExchangeClient
from services.kit.calls import DomainError
from services.kit.offers import Offer
from tests.exchange.conftest import AGREEMENT, DATASET, Exchange
from tests.exchange.test_agreements import requested

READS = f"/exchange/reads/{DATASET}"
BASIS = "《中华人民共和国保守国家秘密法》"


def closed(offer: Offer) -> Offer:
    return replace(offer, sharing="none", legal_basis=BASIS)


def renamed(offer: Offer) -> Offer:
    return replace(offer, dataset="burials")


def poorer(offer: Offer) -> Offer:
    return replace(offer, items=[item for item in offer.items if item.name != "death_date"])


CHANGES: list[tuple[Callable[[Offer], Offer], str, str]] = [
    (closed, "not_shared", BASIS),
    (renamed, "dataset_withdrawn", "不再提供"),
    (poorer, "agreement_mismatch", "death_date"),
]


@pytest.fixture
async def heard(exchange: Exchange) -> Exchange:
    """The catalogue knows the dataset, and one death is there to be read."""
    await exchange.with_deaths(1)
    await catalogue.refresh(exchange.kit, "health")
    return exchange


async def events(exchange: Exchange, what: str) -> list[dict[str, Any]]:
    async with exchange.kit.db.read() as db:
        rows = await db.fetch("select body from outbox where type = $1 order by seq", what)
    return [row["body"] for row in rows]


async def refused(exchange: Exchange) -> tuple[int, str]:
    answer = await (await exchange.as_service("social_security")).get(READS)
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("change", "code", "words"), CHANGES)
@pytest.mark.parametrize("told_first", [True, False])
async def test_the_next_read_is_refused_and_the_agreement_suspended(
    heard: Exchange, change: Callable[[Offer], Offer], code: str, words: str, told_first: bool
) -> None:
    """Whether the catalogue heard of it, or the provider's own refusal is the first anybody hears."""
    before = len(await events(heard, "exchange.agreement.suspended"))
    heard.provider.offered = [change(heard.provider.offer())]
    if told_first:
        await catalogue.refresh(heard.kit, "health")
    assert await refused(heard) == (403, code)
    assert await refused(heard) == (403, code)
    file = (await heard.admin.get(f"/exchange/agreements/{AGREEMENT}/file")).json()
    assert (file["agreement"]["state"], file["agreement"]["in_force"]) == ("suspended", False)
    assert words in file["steps"][-1]["reason"]
    [told] = (await events(heard, "exchange.agreement.suspended"))[before:]
    assert told == {
        "agreement": AGREEMENT,
        "dataset": DATASET,
        "provider": "health",
        "consumer": "social_security",
        "reason": code,
    }
    leaves = await heard.leaves()
    assert {(leaf["outcome"], leaf["reason"], leaf["records"]) for leaf in leaves} == {("refused", code, 0)}


@pytest.mark.parametrize(("change", "code", "words"), CHANGES)
async def test_nobody_resumes_or_approves_it_until_the_dataset_carries_it_again(
    heard: Exchange, change: Callable[[Offer], Offer], code: str, words: str
) -> None:
    asked = await requested(heard)
    heard.provider.offered = [change(heard.provider.offer())]
    await catalogue.refresh(heard.kit, "health")
    desk = await heard.staff("health")
    for id, what, body in (
        (AGREEMENT, "resumption", {}),
        (asked["id"], "decision", {"approve": True}),
    ):
        answer = await desk.post(f"/exchange/agreements/{id}/{what}", json={"reason": "it was fine", **body})
        assert (answer.status_code, answer.json()["code"]) == (409, code)
        assert words in answer.json()["detail"]
    heard.provider.offered = None
    await catalogue.refresh(heard.kit, "health")
    assert (await refused(heard))[1] == "no_agreement"  # a person resumes it, not the catalogue
    answer = await desk.post(f"/exchange/agreements/{AGREEMENT}/resumption", json={"reason": "back again"})
    assert answer.json()["in_force"] is True
    client = heard.calls("social_security").client(ExchangeClient)
    assert len([row async for rows in client.read(DATASET) for row in rows]) == 1


async def test_a_read_that_is_out_when_it_is_closed_is_refused(heard: Exchange) -> None:
    async def close() -> None:
        heard.provider.before_answer = None
        heard.provider.offered = [closed(heard.provider.offer())]
        await catalogue.refresh(heard.kit, "health")

    heard.provider.before_answer = close
    with pytest.raises(DomainError) as raised:
        async for _ in heard.calls("social_security").client(ExchangeClient).read(DATASET):
            pass
    assert raised.value.problem["code"] == "not_shared"
    assert [leaf["outcome"] for leaf in await heard.leaves()] == ["refused"]


async def test_an_agreement_that_asks_for_less_stays(heard: Exchange) -> None:
    heard.provider.offered = [poorer(heard.provider.offer())]
    await heard.agree(items=["sector_id", "cause"])
    await catalogue.refresh(heard.kit, "health")
    assert (await heard.admin.get(f"/exchange/agreements/{AGREEMENT}")).json()["in_force"] is True


async def test_conditions_on_items_that_choose_no_rows_any_more_are_a_mismatch(heard: Exchange) -> None:
    await heard.agree(filter=[{"item": "cause", "op": "eq", "value": "I21"}], items=["death_date"])
    assert (await heard.admin.get(f"/exchange/agreements/{AGREEMENT}")).json()["in_force"] is True
    offer = heard.provider.offer()
    plain = [replace(item, filterable=False) for item in offer.items]
    heard.provider.offered = [replace(offer, items=plain)]
    assert await refused(heard) == (403, "agreement_mismatch")
