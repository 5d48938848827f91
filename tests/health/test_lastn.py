"""`$lastn`: the latest of each kind of observation, whichever of its codings it is told by."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.operations.lastn import _of_each
from tests.health.conftest import Hospital
from tests.health.support import issues, locations, observation, patient, post, transaction
from tests.health.test_access import RESTRICTED, leaves
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
OTHER = "urn:uuid:00000000-0000-4000-8000-000000000002"
VITAL = "http://terminology.hl7.org/CodeSystem/observation-category"


def measured(name: str, day: str, *codes: str, subject: str = PERSON, **members: Any) -> dict[str, Any]:
    """An Observation coded by `system|code` each, or by a text."""
    coded = [code.partition("|") for code in codes if "|" in code]
    code: dict[str, Any] = {"coding": [{"system": f"urn:{s}", "code": c} for s, _, c in coded]}
    if not coded:
        code = {"text": codes[0]}
    return {
        **observation(subject, valueString=name, effectiveDateTime=day),
        "code": code,
        **members,
    }


async def keep(client: httpx.AsyncClient, *measurements: dict[str, Any]) -> str:
    """The measurements with the two people they are of; `Patient/id` of the first."""
    people = [post(patient(("urn:mrn", uri[-1])), uri) for uri in (PERSON, OTHER)]
    answer = await client.post("/fhir", json=transaction(*people, *map(post, measurements)))
    assert answer.status_code == 200, answer.text
    return locations(answer.json())[0]


async def last(client: httpx.AsyncClient, **params: Any) -> str:
    answer = await client.get("/fhir/Observation/$lastn", params=params)
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    assert all(entry["search"] == {"mode": "match"} for entry in entries)
    return "".join(entry["resource"]["valueString"] for entry in entries)


async def test_the_latest_of_each_kind_the_latest_first(fhir: httpx.AsyncClient) -> None:
    person = await keep(
        fhir,
        measured("a", "2020-01-01", "s|1"),
        measured("b", "2020-01-02", "s|2"),
        measured("c", "2020-01-03", "s|1"),
        measured("d", "2020-01-04", "s|1", subject=OTHER),
        measured("e", "2019-01-01", "t|1"),
        measured("f", "2020-01-01", "s|1"),
    )
    assert await last(fhir, patient=person) == "cbe"
    assert await last(fhir, subject=person, max=2) == "cbfae"
    assert await last(fhir, patient=person, max=9) == "cbfae"
    assert await last(fhir, patient=person, code="urn:s|1") == "c"
    assert await last(fhir, patient=person, date="lt2020-01-02", max=1) == "fae"
    assert await last(fhir, patient="Patient/nobody") == ""


async def test_codings_that_stand_together_are_one_kind(fhir: httpx.AsyncClient) -> None:
    """The table of the operation's definition, and a chain of three."""
    person = await keep(
        fhir,
        measured("a", "2020-01-01", "s|a"),
        measured("b", "2020-01-02", "s|b"),
        measured("c", "2020-01-03", "s|a", "s|c"),
        measured("t", "2020-01-04", "Text"),
        measured("u", "2020-01-05", "text"),
        measured("v", "2020-01-06", "Text"),
    )
    assert await last(fhir, patient=person) == "vucb"
    await fhir.post("/fhir/Observation", json=measured("d", "2020-01-07", "s|b", "s|c", subject=person))
    assert await last(fhir, patient=person) == "dvu"
    assert await last(fhir, patient=person, max=3) == "dvutcb"


async def test_several_people_have_kinds_of_their_own(fhir: httpx.AsyncClient) -> None:
    await keep(
        fhir,
        measured("a", "2020-01-01", "s|1"),
        measured("b", "2020-01-02", "s|1", subject=OTHER),
    )
    assert await last(fhir, **{"patient.identifier": "urn:mrn|"}) == "ba"


async def test_categories_choose(fhir: httpx.AsyncClient) -> None:
    vital: dict[str, Any] = {"category": [{"coding": [{"system": VITAL, "code": "vital-signs"}]}]}
    person = await keep(
        fhir,
        measured("a", "2020-01-01", "s|1", **vital),
        measured("b", "2020-01-02", "s|1"),
    )
    assert await last(fhir, patient=person, category="vital-signs") == "a"


class TestReach:
    async def test_what_may_not_be_seen_is_not_the_latest(
        self, hospital: Hospital, house: RunningServices
    ) -> None:
        keeps = await hospital("A", purpose="treatment")
        person = await keep(
            keeps,
            measured("a", "2020-01-01", "s|1"),
            measured("b", "2020-01-02", "s|1", meta=RESTRICTED),
        )
        assert await last(keeps, patient=person) == "b"
        other = await hospital("B", purpose="treatment")
        assert await last(other, patient=person) == ""
        person_there = await keep(other, measured("x", "2019-01-01", "s|1"))
        assert await last(other, patient=person_there) == "x"
        found = [leaf for leaf in await leaves(house, "permitted") if leaf["organisation"] == "A"]
        assert found[-1]["resource"] == "Observation/$lastn"
        assert found[-1]["records"] == 1

    async def test_scopes_hold(self, hospital: Hospital) -> None:
        client = await hospital(scopes="system/Patient.rs system/Observation.r")
        answer = await client.get("/fhir/Observation/$lastn?patient=1")
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("query", "code", "named"),
    [
        ("code=1", "required", "patient"),
        ("patient=1&max=0", "value", "max"),
        ("patient=1&max=1&max=2", "value", "max"),
        ("patient=1&_sort=date", "not-supported", "_sort"),
        ("patient=1&_include=*", "not-supported", "_include"),
        ("patient=1&shoe=44", "not-supported", "shoe"),
    ],
)
async def test_what_is_not_understood_is_refused(
    fhir: httpx.AsyncClient, query: str, code: str, named: str
) -> None:
    answer = await fhir.get(f"/fhir/Observation/$lastn?{query}")
    assert answer.status_code == 400
    assert list(issues(answer.json())) == [(code, named)]


ROWS = st.lists(st.tuples(st.integers(0, 5), st.sets(st.sampled_from("abcd"), min_size=1)), max_size=12)


@given(ROWS, st.integers(1, 3))
def test_the_latest_of_each_kind_by_hand(told: Sequence[tuple[int, set[str]]], most: int) -> None:
    """Against the definition: kinds as the closure of sharing a coding, ranks by what happened later."""
    rows: list[Any] = [{"pt": 1, "occurred": when, "codes": sorted(codes)} for when, codes in told]
    rows.sort(key=lambda row: -row["occurred"])
    kinds = [set(row["codes"]) for row in rows]
    for _ in rows:
        kinds = [set().union(*(other for other in kinds if other & kind)) for kind in kinds]
    expected = [
        row
        for row, kind in zip(rows, kinds, strict=True)
        if sum(r["occurred"] > row["occurred"] for r, k in zip(rows, kinds, strict=True) if k == kind) < most
    ]
    assert list(_of_each(rows, most)) == expected
