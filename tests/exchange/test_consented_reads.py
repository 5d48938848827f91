"""Reads under an agreement that asks for consent, and reads that are kept out of people's lists."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.exchange import catalogue
from services.exchange.client import ExchangeClient
from services.exchange.repository import consents, usages
from services.identity.client import IdentityClient
from services.kit.calls import DomainError
from services.kit.ids import uuid7
from tests.exchange.conftest import DATASET, Exchange

READS = f"/exchange/reads/{DATASET}"


@pytest.fixture(autouse=True)
async def nobody_consents(exchange: Exchange) -> None:
    """The people of one test are those of the next."""
    async with exchange.kit.db.transaction() as tx:
        await tx.execute("update consent set revoked_at = now(), revoked_by = 'x' where revoked_at is null")


async def consenting(exchange: Exchange, **said: Any) -> list[UUID]:
    """Everybody at the provider consents; the consents in the order of the provider's rows."""
    ids = sorted(row["sector_id"] for row in exchange.provider.rows)
    identity = exchange.kit.calls.client(IdentityClient)
    people = await identity.translate(ids, source="health", target="exchange")
    made = []
    async with exchange.kit.db.transaction() as tx:
        for person in people:
            made.append(uuid7())
            consent = {
                "id": made[-1],
                "subject": person,
                "given_by": person,
                "organisation": "social_security",
                "purpose": "benefit_audit",
                "actions": [],
                "datasets": [DATASET],
                "language": "zh",
                "valid_from": None,
                "valid_until": datetime.now(UTC) + timedelta(days=1),
            }
            await consents.add(tx, {**consent, **said})
    return made


async def pages(exchange: Exchange, limit: int = 2, **params: Any) -> list[dict[str, Any]]:
    http = await exchange.as_service("social_security")
    found: list[dict[str, Any]] = []
    after = None
    while True:
        query = {"limit": limit, "after": after, **params}
        answer = await http.get(READS, params={k: v for k, v in query.items() if v is not None})
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        after = found[-1]["next"]
        if after is None:
            return found


def rows_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for page in found for row in page["rows"]]


async def test_only_those_are_read_who_consent(exchange: Exchange) -> None:
    await exchange.with_deaths(5)
    await exchange.agree(needs_consent=True)
    found = await pages(exchange)
    assert (rows_of(found), sum(page["without_consent"] for page in found)) == ([], 5)
    leaves = await exchange.leaves()
    assert [leaf["records"] for leaf in leaves] == [0, 0, 0]
    made = await consenting(exchange)
    async with exchange.kit.db.transaction() as tx:
        await consents.revoke(tx, made[1], by="x")
    found = await pages(exchange)
    assert (len(rows_of(found)), [page["without_consent"] for page in found]) == (4, [1, 0, 0])
    assert [leaf["subjects_count"] for leaf in (await exchange.leaves())[3:]] == [1, 2, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"organisation": "education"},
        {"purpose": "research"},
        {"datasets": ["health.other"]},
        {"valid_from": datetime(2100, 1, 1, tzinfo=UTC), "valid_until": datetime(2101, 1, 1, tzinfo=UTC)},
    ],
)
async def test_consent_to_something_else_is_none(exchange: Exchange, other: dict[str, Any]) -> None:
    await exchange.with_deaths(2)
    await exchange.agree(needs_consent=True)
    await consenting(exchange, **other)
    assert rows_of(await pages(exchange)) == []


async def test_consent_to_the_department_covers_its_service(exchange: Exchange) -> None:
    await exchange.with_deaths(2)
    await exchange.agree(needs_consent=True)
    async with exchange.kit.db.read() as db:
        department = await db.fetchval(
            "select organisation from department where service = 'social_security'"
        )
    assert department is not None
    await consenting(exchange, organisation=department)
    assert len(rows_of(await pages(exchange))) == 2


async def test_revoked_in_the_middle_of_reading_refuses_the_rest(exchange: Exchange) -> None:
    """While the provider answers the second page, everybody in it and after it revokes."""
    expected = await exchange.with_deaths(6)
    await exchange.agree(needs_consent=True)
    made = await consenting(exchange)

    async def revoke() -> None:
        if len(exchange.provider.asked) == 2:
            async with exchange.kit.db.transaction() as tx:
                for id in made[2:]:
                    await consents.revoke(tx, id, by="x")

    exchange.provider.before_answer = revoke
    found = await pages(exchange)
    assert [len(page["rows"]) for page in found] == [2, 0, 0]
    assert all(row in expected for row in rows_of(found))
    assert [leaf["records"] for leaf in await exchange.leaves()] == [2, 0, 0]


async def test_a_read_is_hidden_only_by_a_right_in_force_of_the_reader(exchange: Exchange) -> None:
    await exchange.with_deaths(2)
    rights = {}
    async with exchange.kit.db.transaction() as tx:
        for name, organisation in (("theirs", "social_security"), ("another", "education")):
            rights[name] = uuid7()
            await usages.add_hiding_right(
                tx,
                rights[name],
                organisation=organisation,
                legal_basis="《刑事诉讼法》第一百五十四条",
                until=datetime.now(UTC) + timedelta(days=1),
                decided_by="x",
            )
        rights["nobody's"] = uuid7()
    assert len(rows_of(await pages(exchange, limit=5, hidden=str(rights["theirs"])))) == 2
    assert [leaf["hidden"] for leaf in await exchange.leaves()] == [str(rights["theirs"])]
    http = await exchange.as_service("social_security")
    for name in ("another", "nobody's"):
        answer = await http.get(READS, params={"hidden": str(rights[name])})
        assert (answer.status_code, answer.json()["code"]) == (403, "no_hiding_right")
        refused = (await exchange.leaves())[-1]
        assert (refused["outcome"], refused["reason"]) == ("refused", "no_hiding_right")
        assert "hidden" not in refused
    async with exchange.kit.db.transaction() as tx:
        with pytest.raises(Exception, match="append-only"):
            await tx.execute("update hiding_right set valid_until = valid_until + interval '1 year'")


async def test_nobody_asks_for_consent_of_nobody(exchange: Exchange) -> None:
    """The signed-off agreement without the condition reads as before."""
    await exchange.with_deaths(2)
    assert len(rows_of(await pages(exchange))) == 2
    with pytest.raises(DomainError):
        await exchange.calls("social_security").request(
            "exchange", "GET", READS, params={"hidden": "not-an-id"}
        )


async def test_consent_to_a_dataset_that_is_not_shared_any_more_covers_nothing(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    await catalogue.refresh(exchange.kit, "health")
    await consenting(exchange)
    client = exchange.calls("health").client(ExchangeClient)
    ids = [row["sector_id"] for row in exchange.provider.rows]
    asked: dict[str, Any] = {
        **{"organisation": "social_security", "purpose": "benefit_audit"},
        **{"ids": ids, "dataset": DATASET},
    }
    assert await client.consents(**asked) == [True]
    closed = replace(exchange.provider.offer(), sharing="none", legal_basis="《保守国家秘密法》")
    for offered, covered in (([closed], False), (None, True)):
        exchange.provider.offered = offered
        await catalogue.refresh(exchange.kit, "health")
        assert await client.consents(**asked) == [covered]
