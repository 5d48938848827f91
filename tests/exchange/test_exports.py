"""Exports for research: decided by somebody else, under pseudonyms of their own, sealed to the applicant."""

import asyncio
import csv
import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwe
from joserfc.jwk import ECKey

from services.exchange import catalogue
from services.exchange.open_data import exports
from services.kit.cursors import encode_cursor
from services.kit.jobs.running import run as run_job
from tests.exchange.conftest import DATASET, Exchange
from tests.exchange.test_open_data import STEWARD

KEY = ECKey.generate_key("P-256")
ORGANISATION = "12330000470095016Q"


def application(**said: Any) -> dict[str, Any]:
    return {
        "title": "Seasonality of deaths",
        "details": "How deaths spread over the year",
        "dataset": DATASET,
        "items": [{"item": "death_date", "way": "quarter"}],
        "k": 5,
        "legal_basis": "《中华人民共和国数据安全法》第三十二条",
        "ethics": "IRB 2026-17",
        "valid_until": str(datetime.now(UTC).date() + timedelta(days=90)),
        "encryption_jwk": {name: KEY.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")},
        **said,
    }


class Parties:
    """A university that asks, another that may not look, and a steward who decides."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def researcher(self, organisation: str = ORGANISATION) -> httpx.AsyncClient:
        return await self.exchange.house.client(
            "exchange",
            kind="organisation",
            scopes="exchange:exports:request",
            organisation=organisation,
            subject=f"client-{organisation}",
            purpose="research",
        )

    async def steward(self) -> httpx.AsyncClient:
        return await self.exchange.house.client("exchange", **STEWARD)

    async def applied(self, **said: Any) -> str:
        answer = await (await self.researcher()).post("/exchange/exports", json=application(**said))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def exported(self, **said: Any) -> dict[str, Any]:
        """An application approved and made."""
        id = await self.applied(**said)
        steward = await self.steward()
        answer = await steward.post(
            f"/exchange/exports/{id}/decision", json={"approve": True, "reason": "fits the law"}
        )
        assert answer.json()["state"] == "approved", answer.text
        async with self.exchange.kit.db.read() as db:
            job = await db.fetchval("select job_id from export_application where id = $1", id)
        await run_job("exchange", job)
        found: dict[str, Any] = (await steward.get(f"/exchange/exports/{id}")).json()
        return found

    async def opened(self, id: str) -> list[dict[str, str]]:
        """The rows of the sealed file, with the applicant's private key."""
        answer = await (await self.researcher()).get(f"/exchange/exports/{id}/file")
        assert answer.headers["content-type"] == "application/jose"
        plain = jwe.decrypt_compact(answer.text, KEY, algorithms=["ECDH-ES+A256KW", "A256GCM"]).plaintext
        assert plain is not None
        with zipfile.ZipFile(io.BytesIO(plain)) as archive:
            assert set(archive.namelist()) == {"data.csv", "data.parquet", "about.json"}
            return list(csv.DictReader(io.StringIO(archive.read("data.csv").decode())))


@pytest.fixture
def parties(exchange: Exchange) -> Parties:
    return Parties(exchange)


async def test_the_applicant_opens_rows_about_nobody_in_particular(parties: Parties) -> None:
    await parties.exchange.with_deaths(200)
    truth = Counter(
        f"{row['death_date'][:4]}-Q{(int(row['death_date'][5:7]) + 2) // 3}"
        for row in parties.exchange.provider.rows
    )
    found = await parties.exported()
    assert found["state"] == "exported"
    rows = await parties.opened(found["id"])
    assert Counter(row["death_date"] for row in rows) == {q: n for q, n in truth.items() if n >= 5}
    ours = {row["sector_id"] for row in parties.exchange.provider.rows}
    assert not ours & {row["pseudonym"] for row in rows}
    assert len({row["pseudonym"] for row in rows}) == len(rows)


async def test_two_exports_of_the_same_people_cannot_be_joined(parties: Parties) -> None:
    await parties.exchange.with_deaths(60)
    one, other = [await parties.opened((await parties.exported())["id"]) for _ in range(2)]
    pieces = [
        {row["pseudonym"][3:][start : start + 8] for row in rows for start in range(19)}
        for rows in (one, other)
    ]
    assert len(one) == len(other) == 60
    assert not pieces[0] & pieces[1]


async def test_who_would_stand_out_is_left_out(parties: Parties) -> None:
    await parties.exchange.with_deaths(40)
    parties.exchange.provider.rows[0]["death_date"] = "1990-05-05"
    found = await parties.exported()
    rows = await parties.opened(found["id"])
    assert len(rows) == 39
    assert all(row["death_date"] != "1990-Q2" for row in rows)


async def test_what_only_tells_of_single_people_is_not_handed_out(parties: Parties) -> None:
    await parties.exchange.with_deaths(40)
    found = await parties.exported(items=[{"item": "death_date"}], k=20)
    assert found["state"] == "withheld"
    assert "tell less" in found["reason"]
    answer = await (await parties.researcher()).get(f"/exchange/exports/{found['id']}/file")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_file")


async def test_another_organisation_does_not_learn_that_there_is_one(parties: Parties) -> None:
    id = await parties.applied()
    other = await parties.researcher("91330100MA2XXXXX0E")
    for path in (f"/exchange/exports/{id}", f"/exchange/exports/{id}/file"):
        answer = await other.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_application")
    assert (await other.get("/exchange/exports")).json()["items"] == []
    mine = (await (await parties.researcher()).get("/exchange/exports")).json()["items"]
    assert id in {one["id"] for one in mine}


async def test_nobody_but_a_steward_decides(parties: Parties) -> None:
    id = await parties.applied()
    verdict = {"approve": True, "reason": "why not"}
    applicant = await parties.researcher()
    assert (await applicant.post(f"/exchange/exports/{id}/decision", json=verdict)).status_code == 403
    auditor = await parties.exchange.house.client("exchange", **{**STEWARD, "roles": ["auditor"]})
    assert (await auditor.post(f"/exchange/exports/{id}/decision", json=verdict)).status_code == 403
    steward = await parties.steward()
    refused = await steward.post(
        f"/exchange/exports/{id}/decision", json={"approve": False, "reason": "no ethics approval"}
    )
    assert refused.json()["state"] == "refused"
    again = await steward.post(f"/exchange/exports/{id}/decision", json=verdict)
    assert (again.status_code, again.json()["code"]) == (409, "already_decided")
    assert (await steward.get(f"/exchange/exports/{id}/file")).json()["code"] == "not_the_applicant"


async def test_a_term_missed_is_told_once_and_one_that_is_over_takes_the_file(parties: Parties) -> None:
    await parties.exchange.with_deaths(20)
    late = await parties.applied()
    made = (await parties.exported())["id"]
    kit = parties.exchange.kit
    async with kit.db.transaction() as tx:
        await tx.execute("update export_application set due_at = now() - interval '1 s' where id = $1", late)
        await tx.execute("update export_application set valid_until = '2020-01-01' where id = $1", made)
    answer = await (await parties.researcher()).get(f"/exchange/exports/{made}/file")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_file")
    assert (await (await parties.steward()).get(f"/exchange/exports/{late}")).json()["overdue"] is True
    assert await exports.sweep(kit) >= 2
    async with kit.db.read() as db:
        told = await db.fetchval("select count(*) from outbox where aggregate = $1", f"export/{late}")
        kept = await db.fetchval("select count(*) from export_file where application_id = $1", made)
    assert (told, kept) == (1, 0)
    assert (await (await parties.steward()).get(f"/exchange/exports/{made}")).json()["state"] == "ended"
    await exports.sweep(kit)
    async with kit.db.read() as db:
        assert await db.fetchval("select count(*) from outbox where aggregate = $1", f"export/{late}") == 1


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"items": [{"item": "name"}]}, "item"),
        ({"items": [{"item": "sector_id"}]}, "item"),
        ({"items": [{"item": "death_date", "way": "province"}]}, "way"),
        ({"items": [{"item": "cause", "way": "month"}]}, "way"),
        ({"valid_until": "2020-01-01"}, "valid_until"),
        ({"valid_until": "2099-01-01"}, "valid_until"),
        ({"encryption_jwk": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}}, "encryption_jwk"),
    ],
)
async def test_what_cannot_be_is_refused_by_field(parties: Parties, said: dict[str, Any], field: str) -> None:
    answer = await (await parties.researcher()).post("/exchange/exports", json=application(**said))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_application")
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "said",
    [
        {"k": 4},
        {"items": []},
        {"items": [{"item": "death_date"}, {"item": "death_date", "way": "year"}]},
        {"encryption_jwk": {**application()["encryption_jwk"], "d": "secret"}},
        {"pseudonym": "no"},
    ],
)
async def test_what_makes_no_sense_is_refused(parties: Parties, said: dict[str, Any]) -> None:
    answer = await (await parties.researcher()).post("/exchange/exports", json=application(**said))
    assert answer.status_code == 422


async def test_a_steward_does_not_decide_on_what_their_own_organisation_asks(parties: Parties) -> None:
    id = await parties.applied()
    colleague = await parties.exchange.house.client("exchange", **{**STEWARD, "organisation": ORGANISATION})
    answer = await colleague.post(
        f"/exchange/exports/{id}/decision", json={"approve": True, "reason": "we need it"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "own_application")


async def test_nothing_is_made_of_an_application_whose_term_is_over(parties: Parties) -> None:
    id = await parties.applied()
    async with parties.exchange.kit.db.transaction() as tx:
        await tx.execute("update export_application set valid_until = '2020-01-01' where id = $1", id)
    steward = await parties.steward()
    path = f"/exchange/exports/{id}/decision"
    answer = await steward.post(path, json={"approve": True, "reason": "rather late"})
    assert (answer.status_code, answer.json()["code"]) == (409, "validity_passed")
    refused = await steward.post(path, json={"approve": False, "reason": "rather late"})
    assert refused.json()["state"] == "refused"


async def test_an_export_whose_job_failed_does_not_stay_approved(parties: Parties) -> None:
    id = await parties.applied()
    steward = await parties.steward()
    await steward.post(f"/exchange/exports/{id}/decision", json={"approve": True, "reason": "fits the law"})
    kit = parties.exchange.kit
    await exports.sweep(kit)
    assert (await steward.get(f"/exchange/exports/{id}")).json()["state"] == "approved"
    async with kit.db.transaction() as tx:
        job = await tx.fetchval("select job_id from export_application where id = $1", id)
        await tx.execute("update job set state = 'failed', error = 'ValueError: x' where id = $1", job)
    await exports.sweep(kit)
    found = (await steward.get(f"/exchange/exports/{id}")).json()
    assert found["state"] == "withheld"
    assert "could not be made" in found["reason"]


async def test_what_is_not_shared_any_more_is_not_exported(parties: Parties) -> None:
    await parties.exchange.with_deaths(20)
    id = await parties.applied()
    steward = await parties.steward()
    await steward.post(f"/exchange/exports/{id}/decision", json={"approve": True, "reason": "fits the law"})
    async with parties.exchange.kit.db.transaction() as tx:
        job = await tx.fetchval("select job_id from export_application where id = $1", id)
        closed = {"sharing": "none", "legal_basis": "国家秘密"}
        await tx.execute("update dataset set description = description || $2 where id = $1", DATASET, closed)
    parties.exchange.provider.asked.clear()
    await run_job("exchange", job)
    found = (await steward.get(f"/exchange/exports/{id}")).json()
    assert (found["state"], parties.exchange.provider.asked) == ("withheld", [])


async def test_a_file_of_what_is_not_shared_any_more_is_gone(parties: Parties) -> None:
    await parties.exchange.with_deaths(20)
    found = await parties.exported()
    assert len(await parties.opened(found["id"])) == 20
    provider = parties.exchange.provider
    provider.offered = [replace(provider.offer(), sharing="none", legal_basis="国家秘密")]
    await catalogue.refresh(parties.exchange.kit, "health")
    answer = await (await parties.researcher()).get(f"/exchange/exports/{found['id']}/file")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_file")
    ended = (await (await parties.researcher()).get(f"/exchange/exports/{found['id']}")).json()
    assert (ended["state"], "不予共享" in ended["reason"]) == ("ended", True)


async def test_a_text_that_is_no_area_does_not_stop_the_export(parties: Parties) -> None:
    await parties.exchange.with_deaths(20)
    found = await parties.exported(items=[{"item": "cause", "way": "county"}])
    assert found["state"] == "exported"
    assert {row["cause"] for row in await parties.opened(found["id"])} == {""}


@pytest.mark.parametrize(
    "said",
    [
        {"encryption_jwk": {**application()["encryption_jwk"], "kid": "a\0b"}},
        {"encryption_jwk": {**application()["encryption_jwk"], "kid": "\ud800"}},
        {"title": "a\0bc"},
        {"details": "\ud800abc"},
        {"k": 10**30},
        {"k": 1e308},
        {"valid_until": "0001-01-01"},
        {"valid_until": "9999-12-31"},
        {"items": [{"item": "death_date", "way": ["month"]}]},
    ],
)
async def test_bad_values_are_the_senders_fault(parties: Parties, said: dict[str, Any]) -> None:
    body = json.dumps(application(**said))
    headers = {"content-type": "application/json"}
    answer = await (await parties.researcher()).post("/exchange/exports", content=body, headers=headers)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("after", ["%00", "AA", encode_cursor("\0"), encode_cursor("{" * 40)])
async def test_a_cursor_of_nowhere_is_refused(parties: Parties, after: str) -> None:
    answer = await (await parties.researcher()).get("/exchange/exports", params={"after": after})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


async def test_more_applications_at_once_than_connections(parties: Parties) -> None:
    """None waits for a second connection while it holds a first one."""
    researcher = await parties.researcher()
    count = parties.exchange.kit.settings.pool_max_connections * 3
    asked = [researcher.post("/exchange/exports", json=application()) for _ in range(count)]
    answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {201}
