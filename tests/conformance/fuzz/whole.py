"""One right request to `/fhir` for each body of its own form: operations, patches, Bundles, and the resources
that the server itself reads."""

from typing import Any

from health.fhir.subscriptions.topics import topics
from tests.health.support import observation, patient, transaction
from tests.health.test_fuzz import SEED

Whole = tuple[str, Any, dict[str, str]]
"""Method and path, body, headers."""

_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
_TOPIC, _FILTERS = next(iter(topics().items()))
_FILTER = next(f"{kind}?{names[0]}=Patient/p1" for kind, names in _FILTERS.items() if "patient" in names)
_JSON_PATCH = {"content-type": "application/json-patch+json"}
_ASYNC = {"prefer": "respond-async"}
_GENDER = "http://hl7.org/fhir/administrative-gender"
_LABEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_P1 = {"reference": "Patient/p1"}
_UCUM = {"unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}

_MEASURED = observation(
    "Patient/p1",
    meta={
        "tag": [{"system": "s", "code": "c"}],
        "security": [{"system": _LABEL, "code": "R"}],
        "lastUpdated": "2020-01-01T00:00:00Z",
        "versionId": "3",
        "source": "x",
    },
    identifier=[{"system": "urn:x", "value": "1"}],
    text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    effectivePeriod={"start": "2020", "end": "2021"},
    valueQuantity={"value": 72.5, **_UCUM},
    component=[{"code": {"text": "x"}, "valueRange": {"low": {"value": 1}, "high": {"value": 2}}}],
)
_SUBSCRIPTION = {
    "resourceType": "Subscription",
    "status": "requested",
    "reason": "x",
    "criteria": _TOPIC,
    "_criteria": {"extension": [{"url": f"{_BACKPORT}filter-criteria", "valueString": _FILTER}]},
    "end": "2090-01-01T00:00:00Z",
    "channel": {
        "type": "rest-hook",
        "endpoint": "https://example.org/x",
        "payload": "application/fhir+json",
        "_payload": {"extension": [{"url": f"{_BACKPORT}payload-content", "valueCode": "id-only"}]},
        "extension": [
            {"url": f"{_BACKPORT}heartbeat-period", "valueUnsignedInt": 60},
            {"url": f"{_BACKPORT}timeout", "valueUnsignedInt": 10},
            {"url": f"{_BACKPORT}max-count", "valuePositiveInt": 10},
        ],
    },
}
NEW_CODE = "nickname"
"""Of a search parameter: a type has one of a name."""
_PARAMETER = {
    "resourceType": "SearchParameter", "url": "urn:x:nickname", "name": "Nickname", "status": "active",
    "description": "x", "code": NEW_CODE, "base": ["Patient"], "type": "string",
    "expression": "Patient.name.where(use = 'nickname').given",
}  # fmt: skip
_CODES = {
    "resourceType": "CodeSystem", "url": "urn:x:codes", "status": "active", "content": "complete",
    "caseSensitive": True, "hierarchyMeaning": "is-a", "property": [{"code": "p", "type": "string"}],
    "concept": [
        {"code": "a", "display": "A", "designation": [{"language": "zh", "value": "甲"}],
         "property": [{"code": "p", "valueString": "x"}], "concept": [{"code": "b", "display": "B"}]}
    ],
}  # fmt: skip
_SET = {
    "resourceType": "ValueSet", "url": "urn:x:set", "status": "active",
    "compose": {
        "inactive": False, "lockedDate": "2020-01-01",
        "include": [
            {"system": "urn:x:codes", "version": "1",
             "concept": [{"code": "a", "display": "A", "designation": [{"language": "zh", "value": "甲"}]}]},
            {"valueSet": ["http://hl7.org/fhir/ValueSet/administrative-gender"]},
            {"system": _GENDER, "filter": [{"property": "concept", "op": "is-a", "value": "male"}]},
        ],
        "exclude": [{"system": "urn:x:codes", "concept": [{"code": "b"}]}],
    },
    "expansion": {
        "timestamp": "2020-01-01", "total": 1,
        "contains": [{"system": "urn:x:codes", "code": "a",
                      "contains": [{"system": "urn:x:codes", "code": "b"}]}],
    },
}  # fmt: skip
_CONSENT = {
    "resourceType": "Consent", "status": "active", "patient": _P1, "dateTime": "2020-01-01",
    "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope",
                          "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "policyRule": {"text": "x"},
    "provision": {
        "type": "deny", "period": {"start": "2020", "end": "2021"},
        "actor": [{"role": {"text": "x"}, "reference": _P1}],
        "securityLabel": [{"system": _LABEL, "code": "R"}], "purpose": [{"system": "s", "code": "x"}],
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}],
        "code": [{"coding": [{"system": "s", "code": "x"}]}], "provision": [{"type": "permit"}],
    },
}  # fmt: skip
_GROUP = {
    "resourceType": "Group", "type": "person", "actual": True,
    "member": [{"entity": _P1, "inactive": False, "period": {"start": "2020"}}],
}  # fmt: skip
_VIEW = {
    "resourceType": "ViewDefinition", "resource": "Patient",
    "constant": [{"name": "wanted", "valueBoolean": True}], "where": [{"path": "active = %wanted"}],
    "select": [
        {"column": [{"path": "id", "name": "id", "type": "string", "collection": False}],
         "select": [{"forEach": "name", "column": [{"path": "family", "name": "family"}]}]},
        {"unionAll": [{"forEachOrNull": "contact", "column": [{"path": "gender", "name": "gender"}]},
                      {"repeat": ["contact"], "column": [{"path": "gender", "name": "gender"}]}]},
    ],
}  # fmt: skip


def _parameters(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parameters)}


def _named(**values: dict[str, Any]) -> dict[str, Any]:
    """Parameters by their names, each said by its one other member."""
    return _parameters(*({"name": name, **value} for name, value in values.items()))


def _operations(*operations: dict[str, Any]) -> dict[str, Any]:
    return _parameters(
        *(
            {"name": "operation", "part": [{"name": name} | part for name, part in one.items()]}
            for one in operations
        )
    )


_FHIRPATH_PATCH = _operations(
    {
        "type": {"valueCode": "add"},
        "path": {"valueString": "Patient"},
        "name": {"valueString": "contact"},
        "value": {"part": [{"name": "name", "valueHumanName": {"family": "x"}},
                           {"name": "gender", "valueCode": "male"}]},
    },
    {"type": {"valueCode": "insert"}, "path": {"valueString": "Patient.name"}, "index": {"valueInteger": 0},
     "value": {"valueHumanName": {"text": "x"}}},
    {"type": {"valueCode": "move"}, "path": {"valueString": "Patient.name"}, "source": {"valueInteger": 0},
     "destination": {"valueInteger": 0}},
    {"type": {"valueCode": "delete"}, "path": {"valueString": "Patient.contact"}},
    {"type": {"valueCode": "delete"}, "path": {"valueString": "Patient.name[0]"}},
)  # fmt: skip
_BATCH: dict[str, Any] = {
    "resourceType": "Bundle", "type": "batch",
    "entry": [
        {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000002", "resource": _MEASURED,
         "request": {"method": "POST", "url": "Observation", "ifNoneExist": "identifier=urn:nobody|1"}},
        {"request": {"method": "GET", "url": "Patient?_id=p1", "ifNoneMatch": 'W/"1"',
                     "ifModifiedSince": "2020-01-01T00:00:00Z"}},
        {"request": {"method": "PATCH", "url": "Patient/p1"}, "resource": _operations(
            {"type": {"valueCode": "replace"}, "path": {"valueString": "Patient.active"},
             "value": {"valueBoolean": True}})},
        {"request": {"method": "DELETE", "url": "Patient/nobody"}},
    ],
}  # fmt: skip
_PERSON = patient(("urn:mrn", "1"), name=[{"family": "张", "given": ["三"]}], birthDate="1990-01-01")
_GRAPHQL = {
    "query": "query q($n: Int, $s: String) { PatientList(_count: $n, name: $s) { id name { family } } }",
    "variables": {"n": 1, "s": "x"},
    "operationName": "q",
}
_CONCEPT = {"coding": [{"system": "urn:x:codes", "version": "1", "code": "a", "display": "A"}]}
_MALE = {"system": _GENDER, "code": "male", "display": "Male"}
_MOMENT = {"valueInstant": "2020-01-01T00:00:00Z"}

WHOLE: list[Whole] = [
    ("POST /fhir/Observation", _MEASURED, {}),
    ("PUT /fhir/Observation/m1", {**_MEASURED, "id": "m1"}, {}),
    ("POST /fhir/Subscription", _SUBSCRIPTION, {}),
    ("POST /fhir/SearchParameter", _PARAMETER, {}),
    ("POST /fhir/CodeSystem", _CODES, {}),
    ("POST /fhir/ValueSet", _SET, {}),
    ("POST /fhir/Consent", _CONSENT, {}),
    ("POST /fhir/Group", _GROUP, {}),
    ("POST /fhir", _BATCH, {}),
    ("POST /fhir", transaction(*SEED["entry"][:2], *_BATCH["entry"][1:]), {}),
    ("PATCH /fhir/Patient/p1", _FHIRPATH_PATCH, {}),
    (
        "PATCH /fhir/Patient/p1",
        [
            {"op": "add", "path": "/contact", "value": [{"name": {"family": "x"}}]},
            {"op": "move", "from": "/contact/0", "path": "/contact/0"},
            {"op": "test", "path": "/contact/0/name", "value": {"family": "x"}},
            {"op": "copy", "from": "/contact/0", "path": "/contact/-"},
            {"op": "replace", "path": "/contact/0/name/family", "value": "y"},
            {"op": "remove", "path": "/contact"},
        ],
        _JSON_PATCH,
    ),
    (
        "POST /fhir/$viewdefinition-run",
        _named(
            viewResource={"resource": _VIEW},
            resource={"resource": patient(id="z", active=True)},
            _format={"valueCode": "csv"},
            header={"valueBoolean": True},
            _limit={"valueInteger": 10},
        ),
        {"accept": "*/*"},
    ),
    (
        "POST /fhir/ValueSet/$expand",
        _named(
            valueSet={"resource": _SET},
            filter={"valueString": "a"},
            count={"valueInteger": 2},
            offset={"valueInteger": 0},
            includeDesignations={"valueBoolean": True},
            activeOnly={"valueBoolean": True},
            displayLanguage={"valueCode": "zh"},
        ),
        {},
    ),
    (
        "POST /fhir/ValueSet/$validate-code",
        _named(valueSet={"resource": _SET}, codeableConcept={"valueCodeableConcept": _CONCEPT}),
        {},
    ),
    (
        "POST /fhir/ValueSet/$validate-code",
        _named(
            url={"valueUri": "http://hl7.org/fhir/ValueSet/administrative-gender"},
            coding={"valueCoding": _MALE},
            abstract={"valueBoolean": True},
        ),
        {},
    ),
    (
        "POST /fhir/CodeSystem/$lookup",
        _named(coding={"valueCoding": _MALE}, property={"valueCode": "display"}),
        {},
    ),
    (
        "POST /fhir/CodeSystem/$validate-code",
        _named(url={"valueUri": _GENDER}, code={"valueCode": "male"}, display={"valueString": "Male"}),
        {},
    ),
    (
        "POST /fhir/CodeSystem/$subsumes",
        _named(codingA={"valueCoding": _MALE}, codingB={"valueCoding": _MALE}),
        {},
    ),
    ("POST /fhir/$graphql", _GRAPHQL, {"content-type": "application/json"}),
    (
        "POST /fhir/Patient/$match",
        _named(
            resource={"resource": _PERSON},
            onlyCertainMatches={"valueBoolean": False},
            count={"valueInteger": 2},
        ),
        {},
    ),
    (
        "POST /fhir/Patient/p1/$everything",
        _named(
            start={"valueDate": "2020-01-01"},
            end={"valueDate": "2021-01-01"},
            _since=_MOMENT,
            _type={"valueCode": "Observation"},
            _count={"valueInteger": 2},
        ),
        {},
    ),
    ("POST /fhir/Patient/$summary", _named(identifier={"valueString": "urn:mrn|1"}), {}),
    (
        "POST /fhir/$validate",
        _named(
            resource={"resource": _MEASURED},
            mode={"valueCode": "create"},
            profile={"valueCanonical": "http://hl7.org/fhir/StructureDefinition/Observation"},
        ),
        {},
    ),
    ("POST /fhir/$validate", _MEASURED, {}),
    ("POST /fhir/Subscription/$status", _named(id={"valueId": "x"}, status={"valueCode": "active"}), {}),
    (
        "POST /fhir/$export",
        _named(
            _since=_MOMENT,
            _until=_MOMENT,
            _type={"valueString": "Patient"},
            _typeFilter={"valueString": "Patient?gender=male"},
            _outputFormat={"valueString": "ndjson"},
        ),
        _ASYNC,
    ),
    (
        "POST /fhir/Patient/$export",
        _named(patient={"valueReference": _P1}, _type={"valueString": "Patient"}),
        _ASYNC,
    ),
]
