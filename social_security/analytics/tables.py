"""The tables a snapshot holds, and what every rule's expression must say about a finding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY_SEPARATOR = "\x1f"
"""Between an organisation and its own key of a row; no pushed text may hold a control character."""

MONEY = "decimal(14, 2)"

# Column types as both ibis and DuckDB write them. No snapshot holds a name, a number, or anything a rule
# must not see (social_security/analytics/pack.py, FORBIDDEN).
TABLES: Mapping[str, Mapping[str, str]] = {
    "contributions": {
        "organisation": "string",
        "contribution_id": "string",
        "person": "string",
        "employer_uscc": "string",
        "scheme": "string",
        "area": "string",
        "period": "date",
        "base": MONEY,
        "amount": MONEY,
        "currency": "string",
        "declared_on": "date",
    },
    "payments": {
        "organisation": "string",
        "payment_id": "string",
        "person": "string",
        "scheme": "string",
        "benefit": "string",
        "area": "string",
        "period": "date",
        "amount": MONEY,
        "currency": "string",
        "paid_on": "date",
    },
    "claims": {
        "organisation": "string",
        "claim_id": "string",
        "person": "string",
        "provider_uscc": "string",
        "scheme": "string",
        "area": "string",
        "claimed_on": "date",
    },
    "claim_lines": {
        "organisation": "string",
        "claim_id": "string",
        "line_no": "int32",
        "item_code": "string",
        "service_date": "date",
        "quantity": "decimal(14, 4)",
        "unit_price": MONEY,
        "amount": MONEY,
        "currency": "string",
    },
    "deaths": {"person": "string", "death_date": "date"},
}

EVIDENCE: Mapping[str, str] = {
    "payment_keys": "payment",
    "contribution_keys": "contribution",
    "claim_line_keys": "claim_line",
}
"""Columns of an expression that hold keys of rows, and the kind of row each names."""

COMMON = ("subject", "fact_date", "amount_at_risk", "currency", "areas")
"""What every expression says besides: whose finding, and the day on which the law must have been in force."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables a rule may read: unbound ibis tables, the same for every engine."""

    contributions: Any
    payments: Any
    claims: Any
    claim_lines: Any
    deaths: Any

    @classmethod
    def unbound(cls) -> "Tables":
        import ibis

        return cls(**{name: ibis.table(dict(columns), name=name) for name, columns in TABLES.items()})
