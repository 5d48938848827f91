"""重复收费: one item charged twice to one person, by one provider, on one day, at one price."""

from typing import Any

from social_security.analytics.tables import Tables
from social_security.analytics.words import key_of

SAME = ("person", "provider_uscc", "item_code", "service_date", "unit_price", "currency")


def select(tables: Tables) -> Any:
    """One finding a group of lines. A quantity of two on one line is one line."""
    charged = tables.claim_lines.filter(tables.claim_lines.amount > 0, tables.claim_lines.unit_price > 0)
    claims = tables.claims.select("organisation", "claim_id", "person", "provider_uscc", "area")
    lines = charged.join(claims, ["organisation", "claim_id"])
    # First which groups have two, then their lines: collecting every group's lines costs ten times as much.
    repeated = lines.group_by(SAME).agg(lines_found=lines.count())
    repeated = repeated.filter(repeated.lines_found > 1)
    again = lines.semi_join(repeated, list(SAME))
    again = again.mutate(line_key=key_of(again, "claim_id", "line_no"))
    found = again.group_by(SAME).agg(
        claim_line_keys=again.line_key.collect(order_by=again.line_key),
        areas=again.area.collect(order_by=again.area),
        lines_found=again.count(),
        charged=again.amount.sum(),
        largest=again.amount.max(),
    )
    return found.select(
        subject=found.person,
        fact_date=found.service_date,
        claim_line_keys=found.claim_line_keys,
        # All but one of the lines, in favour of who charged: the largest is taken to be the true one.
        amount_at_risk=(found.charged - found.largest).cast("decimal(14, 2)"),
        currency=found.currency,
        areas=found.areas,
        provider_uscc=found.provider_uscc,
        item_code=found.item_code,
        service_date=found.service_date,
        unit_price=found.unit_price,
        lines_found=found.lines_found,
        charged=found.charged.cast("decimal(14, 2)"),
    )
