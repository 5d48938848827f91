"""Validation: what is wrong is named by FHIRPath, what is right in China passes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.definitions import definitions
from health.fhir.positions import located
from health.fhir.validation import issues_of
from tests.health.support import observation, patient


def found(resource: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(issue.code, issue.expression) for issue in issues_of(resource, resource["resourceType"])]


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(patient(name=[{"family": "欧阳", "given": ["娜　娜"]}]), id="full-width space"),
        pytest.param(patient(name=[{"text": "张\u00a0三"}]), id="no-break space"),
        pytest.param(
            patient(
                name=[
                    {
                        "given": ["三", None],
                        "_given": [None, {"extension": [{"url": "urn:x", "valueString": "y"}]}],
                    }
                ]
            ),
            id="null beside its companion",
        ),
        pytest.param(observation(valueQuantity={"value": 1e-7}), id="small number"),
        pytest.param(
            observation(
                effectivePeriod={"start": "2020-01-01T00:00:00Z", "end": "9999-12-31T23:59:59-05:00"}
            ),
            id="until the end of the calendar",
        ),
        pytest.param(
            {"resourceType": "MedicinalProduct", "name": [{"productName": "x"}]}, id="a type R4B dropped"
        ),
        pytest.param(
            patient(
                contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
                managingOrganization={"reference": "#o"},
            ),
            id="contained",
        ),
    ],
)
def test_what_is_right_passes(resource: Any) -> None:
    assert found(resource) == []


@pytest.mark.parametrize(
    ("resource", "code", "expression"),
    [
        (patient(gender="purple"), "code-invalid", "Patient.gender"),
        (patient(birthDate="2023-02-30"), "invariant", "Patient.birthDate"),
        (patient(birthDate="23"), "value", "Patient.birthDate"),
        (
            observation(effectivePeriod={"start": "2020-01-01T00:00:00Z", "end": "2021-02-30T00:00:00Z"}),
            "invariant",
            "Observation.effective.ofType(Period)",
        ),
        (patient(nickname="x"), "structure", "Patient.nickname"),
        (patient(name=[{"given": ["a", None]}]), "structure", "Patient.name[0].given[1]"),
        (patient(name=[{"given": "a"}]), "structure", "Patient.name[0].given"),
        (patient(multipleBirthInteger=1.5), "structure", "Patient.multipleBirth.ofType(integer)"),
        (patient(id="x" * 65), "value", "Patient.id"),
        ({"resourceType": "Observation", "status": "final"}, "required", "Observation.code"),
        ({"resourceType": "Sample"}, "structure", "Sample.resourceType"),
        (
            observation(valueQuantity={"value": "72.5"}),
            "structure",
            "Observation.value.ofType(Quantity).value",
        ),
        (
            patient(contained=[{"resourceType": "Organization", "nam": "x"}]),
            "structure",
            "Patient.contained[0].nam",
        ),
        (patient(contained=[{"resourceType": "Thing"}]), "code-invalid", "Patient.contained[0].resourceType"),
        (observation(component=[{"valueString": "x"}]), "required", "Observation.component[0].code"),
        (observation(valueString="x", valueInteger=1), "structure", "Observation.value"),
    ],
)
def test_what_is_wrong_is_named(resource: Any, code: str, expression: str | None) -> None:
    assert (code, expression) in found(resource)


def test_the_definitions_are_those_of_r4() -> None:
    assert definitions().release == "4.0.1"
    assert len(definitions().resources) == 146
    parameters = definitions().parameters
    assert parameters.keys() == definitions().resources
    assert {"_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"} <= set.intersection(
        *(set(of_type) for of_type in parameters.values())
    )
    assert {one.kind for of_type in parameters.values() for one in of_type.values()} == {
        *("token", "reference", "date", "string", "number", "quantity", "uri", "composite", "special")
    }


HL7 = "http://hl7.org/fhir/StructureDefinition"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


def told(div: str) -> dict[str, Any]:
    return patient(text={"status": "generated", "div": div})


@pytest.mark.parametrize(
    "resource",
    [
        told(DIV.format("<p>体温&nbsp;36.5&#8451;</p>")),
        told(DIV.format('<img src="data:image/png;base64,AA==" alt="x"/>')),
        told(DIV.format('<a href="#s">看</a><table><tr><td colspan="2">x</td></tr></table>')),
        patient(name=[{"given": ["a"], "_given": [None, None]}]),
        patient(_birthDate={"extension": [{"url": "urn:unknown", "valueCode": "asked"}]}),
        observation(subject="Patient?identifier=urn:x|1"),
        observation(effectivePeriod={"start": "2020-01", "end": "2020-01-15"}),
    ],
)
def test_what_the_checks_let_pass(resource: dict[str, Any]) -> None:
    assert found(resource) == []


@pytest.mark.parametrize(
    ("resource", "code", "expression"),
    [
        (patient(name=[]), "structure", "Patient.name"),
        (patient(name=[{}]), "structure", "Patient.name[0]"),
        (patient(name=[{"family": ""}]), "value", "Patient.name[0].family"),
        (patient(maritalStatus={}), "structure", "Patient.maritalStatus"),
        (patient(_birthDate={"id": "alone"}), "structure", "Patient.birthDate"),
        (
            patient(name=[{"given": [None, "b"], "_given": [{"id": "x"}, None]}]),
            "structure",
            "Patient.name[0].given[0]",
        ),
        (
            patient(photo=[{"contentType": "image/png", "data": "not base64!"}]),
            "value",
            "Patient.photo[0].data",
        ),
        (patient(contact=[{"gender": "male"}]), "invariant", "Patient.contact[0]"),
        (patient(extension=[{"url": "urn:x"}]), "invariant", "Patient.extension[0]"),
        (patient(extension=[{"valueString": "x"}]), "required", "Patient.extension[0].url"),
        (
            patient(extension=[{"url": f"{HL7}/patient-birthPlace", "valueString": "杭州"}]),
            "structure",
            "Patient.extension[0].value",
        ),
        (
            patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}]),
            "invariant",
            "Patient.contained[0]",
        ),
        (
            patient(managingOrganization={"reference": "Practitioner/1"}),
            "structure",
            "Patient.managingOrganization.reference",
        ),
        (
            patient(managingOrganization={"reference": "#nobody"}),
            "not-found",
            "Patient.managingOrganization.reference",
        ),
        (
            observation(subject="http://there/fhir/Medication/1/_history/2"),
            "structure",
            "Observation.subject.reference",
        ),
        (
            observation(valueQuantity={"value": 1, "code": "kg"}),
            "invariant",
            "Observation.value.ofType(Quantity)",
        ),
        (observation(valueInteger=1, dataAbsentReason={"text": "x"}), "invariant", "Observation"),
        (
            observation(effectivePeriod={"start": "2020-02", "end": "2020-01"}),
            "invariant",
            "Observation.effective.ofType(Period)",
        ),
        (
            observation(effectiveDateTime="2017-01-01T00:00:00.0000000000Z"),
            "value",
            "Observation.effective.ofType(dateTime)",
        ),
        (
            {
                "resourceType": "Condition",
                "subject": {"reference": "Patient/1"},
                "clinicalStatus": {"coding": [{"system": "urn:own", "code": "active"}]},
            },
            "code-invalid",
            "Condition.clinicalStatus",
        ),
        (told(DIV.format("<script>alert(1)</script>")), "invariant", "Patient.text.div"),
        (told(DIV.format('<p onclick="x()">x</p>')), "invariant", "Patient.text.div"),
        (told(DIV.format('<a href=" JavaScript:x()">x</a>')), "invariant", "Patient.text.div"),
        (told(DIV.format('<p style="width: expression(x())">x</p>')), "invariant", "Patient.text.div"),
        (told(DIV.format("  ")), "invariant", "Patient.text.div"),
        (told("<div>x</div>"), "invariant", "Patient.text.div"),
        (told(DIV.format("<p>x")), "invariant", "Patient.text.div"),
        (told(DIV.format("&unknown;")), "invariant", "Patient.text.div"),
        (told("<?xml-stylesheet href='x'?>" + DIV.format("x")), "invariant", "Patient.text.div"),
    ],
)
def test_what_neither_schema_nor_models_see_is_named(
    resource: dict[str, Any], code: str, expression: str
) -> None:
    assert (code, expression) in found(resource)


def test_a_billion_laughs_are_not_expanded() -> None:
    entities = '<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12)
    )
    [issue] = issues_of(told(f"<!DOCTYPE div [{entities}]>" + DIV.format("&m;")), "Patient")
    assert "must not declare a document type" in issue.diagnostics


def test_what_stands_inside_is_checked_by_itself() -> None:
    inner = patient(contact=[{"gender": "male"}])
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]}
    assert found(bundle) == [("invariant", "Bundle.entry[0].resource.contact[0]")]
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "x", "part": [{"name": "y", "resource": inner}]}],
    }
    assert found(parameters) == [("invariant", "Parameters.parameter[0].part[0].resource.contact[0]")]


def test_line_and_column_are_those_of_an_editor() -> None:
    raw = """{
  "resourceType": "Patient",
  "name": [{"given": ["三"]}, {
    "family": 7}],
 "gender": "x"
}"""
    issues = located(raw.encode(), "Patient", issues_of(json.loads(raw), "Patient"))
    assert {(issue.expression, issue.line, issue.column) for issue in issues} == {
        ("Patient.name[1].family", 4, 15),
        ("Patient.gender", 5, 12),
    }


NAMES = st.sampled_from(sorted(definitions().elements["Patient"])) | st.text(max_size=3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(ANYTHING)
def test_nothing_sent_breaks_the_checks(said: Any) -> None:
    members = said if isinstance(said, dict) else {"name": said}
    for issue in issues_of({**members, "resourceType": "Patient"}, "Patient"):
        assert issue.expression is not None
