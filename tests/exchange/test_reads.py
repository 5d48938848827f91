"""Reads across domains: refused first, then only what was agreed, to whom, and for how long."""

import asyncio
import base64
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.exchange.client import ExchangeClient
from services.identity.client import IdentityClient
from services.kit.calls import DomainError
from services.kit.canonical import set_root
from tests.exchange.conftest import AGREEMENT, DATASET, Exchange
from tests.exchange.test_agreements import approved

READS = f"/exchange/reads/{DATASET}"


async def everything(exchange: Exchange, *, limit: int = 5000) -> list[dict[str, Any]]:
    client = exchange.calls("social_security").client(ExchangeClient)
    return [row async for rows in client.read(DATASET, limit=limit) for row in rows]


@pytest.mark.parametrize(
    ("caller", "status", "code"),
    [
        ({"scopes": None}, 401, "unauthenticated"),
        ({"scopes": "exchange:catalogue:read", "kind": "service"}, 403, "insufficient_scope"),
        ({"scopes": "exchange:read", "kind": "organisation"}, 403, "forbidden"),
        ({"scopes": "exchange:read", "kind": "service", "subject": "just-a-name"}, 403, "not_a_service"),
    ],
)
async def test_only_services_read(exchange: Exchange, caller: dict[str, Any], status: int, code: str) -> None:
    http = await exchange.house.client("exchange", **caller)
    answer = await http.get(READS)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert exchange.provider.asked == []


async def test_without_an_agreement_nothing_is_read_and_the_attempt_is_a_leaf(exchange: Exchange) -> None:
    await exchange.with_deaths(3)
    for consumer in ("education", "transport"):
        http = await exchange.as_service(consumer)
        answer = await http.get(READS)
        assert (answer.status_code, answer.json()["code"]) == (403, "no_agreement")
    assert exchange.provider.asked == []
    assert [
        (leaf["client"], leaf["outcome"], leaf["reason"], leaf["records"]) for leaf in await exchange.leaves()
    ] == [
        ("service:education", "refused", "no_agreement", 0),
        ("service:transport", "refused", "no_agreement", 0),
    ]


async def test_an_unknown_dataset_is_refused_like_one_without_agreement(exchange: Exchange) -> None:
    http = await exchange.as_service("social_security")
    answer = await http.get("/exchange/reads/health.secrets")
    assert (answer.status_code, answer.json()["code"]) == (403, "no_agreement")


async def test_agreed_items_arrive_under_the_consumers_own_ids(exchange: Exchange) -> None:
    expected = await exchange.with_deaths(25)
    found = await everything(exchange, limit=10)
    assert sorted(found, key=lambda row: row["sector_id"]) == sorted(
        expected, key=lambda row: row["sector_id"]
    )
    theirs = {row["sector_id"] for row in exchange.provider.rows}
    assert theirs.isdisjoint(row["sector_id"] for row in found)
    assert [limit for _, limit in exchange.provider.asked] == [10, 10, 10]


async def test_each_page_is_one_leaf_with_the_root_of_its_people(exchange: Exchange) -> None:
    await exchange.with_deaths(7)
    await everything(exchange)
    [leaf] = await exchange.leaves()
    assert {k: leaf[k] for k in ("client", "outcome", "records", "resource", "purpose", "agreement")} == {
        "client": "service:social_security",
        "outcome": "permitted",
        "records": 7,
        "resource": DATASET,
        "purpose": "benefit_audit",
        "agreement": AGREEMENT,
    }
    assert "社会保险法" in leaf["legal_basis"]
    async with exchange.kit.db.read() as db:
        rows = await db.fetch("select subject from leaf_member where leaf_seq > $1", exchange.leaves_before)
    members = [row["subject"] for row in rows]
    assert (len(members), leaf["subjects_count"], leaf["subjects_root"]) == (7, 7, set_root(members).hex())
    # Neither side's ids: the log names people in the exchange's own sector.
    known = {row["sector_id"] for row in exchange.provider.rows}
    assert known.isdisjoint(members)


@pytest.mark.parametrize(
    "changed",
    [
        {"valid_until": datetime.now(UTC) - timedelta(seconds=1)},
        {"valid_from": datetime.now(UTC) + timedelta(hours=1)},
        {"state": "requested"},
        {"state": "refused"},
        {"state": "ended"},
        {"state": "suspended"},
        {"consumer": "education"},
        {"dataset": "health.births"},
    ],
)
async def test_an_agreement_that_is_not_in_force_is_none(exchange: Exchange, changed: dict[str, Any]) -> None:
    await exchange.with_deaths(1)
    await exchange.agree(**changed)
    with pytest.raises(DomainError) as refused:
        await everything(exchange)
    assert (refused.value.code, refused.value.problem["code"]) == ("FORBIDDEN", "no_agreement")
    assert exchange.provider.asked == []


async def test_an_agreement_ends_to_the_second(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    await exchange.agree(valid_until=datetime.now(UTC) + timedelta(minutes=10))
    assert len(await everything(exchange)) == 1
    await exchange.agree(valid_until=datetime.now(UTC) + timedelta(seconds=0.2))
    await asyncio.sleep(0.25)
    with pytest.raises(DomainError):
        await everything(exchange)


async def test_suspension_takes_effect_at_once_and_can_be_lifted(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    path = f"/exchange/agreements/{AGREEMENT}"
    suspended = await exchange.admin.post(f"{path}/suspension", json={"reason": "数据质量问题"})
    assert (suspended.status_code, suspended.json()["state"], suspended.json()["in_force"]) == (
        200,
        "suspended",
        False,
    )
    with pytest.raises(DomainError):
        await everything(exchange)
    again = await exchange.admin.post(f"{path}/suspension", json={"reason": "again"})
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    resumed = await exchange.admin.post(f"{path}/resumption", json={"reason": "问题已解决"})
    assert resumed.json()["in_force"] is True
    assert len(await everything(exchange)) == 1
    async with exchange.kit.db.read() as db:
        steps = await db.fetch("select state, reason, decided_by from agreement_step order by at")
    assert [tuple(step) for step in steps] == [
        ("active", "随系统提供 · shipped with the suite", "services/exchange/knowledge/agreements.json"),
        ("suspended", "数据质量问题", "service:stack"),
        ("active", "问题已解决", "service:stack"),
    ]


async def test_a_suspension_in_the_middle_of_a_read_refuses_it(exchange: Exchange) -> None:
    await exchange.with_deaths(1)

    async def suspend() -> None:
        answer = await exchange.admin.post(
            f"/exchange/agreements/{AGREEMENT}/suspension", json={"reason": "stop"}
        )
        assert answer.status_code == 200

    exchange.provider.before_answer = suspend
    with pytest.raises(DomainError) as refused:
        await everything(exchange)
    assert refused.value.problem["code"] == "no_agreement"
    assert [leaf["outcome"] for leaf in await exchange.leaves()] == ["refused"]


@pytest.mark.parametrize(
    ("caller", "status"), [({"scopes": None}, 401), ({"scopes": "exchange:read", "kind": "service"}, 403)]
)
async def test_agreements_are_decided_by_who_may(
    exchange: Exchange, caller: dict[str, Any], status: int
) -> None:
    http = await exchange.house.client("exchange", **caller)
    answer = await http.post(f"/exchange/agreements/{AGREEMENT}/suspension", json={"reason": "because"})
    assert answer.status_code == status
    found = await http.get(f"/exchange/agreements/{AGREEMENT}")
    assert found.json()["in_force"] is True


async def test_an_agreement_that_ends_between_two_pages_gives_no_further_one(exchange: Exchange) -> None:
    await exchange.with_deaths(6)
    pages: list[int] = []

    async def read_on() -> None:
        async for rows in exchange.calls("social_security").client(ExchangeClient).read(DATASET, limit=2):
            pages.append(len(rows))
            await exchange.agree(valid_until=datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(DomainError) as refused:
        await read_on()
    assert (pages, refused.value.problem["code"]) == ([2], "no_agreement")


async def test_of_several_agreements_the_caller_names_one(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    narrow = await approved(exchange, items=["death_date"])
    http = await exchange.as_service("social_security")
    for id, items in ((narrow["id"], {"death_date"}), (AGREEMENT, {"sector_id", "death_date"})):
        answer = await http.get(READS, params={"agreement": id})
        assert [set(row) for row in answer.json()["rows"]] == [items]
        assert answer.headers["x-huimin-agreement"] == id
    for id, client in ((narrow["id"], "education"), ("none", "social_security")):
        other = await (await exchange.as_service(client)).get(READS, params={"agreement": id})
        assert (other.status_code, other.json()["code"]) == (403, "no_agreement")


CAUSES = ("I21", "I63", "C34", "W19")
ITEMS = ("sector_id", "death_date", "cause")
DAYS = tuple(str(date(2026, 1, 1) + timedelta(days=n)) for n in range(0, 300, 40))
CONDITIONS = st.one_of(
    st.fixed_dictionaries(
        {
            "item": st.just("death_date"),
            "op": st.sampled_from(["eq", "ge", "le"]),
            "value": st.sampled_from(DAYS),
        }
    ),
    st.fixed_dictionaries(
        {
            "item": st.just("cause"),
            "op": st.sampled_from(["eq", "prefix"]),
            "value": st.sampled_from(["I", *CAUSES]),
        }
    ),
    st.fixed_dictionaries(
        {
            "item": st.just("cause"),
            "op": st.just("in"),
            "value": st.lists(st.sampled_from(CAUSES), min_size=1, max_size=3),
        }
    ),
)


def agreed_on(row: dict[str, str], conditions: list[dict[str, Any]]) -> bool:
    """Said once more, in other words than the code's."""
    compare = {"eq": str.__eq__, "ge": str.__ge__, "le": str.__le__, "prefix": str.startswith}
    return all(
        row[one["item"]] in one["value"]
        if one["op"] == "in"
        else compare[one["op"]](row[one["item"]], one["value"])
        for one in conditions
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(st.sampled_from(ITEMS), min_size=1, unique=True),
    conditions=st.lists(CONDITIONS, max_size=3),
    drawn=st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from(CAUSES)), max_size=6),
    limit=st.integers(1, 4),
    honest=st.booleans(),
)
async def test_never_more_than_the_agreed_items_and_rows(
    exchange: Exchange,
    items: list[str],
    conditions: list[dict[str, Any]],
    drawn: list[tuple[str, str]],
    limit: int,
    honest: bool,
) -> None:
    """Whatever the provider answers: one that ignores the filter has none of its rows passed on."""
    ours = await exchange.with_deaths(len(drawn))
    for row, mine, (day, cause) in zip(exchange.provider.rows, ours, drawn, strict=True):
        row.update(death_date=day, cause=cause)
        mine.update(death_date=day, cause=cause)
    exchange.provider.keeps_filters = honest
    agreement = await approved(exchange, items=items, filter=conditions)
    http = await exchange.as_service("social_security")
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"agreement": agreement["id"], "limit": limit}
    while True:
        answer = await http.get(READS, params=params)
        if answer.status_code != 200:
            assert (answer.json()["code"], honest) == ("provider_fault", False)
            break
        found += answer.json()["rows"]
        if answer.json()["next"] is None:
            break
        params["after"] = answer.json()["next"]
    allowed = [{name: row[name] for name in items} for row in ours if agreed_on(row, conditions)]
    assert all(row in allowed for row in found)
    if honest:
        whole, wanted = ([sorted(row.items()) for row in rows] for rows in (found, allowed))
        assert sorted(whole) == sorted(wanted)


async def test_the_provider_gives_the_exchange_no_more_than_it_needs(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    answer = await exchange.calls("exchange").request(
        "health",
        "GET",
        "/health/offers/deaths",
        params={
            "items": "sector_id",
            "filter": '[{"item": "death_date", "op": "ge", "value": "2025-01-01"}]',
        },
    )
    assert [set(row) for row in answer.json()["rows"]] == [{"sector_id"}]
    for params, code in (
        ({"items": "sector_id,name"}, "unknown_item"),
        ({"filter": '[{"item": "sector_id", "op": "eq", "value": "h1_A"}]'}, "invalid_filter"),
        ({"filter": '[{"item": "blood", "op": "eq", "value": "A"}]'}, "invalid_filter"),
        ({"filter": "cause=I21"}, "invalid_filter"),
    ):
        with pytest.raises(DomainError) as refused:
            await exchange.calls("exchange").request("health", "GET", "/health/offers/deaths", params=params)
        assert (refused.value.status, refused.value.problem["code"]) == (400, code)


async def test_a_row_of_nobody_is_left_out_and_counted(exchange: Exchange) -> None:
    expected = await exchange.with_deaths(2)
    stranger = {"sector_id": "h1_AAAAAAAAAAAAAAAAAAAAAAAAAA", "death_date": "2026-01-01", "cause": ""}
    exchange.provider.rows.append(stranger)
    http = await exchange.as_service("social_security")
    page = (await http.get(READS)).json()
    assert (len(page["rows"]), page["untranslated"]) == (len(expected), 1)


async def test_a_cursor_is_sealed_and_good_for_its_agreement_alone(exchange: Exchange) -> None:
    await exchange.with_deaths(3)
    http = await exchange.as_service("social_security")
    page = (await http.get(READS, params={"limit": 1})).json()
    assert not any(row["sector_id"] in page["next"] for row in exchange.provider.rows)
    crafted = base64.urlsafe_b64encode(b'{"alg":"dir","enc":["A256GCM"]}').decode().rstrip("=")
    ids = exchange.provider.rows
    for cursor in ("h1_AAAA", page["next"][:-4], ids[0]["sector_id"], f"{crafted}....", "\0"):
        answer = await http.get(READS, params={"after": cursor})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    await exchange.agree_again_as("other-agreement")
    answer = await http.get(READS, params={"after": page["next"], "agreement": "other-agreement"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    for service in ("social_security", "education"):
        answer = await (await exchange.as_service(service)).get(READS, params={"after": page["next"]})
        assert (answer.status_code, answer.json()["code"]) == (403, "no_agreement")


async def test_an_agreement_about_items_that_are_gone_is_a_mismatch(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    await exchange.agree(items=["sector_id", "blood_type"])
    with pytest.raises(DomainError) as refused:
        await everything(exchange)
    assert refused.value.problem["code"] == "agreement_mismatch"
    assert "blood_type" in refused.value.detail


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 10_001}, {"offset": 3}, {"since": "2026"}])
async def test_unknown_and_impossible_parameters_are_refused(
    exchange: Exchange, query: dict[str, Any]
) -> None:
    http = await exchange.as_service("social_security")
    assert (await http.get(READS, params=query)).status_code in {400, 422}


async def test_a_silent_provider_is_a_503_and_no_leaf_of_a_read(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    await everything(exchange)

    async def fail() -> None:
        raise ConnectionError("gone")

    exchange.provider.before_answer = fail
    with pytest.raises(DomainError) as refused:
        await everything(exchange)
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    assert len(await exchange.leaves()) == 1


async def test_offers_are_for_the_exchange_alone(exchange: Exchange) -> None:
    """What the exchange asks, nobody else may: health's own door refuses them."""
    for caller, status in (("social_security", 403), ("gateway", 403), ("exchange", 200)):
        try:
            answer = await exchange.calls(caller).request("health", "GET", "/health/offers/deaths")
            found = answer.status_code
        except DomainError as error:
            found = error.status
        assert found == status, caller


async def test_a_read_goes_on_under_the_agreement_it_began_with(exchange: Exchange) -> None:
    """Another one that lasts longer comes into force between two pages."""
    await exchange.with_deaths(6)
    pages: list[int] = []
    async for rows in exchange.calls("social_security").client(ExchangeClient).read(DATASET, limit=2):
        if not pages:
            later = (datetime.now(UTC) + timedelta(days=1800)).isoformat()
            await approved(exchange, valid_until=later)
        pages.append(len(rows))
    assert pages == [2, 2, 2]
    assert {leaf["agreement"] for leaf in await exchange.leaves()} == {AGREEMENT}


async def test_nobody_is_read_whose_list_could_not_show_it(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows passed on are those of the people in the leaf, whatever identity says of which sector."""
    await exchange.with_deaths(3)
    genuine = IdentityClient.translate

    async def forgetful(self: Any, ids: Any, *, source: str, target: str) -> list[str | None]:
        found: list[str | None] = await genuine(self, ids, source=source, target=target)
        found[0 if target == "exchange" else 1] = None
        return found

    monkeypatch.setattr(IdentityClient, "translate", forgetful)
    page = (await (await exchange.as_service("social_security")).get(READS)).json()
    assert (len(page["rows"]), page["untranslated"]) == (1, 2)
    [leaf] = await exchange.leaves()
    assert (leaf["records"], leaf["subjects_count"]) == (1, 1)


HEADERS: list[Any] = [
    {"alg": []},
    {"alg": {}},
    {"alg": "ES256", "crit": 5},
    {"alg": "ES256", "kid": []},
    {"alg": "ES256", "b64": False, "crit": ["b64"]},
    [],
    5,
    None,
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("claims", [{}, [], 5])
async def test_a_crafted_token_is_no_token(exchange: Exchange, header: Any, claims: Any) -> None:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in (header, claims)]
    token = ".".join([*(part.rstrip("=") for part in parts), "AAAA"])
    http = await exchange.house.client("exchange", scopes=None)
    answer = await http.get(READS, headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
