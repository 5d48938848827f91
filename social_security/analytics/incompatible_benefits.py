"""待遇叠加: two benefits for one month that the law does not let stand together."""

from typing import Any

import ibis

from social_security.analytics.tables import Tables
from social_security.analytics.words import key_of


def two_pensions(tables: Tables) -> Any:
    """One finding a person and month (and currency): employee and resident pension, both paid."""
    paid = tables.payments.filter(tables.payments.benefit == "pension", tables.payments.amount > 0)
    paid = paid.mutate(payment_key=key_of(paid, "payment_id"))
    employee = _by_month(paid.filter(paid.scheme == "employee_pension"), "person", "period")
    resident = _by_month(paid.filter(paid.scheme == "resident_pension"), "person", "period", "currency")
    both = resident.join(employee, ["person", "period"], rname="employee_{name}")
    return both.select(
        subject=both.person,
        fact_date=both.period,
        payment_keys=both.payment_keys.concat(both.employee_payment_keys),
        # The resident pension is the one that ends (人社部发〔2014〕17号, article 8).
        amount_at_risk=both.paid,
        currency=both.currency,
        areas=both.areas.concat(both.employee_areas),
        period=both.period,
        employee_amount=both.employee_paid,
        resident_amount=both.paid,
    )


def unemployed_and_insured(tables: Tables) -> Any:
    """One finding a payment: unemployment benefit for a month with an employee's pension contribution.

    Contributions to employee medical insurance do not count: while the benefit runs, the unemployment fund
    pays those itself (社会保险法, article 48). A contribution declared after the payment does not count:
    whoever paid could not know, and whoever was paid may have found work later in that month.
    """
    benefits = tables.payments.filter(
        tables.payments.benefit == "unemployment_benefit", tables.payments.amount > 0
    )
    benefits = benefits.mutate(payment_key=key_of(benefits, "payment_id"))
    insured = tables.contributions.filter(
        tables.contributions.scheme == "employee_pension", tables.contributions.amount > 0
    )
    insured = insured.mutate(contribution_key=key_of(insured, "contribution_id")).select(
        "person", "period", "contribution_key", "declared_on"
    )
    both = benefits.join(insured, ["person", "period"])
    both = both.filter(both.declared_on <= both.paid_on)
    found = both.group_by("person", "period", "payment_key", "amount", "currency", "area", "paid_on").agg(
        contribution_keys=both.contribution_key.collect(order_by=both.contribution_key),
        declared_on=both.declared_on.min(),
    )
    return found.select(
        subject=found.person,
        fact_date=found.period,
        payment_keys=ibis.array([found.payment_key]),
        contribution_keys=found.contribution_keys,
        amount_at_risk=found.amount,
        currency=found.currency,
        areas=ibis.array([found.area]),
        period=found.period,
        paid_on=found.paid_on,
        declared_on=found.declared_on,
    )


def _by_month(payments: Any, *by: str) -> Any:
    return payments.group_by(by).agg(
        payment_keys=payments.payment_key.collect(order_by=payments.payment_key),
        areas=payments.area.collect(order_by=payments.area),
        paid=payments.amount.sum().cast("decimal(14, 2)"),
    )
