"""What is spared the R4B models would have passed them: they ask no more than the schema, our checks and the
doubts do, of any type; and of awkward values likewise."""

import types
import typing
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from fhir_core.constraints import FHIR_PRIMITIVES_MAPS
from hypothesis import given, settings
from hypothesis import strategies as st

from health.fhir.definitions import definitions, rules
from health.fhir.validation import checks, doubts, tiers
from tests.health.support import observation, patient

Differing = dict[str, set[str]]

AWKWARD: list[Any] = [
    "2023-02-30", "2023-02-29T10:00:00Z", "2016-12-31T23:59:60Z", "2020", "2020-02", "0001-01-01", "-0",
    "9999-12-31T23:59:59+14:00", "2020-01-01T00:00:00.1234567Z", "23:59:60", "12:00:00.123456789", "\u3000",
    "\u00a0", " ", "\x85", "\x0b", "\u2028", "\ufeff", "a\x85\x85b", "a\u00a0\u00a0b", "é", "", "Patient",
    "http://x y", "urn:oid:1.2.3", "urn:uuid:c757873d-ec9a-1326-a141-556f43239520", "no url", "====",
    "A", "QUJD\n", "#a", None, 0, 1, -1, 2**31, 2**31 - 1, -(2**31) - 1, 1.5, 1e-9, 1e22, 1e308, -0.0, True,
    [], {},
]  # fmt: skip


def test_the_models_ask_for_no_element_that_r4_does_not() -> None:
    differing: Differing = {}
    seen: dict[str, Any] = {}
    for kind in definitions().resources:
        if (model := tiers._model(kind)) is not None:
            _compare(kind, model, seen, differing)
    assert differing == {}
    assert {"HumanName", "Claim_Item", "Timing_Repeat", "ElementDefinition"} <= seen.keys()


def _compare(kind: str, model: Any, seen: dict[str, Any], differing: Differing) -> None:
    """Of elements that R4B lacks the models say nothing that is heeded."""
    if kind in seen:
        assert seen[kind] is model
        return
    seen[kind] = model
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    for name, type_ in definitions().elements[kind].items():
        if name[0] == "_" or name not in fields:
            continue
        wanted, many = type_.rstrip("*"), type_.endswith("*")
        found, found_many = _type_of(fields[name].annotation)
        below = found.get_model_klass() if hasattr(found, "get_model_klass") else None
        said = FHIR_PRIMITIVES_MAPS.get(found) if below is None else below.__name__
        own = below is not None and "_" in wanted
        if many != found_many or (said != wanted and not own):
            differing.setdefault(kind, set()).add(name)
        elif below is not None and wanted in definitions().elements:
            _compare(wanted, below, seen, differing)
    asked = {*rules().minimum.get(kind, ()), *tiers._definitions_for_schema()[kind].get("required", ())}
    if more := set(_required(model, fields)) - asked:
        differing.setdefault(kind, set()).update(more)


def _required(model: Any, fields: dict[str, Any]) -> Iterator[str]:
    bare = model.model_construct()
    names = model.model_fields
    yield from (name for name, field in fields.items() if field.is_required())
    yield from (names[name].alias or name for name, _ in bare.get_required_fields())
    for choice, options in bare.get_one_of_many_fields().items():
        if names[options[0]].json_schema_extra["one_of_many_required"]:
            yield choice


def _type_of(annotation: Any) -> tuple[Any, bool]:
    """What an annotation comes to without `| None`, and whether it is a list of it."""
    many = False
    while annotation not in FHIR_PRIMITIVES_MAPS:
        origin = typing.get_origin(annotation)
        options = [one for one in typing.get_args(annotation) if one is not type(None)]
        if origin not in (typing.Union, types.UnionType, list):
            break
        many = many or origin is list
        annotation = options[0]
    return annotation, many


def _spared(resource: dict[str, Any]) -> bool:
    kind = resource["resourceType"]
    if list(tiers.schema_issues(kind, resource, kind)) or checks.issues_of(resource, kind, shaped=True):
        return False
    return not doubts.doubtful(resource)


def test_awkward_primitives_are_spared_the_models_where_these_pass_them() -> None:
    known = definitions()
    spared = set()
    for name, type_ in known.elements["Extension"].items():
        if name.startswith("value") and type_ not in known.elements:
            for value in AWKWARD:
                resource = patient(extension=[{"url": "urn:x", name: value}])
                if _spared(resource):
                    spared.add(type_)
                    assert list(tiers._model_issues(resource, "Patient")) == [], (name, value)
    assert spared >= {"string", "code", "dateTime", "decimal", "integer", "base64Binary"}


RESOURCES = [
    patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
            managingOrganization={"reference": "#o"}, name=[{"family": "欧阳", "given": ["娜娜", "x"]}],
            birthDate="1970-01-01", multipleBirthInteger=2,
            photo=[{"contentType": "image/png", "data": "QUJD", "creation": "2020"}]),
    observation(valueQuantity={"value": 1.5, "unit": "mg"}, effectiveDateTime="2020-01-01T10:00:00+08:00",
                issued="2020-01-01T10:00:00Z", component=[{"code": {"text": "x"}, "valueTime": "10:00:00"}]),
]  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for at, below in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, at
        if isinstance(below, dict | list):
            yield from _places(below)


@settings(max_examples=300)
@given(
    st.sampled_from(RESOURCES),
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(AWKWARD) | st.text(max_size=3)), max_size=2),
    st.sampled_from([None, "_status", "_birthDate", "fhir_comments", "language"]),
)
def test_what_is_spared_the_models_they_would_have_passed(
    resource: dict[str, Any], changes: list[tuple[int, Any]], beside: str | None
) -> None:
    changed = deepcopy(resource)
    for number, value in changes:
        places = [place for place in _places(changed) if place[1] != "resourceType"]
        holder, at = places[number % len(places)]
        holder[at] = value
    if beside is not None:
        changed[beside] = {"extension": [{"url": "urn:x", "valueString": "y"}]}
    if _spared(changed):
        assert list(tiers._model_issues(changed, "x")) == []


def test_ordinary_resources_are_spared_the_models() -> None:
    assert all(_spared(resource) for resource in RESOURCES)
    for date in ("2023-02-30", "2016-12-31T23:59:60Z"):
        assert doubts.doubtful(observation(effectiveDateTime=date))


def test_what_r4b_made_anew_is_held_against_r4_alone() -> None:
    background = {"identifier": {"system": "urn:x", "value": "1"}}
    evidence = {"resourceType": "Evidence", "status": "draft", "exposureBackground": background}
    assert tiers.issues_of({**evidence, "date": "2016-12-31T23:59:60Z"}, "Evidence") == []
    by_data = {"definitionDataRequirement": {"type": "Observation"}, "participantEffectiveDateTime": "2020"}
    variable = {"resourceType": "EvidenceVariable", "status": "draft", "characteristic": [by_data]}
    assert tiers.issues_of({**variable, "date": "2016-12-31T23:59:60Z"}, "EvidenceVariable") == []
    del evidence["exposureBackground"]
    [issue] = tiers.issues_of(evidence, "Evidence")
    assert issue.expression == "Evidence.exposureBackground"
