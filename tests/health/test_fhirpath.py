"""FHIRPath: what the specification's examples say, and the same answers as an engine of other people."""

from contextlib import suppress
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.definitions import rules
from health.fhir.fhirpath import FHIRPathError, compiled, root
from tests.health.support import observation, patient

ZHANG: dict[str, Any] = patient(
    active=True,
    birthDate="1974-12-25",
    _birthDate={"extension": [{"url": "urn:time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    name=[
        {"use": "official", "family": "张", "given": ["三", "小三"]},
        {"use": "usual", "given": ["阿三", None], "_given": [None, {"id": "g"}]},
    ],
    contained=[{"resourceType": "Organization", "id": "o", "name": "院"}],
    managingOrganization={"reference": "#o"},
    generalPractitioner=[{"reference": "Practitioner/7"}],
    deceasedBoolean=False,
)
PRESSURE: dict[str, Any] = observation(
    valueQuantity={"value": 72.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    effectivePeriod={"start": "2020-01-01", "end": "2020-01-02T10:00:00+08:00"},
    component=[{"code": {"text": "a"}, "valueInteger": 1}, {"code": {"text": "b"}, "valueInteger": 3}],
)


def said(expression: str, resource: dict[str, Any] = ZHANG) -> list[Any]:
    return [node.value for node in compiled(expression)(root(resource))]


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("Patient.name.given", ["三", "小三", "阿三", None]),
        ("name.where(use = 'official').given.first()", ["三"]),
        ("Observation.name", []),
        ("Resource.birthDate", ["1974-12-25"]),
        ("birthDate.extension('urn:time').value", ["1974-12-25T14:35:45-05:00"]),
        ("name.given.count()", [4]),
        ("name.given.select(hasValue())", [True, True, True, False]),
        ("name[1].use | name[0].use | name[1].use", ["usual", "official"]),
        ("managingOrganization.resolve().name", ["院"]),
        ("generalPractitioner.resolve() is Practitioner", [True]),
        ("generalPractitioner.where(resolve() is Organization).exists()", [False]),
        ("deceased", [False]),
        ("deceased.ofType(boolean).exists()", [True]),
        ("deceased as dateTime", []),
        ("gender.exists() implies gender = 'male'", [True]),
        ("{} and false", [False]),
        ("{} or {}", []),
        ("birthDate < @1975", [True]),
        ("birthDate = @1974-12", []),
        ("birthDate = @1974-11", [False]),
        ("@2012-04-15T15:00:00Z = @2012-04-15T10:00:00-05:00", [True]),
        ("@2012-04-15T15:00:00 = @2012-04-15T10:00:00Z", []),
        ("@T10:30 < @T10:30:01", []),
        ("'abc'.matches('b') and 'abc'.matches('^b').not()", [True]),
        ("'2008-07'.replaceMatches('(\\\\d+)-(\\\\d+)', '$2/$1')", ["07/2008"]),
        ("1 + 2 * 3 = 7 and 7 div 2 = 3 and -7 mod 2 = -1", [True]),
        ("1 / 0", []),
        ("1.0 = 1 and 1.10 ~ 1.1", [True]),
        ("1 week = 7 days", [True]),
        ("(1 | 2 | 3).aggregate($this + $total, 0)", [6]),
        ("name.given.select($index)", [0, 1, 2, 3]),
        ("Patient.active.type().name", ["boolean"]),
        ("iif(active, 'yes', 'no')", ["yes"]),
        ("descendants().where($this is id)", ["o"]),
        ("%ucum", ["http://unitsofmeasure.org"]),
        ("`name`.`given`.last().empty() // a comment", [False]),
    ],
)
def test_what_an_expression_gives(expression: str, answer: list[Any]) -> None:
    assert said(expression) == answer


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("name.", "a name, a function or a value"),
        ("name..given", "a name"),
        ("name.where(", "found 'the end'"),
        ("name where", "an operator or the end"),
        ("nosuch()", "there is no function nosuch()"),
        ("where()", "takes 1 to 1"),
        ("name.first(1)", "takes 0 to 0"),
        ("memberOf('urn:x')", "there is no function memberOf()"),
        ("'a' ~~ 'b'", "expected"),
        ("'open", "FHIRPath"),
    ],
)
def test_what_is_no_fhirpath_is_refused_with_its_place(expression: str, words: str) -> None:
    with pytest.raises(FHIRPathError) as error:
        compiled(expression)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("name.given.substring(1)", "one value is wanted here, there are 4"),
        ("active > 'a'", "no order between"),
        ("name + 1", "one value"),
        ("%nobody", "nobody says what %nobody is"),
        ("name.given.matches('(')", "one value"),
        ("name.first().given.first().matches('(')", "no regular expression"),
        ("active.repeat($this.toString() & 'x')", "more than"),
    ],
)
def test_what_the_values_do_not_allow_is_said(expression: str, words: str) -> None:
    with pytest.raises(FHIRPathError) as error:
        said(expression)
    assert words in str(error.value)


def test_what_is_found_keeps_its_place() -> None:
    places = [node.steps for node in compiled("name.given")(root(ZHANG))]
    assert places == [["name", i, "given", j] for i in (0, 1) for j in (0, 1)]
    [value] = compiled("component.value.where($this > 2)")(root(PRESSURE))
    assert value.steps == ["component", 1, "valueInteger"]


ASKED = [
    "name.given.where($this.length() > 1)",
    "name.family",
    "name.exists(use = 'usual')",
    "name.all(given.exists())",
    "birthDate.toString().substring(0, 4)",
    "name.select(given.first())",
    "name.given.distinct().count()",
    "contained.name.upper()",
    "identifier.empty()",
    "name.tail().use",
    "name.use.intersect('usual' | 'old')",
    "name.use.exclude('usual')",
    "active and deceased.not()",
    "value.value * 2",
    "value.unit.startsWith('k')",
    "component.value.where($this >= 2)",
    "component.code.text.combine('x')",
    "component.count() > 1 xor value.exists()",
    "(component.code.text | component.code.text).count()",
    "effective.start",
    "component.value.select($this.toString() & '!')",
    "status in ('final' | 'amended')",
    "code.coding.code.first().length()",
]


# The other engine knows no primitive without a value.
LI: dict[str, Any] = {name: value for name, value in ZHANG.items() if name != "_birthDate"} | {
    "name": [{"use": "official", "family": "李", "given": ["四", "小四"]}, {"use": "usual", "given": ["四"]}]
}


@pytest.mark.parametrize("resource", [LI, PRESSURE], ids=["Patient", "Observation"])
@pytest.mark.parametrize("expression", ASKED)
def test_another_engine_answers_the_same(expression: str, resource: dict[str, Any]) -> None:
    theirs = fhirpathpy.evaluate(resource, expression, model=models["r4"])
    ours = [float(value) if hasattr(value, "as_tuple") else value for value in said(expression, resource)]
    assert ours == theirs


def test_every_invariant_of_r4_compiles_and_runs_on_anything() -> None:
    of_types = rules().types.values()
    texts = {text for found in of_types for _, _, text in found}
    assert len(texts) > 150
    for text in texts:
        compiled(text)(root(ZHANG), names={"%context": []})


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with suppress(FHIRPathError):
        compiled(text)(root(ZHANG))
