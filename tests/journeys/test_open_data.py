"""Open data: from what hospitals push to counts that anybody may have, and rows for whoever was approved.

Through the public doors of the real suite: hospitals push deaths, a data steward has them published, anybody
reads them, a university asks for rows; held to what was pushed.
"""

import asyncio
import csv
import io
import time
import zipfile
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from joserfc import jwe
from joserfc.jwk import ECKey

from services.stack.ground import server_password
from services.stack.postgres import DATABASE
from tests.health.support import patient, post, transaction
from tests.identity.parties import CITIZEN_NUMBER, citizen_number
from tests.support.suite import Suite

PRODUCT = "deaths-by-month"
PATH = f"/open-data/products/{PRODUCT}"
MONTHS = {"1987-03": 23, "1987-04": 12, "1987-05": 4}
"""Deaths by month, in months that no other journey knows."""
OPEN = """{ openData(first: 50) { nodes { id titleZh titleEn k release { version state csv } } } }"""
RELEASE = """mutation { releaseOpenData(id: "deaths-by-month") { version state } }"""
DECIDE = """mutation Decide($id: UUID!, $approve: Boolean!) {
  decideExport(id: $id, approve: $approve, reason: "the ethics committee agreed") { state decidedBy } }"""


@pytest.fixture(scope="module")
def pushed(suite: Suite) -> None:
    """The deaths, from a hospital; a steward and an auditor with accounts."""
    for name, role in (("steward", "data_steward"), ("auditor", "auditor")):
        suite.account(f"open-data-{name}", kind="staff", roles=[role], areas=["330100"])
    deaths = [f"{month}-{day + 1:02}" for month, count in MONTHS.items() for day in range(count)]
    entries = [
        post(patient((CITIZEN_NUMBER, citizen_number(date(1930, 1, 1), n)), deceasedDateTime=day))
        for n, day in enumerate(deaths)
    ]
    with suite.client("hospital", "open-data-hospital") as hospital:
        answer = hospital.post("/fhir", json=transaction(*entries))
        assert answer.status_code == 200, answer.text


def ended(suite: Suite, version: int) -> dict[str, Any]:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        found: dict[str, Any] = httpx.get(f"{suite.base_url}{PATH}/releases/{version}", timeout=60).json()
        if found["state"] != "queued":
            return found
        time.sleep(0.3)
    raise AssertionError(suite.printed())


def test_the_full_path(suite: Suite, pushed: None) -> None:
    ordered = suite.graphql(RELEASE, as_="open-data-steward")["data"]["releaseOpenData"]
    release = ended(suite, ordered["version"])
    assert release["state"] == "published", release
    text = httpx.get(f"{suite.base_url}{PATH}/releases/{release['version']}/csv", timeout=60).text
    shown = {row["month"]: row["people"] for row in csv.DictReader(io.StringIO(text))}
    truth = {month: str((n + 2) // 5 * 5) if n >= 10 else "" for month, n in MONTHS.items()}
    assert {month: shown[month] for month in MONTHS} == truth
    [found] = [one for one in suite.graphql(OPEN)["data"]["openData"]["nodes"] if one["id"] == PRODUCT]
    assert found["release"]["csv"] == f"{PATH}/releases/{release['version']}/csv"
    catalogue = httpx.get(f"{suite.base_url}/catalog.jsonld", timeout=60).json()
    assert any(one["identifier"] == f"open-data.{PRODUCT}" for one in catalogue["dataset"])


def test_a_wrong_role_publishes_nothing(suite: Suite, pushed: None) -> None:
    answer = suite.graphql(RELEASE, as_="open-data-auditor")
    assert answer["data"]["releaseOpenData"] is None
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert suite.graphql(RELEASE)["errors"][0]["extensions"]["code"] in {"UNAUTHENTICATED", "FORBIDDEN"}


def application(key: ECKey, **said: Any) -> dict[str, Any]:
    public = key.as_dict(private=False)
    return {
        "title": "Mortality in spring",
        "details": "Whether deaths depend on the season",
        "dataset": "health.deaths",
        "items": [{"item": "death_date", "way": "month"}],
        "legal_basis": "《中华人民共和国数据安全法》第三十二条",
        "valid_until": str(datetime.now(UTC).date() + timedelta(days=30)),
        "encryption_jwk": {name: public[name] for name in ("kty", "crv", "x", "y")},
        **said,
    }


def test_rows_for_whoever_was_approved_and_for_nobody_else(suite: Suite, pushed: None) -> None:
    key = ECKey.generate_key("P-256")
    with suite.client("researcher", "open-data-university") as university:
        answer = university.post("/exchange/exports", json=application(key))
        assert answer.status_code == 201, answer.text
        id = answer.json()["id"]
        refused = suite.graphql(DECIDE, {"id": id, "approve": True}, as_="open-data-auditor")
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        decided = suite.graphql(DECIDE, {"id": id, "approve": True}, as_="open-data-steward")
        assert decided["data"]["decideExport"]["state"] == "approved", decided
        until = time.monotonic() + 90
        while university.get(f"/exchange/exports/{id}").json()["state"] == "approved":
            assert time.monotonic() < until, suite.printed()
            time.sleep(0.3)
        file = university.get(f"/exchange/exports/{id}/file")
    rows = opened(file.text, key)
    months = Counter(row["death_date"] for row in rows)
    assert {month: months[month] for month in MONTHS} == {m: n if n >= 10 else 0 for m, n in MONTHS.items()}
    with suite.client("researcher", "open-data-competitor") as other:
        assert other.get(f"/exchange/exports/{id}/file").status_code == 404


def opened(sealed: str, key: ECKey) -> list[dict[str, str]]:
    plain = jwe.decrypt_compact(sealed, key, algorithms=["ECDH-ES+A256KW", "A256GCM"]).plaintext
    assert plain is not None
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("data.csv").decode())))


def test_a_deadline_that_nobody_kept_is_told(suite: Suite, pushed: None) -> None:
    """The term is shortened in the database: ten working days are longer than a test."""
    with suite.client("researcher", "open-data-university") as university:
        answer = university.post("/exchange/exports", json=application(ECKey.generate_key("P-256")))
        id = answer.json()["id"]
        assert answer.json()["overdue"] is False
        asyncio.run(_let_pass(suite, id))
        assert university.get(f"/exchange/exports/{id}").json()["overdue"] is True
    mine = """{ exportApplications(first: 50, state: "requested") { nodes { id overdue } } }"""
    nodes = suite.graphql(mine, as_="open-data-steward")["data"]["exportApplications"]["nodes"]
    assert [one["overdue"] for one in nodes if one["id"] == id] == [True]


async def _let_pass(suite: Suite, id: str) -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=suite.home.state()["ports"]["postgres"],
        user="postgres",
        password=server_password(suite.home.secret(), "postgres"),
        database=DATABASE,
    )
    try:
        await connection.execute(
            "update exchange.export_application set due_at = now() - interval '1 second' where id = $1", id
        )
    finally:
        await connection.close()
