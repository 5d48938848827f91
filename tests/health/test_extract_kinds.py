"""What values of each kind and data type are found by."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health import keys
from health.fhir import text
from health.fhir.definitions import definitions
from health.fhir.extract import BEGINLESS, ENDLESS, Rows, quantities, rows_of

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
DAY = 86_400_000_000


def found(kind: str, **members: Any) -> Rows:
    """The rows of a resource, its numbers as they are written."""
    return rows_of(text.parsed(json.dumps({"resourceType": kind, **members})))


def strings(rows: Rows, kind: str, name: str) -> set[tuple[str, str | None]]:
    return {(value, exact) for key, value, exact in rows.strings if key == keys.param_key(kind, name)}


def amounts(rows: Rows, name: str, system: str | None, unit: str | None, *asked: str) -> list[bool]:
    """Whether each amount, asked in this unit, is one of the stored ones."""
    return [
        any(
            key == row[0] and Decimal(row[1]) <= value <= Decimal(row[2])
            for key, (value,) in quantities.asked("Observation", name, system, unit, [Decimal(one)])
            for row in rows.quantities
        )
        for one in asked
    ]


class TestTokens:
    def test_a_boolean_and_a_code_are_tokens_without_system(self) -> None:
        rows = found("Patient", active=True, gender="female")
        for name, value in (("active", "true"), ("gender", "female")):
            assert keys.token_key_asked("Patient", name, None, value) in rows.tokens
            assert keys.token_key_asked("Patient", name, "", value) in rows.tokens

    def test_a_telephone_number_is_found_by_its_value_and_its_kind(self) -> None:
        rows = found(
            "Patient", telecom=[{"system": "phone", "value": "010-1"}, {"system": "email", "value": "a@b"}]
        )
        assert keys.token_key_asked("Patient", "phone", None, "010-1") in rows.tokens
        assert keys.token_key_asked("Patient", "phone", None, "a@b") not in rows.tokens
        assert keys.token_key_asked("Patient", "telecom", "email", "a@b") in rows.tokens

    def test_an_identifier_is_found_by_its_type(self) -> None:
        of = {"coding": [{"system": "urn:t", "code": "MR"}], "text": "Medical Record"}
        rows = found("Patient", identifier=[{"type": of, "system": "urn:s", "value": "7"}])
        assert keys.of_type_key("Patient", "identifier", "urn:t", "MR", "7") in rows.tokens
        assert keys.of_type_key("Patient", "identifier", "urn:t", "MR", "8") not in rows.tokens
        assert strings(rows, "Patient", "identifier:text") == {("medical record", None)}

    def test_the_words_of_a_code_are_texts_of_it(self) -> None:
        code = {"coding": [{"code": "x", "display": "Herzfrequenz"}], "text": "Puls"}
        rows = found("Observation", code=code)
        assert strings(rows, "Observation", "code:text") == {("herzfrequenz", None), ("puls", None)}

    def test_what_is_in_a_component_is_found_by_combo_alone(self) -> None:
        coding = {"coding": [{"system": LOINC, "code": "8480-6"}]}
        rows = found("Observation", component=[{"code": coding}])
        names = definitions().parameters["Observation"]["combo-code"].stored
        assert [
            keys.token_key_asked("Observation", name, LOINC, "8480-6") in rows.tokens for name in names
        ] == [name == "component-code" for name in names]

    @pytest.mark.parametrize(
        ("members", "dead"),
        [({}, "false"), ({"deceasedBoolean": False}, "false"), ({"deceasedDateTime": "2020"}, "true")],
    )
    def test_who_is_dead(self, members: dict[str, Any], dead: str) -> None:
        rows = found("Patient", **members)
        assert keys.token_key_asked("Patient", "deceased", None, dead) in rows.tokens


class TestReferences:
    def test_by_identifier_alone(self) -> None:
        rows = found(
            "Observation", subject={"type": "Patient", "identifier": {"system": "urn:s", "value": "7"}}
        )
        assert ("subject", "") in rows.references
        assert keys.token_key_asked("Observation", "subject:identifier", "urn:s", "7") in rows.tokens

    def test_a_reference_into_the_resource_is_one_and_leads_nowhere(self) -> None:
        rows = found("Observation", performer=[{"reference": "#p"}])
        assert [*rows.references] == [("performer", "")]

    def test_a_canonical_is_found_with_and_without_its_version(self) -> None:
        rows = found("QuestionnaireResponse", questionnaire="http://x/q|2")
        assert {*rows.references} == {("questionnaire", "http://x/q|2"), ("questionnaire", "http://x/q")}

    def test_only_references_to_the_type_that_the_expression_names(self) -> None:
        actor = {"actor": {"reference": "Location/1"}}
        rows = found("Appointment", participant=[actor])
        assert {name for name, _ in rows.references} == {"actor", "location"}


class TestTexts:
    @pytest.mark.parametrize(
        ("written", "folded"),
        [
            ("Müller", "muller"),
            ("  Anne\t Marie ", "anne marie"),
            ("STRASSE", "strasse"),
            ("straße", "strasse"),
            ("ＡＢＣ　Ｄ", "abc d"),
            ("张三", "张三"),
            ("ñandú", "nandu"),
            ("한글", "한글"),
            ("が", "か"),
        ],
    )
    def test_folded(self, written: str, folded: str) -> None:
        assert keys.folded(written) == folded

    @given(st.text(max_size=300))
    def test_folding_again_changes_nothing(self, written: str) -> None:
        assert keys.folded(keys.folded(written)) == keys.folded(written)

    def test_each_part_of_a_name_is_a_text(self) -> None:
        rows = found("Patient", name=[{"family": "Nguyễn", "given": ["An", None], "text": "nguyen an"}])
        assert strings(rows, "Patient", "name") == {("nguyen", "Nguyễn"), ("an", "An"), ("nguyen an", None)}
        assert strings(rows, "Patient", "family") == {("nguyen", "Nguyễn")}

    def test_each_part_of_an_address_is_a_text(self) -> None:
        rows = found("Patient", address=[{"line": ["a 1", "b"], "city": "c", "postalCode": "100000"}])
        assert {value for value, _ in strings(rows, "Patient", "address")} == {"a 1", "b", "c", "100000"}


class TestAmounts:
    def test_in_base_units_where_ucum_knows_them(self) -> None:
        rows = found(
            "Observation", valueQuantity={"value": 1.5, "system": UCUM, "code": "g", "unit": "Gramm"}
        )
        assert amounts(rows, "value-quantity", UCUM, "mg", "1500", "1501") == [True, False]
        assert amounts(rows, "value-quantity", UCUM, "g", "1.5") == [True]
        assert amounts(rows, "value-quantity", None, "g", "1.5") == [True]
        assert amounts(rows, "value-quantity", None, "Gramm", "1.5") == [True]
        assert amounts(rows, "value-quantity", "urn:other", "g", "1.5") == [False]
        assert amounts(rows, "value-quantity", None, None, "1.5", "1500") == [True, False]
        assert amounts(rows, "value-quantity", UCUM, "s", "1.5") == [False]

    def test_a_unit_that_nobody_knows_is_itself(self) -> None:
        rows = found("Observation", valueQuantity={"value": 3, "system": "urn:u", "code": "puffs"})
        assert amounts(rows, "value-quantity", "urn:u", "puffs", "3") == [True]
        assert amounts(rows, "value-quantity", None, "puffs", "3") == [True]
        assert amounts(rows, "value-quantity", UCUM, "puffs", "3") == [False]

    def test_a_unit_in_words_alone(self) -> None:
        rows = found("Observation", valueQuantity={"value": 3, "unit": "puffs"})
        assert amounts(rows, "value-quantity", None, "puffs", "3") == [True]

    def test_temperatures_do_not_begin_at_the_same_point(self) -> None:
        rows = found("Observation", valueQuantity={"value": 37, "system": UCUM, "code": "Cel"})
        assert amounts(rows, "value-quantity", UCUM, "K", "310.15", "37") == [True, False]

    @pytest.mark.parametrize(("comparator", "held"), [("<", [True, False]), (">=", [False, True])])
    def test_a_comparator_leaves_an_end_open(self, comparator: str, held: list[bool]) -> None:
        rows = found("Observation", valueQuantity={"value": 5, "comparator": comparator})
        assert amounts(rows, "value-quantity", None, None, "0.001", "5000") == held

    def test_a_range_and_money(self) -> None:
        ranges = found("Condition", onsetRange={"low": {"value": 1, "unit": "a"}})
        assert (keys.quantity_key("Condition", "onset-age"), "1", "Infinity") in ranges.quantities
        money = found("Invoice", totalNet={"value": 3.50, "currency": "CNY"})
        [(key, (value,))] = quantities.asked(
            "Invoice", "totalnet", quantities.CURRENCY, "CNY", [Decimal("3.5")]
        )
        assert (key, str(value), str(value)) in money.quantities

    def test_the_precision_that_a_number_is_written_with_does_not_count(self) -> None:
        key = keys.param_key("RiskAssessment", "probability")
        rows = rows_of(
            text.parsed('{"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.10}]}')
        )
        assert [(k, Decimal(low), Decimal(high)) for k, low, high in rows.numbers] == [
            (key, Decimal("0.1"), Decimal("0.1"))
        ]


class TestDates:
    def test_a_schedule_is_what_lies_between_its_limits(self) -> None:
        timing = {"event": ["1970-01-03", "1970-01-01"]}
        rows = found("ServiceRequest", occurrenceTiming=timing)
        assert rows.dates == {(keys.date_key("ServiceRequest", "occurrence"), 0, 3 * DAY)}

    def test_a_period_without_bounds_is_all_time(self) -> None:
        rows = found("Encounter", period={})
        assert rows.dates == {(keys.date_key("Encounter", "date"), BEGINLESS, ENDLESS)}


class TestTogether:
    """Composites: the last component's rows under the first one's token."""

    def test_what_stands_in_different_components_is_not_together(self) -> None:
        rows = found("Observation", component=[_measured("a", 1), _measured("b", 2)])
        for code, value, together in (("a", "1", True), ("a", "2", False), ("b", "2", True)):
            for system in (None, LOINC):
                name = _under("component-code-value-quantity", system, code)
                assert amounts(rows, name, None, None, value) == [together], (code, value, system)

    def test_a_code_with_a_coded_value(self) -> None:
        value = {"coding": [{"system": "urn:v", "code": "pos"}]}
        rows = found("Observation", code=_measured("a", 1)["code"], valueCodeableConcept=value)
        name = _under("code-value-concept", LOINC, "a")
        assert keys.token_key_asked("Observation", name, "urn:v", "pos") in rows.tokens
        assert keys.presence("composite", "Observation", "code-value-concept")[1] in rows.tokens
        assert keys.presence("composite", "Observation", "code-value-date")[1] not in rows.tokens

    def test_a_document_and_what_it_replaces(self) -> None:
        relation = {"code": "replaces", "target": {"reference": "DocumentReference/1"}}
        rows = found("DocumentReference", relatesTo=[relation])
        head = keys.token_key_asked("DocumentReference", "relationship", None, "replaces")
        assert (keys.composite_name("relationship", head), "DocumentReference/1") in rows.references

    def test_the_coordinates_of_a_sequence_are_one_row(self) -> None:
        chromosome = {"coding": [{"code": "1"}]}
        variant = [{"start": 128273725, "end": 128273736}]
        rows = found("MolecularSequence", referenceSeq={"chromosome": chromosome}, variant=variant)
        name = keys.composite_name(
            "chromosome-variant-coordinate",
            keys.token_key_asked("MolecularSequence", "chromosome-variant-coordinate", None, "1"),
        )
        assert (keys.param_key("MolecularSequence", name), "128273725", "128273736") in rows.numbers


def _measured(code: str, value: float) -> dict[str, Any]:
    return {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": {"value": value}}


def _under(composite: str, system: str | None, code: str) -> str:
    return keys.composite_name(composite, keys.token_key_asked("Observation", composite, system, code))


def test_a_composite_of_what_has_not_the_form_of_its_type_is_none() -> None:
    rows = found("Observation", code="8480-6", valueQuantity={"value": 1}, status="final")
    assert keys.token_key_asked("Observation", "status", None, "final") in rows.tokens
    assert keys.presence("composite", "Observation", "code-value-quantity")[1] not in rows.tokens


def test_a_place_and_a_uri() -> None:
    rows = found("Location", position={"longitude": 116.4, "latitude": 39.9})
    assert rows.position == (39.9, 116.4)
    rows = found("ValueSet", url="http://x/v", meta={"profile": ["http://x/p"]})
    assert {value for _, value in rows.uris} == {"http://x/v", "http://x/p"}


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "code", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.data())
def test_a_value_that_has_not_the_form_of_its_type_hides_no_other(data: st.DataObject) -> None:
    """Whatever stands in an element, the resource is found by its others."""
    kind = data.draw(
        st.sampled_from(["Observation", "Patient", "Encounter", "Location", "MolecularSequence"])
    )
    known = [name for name in definitions().elements[kind] if not name.startswith("_")]
    spoilt = {
        name: data.draw(_JUNK) for name in data.draw(st.sets(st.sampled_from(sorted(known)), max_size=6))
    }
    sound = {"identifier": [{"system": "urn:s", "value": "7"}]}
    rows = rows_of({**spoilt, **sound, "resourceType": kind})
    assert keys.token_key_asked(kind, "identifier", "urn:s", "7") in rows.tokens
