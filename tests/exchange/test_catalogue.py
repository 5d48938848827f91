"""The catalogue: gathered from the services, shown to everybody, in two dresses."""

from typing import Any

from services.exchange import agreements, catalogue, repository
from tests.exchange.conftest import AGREEMENT, DATASET, Exchange

DCAT_MANDATORY = {
    "dcat:Catalog": {"title", "description", "publisher"},
    "dcat:Dataset": {"title", "description"},
    "dcat:DataService": {"title", "endpointURL"},
    "dcat:Distribution": {"accessURL"},
    "foaf:Agent": {"name"},
}


async def test_the_catalogue_is_open_and_holds_what_services_offer(exchange: Exchange) -> None:
    assert await catalogue.refresh(exchange.kit, "health")
    http = await exchange.house.client("exchange", scopes=None)
    [found] = (await http.get("/exchange/datasets")).json()["items"]
    assert (found["id"], found["provider"], found["sharing"], found["personal"]) == (
        DATASET,
        "health",
        "conditional",
        True,
    )
    assert [item["name"] for item in found["items"]] == ["sector_id", "death_date", "cause"]
    assert (await http.get(f"/exchange/datasets/{DATASET}")).json() == found


async def test_a_dataset_nobody_heard_of_yet_is_asked_for(exchange: Exchange) -> None:
    http = await exchange.house.client("exchange", scopes=None)
    assert (await http.get(f"/exchange/datasets/{DATASET}")).status_code == 200
    for id in ("health.moon", "moon.deaths", "x"):
        answer = await http.get(f"/exchange/datasets/{id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_dataset")


async def test_what_is_no_longer_offered_is_withdrawn_and_comes_back(exchange: Exchange) -> None:
    await catalogue.refresh(exchange.kit, "health")
    async with exchange.kit.db.transaction() as tx:
        await repository.upsert_datasets(tx, "health", [])
    http = await exchange.house.client("exchange", scopes=None)
    assert (await http.get(f"/exchange/datasets/{DATASET}")).status_code == 404
    assert (await http.get("/exchange/datasets")).json()["items"][0]["withdrawn_at"] is not None
    assert (await http.get("/catalog.jsonld")).json()["dataset"] == []
    await catalogue.refresh(exchange.kit, "health")
    assert (await http.get(f"/exchange/datasets/{DATASET}")).status_code == 200


async def test_a_silent_provider_changes_nothing(exchange: Exchange) -> None:
    await catalogue.refresh(exchange.kit, "health")
    assert await catalogue.refresh(exchange.kit, "transport") is False
    http = await exchange.house.client("exchange", scopes=None)
    assert len((await http.get("/exchange/datasets")).json()["items"]) == 1


async def test_the_catalogue_in_dcat_has_every_mandatory_member(exchange: Exchange) -> None:
    await catalogue.refresh(exchange.kit, "health")
    http = await exchange.house.client("exchange", scopes=None)
    answer = await http.get("/catalog.jsonld")
    assert answer.headers["content-type"] == "application/ld+json"
    document = answer.json()
    seen: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                walk(one)
        if isinstance(node, dict):
            kind = node.get("@type")
            if isinstance(kind, str) and kind in DCAT_MANDATORY:
                seen.append(kind)
                assert node.keys() >= DCAT_MANDATORY[kind], kind
                assert node["@id"].startswith(exchange.house.settings.public_url)
            for name, value in node.items():
                if name != "@context":
                    walk(value)

    walk(document)
    assert set(seen) == set(DCAT_MANDATORY)
    assert isinstance(document["publisher"], dict)
    [dataset] = document["dataset"]
    assert dataset["title"] == {"zh": "死亡信息", "en": "Deaths"}
    assert dataset["accessRights"]["@id"].endswith("/access-right/RESTRICTED")
    assert dataset["accrualPeriodicity"]["@id"].endswith("/frequency/DAILY")
    assert [column["columnName"] for column in dataset["conformsTo"]["column"]] == [
        "sector_id",
        "death_date",
        "cause",
    ]
    assert document["service"][0]["servesDataset"] == [dataset["@id"]]
    # Every term of the document is one the context explains.
    context = document["@context"]
    assert {name for name in dataset if not name.startswith("@")} <= context.keys()


async def test_the_seeded_agreement_is_open_to_see(exchange: Exchange) -> None:
    http = await exchange.house.client("exchange", scopes=None)
    page = (await http.get("/exchange/agreements")).json()
    assert page["next"] is None
    [found] = page["items"]
    assert (found["id"], found["provider"], found["consumer"], found["items"], found["in_force"]) == (
        AGREEMENT,
        "health",
        "social_security",
        ["sector_id", "death_date"],
        True,
    )
    assert found["valid_from"] == "2025-12-31T16:00:00Z"
    answer = await http.get("/exchange/agreements/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_agreement")


async def test_seeding_again_leaves_a_suspension_in_place(exchange: Exchange) -> None:
    await exchange.agree(state="suspended")
    async with exchange.kit.db.transaction() as tx:
        await agreements.seed(tx)
    http = await exchange.house.client("exchange", scopes=None)
    assert (await http.get(f"/exchange/agreements/{AGREEMENT}")).json()["state"] == "suspended"
