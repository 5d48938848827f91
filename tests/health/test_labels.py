"""Security labels: what is specially protected as a whole, and what is shown without its protected parts."""

import copy
import json
from typing import Any

import httpx
import pytest

from health.fhir import text
from health.fhir.labels import protected
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
NUMBER = (CITIZEN_NUMBER, citizen_number(91))
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
INLINE = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
LOINC = "http://loinc.org"


def label(code: str, system: str = ACT_CODE) -> dict[str, str]:
    return {"system": system, "code": code}


PARTS = label("PROCESSINLINELABEL")


def inline(code: str = "HIV") -> list[dict[str, Any]]:
    return [{"url": INLINE, "valueCoding": label(code)}]


def panel(*security: dict[str, str], **members: Any) -> dict[str, Any]:
    """A panel one of whose results is labelled."""
    components = [
        {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueString": f"value of {code}", **more}
        for code, more in (("open", {}), ("secret", {"extension": inline()}))
    ]
    return observation(
        PERSON,
        code="panel",
        meta={"security": [*security, label("R", CONFIDENTIALITY), label("HIV")]},
        text={
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">value of secret</div>',
        },
        valueQuantity={"value": 72.5, "unit": "x"},
        component=components,
        **members,
    )


class TestWhatIsProtected:
    @pytest.mark.parametrize(
        ("security", "special"),
        [
            ([label("N", CONFIDENTIALITY)], False),
            ([label("R", CONFIDENTIALITY)], True),
            ([label("V", CONFIDENTIALITY)], True),
            *(([label(code)], True) for code in ("ETH", "HIV", "PSY", "SEX", "SUD", "SDV", "VIO")),
            ([label("HIV", "urn:other")], False),
            ([{"code": "R"}], False),
            ([PARTS], False),
            ([], False),
        ],
    )
    def test_the_whole(self, security: list[dict[str, str]], special: bool) -> None:
        assert settled(observation(meta={"security": security})) == (special, None)

    def test_parts_where_the_resource_says_that_they_are_labelled(self) -> None:
        sent = panel(PARTS)
        whole, rest = settled(sent)
        assert not whole
        assert rest is not None
        assert [one["valueString"] for one in rest["component"]] == ["value of open"]
        assert [one["code"] for one in rest["meta"]["security"]] == ["REDACTED"]
        assert "secret" not in json.dumps(rest)
        assert "HIV" not in json.dumps(rest)
        assert "text" not in rest
        assert rest["code"] == sent["code"]
        assert "secret" in json.dumps(sent), "what was sent stays as it is"

    def test_labelled_parts_without_that_mark_protect_the_whole(self) -> None:
        sent = panel()
        sent["meta"]["security"] = []
        assert settled(sent) == (True, None)

    def test_a_part_that_the_rest_cannot_do_without_protects_the_whole(self) -> None:
        sent = panel(PARTS)
        sent["code"]["extension"] = inline()
        assert settled(sent) == (True, None)

    def test_a_label_on_the_resource_itself_protects_the_whole(self) -> None:
        assert settled(panel(PARTS, extension=inline())) == (True, None)

    def test_labels_that_are_not_special_leave_everything(self) -> None:
        sent = observation(meta={"security": [PARTS]}, note=[{"text": "x", "extension": inline("LOCIS")}])
        assert settled(sent) == (False, None)

    def test_primitive_elements_go_with_their_labels(self) -> None:
        sent = patient(
            meta={"security": [PARTS]},
            birthDate="1980-01-01",
            _birthDate={"extension": inline()},
            name=[{"given": ["a", "b"], "_given": [None, {"extension": inline()}]}],
            telecom=[{"rank": 1, "extension": inline()}, {"rank": 2}],
        )
        _, rest = settled(sent)
        assert rest is not None
        assert "birthDate" not in rest
        assert "_birthDate" not in rest
        assert rest["name"] == [{"given": ["a"]}]
        assert rest["telecom"] == [{"rank": 2}]


def settled(sent: dict[str, Any]) -> tuple[bool, dict[str, Any] | None]:
    kept = copy.deepcopy(sent)
    found = protected(sent, text.written(sent))
    assert sent == kept
    return found


class TestWhoSeesWhat:
    @pytest.fixture
    async def kept(self, hospital: Hospital) -> dict[str, str]:
        """A keeps them; B treats the person."""
        first, second = [await hospital(name, purpose="treatment") for name in "AB"]
        answer = await first.post(
            "/fhir", json=transaction(post(patient(NUMBER), PERSON), post(panel(PARTS)))
        )
        assert answer.status_code == 200, answer.text
        visit = {"resourceType": "Encounter", "status": "in-progress", "class": {"code": "AMB"}}
        came = await second.post(
            "/fhir",
            json=transaction(
                post(patient(NUMBER), PERSON), post({**visit, "subject": {"reference": PERSON}})
            ),
        )
        assert came.status_code == 200, came.text
        return dict(zip(("patient", "panel"), locations(answer.json()), strict=True))

    async def test_who_treats_the_patient_sees_it_without_its_protected_parts(
        self, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        keeper, treating = [await hospital(name, purpose="treatment") for name in "AB"]
        whole = await keeper.get(f"/fhir/{kept['panel']}")
        assert "value of secret" in whole.text
        assert '"code":"HIV"' in whole.text
        shown = [
            (await treating.get(f"/fhir/{kept['panel']}")).text,
            (await treating.get(f"/fhir/{kept['panel']}/_history/1")).text,
            (await treating.get("/fhir/Observation", params={"code": "panel"})).text,
            (await treating.get("/fhir/Patient", params={"_revinclude": "Observation:subject"})).text,
        ]
        for one in shown:
            assert "value of open" in one
            assert '"code":"REDACTED"' in one
            assert '"value":72.5' in one
            assert "secret" not in one
            assert "HIV" not in one
        assert json.loads(shown[0])["id"] == whole.json()["id"]

    async def test_nobody_finds_it_by_what_its_protected_parts_say(
        self, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        for name in "AB":
            client = await hospital(name, purpose="treatment")
            for params, found in (({"component-code": "open"}, 1), ({"component-code": "secret"}, 0)):
                answer = await client.get("/fhir/Observation", params=params)
                assert answer.status_code == 200, answer.text
                assert len(answer.json().get("entry", ())) == found

    async def test_a_person_sees_all_of_their_own(self, house: RunningServices, kept: dict[str, str]) -> None:
        async with house.kit("health").db.read() as db:
            person = await db.fetchval(
                "select sector_id from patient_person where sector_id is not null limit 1"
            )
        client = await house.client(
            "health",
            kind="person",
            subject="u_1",
            sector_id=person,
            scopes="patient/*.rs",
            purpose="own_records",
        )
        assert "value of secret" in (await client.get(f"/fhir/{kept['panel']}")).text

    async def test_a_correction_takes_the_parts_with_it(
        self, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        keeper, treating = [await hospital(name, purpose="treatment") for name in "AB"]
        body = (await keeper.get(f"/fhir/{kept['panel']}")).json()
        del body["component"][1]["extension"]
        del body["meta"]
        assert (await keeper.put(f"/fhir/{kept['panel']}", json=body)).status_code == 200
        shown = await treating.get(f"/fhir/{kept['panel']}")
        assert "value of secret" in shown.text
        assert "REDACTED" not in shown.text
        assert (await treating.get(f"/fhir/{kept['panel']}/_history/1")).status_code == 404


async def test_what_is_stored_is_what_was_sent(fhir: httpx.AsyncClient) -> None:
    sent = panel(PARTS)
    del sent["subject"]
    made = (await fhir.post("/fhir/Observation", json=sent)).json()
    assert made["component"] == sent["component"]
    assert made["text"] == sent["text"]
