"""Nothing tells that a record is there which the reader may not see: each door answers the same with it and
without it, word for word.

What hides a record is that nothing ties the reader to the patient, that the token's scopes are for other
resources, or that it is specially protected. Every door that the CapabilityStatement names has its requests
below, or the reason why it needs none; a new door fails the test until it has.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.kit.database import Database
from tests.health import bulk
from tests.health.conftest import Hospital
from tests.health.support import CITIZEN_NUMBER, citizen_number, observation, patient, put, transaction

GET, POST, PUT, PATCH, DELETE = "GET", "POST", "PUT", "PATCH", "DELETE"
SYSTEM = "urn:oid:1.2.3.4"
RESTRICTED = {
    "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]
}
JSON_PATCH = {"content-type": "application/json-patch+json"}
NO_VERDICT = "a door without a leak test: write its requests, or why it can tell nothing"


@dataclass(frozen=True)
class Ask:
    """A request; `{me}` begins the reader's own ids, `hidden` those of the hidden record."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def search(query: str) -> list[Ask]:
    path, _, asked = query.partition("?")
    form = {"content-type": "application/x-www-form-urlencoded"}
    counted = [] if "_count=" in asked else [Ask(GET, f"{query}&_count=0")]
    return [Ask(GET, query), *counted, Ask(POST, f"{path}/_search", asked, form)]


def bundle(kind: str, *entries: dict[str, Any]) -> Ask:
    return Ask(POST, "", {"resourceType": "Bundle", "type": kind, "entry": list(entries)})


def parameters(**given: Any) -> dict[str, Any]:
    pairs = [{"name": name.replace("_", "-"), **value} for name, value in given.items()]
    return {"resourceType": "Parameters", "parameter": pairs}


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    return found if resource is None else {"resource": resource, **found}


MINE = {"tag": [{"system": "urn:test", "code": "mine"}]}
BY_NUMBER = f"identifier={SYSTEM}|hidden"


def new(subject: str | None = None) -> dict[str, Any]:
    return observation(subject, code="new", meta=MINE)


SOMEBODY = patient((SYSTEM, "hidden"), meta=MINE)
ABOUT_HIDDEN, BY_CONDITION = new("Patient/hidden"), new(f"Patient?{BY_NUMBER}")

SEARCHES = [
    "Observation?code=shared",
    "Observation?code=shared&_total=accurate",
    "Observation?code=shared&_summary=count",
    "Observation?code=shared&_sort=date",
    "Observation?code=shared&_sort=-date,code&_count=1",
    "Observation?code=secret",
    "Observation?code:not=another",
    "Observation?code:text=secret",
    "Observation?subject:missing=false",
    "Observation?date=ge2020",
    "Observation?_id=hidden-o",
    "Observation?patient=hidden",
    "Observation?subject=Patient/hidden",
    "Observation?subject:Patient=hidden",
    "Observation?patient.name=hidden",
    "Observation?_id=hidden-o,{me}-o&patient.name=hidden",
    f"Observation?patient.{BY_NUMBER}",
    "Observation?value-quantity=gt70",
    "Observation?code-value-quantity=shared$gt70",
    "Observation?code=shared&_include=Observation:subject",
    "Observation?code=shared&_include=*",
    "Observation?_security=R",
    "Observation?_lastUpdated=ge2020",
    f"Patient?{BY_NUMBER}",
    "Patient?name=hidden",
    "Patient?name=shared&_revinclude=Observation:subject",
    "Patient?name=shared&_revinclude=*",
    "Patient?_has:Observation:patient:code=shared",
    "Patient?_has:Observation:patient:code=secret",
    "Patient?_id=hidden",
    "Patient?_sort=birthdate&_count=1",
    "Patient?_elements=name",
]

SAME: dict[str, list[Ask]] = {
    # By interaction (FHIR's restful-interaction), and by operation with its dollar sign.
    "read": [Ask(GET, "Patient/hidden"), Ask(GET, "Observation/hidden-o"), Ask(GET, "Observation/{me}-o")],
    "vread": [Ask(GET, "Observation/hidden-o/_history/1"), Ask(GET, "Patient/hidden/_history/1")],
    "history-instance": [Ask(GET, "Observation/hidden-o/_history"), Ask(GET, "Observation/{me}-o/_history")],
    "history-type": [Ask(GET, "Observation/_history"), Ask(GET, "Observation/_history?_count=1")],
    "history-system": [Ask(GET, "_history"), Ask(GET, "_history?_since=2020-01-01T00:00:00Z")],
    "search-type": [ask for query in SEARCHES for ask in search(query)],
    "search-system": [
        Ask(GET, "?_type=Observation,Patient&_lastUpdated=ge2020"),
        Ask(GET, "?_type=Observation&_id=hidden-o"),
        Ask(GET, "Patient/hidden/Observation"),
        Ask(GET, "Patient/hidden/*"),
        Ask(GET, "Patient/{me}/*"),
    ],
    "create": [
        Ask(POST, "Observation", ABOUT_HIDDEN),
        Ask(POST, "Observation", BY_CONDITION),
        Ask(POST, "Patient", SOMEBODY, {"if-none-exist": BY_NUMBER}),
        Ask(POST, "Observation", new(), {"if-none-exist": "code=secret"}),
    ],
    "update": [
        Ask(PUT, f"Patient?{BY_NUMBER}", SOMEBODY),
        Ask(PUT, "Observation?code=secret", new()),
        Ask(PUT, "Observation/{me}-o", {**ABOUT_HIDDEN, "id": "{me}-o"}),
    ],
    "patch": [
        Ask(PATCH, "Observation/hidden-o", [{"op": "test", "path": "/status", "value": "final"}], JSON_PATCH),
        Ask(PATCH, "Observation?code=secret", [{"op": "test", "path": "/status", "value": "x"}], JSON_PATCH),
    ],
    "delete": [Ask(DELETE, "Observation/hidden-o"), Ask(DELETE, "Observation?code=secret")],
    "transaction": [
        bundle("transaction", entry(POST, "Observation", ABOUT_HIDDEN)),
        bundle("transaction", entry(POST, "Observation", BY_CONDITION)),
        bundle("transaction", entry(POST, "Patient", SOMEBODY, ifNoneExist=BY_NUMBER)),
        bundle("transaction", entry(GET, "Observation?code=shared"), entry(GET, "Observation/hidden-o")),
        bundle("transaction", entry(DELETE, "Observation/hidden-o")),
    ],
    "batch": [
        bundle(
            "batch",
            entry(GET, "Observation/hidden-o"),
            entry(GET, "Observation?code=shared&_total=accurate"),
            entry(GET, "Patient/hidden/_history"),
            entry(POST, "Observation", ABOUT_HIDDEN),
            entry(DELETE, "Observation/hidden-o"),
        ),
    ],
    "$everything": [
        Ask(GET, "Patient/hidden/$everything"),
        Ask(GET, "Patient/{me}/$everything"),
        Ask(GET, "Encounter/hidden-e/$everything"),
    ],
    "$lastn": [
        Ask(GET, "Observation/$lastn?patient=hidden&code=shared"),
        Ask(GET, "Observation/$lastn?patient={me}&max=2"),
    ],
    "$match": [
        Ask(
            POST,
            "Patient/$match",
            parameters(resource={"resource": patient((SYSTEM, "hidden"), name=[{"text": "hidden"}])}),
        )
    ],
    "$graphql": [
        Ask(POST, "$graphql", {"query": query})
        for query in (
            '{Patient(id: "hidden") {id name {text}}}',
            '{ObservationList(code: "shared") {id subject {reference resource {... on Patient {id}}}}}',
            '{PatientList(name: "shared") {id ObservationList(_reference: subject) {id}}}',
            '{ObservationConnection(code: "shared") {count edges {resource {id}}}}',
        )
    ],
    "$summary": [Ask(GET, "Patient/hidden/$summary"), Ask(GET, f"Patient/$summary?{BY_NUMBER}")],
    "$export": [
        Ask(GET, "$export?_type=Patient,Observation", headers=bulk.ASYNC),
        Ask(GET, "Patient/$export?_type=Observation", headers=bulk.ASYNC),
        Ask(GET, "Group/hidden-g/$export", headers=bulk.ASYNC),
    ],
    "$access-log": [Ask(GET, "Patient/hidden/$access-log"), Ask(GET, "Patient/{me}/$access-log")],
    "$expand": [Ask(GET, "ValueSet/hidden-v/$expand"), Ask(GET, "ValueSet/$expand?url=urn:hidden:v")],
    "$validate-code": [Ask(GET, "ValueSet/$validate-code?url=urn:hidden:v&code=a&system=urn:hidden:c")],
    "$subsumes": [Ask(GET, "CodeSystem/$subsumes?system=urn:hidden:c&codeA=a&codeB=b")],
    "$lookup": [Ask(GET, "CodeSystem/$lookup?system=urn:hidden:c&code=a")],
}

TERMS: list[dict[str, Any]] = [
    {"resourceType": "CodeSystem", "id": "hidden-c", "url": "urn:hidden:c", "status": "active",
     "content": "complete", "concept": [{"code": "a", "concept": [{"code": "b"}]}]},
    {"resourceType": "ValueSet", "id": "hidden-v", "url": "urn:hidden:v", "status": "active",
     "compose": {"include": [{"system": "urn:hidden:c"}]}},
]  # fmt: skip
FOR_OTHERS = {
    "Observation?_security=R": "finds it in the test of what is specially protected",
    "Patient/hidden/$access-log": "is for persons and privacy officers (test_audit_events)",
}

CHANGING = frozenset({"create", "update", "patch", "delete", "transaction", "batch"})
READING = [door for door in SAME if door not in CHANGING]
TELLS_NOTHING = {
    "$validate": "looks at what is sent and never at the store",
    "$viewdefinition-run": "reads what is sent along, or an export, which was asked by the same client",
    "$status": "of the caller's own Subscriptions: numbers of what was told to it",
    "$events": "numbers what was told to it, and shows of it what a search would",
    "$import": "writes as a transaction does, of which it takes every step",
}

_CHANGING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"_page=[\w%.-]+"), "_page=<place>"),
    (re.compile(r"access-\d+"), "<access>"),
)


def as_told(me: str, text: str) -> str:
    """An answer without what differs between any two, and between two readers."""
    for pattern, stand_in in _CHANGING:
        text = pattern.sub(stand_in, text)
    return text.replace(me, "{me}")


async def answered(client: httpx.AsyncClient, me: str, ask: Ask, records: Database) -> Any:
    body = None if ask.body is None else ask.body if isinstance(ask.body, str) else json.dumps(ask.body)
    path, content = f"/fhir/{ask.path}".replace("{me}", me), body and body.replace("{me}", me)
    answer = await client.request(ask.method, path, content=content, headers=ask.headers)
    assert answer.status_code < 500, (ask, answer.text)
    told = [answer.text]
    if answer.status_code == 202:
        manifest = await bulk.done(client, records, answer.headers["content-location"])
        told += sorted(await bulk.lines(client, manifest["output"]))
    told = [as_told(me, text) for text in told]
    return answer.status_code, sorted(answer.headers), answer.headers.get("etag"), told


Answers = list[tuple[Ask, Any]]


async def all_answers(client: httpx.AsyncClient, me: str, records: Database, *doors: str) -> Answers:
    asks = [ask for door in doors or SAME for ask in SAME[door]]
    return [(ask, await answered(client, me, ask, records)) for ask in asks]


def kept(me: str, **members: Any) -> list[dict[str, Any]]:
    """A patient with a visit, a result and a group; the reader's and the hidden ones are alike."""
    value = {"value": 75, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}
    codes = ["shared", "secret"] if me == "hidden" else ["shared"]
    subject = f"Patient/{me}"
    found = [
        patient((SYSTEM, me), id=me, name=[{"family": "shared", "text": me}], birthDate="1980-01-01"),
        observation(subject, id=f"{me}-o", effectiveDateTime="2024-05-01", valueQuantity=value),
        {"resourceType": "Encounter", "id": f"{me}-e", "status": "planned", "class": {"code": "AMB"},
         "subject": {"reference": subject}},
        {"resourceType": "Group", "id": f"{me}-g", "type": "person", "actual": True,
         "member": [{"entity": {"reference": subject}}]},
    ]  # fmt: skip
    if me == "hidden":
        found += TERMS
    found[1]["code"] = {"coding": [{"system": "urn:codes", "code": code, "display": code} for code in codes]}
    return [{**one, **members} for one in found]


async def keeps(client: httpx.AsyncClient, *resources: dict[str, Any]) -> None:
    answer = await client.post("/fhir", json=transaction(*map(put, resources)))
    assert answer.status_code == 200, answer.text


def _for_others(ask: Ask) -> bool:
    asked = f"{ask.path.removesuffix('/_search')}?{ask.body}" if ask.path.endswith("_search") else ask.path
    return asked.removesuffix("&_count=0") in FOR_OTHERS


def differing(before: Answers, after: Answers) -> list[tuple[Any, ...]]:
    return [(*one, other[1]) for one, other in zip(before, after, strict=True) if one != other]


async def test_every_door_has_a_verdict(fhir: httpx.AsyncClient) -> None:
    [rest] = (await fhir.get("/fhir/metadata")).json()["rest"]
    found = {one["code"] for one in rest["interaction"]}
    found |= {one["code"] for resource in rest["resource"] for one in resource["interaction"]}
    for owner in (rest, *rest["resource"]):
        found |= {f"${one['name']}" for one in owner.get("operation", ())}
    assert found - SAME.keys() - TELLS_NOTHING.keys() == set(), NO_VERDICT
    # and none for a door that is not there
    assert SAME.keys() | TELLS_NOTHING.keys() == found


async def test_whoever_may_see_it_is_told(hospital: Hospital, records: Database) -> None:
    """Otherwise the answers would be the same below whatever leaks."""
    keeper = await hospital("keeper", purpose="treatment")
    await keeps(keeper, *kept("reader"))
    before = await all_answers(keeper, "reader", records, *READING)
    await keeps(keeper, *kept("hidden"))
    after = await all_answers(keeper, "reader", records, *READING)
    same = [ask for (ask, told), (_, later) in zip(before, after, strict=True) if told == later]
    assert [ask for ask in same if "{me}" not in ask.path and not _for_others(ask)] == []


async def test_what_nothing_ties_the_reader_to(hospital: Hospital, records: Database) -> None:
    answers = []
    for me in ("reader1", "reader2"):
        client = await hospital(me, purpose="treatment")
        await keeps(client, *kept(me))
        answers.append(await all_answers(client, me, records))
        if me == "reader1":
            await keeps(await hospital("keeper", purpose="treatment"), *kept("hidden"))
    assert differing(*answers) == []


async def test_what_the_scopes_are_not_for(hospital: Hospital, records: Database) -> None:
    """Whoever names a record of the own organisation, to change it, may be told that the token is not for it;
    what is read or found tells nothing."""
    answers = []
    for me in ("reader1", "reader2"):
        organisation = {"organisation": me, "purpose": "treatment"}
        whole = await hospital("whole", **organisation)
        await keeps(whole, *kept(me, meta=MINE))
        if me == "reader2":
            await keeps(whole, *kept("hidden"))
        narrow = await hospital(me, scopes="system/*.cruds?_tag=urn:test|mine", **organisation)
        answers.append(await all_answers(narrow, me, records, *READING))
    assert differing(*answers) == []


async def test_what_is_specially_protected(hospital: Hospital, records: Database) -> None:
    """The reader treats the patient, and sees all of the record but that."""
    keeper, reader = [await hospital(name, purpose="treatment") for name in ("keeper", "reader")]
    number = (CITIZEN_NUMBER, citizen_number(95))
    _, result, *rest = kept("hidden")
    visit = {**kept("reader")[2], "status": "in-progress"}
    await keeps(keeper, patient(number, id="hidden"), *rest)
    await keeps(reader, patient(number, id="reader"), visit)
    before = await all_answers(reader, "reader", records, *READING)
    assert (await reader.get("/fhir/Patient/hidden")).status_code == 200
    await keeps(keeper, {**result, "meta": RESTRICTED})
    assert differing(before, await all_answers(reader, "reader", records, *READING)) == []
