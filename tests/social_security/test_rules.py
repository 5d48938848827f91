"""Every rule on its own tests, against a brute-force oracle, and on two engines."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from social_security.analytics.audit import expression, finding_of, findings
from social_security.analytics.pack import RULES, Rule, load_pack
from tests.social_security.oracle import Data, Expected, expected
from tests.social_security.tables import duckdb_with, filled, put_into

PACK = load_pack()
SQL = {
    engine: [
        (rule, form, str(ibis.to_sql(expression(rule, form), dialect=engine)))
        for rule in PACK.rules.values()
        for form in rule.forms
    ]
    for engine in ("duckdb", "postgres")
}
CASES = [(rule, test) for rule in PACK.rules.values() for test in rule.tests]


def _told(finding: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a rule's own tests say it."""
    return {
        "form": finding["form"],
        "subject": finding["subject"],
        "evidence": [f"{key['kind']} {key['key']}" for key in finding["evidence"]],
        "amount_at_risk": finding["amount_at_risk"],
    }


@pytest.mark.parametrize(("rule", "test"), CASES, ids=[f"{rule.id}: {test.name}" for rule, test in CASES])
def test_a_rule_holds_on_its_own_tests(rule: Rule, test: Any) -> None:
    connection = duckdb_with(filled(test.given))
    assert [_told(finding) for finding in findings(connection, rule)] == test.expect


@pytest.mark.parametrize("rule", PACK.rules.values(), ids=PACK.rules.keys())
def test_every_form_has_a_case_and_every_rule_two_near_misses(rule: Rule) -> None:
    assert {found["form"] for test in rule.tests for found in test.expect} == rule.forms.keys()
    assert len([test for test in rule.tests if not test.expect]) >= 2


# Few values for each column, so that rows meet.
_PEOPLE = st.sampled_from(["A", "B", "C"])
_ORGANISATIONS = st.sampled_from(["O", "Q"])
_MONTHS = st.sampled_from([date(2014, 6, 1), date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)])
_DAYS = st.sampled_from([date(2021, 4, 30), date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 28)])
_AMOUNTS = st.sampled_from([Decimal("0.00"), Decimal("80.00"), Decimal("80.01"), Decimal("1500.00")])
_CURRENCIES = st.sampled_from(["CNY", "CNY", "CNY", "HKD"])
_BENEFITS = st.sampled_from(["pension", "pension", "unemployment_benefit", "minimum_living"])
_PENSIONS = st.sampled_from(["employee_pension", "resident_pension", "employee_medical"])


def _rows(key: str, **columns: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Up to nine rows, each with a key of its own."""
    rows = st.lists(st.fixed_dictionaries(columns), max_size=9)
    return rows.map(lambda found: [{key: f"{key[0]}{at}", **row} for at, row in enumerate(found)])


_CLAIMS = _rows(
    "claim_id", organisation=st.just("O"), person=_PEOPLE, provider_uscc=st.sampled_from(["P", "R"])
)
_LINES = st.lists(
    st.fixed_dictionaries(
        {
            "organisation": _ORGANISATIONS,
            "claim_id": st.sampled_from([f"c{at}" for at in range(9)]),
            "item_code": st.sampled_from(["I", "J"]),
            "service_date": _DAYS,
            "unit_price": _AMOUNTS,
            "amount": _AMOUNTS,
            "currency": _CURRENCIES,
        }
    ),
    max_size=14,
).map(lambda found: [{"line_no": at + 1, **row} for at, row in enumerate(found)])
_DATA = st.fixed_dictionaries(
    {
        "payments": _rows(
            "payment_id",
            organisation=_ORGANISATIONS,
            person=_PEOPLE,
            scheme=_PENSIONS,
            benefit=_BENEFITS,
            period=_MONTHS,
            amount=_AMOUNTS,
            currency=_CURRENCIES,
            paid_on=_DAYS,
        ),
        "contributions": _rows(
            "contribution_id",
            organisation=_ORGANISATIONS,
            person=_PEOPLE,
            scheme=_PENSIONS,
            period=_MONTHS,
            amount=_AMOUNTS,
            declared_on=_DAYS,
        ),
        "claims": _CLAIMS,
        "claim_lines": _LINES,
        "deaths": st.lists(st.fixed_dictionaries({"person": _PEOPLE, "death_date": _DAYS}), max_size=3),
    }
).map(filled)
_SLOW = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


def _seen(finding: Mapping[str, Any]) -> Expected:
    keys = (f"{key['kind']} {key['organisation']} {key['key']}" for key in finding["evidence"])
    return Expected(
        finding["form"], finding["subject"], tuple(sorted(keys)), Decimal(finding["amount_at_risk"])
    )


@settings(max_examples=40, deadline=None, suppress_health_check=_SLOW)
@given(data=_DATA)
def test_duckdb_finds_what_plain_loops_find(data: Data) -> None:
    connection = duckdb_with(data)
    found = []
    for rule, name, sql in SQL["duckdb"]:
        rows = connection.raw_sql(sql).to_arrow_table().to_pylist()
        found += [finding_of(rule, name, rule.forms[name], row) for row in rows]
    assert {_seen(finding) for finding in found} == expected(data)
    assert len({finding["finding_key"] for finding in found}) == len(found)


@pytest.fixture
async def postgres(db: Any) -> Any:
    return await db("social_security")


@settings(max_examples=25, deadline=None, suppress_health_check=_SLOW)
@given(data=_DATA)
async def test_postgresql_finds_what_plain_loops_find(postgres: Any, data: Data) -> None:
    found = []
    async with postgres.transaction():
        await put_into(postgres, data)
        for rule, name, sql in SQL["postgres"]:
            rows = await postgres.fetch(sql)
            found += [finding_of(rule, name, rule.forms[name], dict(row)) for row in rows]
    assert {_seen(finding) for finding in found} == expected(data)


def _spoilt(folder: Path, **changes: Any) -> Path:
    text = yaml.safe_load((RULES / "duplicate_charge.yaml").read_text())
    (folder / "duplicate_charge.yaml").write_text(yaml.safe_dump({**text, **changes}, allow_unicode=True))
    return folder


class TestARuleThatMustNotLoad:
    @pytest.mark.parametrize(
        "name", ["nationality", "ethnic_group", "name", "surname", "person_name", "民族"]
    )
    def test_for_what_it_looks_at(self, tmp_path: Path, name: str) -> None:
        form = PACK.rules["duplicate_charge"].forms["duplicate_charge"].model_dump()
        forms = {"duplicate_charge": {**form, "observed": [name]}}
        with pytest.raises(ValueError, match="no rule may judge anybody by that"):
            load_pack(_spoilt(tmp_path, forms=forms))

    @pytest.mark.parametrize("words", ["{item_code.__class__}", "{item_code!r}", "{item_code:>9}", "{0}"])
    def test_for_words_that_are_code(self, tmp_path: Path, words: str) -> None:
        form = PACK.rules["duplicate_charge"].forms["duplicate_charge"].model_dump()
        forms = {"duplicate_charge": {**form, "explain": {"zh": words, "en": "x"}}}
        with pytest.raises(ValueError, match="is no plain name"):
            load_pack(_spoilt(tmp_path, forms=forms))

    def test_for_a_table_no_snapshot_has(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="reads people"):
            load_pack(_spoilt(tmp_path, reads=["people"]))

    def test_for_a_word_nobody_knows(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="stop_benefit"):
            load_pack(_spoilt(tmp_path, stop_benefit=True))

    def test_for_an_expression_nobody_reviewed(self) -> None:
        rule = PACK.rules["duplicate_charge"]
        with pytest.raises(ValueError, match="names the expression elsewhere"):
            expression(rule, "elsewhere")


def test_a_change_of_rule_or_expression_is_another_version(tmp_path: Path) -> None:
    original = PACK.rules["duplicate_charge"]
    changed = load_pack(_spoilt(tmp_path, result="violation")).rules["duplicate_charge"]
    assert changed.version != original.version


@pytest.mark.parametrize(
    ("amount", "severity"), [("0.01", "low"), ("999.99", "low"), ("1000.00", "medium"), ("10000.00", "high")]
)
def test_severity_goes_by_amount(amount: str, severity: str) -> None:
    assert PACK.rules["payment_after_death"].severity_of(Decimal(amount)) == severity
