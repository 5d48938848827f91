"""Validation: what is wrong is named by FHIRPath, what is right in China passes."""

from typing import Any

import pytest

from health.fhir.definitions import definitions
from health.fhir.validate import issues_of
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
            {"resourceType": "MedicinalProduct", "name": [{"productName": "x"}]}, id="a type R4B dropped"
        ),
        pytest.param(
            patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}]), id="contained"
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
        (patient(nickname="x"), "structure", "Patient.nickname"),
        (patient(name=[{"given": ["a", None]}]), "structure", "Patient.name[0].given[1]"),
        (patient(name=[{"given": "a"}]), "structure", "Patient.name[0].given"),
        (patient(multipleBirthInteger=1.5), "structure", "Patient.multipleBirth.ofType(integer)"),
        (patient(id="x" * 65), "value", "Patient.id"),
        ({"resourceType": "Observation", "status": "final"}, "required", "Observation"),
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
        (observation(component=[{"valueString": "x"}]), "required", "Observation.component[0]"),
        (observation(valueString="x", valueInteger=1), "invariant", "Observation"),
    ],
)
def test_what_is_wrong_is_named(resource: Any, code: str, expression: str | None) -> None:
    assert (code, expression) in found(resource)


def test_the_definitions_are_those_of_r4() -> None:
    assert definitions().release == "4.0.1"
    assert len(definitions().resources) == 146
    assert {p for of_type in definitions().parameters.values() for p in of_type} == {
        "identifier", "patient", "code", "date",
    }  # fmt: skip
