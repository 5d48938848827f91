"""死亡冒领: a benefit paid for a month after the month in which the person died."""

from typing import Any

import ibis

from social_security.analytics.tables import Tables
from social_security.analytics.words import key_of, month_index


def select(tables: Tables) -> Any:
    """One finding a payment. The month of death itself is owed in full, so it is none."""
    # Two dates of death contradict each other; the later one accuses the fewest.
    deaths = tables.deaths.group_by("person").agg(death_date=tables.deaths.death_date.max())
    payments = tables.payments.filter(tables.payments.amount > 0)
    paid = payments.join(deaths, "person")
    late = paid.filter(month_index(paid.period) > month_index(paid.death_date))
    return late.select(
        subject=late.person,
        fact_date=late.period,
        payment_keys=ibis.array([key_of(late, "payment_id")]),
        amount_at_risk=late.amount,
        currency=late.currency,
        areas=ibis.array([late.area]),
        scheme=late.scheme,
        benefit=late.benefit,
        period=late.period,
        paid_on=late.paid_on,
        death_date=late.death_date,
    )
