"""What resources are found by: dates at their precision, tokens in each form, references."""

import pytest

from health.fhir.extract import BEGINLESS, ENDLESS, interval, patient_of, period, rows_of
from health.keys import date_key, key, presence, token_key_asked

DAY = 86_400_000_000
HOUR = 3_600_000_000
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("written", "low", "length"),
    [
        ("1970", 0, 365 * DAY),
        ("1972", 730 * DAY, 366 * DAY),
        ("1970-02", 31 * DAY, 28 * DAY),
        ("1970-01-02", DAY, DAY),
        ("1970-01-01T08:00:00+08:00", 0, SECOND),
        ("1970-01-01T00:00Z", 0, 60 * SECOND),
        ("1970-01-01T00:00:00.5Z", 500_000, 100_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456, 1),
        ("1969-12-31T23:59:60Z", 0, SECOND),
        ("9999-12-31", 2932896 * DAY, DAY),
        ("9999", 2932532 * DAY, 365 * DAY),
        ("0001-01-01T00:00:00+14:00", -719162 * DAY - 14 * HOUR, SECOND),
    ],
)
def test_a_date_is_the_interval_of_its_precision(written: str, low: int, length: int) -> None:
    assert interval(written) == (low, low + length)


@pytest.mark.parametrize(
    "written", ["2023-02-30", "2023-13", "0000", "2023-01-01T24:00:00Z", "2023-1-1", "x", "2023-01-01T10"]
)
def test_what_is_no_date_is_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several messages
        interval(written)


def test_an_open_period_has_no_bound() -> None:
    assert period({"start": "1970-01-01"}) == (0, ENDLESS)
    assert period({"end": "1970-01-01"}) == (BEGINLESS, DAY)


def test_a_token_is_found_in_each_of_its_forms() -> None:
    coding = {"system": "http://loinc.org", "code": "8867-4"}
    rows = rows_of({"resourceType": "Observation", "code": {"coding": [coding]}})
    assert rows.tokens == {
        token_key_asked("Observation", "code", None, "8867-4"),
        token_key_asked("Observation", "code", "http://loinc.org", "8867-4"),
        token_key_asked("Observation", "code", "http://loinc.org", ""),
        presence("token", "Observation", "code")[1],
    }


def test_a_token_without_system_is_found_as_such() -> None:
    rows = rows_of({"resourceType": "Observation", "code": {"coding": [{"code": "x"}]}})
    assert rows.tokens == {
        token_key_asked("Observation", "code", None, "x"),
        token_key_asked("Observation", "code", "", "x"),
        presence("token", "Observation", "code")[1],
    }


def test_forms_of_different_tokens_never_meet() -> None:
    asked = {
        token_key_asked("Observation", "code", None, "a"),
        token_key_asked("Observation", "code", "", "a"),
        token_key_asked("Observation", "code", "a", ""),
        token_key_asked("Observation", "code", "a", "a"),
        token_key_asked("Condition", "code", "a", "a"),
        token_key_asked("Observation", "identifier", "a", "a"),
        key("Observation", "code"),
    }
    assert len(asked) == 7


def test_only_a_patient_counts_as_patient() -> None:
    group = {"resourceType": "Observation", "subject": {"reference": "Group/1"}}
    assert [*rows_of(group).references] == [("subject", "Group/1")]
    person = {"resourceType": "Observation", "subject": {"reference": "Patient/1/_history/2"}}
    assert {*rows_of(person).references} == {("patient", "Patient/1"), ("subject", "Patient/1")}


def test_each_variant_of_a_choice_is_indexed() -> None:
    found = rows_of(
        {"resourceType": "Procedure", "performedPeriod": {"start": "1970-01-01", "end": "1970-01-02"}}
    )
    assert found.dates == {(date_key("Procedure", "date"), 0, 2 * DAY)}


def test_the_compartment_is_that_of_whom_it_is_about() -> None:
    measured = {
        "resourceType": "Observation",
        "performer": [{"reference": "Patient/mother"}],
        "subject": {"reference": "Patient/child"},
    }
    assert patient_of(measured) == "Patient/child"
    del measured["subject"]
    assert patient_of(measured) == "Patient/mother"
    assert patient_of({"resourceType": "Organization"}) is None
