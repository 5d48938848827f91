"""Open data: what is too small is not shown, and files are checked before anybody has them."""

import csv
import hashlib
import io
import json
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pyarrow.parquet as pq
import pyshacl
import pytest
import rdflib
from hypothesis import given
from hypothesis import strategies as st

from services.exchange import catalogue
from services.exchange.open_client import OpenDataClient
from services.exchange.open_data import anonymity, cells, exports, files, products
from services.exchange.open_data.generalising import WAYS, generalised
from services.exchange.open_data.products import DefinitionError
from services.kit.calls import DomainError
from services.kit.jobs.running import run as run_job
from tests.exchange.conftest import Exchange
from tests.exchange.test_catalogue import SHAPES

PRODUCT = "deaths-by-month"
STEWARD: dict[str, Any] = {
    "kind": "staff",
    "roles": ["data_steward"],
    "scopes": "exchange:open-data:write exchange:exports:decide",
    "subject": "steward",
    "organisation": "11330100MB0000009X",
    "areas": ["000000"],
    "purpose": "statistics",
}
TELLING = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))


@given(st.dictionaries(st.tuples(st.text(max_size=3)), st.integers(1, 60)), st.sampled_from([5, 10, 20]))
def test_what_is_shown_is_never_small_and_never_exact(counts: dict[tuple[str, ...], int], k: int) -> None:
    found = cells.shown(counts, k=k, rounded_to=5)
    assert [key for key, _ in found] == sorted(counts)
    for key, count in found:
        if count is None:
            assert counts[key] < k
        else:
            assert counts[key] >= k
            assert count >= k
            assert count % 5 == 0
            assert abs(count - counts[key]) <= 2


@given(st.lists(st.tuples(st.integers(0, 6), TELLING), max_size=40), st.integers(2, 4))
def test_k_is_over_whole_people(said: list[tuple[int, tuple[str, str]]], k: int) -> None:
    """Against the definition, pair by pair: those who stay are each like k people, the others are not."""
    people, rows = [str(person) for person, _ in said], [row for _, row in said]
    told = {p: Counter(row for q, row in zip(people, rows, strict=True) if q == p) for p in people}
    alike = {p: sum(told[p] == told[q] for q in told) for p in told}
    assert anonymity.alike(people, rows) == alike
    kept = {p: others for p, others in alike.items() if others >= k}
    left = [(p, row) for p, row in zip(people, rows, strict=True) if p in kept]
    assert anonymity.alike([p for p, _ in left], [row for _, row in left]) == kept


@pytest.mark.parametrize(
    ("way", "value", "told"),
    [
        ("month", "2026-02-28", "2026-02"),
        ("quarter", "2026-04-01", "2026-Q2"),
        ("year", "2026-12-31T23:59:59+08:00", "2026"),
        ("five_years", "1999-12-31", "1995-1999"),
        ("decade", "2000-01-01", "2000-2009"),
        ("county", "330106003", "330106"),
        ("prefecture", "330106", "330100"),
        ("province", "330106", "330000"),
        ("province", "330000", "330000"),
        ("value", None, ""),
        ("month", None, ""),
    ],
)
def test_values_are_told_as_coarse_as_agreed(way: str, value: str | None, told: str) -> None:
    assert generalised(value, way) == told


def definition(id: str, *ways: tuple[str, str], **said: Any) -> dict[str, Any]:
    texts = ("title_zh", "title_en", "summary_zh", "summary_en", "legal_basis")
    return {
        **dict.fromkeys(texts, "-"),
        "id": id,
        "dataset": "health.deaths",
        "dimensions": [
            {"name": item, "item": item, "way": way, "title_zh": "-", "title_en": "-"} for item, way in ways
        ],
        "counts": "people",
        "k": 10,
        "rounded_to": 5,
        **said,
    }


class TestDefinitions:
    def test_those_that_ship_are_sound(self) -> None:
        for product in products.products().values():
            assert {dimension.way for dimension in product.dimensions} <= WAYS.keys()

    @pytest.mark.parametrize("said", [{"k": 4}, {"k": 12}, {"rounded_to": 0}, {"dimensions": []}])
    def test_one_that_tells_too_much_is_not_loaded(self, said: dict[str, Any]) -> None:
        with pytest.raises(DefinitionError):
            products.checked([definition("a", ("death_date", "month"), **said)])

    def test_two_that_give_each_other_away_are_not_loaded(self) -> None:
        """The coarser table would be the finer one's totals."""
        fine = definition("fine", ("death_date", "month"), ("area", "county"))
        coarse = definition("coarse", ("death_date", "month"))
        with pytest.raises(DefinitionError, match="coarse would publish the totals of fine"):
            products.checked([fine, coarse])

    @pytest.mark.parametrize("way", ["month", "year", "value"])
    def test_nor_are_two_that_count_by_the_same_items(self, way: str) -> None:
        """A year is the total of its months; of two with another k, one shows what the other withholds."""
        one = definition("one", ("death_date", "month"))
        other = definition("other", ("death_date", way), k=20)
        with pytest.raises(DefinitionError, match="would publish the totals of"):
            products.checked([one, other])

    def test_other_items_and_other_datasets_may_stand_beside(self) -> None:
        one = definition("one", ("death_date", "month"))
        others = (
            definition("two", ("area", "county")),
            definition("three", ("death_date", "year"), dataset="a.b"),
        )
        assert len(products.checked([one, *others])) == 3


class TestTheCheckOfTheFiles:
    COLUMNS = ("month", "people")

    def test_files_that_say_the_same_pass(self) -> None:
        written = files.table(self.COLUMNS, [(("2026-01",), 15), (("2026-02",), None)])
        assert files.check(written, k=10, rounded_to=5) == 15

    @pytest.mark.parametrize(
        ("shown", "why"),
        [(5, "below 10"), (11, "not rounded"), (None, "no combination")],
    )
    def test_a_small_or_exact_count_does_not(self, shown: int | None, why: str) -> None:
        written = files.table(self.COLUMNS, [(("2026-01",), shown)])
        with pytest.raises(files.NotAnonymousError, match=why):
            files.check(written, k=10, rounded_to=5)

    def test_files_that_differ_do_not(self) -> None:
        text, _ = files.table(self.COLUMNS, [(("2026-01",), 15)])
        _, parquet = files.table(self.COLUMNS, [(("2026-01",), 20)])
        with pytest.raises(files.NotAnonymousError, match="do not say the same"):
            files.check((text, parquet), k=10, rounded_to=5)


async def released(exchange: Exchange, steward: httpx.AsyncClient) -> dict[str, Any]:
    """A release ordered at the door, made by its job."""
    answer = await steward.post(f"/exchange/open-data/{PRODUCT}/releases")
    assert answer.status_code == 202, answer.text
    async with exchange.kit.db.read() as db:
        job = await db.fetchval("select job_id from open_release where state = 'queued'")
    assert isinstance(job, UUID)
    await run_job("exchange", job)
    found: dict[str, Any] = (
        await steward.get(f"/open-data/products/{PRODUCT}/releases/{answer.json()['version']}")
    ).json()
    return found


@pytest.fixture
async def steward(exchange: Exchange) -> httpx.AsyncClient:
    return await exchange.house.client("exchange", **STEWARD)


class TestReleases:
    async def test_anybody_has_the_counts_and_nobody_the_small_ones(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(120)
        truth = Counter(row["death_date"][:7] for row in exchange.provider.rows)
        release = await released(exchange, steward)
        anybody = await exchange.house.client("exchange", scopes=None)
        path = f"/open-data/products/{PRODUCT}/releases/{release['version']}"
        text = await anybody.get(f"{path}/csv")
        rows = list(csv.DictReader(io.StringIO(text.text)))
        assert {row["month"]: row["people"] for row in rows} == {
            month: str((count + 2) // 5 * 5) if count >= 10 else "" for month, count in truth.items()
        }
        parquet = pq.read_table(io.BytesIO((await anybody.get(f"{path}/parquet")).content)).to_pydict()
        assert parquet["month"] == [row["month"] for row in rows]
        assert release["state"] == "published"
        assert release["k"] >= 10
        assert release["cells"] == len(truth)
        # A total would tell of a single count that is withheld, and of one person more since the last time.
        assert "records" not in release
        newest = (await anybody.get(f"/open-data/products/{PRODUCT}")).json()["release"]
        assert newest["version"] == release["version"]

    async def test_the_reading_stands_in_each_ones_list(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(30)
        await released(exchange, steward)
        async with exchange.kit.db.read() as db:
            leaf = await db.fetchrow(
                """select seq, body::jsonb as body from leaf where body::jsonb ->> 'action' = 'open_data.read'
                   order by seq desc limit 1"""
            )
            assert leaf is not None
            members = await db.fetchval("select count(*) from leaf_member where leaf_seq = $1", leaf["seq"])
        assert leaf["body"]["purpose"] == "statistics"
        assert members == leaf["body"]["subjects_count"] == 30

    async def test_what_would_tell_too_much_is_withheld_with_the_reason(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(3)
        release = await released(exchange, steward)
        assert release["state"] == "withheld"
        assert "no combination has 10" in release["reason"]
        path = f"/open-data/products/{PRODUCT}/releases/{release['version']}/csv"
        answer = await steward.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "release_withheld")

    async def test_a_version_never_changes_and_can_be_withdrawn(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(40)
        first = await released(exchange, steward)
        await exchange.with_deaths(80)
        second = await released(exchange, steward)
        assert second["version"] == first["version"] + 1
        again = (await steward.get(f"/open-data/products/{PRODUCT}/releases/{first['version']}")).json()
        assert again == first
        with pytest.raises(Exception, match="never changed"):
            async with exchange.kit.db.transaction() as tx:
                await tx.execute("update open_release set csv = '' where version = $1", first["version"])
        answer = await steward.post(
            f"/exchange/open-data/{PRODUCT}/releases/{first['version']}/withdrawal",
            json={"reason": "counted twice"},
        )
        assert answer.json()["state"] == "withdrawn"
        gone = await steward.get(f"/open-data/products/{PRODUCT}/releases/{first['version']}/csv")
        assert (gone.status_code, gone.json()["code"]) == (404, "release_withdrawn")

    async def test_what_is_not_shared_any_more_is_withdrawn_and_not_made_again(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(40)
        first = await released(exchange, steward)
        closed = replace(exchange.provider.offer(), sharing="none", legal_basis="《保守国家秘密法》")
        exchange.provider.offered = [closed]
        await catalogue.refresh(exchange.kit, "health")
        gone = await steward.get(f"/open-data/products/{PRODUCT}/releases/{first['version']}/csv")
        assert (gone.status_code, gone.json()["code"]) == (404, "release_withdrawn")
        exchange.provider.asked.clear()
        again = await released(exchange, steward)
        assert (again["state"], exchange.provider.asked) == ("withheld", [])
        assert "《保守国家秘密法》" in again["reason"]

    async def test_the_catalogue_has_it_and_keeps_the_shapes_of_dcat_ap(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(40)
        release = await released(exchange, steward)
        document = (await steward.get("/catalog.jsonld")).json()
        [entry] = [one for one in document["dataset"] if one["identifier"] == f"open-data.{PRODUCT}"]
        for file in entry["distribution"]:
            url = file["dcat:downloadURL"]["@id"]
            content = (await steward.get(url[url.index("/open-data") :])).content
            checksum = file["http://spdx.org/rdf/terms#checksum"]["http://spdx.org/rdf/terms#checksumValue"]
            assert checksum["@value"] == hashlib.sha256(content).hexdigest()
        assert entry["dcat:version"] == str(release["version"])
        graph = rdflib.Graph().parse(data=json.dumps(document), format="json-ld")
        holds, _, words = pyshacl.validate(graph, shacl_graph=rdflib.Graph().parse(SHAPES), inference="rdfs")
        assert holds, words

    async def test_one_at_a_time(self, exchange: Exchange, steward: httpx.AsyncClient) -> None:
        answer = await steward.post(f"/exchange/open-data/{PRODUCT}/releases")
        assert answer.status_code == 202
        again = await steward.post(f"/exchange/open-data/{PRODUCT}/releases")
        assert (again.status_code, again.json()["code"]) == (409, "release_at_work")
        async with exchange.kit.db.transaction() as tx:
            job = await tx.fetchval("select job_id from open_release where state = 'queued'")
            await exchange.kit.jobs.cancel(tx, job)  # type: ignore[union-attr]
        await exchange.with_deaths(20)
        assert (await released(exchange, steward))["version"] == answer.json()["version"] + 1

    async def test_one_whose_job_failed_is_withheld_without_its_words(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        version = (await steward.post(f"/exchange/open-data/{PRODUCT}/releases")).json()["version"]
        async with exchange.kit.db.transaction() as tx:
            job = await tx.fetchval("select job_id from open_release where state = 'queued'")
            await tx.execute("update job set state = 'failed', error = 'not 1990-05-05' where id = $1", job)
        await exports.sweep(exchange.kit)
        found = (await steward.get(f"/open-data/products/{PRODUCT}/releases/{version}")).json()
        assert found["state"] == "withheld"
        assert "1990" not in found["reason"]

    async def test_a_job_that_lost_its_worker_after_the_commit_makes_nothing_again(
        self, exchange: Exchange, steward: httpx.AsyncClient
    ) -> None:
        await exchange.with_deaths(20)
        version = (await released(exchange, steward))["version"]
        async with exchange.kit.db.transaction() as tx:
            job = await tx.fetchval("select job_id from open_release where version = $1", version)
            await tx.execute("update job set state = 'queued', finished_at = null where id = $1", job)
        exchange.provider.asked.clear()
        await run_job("exchange", job)
        async with exchange.kit.db.read() as db:
            state = await db.fetchval("select state from job where id = $1", job)
        assert (state, exchange.provider.asked) == ("done", [])

    @pytest.mark.parametrize("role", ["auditor", "exchange_staff", "operator"])
    async def test_only_a_data_steward_publishes(self, exchange: Exchange, role: str) -> None:
        other = await exchange.house.client("exchange", **{**STEWARD, "roles": [role]})
        answer = await other.post(f"/exchange/open-data/{PRODUCT}/releases")
        assert answer.status_code == 403

    async def test_what_there_is_not_is_said(self, exchange: Exchange, steward: httpx.AsyncClient) -> None:
        for path, code in [
            ("/open-data/products/nothing", "unknown_product"),
            (f"/open-data/products/{PRODUCT}/releases/99999", "unknown_release"),
            (f"/open-data/products/{PRODUCT}/releases/99999/csv", "unknown_release"),
        ]:
            answer = await steward.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, code), path
        assert (await steward.get(f"/open-data/products/{PRODUCT}/releases/1/xlsx")).status_code == 422
        assert (await steward.get("/open-data/products?first=3")).status_code == 400


@pytest.mark.parametrize("id", ["../agreements/a/end?x=", "a/b", "a#b", "a?after=1"])
async def test_an_id_stays_one_step_of_the_path(id: str) -> None:
    asked: list[str] = []

    class Listening:
        async def request(self, _service: str, _method: str, path: str, **_rest: Any) -> httpx.Response:
            asked.append(path)
            raise DomainError("exchange", "NOT_FOUND", "nothing")

    client = OpenDataClient(Listening())  # type: ignore[arg-type]
    for call in (
        client.releases(id),
        client.order_release(id),
        client.withdraw_release(id, 1, "because"),
    ):
        with pytest.raises(DomainError):
            await call
    assert len(asked) == 3
    assert all(quote(id, safe="") in path and "?" not in path for path in asked)


async def test_people_are_not_counted_by_their_rows(
    exchange: Exchange, steward: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten rows may all be about one person."""
    by_rows = products.checked([definition(PRODUCT, ("death_date", "month"), counts="rows")])
    monkeypatch.setattr(products, "products", lambda: by_rows)
    await exchange.with_deaths(40)
    release = await released(exchange, steward)
    assert (release["state"], exchange.provider.asked) == ("withheld", [])
    assert "people" in release["reason"]
