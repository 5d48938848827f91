"""Terms in working days, by the State Council's yearly notices: which weekdays are off, and which Saturdays
and Sundays are worked instead (调休). Each notice stands with its source in knowledge/working_days.json.

For a year without a notice Monday to Friday count, and the term says so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

HERE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Term:
    """When a term ends.

    Attributes:
        by_weekdays: a year it runs through had no notice yet: its public holidays counted as working days.
    """

    ends: datetime
    by_weekdays: bool


def term(begins: datetime, working_days: int) -> Term:
    """The end of the last of so many working days after the one it begins on; of none, at once."""
    if not working_days:
        return Term(begins, by_weekdays=False)
    day, left, by_weekdays = begins.astimezone(HERE).date(), working_days, False
    while left:
        day += timedelta(days=1)
        by_weekdays |= day.year not in _exceptions()
        left -= is_working_day(day)
    return Term(datetime.combine(day, time(23, 59, 59), HERE), by_weekdays)


def is_working_day(day: date) -> bool:
    return _exceptions().get(day.year, {}).get(day, day.weekday() < 5)


@cache
def _exceptions() -> Mapping[int, Mapping[date, bool]]:
    """Of each year with a notice, the days that are not as their weekday says: whether they are worked."""
    text = files("services.exchange").joinpath("knowledge/working_days.json").read_text(encoding="utf-8")
    return {
        said["year"]: {
            date.fromisoformat(f"{said['year']}-{day}"): worked
            for worked, days in ((False, said["off"]), (True, said["made_up"]))
            for day in days
        }
        for said in json.loads(text)["years"]
    }
