"""The expressions a rule may name; its text is never evaluated, and naming another fails."""

from collections.abc import Callable, Mapping
from typing import Any

from social_security.analytics import duplicate_charge, incompatible_benefits, payment_after_death
from social_security.analytics.tables import Tables

EXPRESSIONS: Mapping[str, Callable[[Tables], Any]] = {
    "payment_after_death": payment_after_death.select,
    "duplicate_charge": duplicate_charge.select,
    "two_pensions": incompatible_benefits.two_pensions,
    "unemployed_and_insured": incompatible_benefits.unemployed_and_insured,
}
