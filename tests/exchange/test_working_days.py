"""Terms in working days, counted by hand from the State Council's notices."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.exchange.working_days import HERE, is_working_day, term


def at_the_end_of(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T23:59:59").replace(tzinfo=HERE)


@pytest.mark.parametrize(
    ("begins", "days", "ends"),
    [
        # An ordinary week; already Saturday in China.
        ("2026-11-20T23:30+08:00", 1, "2026-11-23"),
        ("2026-11-20T17:00+00:00", 1, "2026-11-23"),
        ("2026-11-20T23:30+08:00", 15, "2026-12-11"),
        # Spring Festival 2026: off from 15 to 23 February, worked on Saturdays the 14th and the 28th.
        ("2026-02-13T09:00+08:00", 1, "2026-02-14"),
        ("2026-02-13T09:00+08:00", 2, "2026-02-24"),
        ("2026-02-13T09:00+08:00", 6, "2026-02-28"),
        # Autumn 2026: worked on Sunday 20 September and Saturday 10 October, off on the 25th and from 1 to 7.
        ("2026-09-18T09:00+08:00", 10, "2026-10-09"),
        ("2026-09-25T11:00+08:00", 10, "2026-10-15"),
        ("2025-09-26T09:00+08:00", 5, "2025-10-10"),
        ("2024-02-09T09:00+08:00", 1, "2024-02-18"),
    ],
)
def test_holidays_do_not_count_and_days_made_up_for_them_do(begins: str, days: int, ends: str) -> None:
    found = term(datetime.fromisoformat(begins), days)
    assert (found.ends, found.by_weekdays) == (at_the_end_of(ends), False)


def test_without_a_notice_monday_to_friday_count_and_it_says_so() -> None:
    found = term(datetime(2030, 4, 30, 9, tzinfo=HERE), 3)
    assert (found.ends, found.by_weekdays) == (at_the_end_of("2030-05-03"), True)
    assert term(datetime(2026, 12, 31, 9, tzinfo=HERE), 1).by_weekdays is True


def test_no_days_are_over_at_once() -> None:
    now = datetime.now(UTC)
    assert term(now, 0).ends == now


@pytest.mark.parametrize(("year", "working"), [(2024, 251), (2025, 248), (2026, 248)])
def test_a_year_has_as_many_working_days_as_its_notice_leaves(year: int, working: int) -> None:
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(366))
    assert sum(is_working_day(day) for day in days if day.year == year) == working
