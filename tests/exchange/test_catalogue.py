"""The catalogue: gathered from the services, shown to everybody, in two dresses."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncpg import CheckViolationError

from services.exchange import agreements, catalogue
from services.exchange.repository import catalogue as repository
from services.kit.offers import Item, Offer
from tests.exchange.conftest import AGREEMENT, DATASET, ORGANISATIONS, Exchange
from tests.exchange.test_agreements import asked

DCAT = "http://www.w3.org/ns/dcat#"
SHAPES = Path(__file__).parent / "shapes" / "dcat-ap-SHACL.ttl"

DCAT_MANDATORY = {
    "dcat:Catalog": {"title", "description", "publisher"},
    "dcat:Dataset": {"title", "description"},
    "dcat:DataService": {"title", "endpointURL"},
    "dcat:Distribution": {"accessURL"},
    "foaf:Agent": {"name"},
}


def entry(**changed: Any) -> dict[str, Any]:
    """An offer as a provider describes it."""
    return {
        "dataset": "deaths",
        "title_zh": "死亡信息",
        "title_en": "Deaths",
        "summary_zh": "居民死亡日期。",
        "summary_en": "Dates of death of residents.",
        "items": [
            {"name": "sector_id", "type": "string", "title_zh": "人员标识", "title_en": "Person"},
            {"name": "death_date", "type": "date", "title_zh": "死亡日期", "title_en": "Date of death"},
        ],
        "sharing": "conditional",
        "update_cycle": "daily",
        "personal": True,
        "sector_id": "sector_id",
        **changed,
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


async def test_the_catalogue_keeps_the_shapes_of_dcat_ap(exchange: Exchange) -> None:
    """SHACL of DCAT-AP 3.0.0 (tests/exchange/shapes/README.md), over every kind of entry at once."""
    rdflib, pyshacl = pytest.importorskip("rdflib"), pytest.importorskip("pyshacl")
    async with exchange.kit.db.transaction() as tx:
        await repository.upsert_datasets(tx, "health", [entry(), entry(dataset="births", related=[DATASET])])
        await repository.upsert_datasets(
            tx,
            "transport",
            [
                entry(dataset="flows", sharing="unconditional", personal=False, sector_id=None),
                entry(dataset="files", sharing="none", legal_basis="《中华人民共和国保守国家秘密法》"),
            ],
        )
    http = await exchange.house.client("exchange", scopes=None)
    document = (await http.get("/catalog.jsonld")).text
    graph = rdflib.Graph().parse(data=document, format="json-ld")
    shapes = rdflib.Graph().parse(SHAPES)
    assert len(list(graph.subjects(rdflib.RDF.type, rdflib.URIRef(f"{DCAT}Dataset")))) == 4
    # With RDFS, because the shapes ask of addresses that they are rdfs:Resource, as everything is.
    holds, _, words = pyshacl.validate(graph, shacl_graph=shapes, inference="rdfs")
    assert holds, words
    # The shapes look: without a mandatory member they say so.
    graph.remove((None, rdflib.URIRef("http://purl.org/dc/terms/title"), None))
    assert not pyshacl.validate(graph, shacl_graph=shapes, inference="rdfs")[0]


async def test_the_directory_has_the_fields_of_the_state_councils_rules(exchange: Exchange) -> None:
    async with exchange.kit.db.transaction() as tx:
        offers = [
            entry(),
            entry(dataset="files", sharing="none", legal_basis="《保守国家秘密法》", related=[DATASET]),
        ]
        await repository.upsert_datasets(tx, "health", offers)
    http = await exchange.house.client("exchange", scopes=None)
    deaths, files = (await http.get("/exchange/catalogue.json")).json()["信息资源"]
    assert set(deaths) == {
        "信息资源分类", "信息资源名称", "信息资源代码", "信息资源提供方", "信息资源提供方代码",
        "信息资源摘要", "信息资源格式", "信息项信息", "共享属性", "开放属性", "更新周期", "发布日期",
        "关联资源代码",
    }  # fmt: skip
    assert re.fullmatch(r"301000/\d{6}", deaths["信息资源代码"])
    assert deaths["信息资源提供方代码"] == ORGANISATIONS["health"]
    assert deaths["信息项信息"][1] == {"信息项名称": "死亡日期", "数据类型": "日期型"}
    assert deaths["共享属性"]["共享类型"] == "有条件共享"
    assert deaths["更新周期"] == "每日"
    assert files["关联资源代码"] == [deaths["信息资源代码"]]
    assert files["共享属性"]["不予共享依据"] == "《保守国家秘密法》"


@pytest.mark.parametrize("basis", [None, "", "  "])
async def test_what_is_not_shared_says_by_which_law(exchange: Exchange, basis: str | None) -> None:
    """Refused where it is offered, at the catalogue, and by the database."""
    said = entry(sharing="none", legal_basis=basis)
    items = [Item(**item) for item in said["items"]]
    with pytest.raises(ValueError, match="legal basis"):
        Offer(**said | {"items": items, "read": exchange.provider.read})
    assert not catalogue._may_stand(exchange.kit, "health", said)
    with pytest.raises(CheckViolationError, match="not_shared_on_legal_basis"):
        async with exchange.kit.db.transaction() as tx:
            await repository.upsert_datasets(tx, "health", [said])


async def test_what_is_not_shared_cannot_be_asked_for(exchange: Exchange) -> None:
    async with exchange.kit.db.transaction() as tx:
        offer = entry(dataset="files", sharing="none", legal_basis="《保守国家秘密法》")
        await repository.upsert_datasets(tx, "health", [offer])
    desk = await exchange.staff("social_security")
    answer = await desk.post("/exchange/agreements", json=asked(dataset="health.files"))
    assert (answer.status_code, answer.json()["code"]) == (409, "not_shared")
    assert "保守国家秘密法" in answer.json()["detail"]


async def test_what_names_nobody_and_is_shared_unconditionally_is_agreed_at_once(exchange: Exchange) -> None:
    async with exchange.kit.db.transaction() as tx:
        offers = [
            entry(dataset="flows", sharing="unconditional", personal=False, sector_id=None),
            entry(dataset="people", sharing="unconditional"),
        ]
        await repository.upsert_datasets(tx, "health", offers)
    desk = await exchange.staff("social_security")
    states = {}
    for dataset in ("health.flows", "health.people"):
        answer = await desk.post("/exchange/agreements", json=asked(dataset=dataset))
        states[dataset] = (answer.json()["state"], answer.json()["in_force"])
    assert states == {"health.flows": ("active", True), "health.people": ("requested", False)}


@pytest.mark.parametrize(
    ("cycle", "age", "late"),
    [
        ("daily", timedelta(days=1, hours=23), False),
        ("daily", timedelta(days=2, hours=1), True),
        ("monthly", timedelta(days=31), False),
        ("monthly", timedelta(days=33), True),
        ("realtime", timedelta(hours=25), True),
        ("yearly", None, None),
    ],
)
async def test_freshness_is_measured_against_the_update_cycle(
    exchange: Exchange, cycle: str, age: timedelta | None, late: bool | None
) -> None:
    changed = None if age is None else (datetime.now(UTC) - age).isoformat()
    async with exchange.kit.db.transaction() as tx:
        await repository.upsert_datasets(tx, "health", [entry(update_cycle=cycle, fresh_at=changed)])
    http = await exchange.house.client("exchange", scopes=None)
    [found] = (await http.get("/exchange/datasets")).json()["items"]
    assert (found["late"], found["fresh_at"] is None) == (late, age is None)


async def test_the_provider_says_when_its_data_changed(exchange: Exchange) -> None:
    exchange.provider.changed_at = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    await catalogue.refresh(exchange.kit, "health")
    http = await exchange.house.client("exchange", scopes=None)
    first = (await http.get(f"/exchange/datasets/{DATASET}")).json()
    assert datetime.fromisoformat(first["fresh_at"]) == exchange.provider.changed_at
    exchange.provider.changed_at = datetime.now(UTC)
    await catalogue.refresh(exchange.kit, "health")
    second = (await http.get(f"/exchange/datasets/{DATASET}")).json()
    # New data are no change of the entry.
    assert (second["late"], second["changed_at"]) == (False, first["changed_at"])


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


async def test_a_service_that_never_answers_does_not_stop_the_others(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health is up, transport is not: health's offers are looked at again all the same."""
    monkeypatch.setattr(catalogue, "PROVIDERS", ("health", "transport"))
    monkeypatch.setattr(catalogue, "REFRESH_EVERY_S", 0.01)
    monkeypatch.setattr(catalogue, "RETRY_EVERY_S", 0.01)
    heard: list[str] = []
    enough = asyncio.Event()

    async def refresh(_kit: Any, provider: str) -> bool:
        heard.append(provider)
        if heard.count("health") == 3:
            enough.set()
        return provider == "health"

    monkeypatch.setattr(catalogue, "refresh", refresh)
    running = asyncio.create_task(catalogue.keep_fresh(exchange.kit))
    try:
        async with asyncio.timeout(60):
            await enough.wait()
    finally:
        running.cancel()
    assert heard.count("transport") >= 2
