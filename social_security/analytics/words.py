"""Small words the rules share."""

from typing import Any

import ibis

from social_security.analytics.tables import KEY_SEPARATOR


def month_index(day: Any) -> Any:
    """Months since year 0. Engines disagree on the months between two dates, never on this."""
    return day.year() * 12 + day.month()


def key_of(table: Any, *columns: str) -> Any:
    """The key of a row: who sent it, and its own key there."""
    found = table["organisation"]
    for column in columns:
        found = found + ibis.literal(KEY_SEPARATOR) + table[column].cast("string")
    return found
