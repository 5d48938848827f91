"""The push, before doors of the test's own: own credentials, one call a door, again when asked to."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from city import doors
from city.numbers import CITIZEN_NUMBER
from city.push import KINDS, Outcome, Progress, Push
from city.roster import roster_of
from city.simulation import City
from city.social import ClaimLine
from city.truth import compute
from city.walkins import walk_ins
from tests.city.parties import ISSUER, Doors

CITY = City(people=60, seed=5)


@pytest.fixture
def suite(tmp_path: Path) -> Doors:
    found = Doors()
    found.write_clients(roster_of(CITY), tmp_path)
    return found


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_pause", lambda attempt, asked: 0.0)


async def push(suite: Doors, folder: Path, *only: str, told: list[Progress] | None = None) -> Outcome:
    async with suite.client() as http:
        keep = told.append if told is not None else None
        return await Push(CITY, folder, http, progress=keep).run(only or KINDS)


def rows(call: Any, kind: str) -> list[dict[str, str]]:
    """The rows of one file of a multipart push."""
    found = re.search(
        rb'name="%s"; filename="[^"]+"\r\n[^\r]+\r\n\r\n(.*?)\r\n--' % kind.encode(), call.content, re.S
    )
    assert found is not None
    return list(csv.DictReader(io.StringIO(found[1].decode())))


async def test_everybody_goes_through_the_doors_once(suite: Doors, tmp_path: Path) -> None:
    outcome = await push(suite, tmp_path)
    assert outcome.refused == 0
    without_papers = [one.number for one in walk_ins(CITY)]
    assert len(suite.of("/fhir")) == 60 + len(without_papers)
    entries = [entry["resource"] for call in suite.of("/fhir") for entry in call.json()["entry"]]
    patients = [r["identifier"][0]["value"] for r in entries if r["resourceType"] == "Patient"]
    assert sorted(patients) == sorted([*(person.number for person in CITY.people), *without_papers])
    assert len(suite.of("/education/imports")) == 2
    assert len(suite.of("/identity/persons")) == 1
    assert outcome.truth == compute(CITY)


async def test_each_pushes_with_the_credentials_of_its_own(suite: Doors, tmp_path: Path) -> None:
    await push(suite, tmp_path)
    senders = {call.path: set() for call in suite.calls}  # type: dict[str, set[str]]
    for call in suite.calls:
        senders[call.path].add(call.client)
    assert senders["/fhir"] == {"hospital-1", "hospital-2"}
    assert senders["/education/imports"] == {"school-group-1", "school-group-2"}
    assert senders["/social-security/imports"] == {"pension-office", "medical-fund"}
    assert senders["/transport/readings"] == {"gates"}
    assert senders["/transport/zones/mirror-lake.pier/capacity-policy"] == {"scenic-area"}
    assert senders["/identity/guardianships"] == {"population-register"}


async def test_tokens_are_asked_for_with_signed_assertions_used_once(suite: Doors, tmp_path: Path) -> None:
    await push(suite, tmp_path)
    assert all(claims["aud"] == f"{ISSUER}/oauth/token" for claims in suite.assertions)
    assert all(claims["iss"] == claims["sub"] for claims in suite.assertions)
    assert all(0 < claims["exp"] - claims["iat"] <= 300 for claims in suite.assertions)
    assert len({claims["jti"] for claims in suite.assertions}) == len(suite.assertions)
    # One token each, kept while it lasts.
    assert len(suite.assertions) == len({claims["sub"] for claims in suite.assertions}) == 9


async def test_the_offices_send_all_rows_in_the_contracts_columns(suite: Doors, tmp_path: Path) -> None:
    await push(suite, tmp_path, "social_security")
    pension, medical = suite.of("/social-security/imports")
    counted = compute(CITY)["counts"]["social_security"]
    assert len(rows(pension, "contributions")) == counted["contributions"]
    assert len(rows(pension, "payments")) == counted["payments"]
    assert len(rows(medical, "claims")) == counted["claims"]
    assert len(rows(medical, "claim_lines")) == counted["claim_lines"]
    assert tuple(rows(medical, "claim_lines")[0]) == ClaimLine._fields


async def test_a_second_push_sends_the_same_under_the_same_keys(suite: Doors, tmp_path: Path) -> None:
    kinds = ("fhir", "education", "social_security")
    await push(suite, tmp_path, *kinds)
    first = {call.headers["idempotency-key"] for call in suite.calls}
    assert len(first) == len(suite.calls)
    suite.calls.clear()
    await push(suite, tmp_path, *kinds)
    assert {call.headers["idempotency-key"] for call in suite.calls} == first


async def test_no_citizen_number_stands_in_a_url_or_a_key(suite: Doors, tmp_path: Path) -> None:
    await push(suite, tmp_path)
    for call in suite.calls:
        shown = call.path + " ".join(f"{name}: {value}" for name, value in call.headers.items())
        assert not re.search(r"[0-9]{17}[0-9X]", shown)


async def test_guardians_are_named_by_their_numbers(suite: Doors, tmp_path: Path) -> None:
    await push(suite, tmp_path, "guardianships")
    [call] = suite.of("/identity/guardianships")
    sent = call.json()["guardianships"]
    assert sent
    assert {row["relation"] for row in sent} <= {"parent", "grandparent"}
    assert all(row["guardian"]["system"] == row["ward"]["system"] == CITIZEN_NUMBER for row in sent)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_door_is_tried_again(suite: Doors, tmp_path: Path, status: int) -> None:
    suite.refusing["/education/imports"] = [httpx.Response(status, headers={"retry-after": "1"})] * 3
    outcome = await push(suite, tmp_path, "education")
    assert outcome.refused == 0
    assert len(suite.of("/education/imports")) == 2


async def test_a_token_that_no_longer_holds_is_asked_for_anew(suite: Doors, tmp_path: Path) -> None:
    suite.refusing["/education/imports"] = [httpx.Response(401)]
    outcome = await push(suite, tmp_path, "education")
    assert outcome.refused == 0
    assert [claims["sub"] for claims in suite.assertions].count("school-group-1") == 2


async def test_a_refusal_is_told_in_the_doors_words_and_the_rest_goes_on(
    suite: Doors, tmp_path: Path
) -> None:
    problem = {
        "title": "Unprocessable",
        "detail": "row 7 is wrong",
        "errors": [{"field": "base", "message": "no"}],
    }
    suite.refusing["/social-security/imports"] = [httpx.Response(422, json=problem)]
    outcome = await push(suite, tmp_path, "social_security", "education")
    assert outcome.refused == 1
    assert outcome.refusals == ["social_security: POST /social-security/imports: 422 row 7 is wrong; base no"]
    assert len(suite.of("/social-security/imports")) == 1
    assert len(suite.of("/education/imports")) == 2


async def test_a_refused_patient_is_told_as_fhir_tells_it(suite: Doors, tmp_path: Path) -> None:
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "diagnostics": "no such code"}],
    }
    suite.refusing["/fhir"] = [httpx.Response(400, json=outcome)]
    told: list[Progress] = []
    result = await push(suite, tmp_path, "fhir", told=told)
    assert result.refusals == ["fhir: POST /fhir: 400 no such code"]
    assert told[-1].refused == 1
    assert told[-1].what["patients"] == 59


async def test_people_the_register_could_not_place_are_told(suite: Doors, tmp_path: Path) -> None:
    answer = {
        "people": [{"ref": "x", "sector_id": None, "outcome": "invalid", "problem": "wrong check digit"}]
    }
    suite.refusing["/identity/persons"] = [httpx.Response(200, json=answer)]
    outcome = await push(suite, tmp_path, "people")
    assert outcome.refusals == ["people: invalid: wrong check digit"]


async def test_progress_goes_up_to_the_whole(suite: Doors, tmp_path: Path) -> None:
    told: list[Progress] = []
    await push(suite, tmp_path, told=told)
    for kind in KINDS:
        steps = [step for step in told if step.kind == kind]
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert steps[-1].done == steps[-1].total
    last = {step.kind: step.what for step in told}
    assert last["fhir"]["resources"] == compute(CITY)["counts"]["fhir"]["entries"]
    assert last["education"]["pupils"] == sum(person.seat is not None for person in CITY.people)


async def test_a_client_without_a_key_file_is_named(suite: Doors, tmp_path: Path) -> None:
    (tmp_path / "hospital-1.json").unlink()
    with pytest.raises(ExceptionGroup) as raised:
        await push(suite, tmp_path, "fhir")
    assert "hospital-1.json" in str(raised.value.exceptions[0])
