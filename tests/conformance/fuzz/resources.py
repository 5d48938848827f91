"""Resources of any type of R4 that are right, or nearly: what must be there and some of what may be."""

from collections.abc import Iterable, Mapping
from functools import cache
from random import Random
from typing import Any

from health.fhir.definitions import definitions, json_schema, rules
from health.fhir.validation import tiers

LITERAL = "literal:"
"""Begins a text that is to be written as a number, as it stands."""
_DEPTH = 3
"""Elements inside of elements that need not be there."""
_TRIES = 3
_UCUM = "http://unitsofmeasure.org"
_LEFT_OUT = {"id", "meta", "contained", "implicitRules", "modifierExtension", "extension"}
_MOMENTS = [
    "2020-01-01T00:00:00Z", "2026-05-01T08:00:00+08:00", "1999-12-31T23:59:59.123Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999-12:00", "2016-12-31T23:59:60Z",
]  # fmt: skip
_PRIMITIVES: dict[str, list[Any]] = {
    "base64Binary": ["QUJD", "5byg"],
    "boolean": [True, False],
    "canonical": ["http://example.org/x", "http://example.org/x|1"],
    "code": ["x", "A-1"],
    "date": ["2020", "2020-02", "2020-02-29", "0001", "9999-12", "9999-12-31"],
    "dateTime": ["2020", "2020-02-29", "0001-01", "9999", *_MOMENTS],
    "decimal": [0, 1.5, -1e-9, 72.50, 10**12, 1e-300, 91, -1e300],
    "id": ["a", "p1"],
    "instant": _MOMENTS,
    "integer": [0, 1, -1, 2**31 - 1],
    "markdown": ["**x**", "张三"],
    "oid": ["urn:oid:1.2.3"],
    "positiveInt": [1, 2, 2**31 - 1],
    "string": ["x", "张三", "O'Brien", "50 %", "a,b|c$d\\"],
    "time": ["10:00:00", "23:59:59.5"],
    "unsignedInt": [0, 3],
    "uri": ["urn:oid:2.999.1", "http://example.org/x", "urn:mrn", f"http://x/{'a' * 3000}"],
    "url": ["http://example.org/x"],
    "uuid": ["urn:uuid:00000000-0000-4000-8000-000000000009"],
    "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml">张三</div>'],
}
_ALSO = {
    "AllergyIntolerance": ["clinicalStatus"],
    "Appointment_Participant": ["actor"],
    "AppointmentResponse": ["actor"],
    "CapabilityStatement": ["rest", "description", "software"],
    "Consent": ["policyRule"],
    "ImmunizationRecommendation_Recommendation": ["vaccineCode"],
    "InsurancePlan": ["name"],
    "Organization": ["name"],
    "StructureDefinition": ["baseDefinition", "differential"],
    "TerminologyCapabilities": ["description"],
}
"""Elements that invariants ask for where R4's cardinalities do not."""
_OPEN_SETS = {"mimetypes": "text/plain", "ucum-units": "mg"}
"""Codes of required bindings whose value sets are no closed lists."""


def _quantity(unit: str, value: float = 3) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": _UCUM, "code": unit}


_WHOLE: dict[str, list[Any]] = {
    "Age": [_quantity("a")],
    "Attachment": [{"contentType": "text/plain", "data": "QUJD"}, {"url": "http://example.org/x"}],
    "Count": [_quantity("1")],
    "Distance": [_quantity("km")],
    "Dosage": [{"text": "x", "doseAndRate": [{"doseQuantity": _quantity("mg")}]}],
    "Duration": [_quantity("min")],
    "ElementDefinition": [{"path": "Patient", "id": "Patient"}],
    "Expression": [{"language": "text/fhirpath", "expression": "true"}],
    "Extension": [{"url": "http://example.org/x", "valueString": "x"}],
    "Meta": [{"tag": [{"system": "urn:x", "code": "x"}]}],
    "Narrative": [{"status": "generated", "div": _PRIMITIVES["xhtml"][0]}],
    "ParameterDefinition": [{"use": "in", "type": "string", "name": "x"}],
    "Period": [
        {"start": "2020"},
        {"start": "2020-01-01", "end": "2021-01-01T10:00:00+08:00"},
        {"end": "2021"},
    ],
    "Quantity": [_quantity("mg", 72.5), _quantity("g", 0.5), {"value": 7}, {"value": 1, "comparator": "<"}],
    "Range": [{"low": _quantity("mg", 1), "high": _quantity("mg", 2)}],
    "Ratio": [{"numerator": _quantity("mg"), "denominator": _quantity("mL")}],
    "Resource": [{"resourceType": "Basic", "code": {"text": "x"}}],
    "TriggerDefinition": [{"type": "named-event", "name": "x"}],
    "Timing": [{"event": ["2020-01-01"]}, {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}],
}


_schema = cache(json_schema)


class Resources:
    """Resources, each choice made by `pick`; references lead to what is known.

    Args:
        known: `Type/id` of what was stored, by type.
        local: type of what stands beside in one Bundle, by its `fullUrl`.
    """

    def __init__(self, pick: Random, known: Mapping[str, Iterable[str]], local: Mapping[str, str]) -> None:
        self._pick = pick
        self._known = known
        self._local = local

    def one(self, kind: str, more: int = 12) -> dict[str, Any]:
        """A resource that breaks no rule, where a few tries come to one.

        Args:
            more: of a hundred elements that need not be there how many are.
        """
        for chance in (*[more] * _TRIES, 0):
            found = {"resourceType": kind, **self._members(kind, chance, 0)}
            if not tiers.issues_of(found, kind):
                break
        return found

    def _members(self, owner: str, chance: int, depth: int) -> dict[str, Any]:
        known = definitions()
        needed = {
            *rules().minimum.get(owner, ()),
            *_schema()[owner].get("required", ()),
            *_ALSO.get(owner, ()),
        }
        options: dict[str, list[str]] = {}
        for name in sorted(known.elements[owner]):
            if name[0] != "_" and name not in _LEFT_OUT:
                options.setdefault(known.choices.get(name, (name, ""))[0], []).append(name)
        found = {}
        for base, names in options.items():
            if base in needed or (depth < _DEPTH and self._pick.randrange(100) < chance):
                name = self._pick.choice(names)
                type_ = known.elements[owner][name]
                values = [
                    self._value(owner, base, type_.rstrip("*"), chance // 2, depth + 1)
                    for _ in range(self._pick.choice([1, 1, 2]) if type_.endswith("*") else 1)
                ]
                found[name] = values if type_.endswith("*") else values[0]
        return found or {"id": "x"}  # an element is not empty

    def _value(self, owner: str, name: str, kind: str, chance: int, depth: int) -> Any:
        if kind == "Reference":
            return self._reference(rules().targets.get(owner, {}).get(name, definitions().resources))
        if kind in ("code", "Coding", "CodeableConcept"):
            return self._coded(kind, rules().bindings.get(owner, {}).get(name))
        if kind in _WHOLE:
            return self._pick.choice(_WHOLE[kind])
        if kind in _PRIMITIVES:
            return self._pick.choice(_PRIMITIVES[kind])
        return self._members(kind, chance, depth)

    def _coded(self, kind: str, value_set: str | None) -> Any:
        systems = rules().codes.get(value_set or "")
        if systems:
            system = self._pick.choice(sorted(systems))
            code = self._pick.choice(sorted(systems[system]))
        else:
            system, code = "http://example.org/codes", self._pick.choice(["a", "b"])
            code = _OPEN_SETS.get((value_set or "").rpartition("/")[2], code)
        coding = {"system": system, "code": code, "display": code}
        return {"code": code, "Coding": coding, "CodeableConcept": {"coding": [coding]}}[kind]

    def _reference(self, types: Iterable[str]) -> dict[str, Any]:
        allowed = frozenset(types)
        stored = [one for kind in sorted(allowed & self._known.keys()) for one in self._known[kind]]
        found = [*stored, *(url for url, kind in self._local.items() if kind in allowed)]
        if found and self._pick.randrange(4):
            return {"reference": self._pick.choice(found)}
        return {"identifier": {"system": "urn:mrn", "value": "1"}, "display": "张三"}
