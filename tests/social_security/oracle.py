"""The three rules once more, from the law's words, with plain loops: slow, and sure. Imports no rule."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Data = Mapping[str, Sequence[Row]]


class Expected(NamedTuple):
    form: str
    subject: str
    evidence: tuple[str, ...]
    amount_at_risk: Decimal


def expected(data: Data) -> set[Expected]:
    return {
        *paid_after_death(data),
        *charged_twice(data),
        *two_pensions(data),
        *unemployed_and_insured(data),
    }


def paid_after_death(data: Data) -> set[Expected]:
    """Benefits are due up to and including the month in which the person died."""
    found = set()
    for payment in data["payments"]:
        days = [death["death_date"] for death in data["deaths"] if death["person"] == payment["person"]]
        if not days or payment["amount"] <= 0 or payment["period"] < date(2011, 7, 1):
            continue
        died = max(days)
        if (payment["period"].year, payment["period"].month) > (died.year, died.month):
            found.add(
                Expected("payment_after_death", payment["person"], (_payment(payment),), payment["amount"])
            )
    return found


def charged_twice(data: Data) -> set[Expected]:
    """A service to a person by a provider on a day, at one price, is charged on one line."""
    charges = []
    for line in data["claim_lines"]:
        for claim in data["claims"]:
            if (claim["organisation"], claim["claim_id"]) == (line["organisation"], line["claim_id"]):
                charges.append((claim, line))
    found = set()
    for claim, line in charges:
        if line["amount"] <= 0 or line["unit_price"] <= 0 or line["service_date"] < date(2021, 5, 1):
            continue
        same = [
            other
            for others_claim, other in charges
            if others_claim["person"] == claim["person"]
            and others_claim["provider_uscc"] == claim["provider_uscc"]
            and all(other[f] == line[f] for f in ("item_code", "service_date", "unit_price", "currency"))
            and other["amount"] > 0
        ]
        if len(same) > 1:
            amounts = sorted(other["amount"] for other in same)
            keys = tuple(sorted(_line(other) for other in same))
            found.add(Expected("duplicate_charge", claim["person"], keys, sum(amounts[:-1], Decimal(0))))
    return found


def two_pensions(data: Data) -> set[Expected]:
    """For a month one gets the employees' pension or the residents', not both."""
    found = set()
    for one in data["payments"]:
        if one["period"] < date(2014, 7, 1):
            continue
        month = [
            payment
            for payment in data["payments"]
            if payment["benefit"] == "pension"
            and payment["amount"] > 0
            and (payment["person"], payment["period"]) == (one["person"], one["period"])
        ]
        employee = [payment for payment in month if payment["scheme"] == "employee_pension"]
        for currency in {payment["currency"] for payment in month}:
            resident = [
                payment
                for payment in month
                if payment["scheme"] == "resident_pension" and payment["currency"] == currency
            ]
            if employee and resident:
                keys = tuple(sorted(_payment(payment) for payment in [*employee, *resident]))
                total = sum((payment["amount"] for payment in resident), Decimal(0))
                found.add(Expected("two_pensions", one["person"], keys, total))
    return found


def unemployed_and_insured(data: Data) -> set[Expected]:
    """Unemployment benefit ends with work; what was declared by the day of payment could be known."""
    found = set()
    for payment in data["payments"]:
        if payment["benefit"] != "unemployment_benefit" or payment["amount"] <= 0:
            continue
        work = [
            f"contribution {row['organisation']} {row['contribution_id']}"
            for row in data["contributions"]
            if row["person"] == payment["person"]
            and row["scheme"] == "employee_pension"
            and row["amount"] > 0
            and row["period"] == payment["period"]
            and row["declared_on"] <= payment["paid_on"]
        ]
        if work and payment["period"] >= date(2014, 7, 1):
            keys = tuple(sorted([*work, _payment(payment)]))
            found.add(Expected("unemployed_and_insured", payment["person"], keys, payment["amount"]))
    return found


def _payment(row: Row) -> str:
    return f"payment {row['organisation']} {row['payment_id']}"


def _line(row: Row) -> str:
    return f"claim_line {row['organisation']} {row['claim_id']} {row['line_no']}"
