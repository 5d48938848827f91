"""FHIRPath: what the specification's examples say, and the same answers as an engine of other people."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.definitions import rules
from health.fhir.fhirpath import FHIRPathError, Node, compiled, root
from health.fhir.ucum import canonical
from health.fhir.validation.plans import plan
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
        ("@2024-01-31 + 1 month", ["2024-02-29"]),
        ("@2024 + 25 months", ["2026"]),
        ("@2024-03-01T00:00:00.000+08:00 - 1 second", ["2024-02-29T23:59:59.000+08:00"]),
        ("@T23:30 + 1 hour", ["00:30"]),
        ("@9999-12-31 + 1 day", []),
        ("@2024 + " + "9" * 400 + " years", []),
        ("4 'g' = 4000 'mg' and 37 'Cel' > 98 '[degF]'", [True]),
        ("1 year = 1 'a'", []),
        ("1 year ~ 1 'a' and 1 year = 12 months", [True]),
        ("2 'cm' * 2 'm' = 0.04 'm2' and 1 'g' + 1 'mg' = 1001 'mg'", [True]),
        ("1.587.lowBoundary(2) | 1.587.highBoundary(2)", [Decimal("1.58"), Decimal("1.59")]),
        ("birthDate.lowBoundary() | @1974.highBoundary(6)", ["1974-12-25", "1974-12"]),
        ("@2014-01-01T08.highBoundary()", ["2014-01-01T08:59:59.999-12:00"]),
        ("1.58700.precision() | @2014-01.precision()", [5, 6]),
        ("name.given.where(hasValue()).sort(-length(), $this)", ["小三", "阿三", "三"]),
        ("conformsTo(%`ext-Patient`)", [True]),
        ("'<a>'.escape('html').unescape('html')", ["<a>"]),
        ("getResourceKey() = id", []),
        ("generalPractitioner.getReferenceKey(Practitioner)", ["7"]),
        ("@9999-12-31T23:59:59-05:00 > @2026-01-01T00:00:00Z", [True]),
        ("@2000-02-29T23:30:00-02:00 = @2000-03-01T01:30:00Z", [True]),
        ("1000000000000000000000000000000.5 ~ 1.5", [False]),
        ("'\\ud83d\\ude00'", ["😀"]),
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
        ("active as truth", "there is no type truth"),
        ("1" * 5000, "at most 4000 digits"),
        ("'\\ud83d'", "no character"),
        ("(" * 5000, "nested too deep"),
        ("name" + ".name" * 5000, "nested too deep"),
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
        ("birthDate + 1 'mo'", "cannot be added"),
        ("iif('x', 1, 2)", "true or false"),
        ("conformsTo('urn:own')", "not known here"),
        ("@2021-02-30T10:00:00Z < now()", "not what its type says"),
        ("birthDate.replaceMatches('.', '$9')", "invalid group reference"),
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


@pytest.mark.parametrize(
    ("value", "unit", "canon"),
    [
        ("1000", "mg", ("1", "g")),
        ("60", "/min", ("1", "s-1")),
        ("5", "mmol/L", ("5", "m-3.mol")),
        ("120", "mm[Hg]", ("15998640", "g.m-1.s-2")),
        ("98.6", "[degF]", ("310.15", "K")),
        ("2", "k[IU]", ("2000", "[iU]")),
        ("7", "10*3/uL{cells}", ("7e12", "m-3")),
        ("1", "{score}", ("1", "1")),
    ],
)
def test_amounts_have_one_canonical_form(value: str, unit: str, canon: tuple[str, str]) -> None:
    assert canonical(Decimal(value), unit) == (Decimal(canon[0]), canon[1])


@pytest.mark.parametrize(
    ("value", "unit"),
    [("1e999999999", "mg"), ("1e-999999999", "mg"), ("0e-999999999", "Cel"), ("1", ".".join(["fm99"] * 12))],
)
def test_amounts_beyond_all_measure_are_not_reckoned_with(value: str, unit: str) -> None:
    assert canonical(Decimal(value), unit) is None


@given(st.text(alphabet="mgskL/.()[]{}0123-*% ", max_size=20))
def test_what_is_no_unit_is_none(unit: str) -> None:
    found = canonical(Decimal(2), unit)
    assert found is None or canonical(Decimal(1), found[1]) is not None


MEMBERS = st.dictionaries(st.integers(0, 200), st.integers(0, 3), max_size=6)


@given(st.sampled_from(sorted(rules().types)), MEMBERS)
def test_an_invariant_settled_by_what_is_there_holds_when_it_is_run(
    kind: str, picked: dict[int, int]
) -> None:
    found = plan(kind)
    assert found is not None
    names = sorted(found.elements)
    value = {}
    for at, form in picked.items():
        name = names[at % len(names)]
        value[name] = ("x", [], {"id": "x"}, [{"id": "x"}])[form]
    node = Node(value, kind)
    given_names = {name: [node] for name in ("%resource", "%rootResource", "%context")}
    for one in found.invariants:
        if one.surely_holds(value):
            with suppress(FHIRPathError):
                assert one.path.holds(node, given_names), one.path.text


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with suppress(FHIRPathError):
        compiled(text)(root(ZHANG))
