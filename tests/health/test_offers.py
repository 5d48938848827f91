"""What health offers to other domains, beside deaths (test_keeping.py)."""

import asyncio
from typing import Any

import httpx

from tests.health.support import patient, put, transaction
from tests.support.offers import exchange_at, fresh_at, offered
from tests.support.running import RunningServices

PATH = "/health/offers/immunizations"


def shot(id: str, of: str, code: str, day: str, **changed: Any) -> dict[str, Any]:
    return put(
        {
            "resourceType": "Immunization",
            "id": id,
            "status": "completed",
            "vaccineCode": {
                "coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": code}],
                "text": f"v{code}",
            },
            "patient": {"reference": f"Patient/{of}"},
            "occurrenceDateTime": day,
            **changed,
        }
    )


async def test_completed_immunizations_of_known_persons(
    fhir: httpx.AsyncClient, house: RunningServices
) -> None:
    answer = await fhir.post(
        "/fhir",
        json=transaction(
            put(patient(id="p1")),
            put(patient(id="p2")),
            shot("s1", "p1", "03", "2019-05-01"),
            shot("s2", "p1", "10", "2020"),
            shot("s3", "p2", "03", "2021-07-01T09:00:00+08:00"),
            shot("s4", "p2", "08", "2021-07-01", status="not-done"),
        ),
    )
    assert answer.status_code == 200, answer.text
    exchange = await exchange_at(house, "health")
    found = await offered(exchange, PATH)
    assert [(row["vaccine_code"], row["vaccine"], row["occurred_on"]) for row in found] == [
        ("03", "v03", "2019-05-01"),
        ("10", "v10", "2020"),
        ("03", "v03", "2021-07-01"),
    ]
    assert found[0]["sector_id"] == found[1]["sector_id"] != found[2]["sector_id"]
    assert await offered(
        exchange,
        PATH,
        {"item": "vaccine_code", "op": "eq", "value": "03"},
        {"item": "occurred_on", "op": "ge", "value": "2020"},
    ) == [found[2]]
    await fhir.post(
        "/fhir", json=transaction(shot("s1", "p1", "03", "2019-05-01", status="entered-in-error"))
    )
    assert await offered(exchange, PATH) == found[1:]
    async with asyncio.timeout(60):  # somebody may have looked a moment before
        while (await fresh_at(house, "health", "/health/offers"))["immunizations"] is None:  # noqa: ASYNC110 - it comes from a server
            await asyncio.sleep(0.5)
