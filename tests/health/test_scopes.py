"""SMART App Launch 2 scopes: what a token is for, and that nothing beyond it is shown, found or counted."""

from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from health.fhir import scopes
from health.reaching import Granted
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    locations,
    observation,
    patient,
    post,
    put,
    transaction,
)
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
VITAL, LABORATORY = (f"category={CATEGORIES}|{code}" for code in ("vital-signs", "laboratory"))
NUMBER = (CITIZEN_NUMBER, citizen_number(71))


def of_category(code: str, subject: str = PERSON, **members: Any) -> dict[str, Any]:
    category = [{"coding": [{"system": CATEGORIES, "code": code}]}]
    return observation(subject, code=f"c-{code}", category=category, **members)


@pytest.fixture
async def kept(fhir: httpx.AsyncClient) -> dict[str, str]:
    answer = await fhir.post(
        "/fhir",
        json=transaction(
            post(patient(NUMBER), PERSON),
            post(of_category("vital-signs")),
            post(of_category("laboratory")),
            post(of_category("imaging")),
        ),
    )
    assert answer.status_code == 200, answer.text
    return dict(zip(("patient", "vital", "laboratory", "imaging"), locations(answer.json()), strict=True))


async def seen(client: httpx.AsyncClient, kind: str = "Observation", **params: Any) -> set[str]:
    response = await client.get(f"/fhir/{kind}", params=params)
    assert response.status_code == 200, response.text
    found = {f"{kind}/{e['resource']['id']}" for e in response.json().get("entry", [])}
    counted = await client.get(f"/fhir/{kind}", params={**params, "_count": 0})
    assert counted.json()["total"] == len(found)
    return found


async def readable(client: httpx.AsyncClient, kept: dict[str, str]) -> set[str]:
    found = {local: await client.get(f"/fhir/{local}") for local in kept.values()}
    assert {answer.status_code for answer in found.values()} <= {200, 403, 404}
    return {local for local, answer in found.items() if answer.status_code == 200}


class TestNarrowed:
    @pytest.mark.parametrize(
        ("scope", "shown"),
        [
            (f"system/Observation.rs?{VITAL}", {"vital"}),
            ("system/Observation.rs?category=vital-signs", {"vital"}),
            (f"system/Observation.rs?{VITAL},{CATEGORIES}|laboratory", {"vital", "laboratory"}),
            (f"system/Observation.rs?{VITAL} system/Observation.rs?{LABORATORY}", {"vital", "laboratory"}),
            (f"system/Observation.rs?{VITAL}&code=c-vital-signs", {"vital"}),
            (f"system/Observation.rs?{VITAL}&code=c-laboratory", set()),
            (f"system/*.rs?{VITAL}", {"vital"}),
            (f"system/Observation.rs?{VITAL} system/Observation.rs", {"vital", "laboratory", "imaging"}),
            (f"system/Patient.rs system/Observation.rs?{VITAL}", {"patient", "vital"}),
        ],
    )
    async def test_it_shows_what_it_describes_and_nothing_else(
        self, hospital: Hospital, kept: dict[str, str], scope: str, shown: set[str]
    ) -> None:
        client = await hospital(scopes=scope)
        assert await readable(client, kept) == {kept[name] for name in shown}
        assert await seen(client) == {kept[name] for name in shown - {"patient"}}
        # An index row that leads the search is held to it too.
        for code in ("vital-signs", "laboratory"):
            found = {kept[name] for name in shown} & {kept[code.partition("-")[0]]}
            assert await seen(client, code=f"c-{code}") == found
            assert await seen(client, patient=kept["patient"], code=f"c-{code}") == found

    @pytest.mark.parametrize(
        "scope",
        [
            "system/Observation.rs?category:not=laboratory",  # a modifier
            "system/Observation.rs?date=ge2020",  # no token
            "system/Observation.rs?subject.name=x",
            "system/Observation.rs?nothing=x",
            "system/Observation.rs?category=",
            "system/Observation.rs?category",
            "system/Observation.rs?category=|",
            f"system/Observation.rs?{VITAL}&date=ge2020",  # one that is understood does not carry the other
            "system/Observation.read",  # SMART 1
            "system/*.*",
            "system/Observation.sr",
            "system/Observation.",
            "user/Observation.rs",  # staff's
            "patient/Observation.rs",  # a patient's
            "launch/patient",
        ],
    )
    async def test_what_is_not_understood_grants_nothing(
        self, hospital: Hospital, kept: dict[str, str], scope: str
    ) -> None:
        client = await hospital(scopes=scope)
        assert await readable(client, kept) == set()
        assert (await client.get("/fhir/Observation")).status_code == 403

    async def test_the_right_is_the_letter(self, hospital: Hospital, kept: dict[str, str]) -> None:
        reads, searches = [await hospital(scopes=f"system/Observation.{letter}") for letter in "rs"]
        assert (await reads.get(f"/fhir/{kept['vital']}")).status_code == 200
        assert (await reads.get("/fhir/Observation")).status_code == 403
        assert (await searches.get(f"/fhir/{kept['vital']}")).status_code == 403
        assert len(await seen(searches)) == 3


class TestPatientsOwn:
    async def test_a_narrowed_scope_is_held_to_in_their_record_too(
        self, house: RunningServices, kept: dict[str, str]
    ) -> None:
        async with house.kit("health").db.read() as db:
            person = await db.fetchval("select sector_id from patient_person where sector_id is not null")
        who: dict[str, Any] = {"kind": "person", "sector_id": person, "purpose": "own_records"}
        client = await house.client("health", subject="u_9", scopes=f"patient/Observation.rs?{VITAL}", **who)
        assert await readable(client, kept) == {kept["vital"]}
        assert await seen(client) == {kept["vital"]}
        listed = await client.get("/health/records/me", params={"types": "Observation"})
        assert [item["id"] for item in listed.json()["items"]] == [kept["vital"].partition("/")[2]]
        assert (await client.get("/health/records/me", params={"types": "Patient"})).status_code == 403
        stranger = await house.client(
            "health", subject="u_8", scopes="patient/*.rs", **{**who, "sector_id": "h1_somebody"}
        )
        assert await readable(stranger, kept) == set()


class TestWriting:
    async def test_only_what_it_describes_is_made(self, hospital: Hospital, kept: dict[str, str]) -> None:
        client = await hospital(scopes=f"system/Observation.cu?{VITAL}")
        for resource, status in ((of_category("vital-signs"), 201), (of_category("laboratory"), 403)):
            resource["subject"] = {"reference": kept["patient"]}
            assert (await client.post("/fhir/Observation", json=resource)).status_code == status
            answer = await client.post("/fhir", json=transaction(post(resource)))
            assert answer.status_code == (200 if status == 201 else status)
        assert (await client.post("/fhir/Patient", json=patient())).status_code == 403

    async def test_a_condition_finds_what_the_scopes_let_it_search_for(
        self, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        sent = of_category("vital-signs", kept["patient"])
        for rights, code, status in (
            ("c", "c-vital-signs", 403),
            ("cs", "c-vital-signs", 200),
            ("cs", "c-laboratory", 201),
        ):
            client = await hospital(scopes=f"system/Observation.{rights}?{VITAL}")
            unless = {"if-none-exist": f"code={code}"}
            answer = await client.post("/fhir/Observation", json=sent, headers=unless)
            assert answer.status_code == status, answer.text

    async def test_only_what_it_describes_is_changed(
        self, fhir: httpx.AsyncClient, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        client = await hospital(scopes=f"system/Observation.cu?{VITAL}")
        id = kept["laboratory"].partition("/")[2]
        made_vital = of_category("vital-signs", kept["patient"], id=id)
        for answer in (
            await client.put(f"/fhir/{kept['laboratory']}", json=made_vital),
            await client.post("/fhir", json=transaction(put(made_vital))),
        ):
            assert answer.status_code == 403, answer.text
        assert (await fhir.get(f"/fhir/{kept['laboratory']}")).headers["etag"] == 'W/"1"'

    async def test_of_what_is_anothers_they_tell_nothing(
        self, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        client = await hospital("hospital-2", scopes=f"system/Observation.cu?{VITAL}")
        told = set()
        for local in (kept["vital"], kept["laboratory"]):
            sent = of_category("vital-signs", id=local.partition("/")[2])
            del sent["subject"]
            answer = await client.put(f"/fhir/{local}", json=sent)
            assert answer.status_code == 403
            told.add(answer.text.replace(local, ""))
        assert len(told) == 1

    async def test_a_patch_tries_nothing_on_what_it_is_not_for(
        self, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        client = await hospital(scopes=f"system/Observation.cu?{VITAL}")
        answers = [
            await client.patch(
                f"/fhir/{kept['laboratory']}",
                json=[{"op": "test", "path": "/status", "value": status}],
                headers={"content-type": "application/json-patch+json"},
            )
            for status in ("final", "amended")
        ]
        assert [answer.status_code for answer in answers] == [403, 403]
        assert answers[0].text == answers[1].text


async def test_the_configuration_says_what_the_issuer_does(
    house: RunningServices, fhir: httpx.AsyncClient
) -> None:
    answer = await fhir.get("/fhir/.well-known/smart-configuration", headers={"accept": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    issuer = (await (await house.client("identity")).get("/.well-known/openid-configuration")).json()
    for name in ("issuer", "token_endpoint", "authorization_endpoint", "code_challenge_methods_supported"):
        assert said[name] == issuer[name]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert "permission-v2" in said["capabilities"]
    assert "permission-v1" not in said["capabilities"]
    assert {"system/*.cruds", "patient/*.rs", "user/*.rs"} <= set(said["scopes_supported"])


KINDS = st.sampled_from(["Observation", "Patient", "Condition", "*"])
ONE_SCOPE = st.builds(
    "system/{}.{}{}".format,
    KINDS,
    st.sampled_from(["r", "s", "rs", "cruds", "c"]),
    st.sampled_from(["", "?category=a", "?code=b", "?category=a,b", "?date=2020"]),
)
TOKENS = st.lists(st.sampled_from(["category=a", "category=b", "code=b"]), max_size=3)


@settings(deadline=None)
@given(st.frozensets(ONE_SCOPE, max_size=4), KINDS.filter(lambda kind: kind != "*"), TOKENS)
def test_several_scopes_grant_what_each_of_them_does(held: frozenset[str], kind: str, has: list[str]) -> None:
    rows = [hash for name in has for hash in _hashes(kind, name)]
    alone = [scopes.granted(frozenset({one}), "system", "r").includes(kind, rows) for one in held]
    assert scopes.granted(held, "system", "r").includes(kind, rows) is any(alone)


def _hashes(kind: str, query: str) -> tuple[int, ...]:
    found = scopes.granted(frozenset({f"system/{kind}.r?{query}"}), "system", "r")
    return found.narrowed[0][1][0] if found != Granted() else ()
