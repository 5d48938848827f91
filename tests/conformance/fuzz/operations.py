"""Operations as they may be asked, and what the server itself reads: views, parameters, Subscriptions."""

import json
from random import Random
from typing import Any

from health.fhir.definitions import definitions
from tests.conformance.fuzz.expressions import fhirpath, graphql
from tests.conformance.fuzz.resources import Resources

NDJSON = {"content-type": "application/fhir+ndjson", "prefer": "respond-async"}
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
_SYSTEM = "http://hl7.org/fhir/administrative-gender"
_SETS = ["http://hl7.org/fhir/ValueSet/administrative-gender", "http://hl7.org/fhir/ValueSet/ucum-units", "x"]
_MOMENTS = [
    "2020", "2020-01-01", "2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00",
    "0000-01-01T00:00:00Z", "2020-02-30T00:00:00Z", "9999", "2016-12-31T23:59:60Z",
]  # fmt: skip
_COUNTS = ["1", "0", "2", "100000", "9" * 30, "-1", "1.5"]
_CODES = ["male", "x", "", "a|b", "mg", "张"]
_FLAGS = ["true", "false"]
_TYPES = ["Patient", "Observation", "Patient,Observation", "ViewDefinition"]
_COMMON: dict[str, list[str]] = {
    "valueUri": [*_SETS, _SYSTEM], "valueCode": _CODES, "valueInteger": _COUNTS, "valueBoolean": _FLAGS,
    "valueInstant": _MOMENTS, "valueDate": _MOMENTS, "valueString": [*_CODES, *_TYPES, "4.0.1"],
    "valueId": ["p1", "x"],
}  # fmt: skip
_OPERATIONS: dict[str, str] = {
    "Patient/$match": "resource:resource onlyCertainMatches:Boolean count:Integer",
    "Patient/p1/$everything": "start:Date end:Date _since:Instant _type:Code _count:Integer",
    "Encounter/x/$everything": "start:Date _since:Instant",
    "Patient/p1/$summary": "profile:Uri",
    "Patient/$summary": "identifier:String",
    "ValueSet/$expand": "url:Uri valueSet:resource filter:String offset:Integer count:Integer "
    "includeDesignations:Boolean activeOnly:Boolean displayLanguage:Code valueSetVersion:String",
    "ValueSet/$validate-code": "url:Uri valueSet:resource code:Code system:Uri display:String coding:Coding "
    "codeableConcept:CodeableConcept abstract:Boolean",
    "CodeSystem/$lookup": "code:Code system:Uri coding:Coding version:String property:Code",
    "CodeSystem/$validate-code": "url:Uri code:Code coding:Coding display:String "
    "codeableConcept:CodeableConcept",
    "CodeSystem/$subsumes": "codeA:Code codeB:Code system:Uri codingA:Coding codingB:Coding",
    "$export": "_outputFormat:String _since:Instant _until:Instant _type:String _typeFilter:String",
    "Patient/$export": "_since:Instant _type:String patient:Reference _typeFilter:String",
    "Group/x/$export": "_type:String patient:Reference",
    "Subscription/$status": "id:Id status:Code",
    "Subscription/x/$events": "eventsSinceNumber:String eventsUntilNumber:String content:Code",
    "$validate": "resource:resource mode:Code profile:Uri",
    "Patient/$validate": "resource:resource mode:Code profile:Uri",
}


class Operations:
    """Each gives path, body and headers of a request; a GET has no body."""

    def __init__(self, pick: Random, resources: Resources, place: str, query: str) -> None:
        """
        Args:
            place: `Type/id` of something that may be there; query, a search of its type.
        """
        self._pick = pick
        self._resources = resources
        self._place = place
        self._kind = place.partition("/")[0]
        self._query = query

    def one(self) -> tuple[str, Any, dict[str, str]]:
        forms = [self._plain, self._plain, self._graphql, self._view, self._lastn]
        return self._pick.choice([*forms, self._import] if self._pick.randrange(4) == 0 else forms)()

    def _plain(self) -> tuple[str, Any, dict[str, str]]:
        path = self._pick.choice(sorted(_OPERATIONS))
        takes = [one.split(":") for one in _OPERATIONS[path].split()]
        chosen = self._pick.sample(takes, self._pick.randrange(min(3, len(takes)) + 1))
        if self._pick.randrange(4) == 0 and self._kind in ("ValueSet", "Encounter", "Subscription"):
            path = f"{self._place}/{path.rpartition('/')[2]}"
        headers = {"prefer": "respond-async"} if path.endswith("$export") else {}
        if (
            self._pick.randrange(2)
            and "resource" not in _OPERATIONS[path if path in _OPERATIONS else "$export"]
        ):
            pairs = [
                f"{name}={self._pick.choice(_COMMON.get(f'value{kind}', ['x']))}" for name, kind in chosen
            ]
            return f"{path}?{'&'.join(pairs)}", None, headers
        given = [self._parameter(path, name, kind) for name, kind in chosen]
        return path, {"resourceType": "Parameters", "parameter": given}, headers

    def _parameter(self, path: str, name: str, kind: str) -> dict[str, Any]:
        if kind == "resource":
            type_ = {"V": "ValueSet", "P": "Patient"}.get(path[0], self._kind)
            return {"name": name, "resource": self._resources.one(type_, 40)}
        return {"name": name, f"value{kind}": self._value(kind)}

    def _value(self, kind: str) -> Any:
        coding = {"system": _SYSTEM, "code": self._pick.choice(_CODES)}
        match kind:
            case "Coding":
                return coding
            case "CodeableConcept":
                return {"coding": [coding]}
            case "Reference":
                return {"reference": self._pick.choice(["Patient/p1", "Patient/", "x", self._place])}
            case "Boolean":
                return bool(self._pick.randrange(2))
            case "Integer":
                return self._pick.choice([0, 1, 2, -1, 10**30, 1.5])
        return self._pick.choice(_COMMON[f"value{kind}"])

    def _lastn(self) -> tuple[str, Any, dict[str, str]]:
        most = self._pick.choice(["", "&max=2", "&max=0", f"&max={'9' * 30}", "&max=1&max=1"])
        return f"Observation/$lastn?patient={self._pick.choice(['p1', 'Patient/p1', 'x/y'])}{most}", None, {}

    def _graphql(self) -> tuple[str, Any, dict[str, str]]:
        root = self._pick.randrange(3) == 0
        path = f"{self._place}/$graphql" if root else "$graphql"
        query = graphql(self._pick, self._kind, root)
        if self._pick.randrange(2):
            return path, query, {"content-type": "application/graphql"}
        return path, {"query": query, **self._pick.choice([{}, {"variables": {"v": "x"}}])}, {}

    def _view(self) -> tuple[str, Any, dict[str, str]]:
        resources = [self._resources.one(self._kind, 40) for _ in range(self._pick.randrange(1, 3))]
        given = [{"name": "resource", "resource": one} for one in resources]
        given.append({"name": "viewResource", "resource": self.view(self._kind)})
        form = self._pick.choice(["json", "csv", "ndjson", "x"])
        given.append({"name": "_format", "valueCode": form})
        return "$viewdefinition-run", {"resourceType": "Parameters", "parameter": given}, {"accept": "*/*"}

    def view(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "resourceType": "ViewDefinition",
            "resource": kind,
            "select": [self._select(2)],
        }
        if self._pick.randrange(3) == 0:
            found["where"] = [{"path": fhirpath(self._pick, kind)}]
        if self._pick.randrange(3) == 0:
            found["constant"] = [{"name": "x", "valueString": "x"}]
        return found

    def _select(self, depth: int) -> dict[str, Any]:
        kinds = ["string", "integer", "decimal", "boolean", "dateTime", "HumanName", "x"]
        columns = [
            {
                "name": f"c{self._pick.randrange(1000)}",
                "path": fhirpath(self._pick, self._kind),
                "type": self._pick.choice(kinds),
                "collection": bool(self._pick.randrange(2)),
            }
            for _ in range(self._pick.randrange(1, 3))
        ]
        found: dict[str, Any] = {"column": columns}
        if self._pick.randrange(3) == 0:
            over = self._pick.choice(["forEach", "forEachOrNull"])
            found[over] = fhirpath(self._pick, self._kind)
        if depth and self._pick.randrange(3) == 0:
            found[self._pick.choice(["select", "unionAll"])] = [self._select(depth - 1)] * 2
        if self._pick.randrange(8) == 0:
            found["repeat"] = [fhirpath(self._pick, self._kind)]
        return found

    def _import(self) -> tuple[str, Any, dict[str, str]]:
        lines = [
            json.dumps(self._resources.one(self._pick.choice([self._kind, "Patient"]), 40))
            for _ in range(self._pick.randrange(4))
        ]
        odd = [
            "",
            "{}",
            "[]",
            "null",
            "x",
            '{"resourceType": "Patient"}',
            "\ud800",
            "\x00",
            '{"id": 1e400}',
            " ",
        ]
        lines += self._pick.sample(odd, self._pick.randrange(3))
        self._pick.shuffle(lines)
        ending = self._pick.choice(["\n", "\r\n", "\n\n"])
        return "$import", ending.join(lines), NDJSON

    # Resources that mean something here

    def told(self) -> dict[str, Any]:
        """A SearchParameter or Subscription that may be taken."""
        return self._parameter_of() if self._pick.randrange(2) else self._subscription()

    def _parameter_of(self) -> dict[str, Any]:
        kinds = ["token", "reference", "date", "string", "number", "quantity", "uri", "composite", "special"]
        code = self._pick.choice([f"c{self._pick.randrange(40)}", "code", "_id", "a:b", "x.y", "_count"])
        return {
            "resourceType": "SearchParameter",
            "url": f"http://example.org/{code}",
            "name": "x",
            "status": "active",
            "description": "x",
            "code": code,
            "base": [self._pick.choice([self._kind, "Resource"])],
            "type": self._pick.choice(kinds),
            "expression": fhirpath(self._pick, self._kind, 2),
        }

    def _subscription(self) -> dict[str, Any]:
        topics = ["result-available", "encounter", "booking", "x"]
        filters = [f"{self._kind}?{self._query}", "Observation?code=a", "Observation", "Observation?", "?"]
        numbers = {"heartbeat-period": [10, 9, 2**31], "timeout": [1, 0], "max-count": [1, 10**30]}
        channel: dict[str, Any] = {
            "type": "rest-hook",
            "endpoint": self._pick.choice(
                ["http://127.0.0.1:9/x", "https://example.invalid", "x", "http://["]
            ),
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{_BACKPORT}payload-content", "valueCode": "id-only"}]},
        }
        name = self._pick.choice(sorted(numbers))
        if self._pick.randrange(2):
            number = self._pick.choice(numbers[name])
            channel["extension"] = [{"url": f"{_BACKPORT}{name}", "valueUnsignedInt": number}]
        asked = [{"url": f"{_BACKPORT}filter-criteria", "valueString": self._pick.choice(filters)}]
        return {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "x",
            "criteria": f"urn:huimin:topic:{self._pick.choice(topics)}",
            "_criteria": {"extension": asked},
            "channel": channel,
            **self._pick.choice([{}, {"end": self._pick.choice(_MOMENTS)}]),
        }


def expression_of(pick: Random, kind: str) -> str:
    """A place in a resource, as a patch names it."""
    if pick.randrange(3) == 0:
        return fhirpath(pick, kind, 2)
    return f"{kind}.{pick.choice(sorted(definitions().elements[kind]))}"
