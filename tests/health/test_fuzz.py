"""Whatever is sent, the answer is an answer: never a 5xx, and a refusal is an OperationOutcome."""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from health.fhir import prepare, search
from health.fhir.outcome import Refusal, outcome
from tests.health.conftest import Hospital
from tests.health.support import observation, organization, patient, post, put, transaction

T = TypeVar("T")
BASE = "http://here/fhir/"
PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
SEED = transaction(
    post(patient(("urn:mrn", "1"), name=[{"family": "张", "given": ["三"]}], birthDate="1990-01-01"), PERSON),
    post(organization("A")),
    post(
        observation(
            PERSON,
            performer=[{"reference": "Organization?identifier=urn:oid:1.2.3|A"}],
            effectivePeriod={"start": "2020", "end": "2021-02-03T10:00:00+08:00"},
            valueQuantity={"value": 72.5},
            contained=[{"resourceType": "Device", "id": "d"}],
            device={"reference": "#d"},
            text={"status": "generated", "div": f'<div xmlns="x"><a href="{PERSON}">x</a></div>'},
        ),
        ifNoneExist="code=1",
    ),
    put(patient(id="p1", link=[{"other": {"reference": PERSON}, "type": "seealso"}]), ifMatch='W/"1"'),
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "#", "#x", "Patient/1", "Patient?x", "?", "urn:uuid:", "http://", "2020-02-30", "0000", [], {},
         [None], [[]], {"resourceType": "Patient"}, {"reference": "#"}, {"extension": [{}]}, "9" * 400,
         {"coding": [None]}, "Bundle", "transaction", "\x00", "\ud800", PERSON]
    ),
)  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, value in steps:
        found += places(value, (*path, step))
    return found


def holder(tree: Any, path: Sequence[Any]) -> Any:
    """What the value at a place stands in."""
    for step in path[:-1]:
        tree = tree[step]
    return tree


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """The seed with up to three places replaced, dropped or renamed."""
    bundle = copy.deepcopy(SEED)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(bundle)))
        around = holder(bundle, path)
        match draw(st.sampled_from(["replace", "drop", "rename", "double"])):
            case "replace":
                around[path[-1]] = draw(JUNK)
            case "drop":
                del around[path[-1]]
            case "double":
                around[path[-1]] = [around[path[-1]], around[path[-1]]]
            case _ if isinstance(around, dict):
                around[draw(st.text(max_size=8))] = around.pop(path[-1])
    return bundle


def answer(raw: bytes) -> None:
    """Prepares the bundle, or gets a refusal that can be told; anything else fails the test."""
    prepared = refusal_of(lambda: prepare.bundle(raw, BASE, {}))
    if isinstance(prepared, Refusal):
        assert 400 <= prepared.status < 500
        assert json.loads(outcome(prepared.issues))["issue"]
    else:
        json.dumps([entry.rest for entry in prepared.entries])


def refusal_of(attempt: Callable[[], T]) -> T | Refusal:
    try:
        return attempt()
    except Refusal as refusal:
        return refusal


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(spoilt())
def test_a_spoilt_bundle_is_prepared_or_refused(bundle: Any) -> None:
    answer(json.dumps(bundle).encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused(raw: bytes) -> None:
    answer(raw)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_bundle_with_wrong_bytes_in_it_is_answered(place: int, junk: bytes) -> None:
    raw = json.dumps(SEED, ensure_ascii=False).encode()
    answer(raw[:place] + junk + raw[place + 1 :])


NAMES = st.sampled_from(
    ["_id", "code", "date", "patient", "identifier", "_count", "x", "code:not", "", "_page"]
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["Observation", "Patient"]), st.lists(st.tuples(NAMES, st.text(max_size=20)), max_size=4)
)
def test_any_search_is_parsed_or_refused(kind: str, pairs: list[tuple[str, str]]) -> None:
    found = refusal_of(lambda: search.parsed(kind, pairs, base=BASE))
    if isinstance(found, Refusal):
        assert found.status == 400
    else:
        assert found.criteria.type == kind


async def test_through_the_doors_nothing_fails_either(fhir: httpx.AsyncClient) -> None:
    """A sample of the same through everything: processes, database, identity."""
    seen: list[int] = []

    samples: list[bytes] = []

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(spoilt())
    def collect(bundle: Any) -> None:
        samples.append(json.dumps(bundle).encode())

    collect()
    for raw in samples:
        response = await fhir.post("/fhir", content=raw)
        seen.append(response.status_code)
        assert response.status_code < 500, (raw, response.text)
        assert response.json()["resourceType"] in ("Bundle", "OperationOutcome")
    assert 400 in seen
    for query in (
        "_id=%00",
        "code=a%00",
        "code=%ff",
        "identifier=%ed%a0%80",
        "date=%00",
        "patient=" + "9" * 5000,
    ):
        response = await fhir.get(f"/fhir/Observation?{query}")
        assert response.status_code < 500, (query, response.text)
    for path in (
        "Patient/%00",
        "Patient/%ff",
        "Patient/" + "x" * 3000,
        "Patient/a/_history/%00",
    ):
        response = await fhir.get(f"/fhir/{path}")
        assert response.status_code < 500, (path, response.text)


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("Patient/$everything", {"name": "_count", "valueInteger": {}}),
        ("Patient/$everything", {"name": "_since", "valueInstant": ["2020"]}),
        ("Patient/$summary", {"name": "identifier", "valueString": {"a": 1}}),
        ("Patient/$summary", {"name": "identifier", "valueString": "a\x00"}),
        ("Patient/$match", {"name": "resource", "resource": "x"}),
        ("CodeSystem/$lookup", {"name": "coding", "valueCoding": {"system": "a\x00", "code": "b"}}),
        ("CodeSystem/$lookup", {"name": "coding", "valueCoding": "b"}),
        ("ValueSet/$expand", {"name": "url", "valueUri": ["a"]}),
        ("Subscription/$status", {"name": "id", "valueId": None}),
    ],
)
async def test_parameters_of_operations_are_what_they_say(
    hospital: Hospital, path: str, parameter: dict[str, Any]
) -> None:
    """A person may ask each of these operations something."""
    person = await hospital(scopes="patient/*.rs", kind="person", sector_id="h1_somebody")
    client = person if path.endswith("everything") else await hospital()
    answer = await client.post(f"/fhir/{path}", json={"resourceType": "Parameters", "parameter": [parameter]})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "path",
    [
        "CodeSystem/$lookup?system=a%00&code=b",
        "CodeSystem/$lookup?coding=b",
        "Patient/$summary?identifier=%00",
    ],
)
async def test_parameters_in_a_url_are_plain_text(fhir: httpx.AsyncClient, path: str) -> None:
    assert (await fhir.get(f"/fhir/{path}")).status_code == 400
