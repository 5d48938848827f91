"""What a person reads: words of both languages for every event, times by the clock in China; quiet hours."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.events.declared import declared
from services.notify import messages, templates
from services.notify.duty_shapes import QuietHours
from services.notify.quiet_hours import quiet_until
from tests.notify.watch import Watch

SUBSCRIBED = sorted(
    type
    for start in (*messages.TOPICS, *messages.NAMED)
    for type in declared(start.partition(".")[0]) or ()
    if type.startswith(start)
)


def test_there_is_something_to_have_words_for() -> None:
    assert {type.rpartition(".")[0] + "." for type in SUBSCRIBED} == {*messages.TOPICS, *messages.NAMED}


def test_every_event_that_is_told_has_words_in_both_languages() -> None:
    assert set(SUBSCRIBED) <= templates.texts("zh").keys() == templates.texts("en").keys()


@pytest.mark.parametrize("type", SUBSCRIBED)
def test_the_words_are_whole_in_both_languages(type: str) -> None:
    fields: dict[str, Any] = {
        "zone_name": {"zh": "断桥", "en": "Broken Bridge"},
        "level": "red",
        "previous": "orange",
        "people": 12345,
        "capacity": 10000,
        "share": 1.2345,
        "at": "2026-05-01T16:05:00+00:00",
        "organisation": "91330100TEST",
        "state": "justified",
        "ends_at": "2026-05-01T20:00:00+00:00",
        "due_at": "2026-05-04T16:00:00+00:00",
    }
    words = templates.words_of({"type": type, "time": "2026-05-01T16:05:00Z", "data": fields}, tier=2)
    for language, (title, body) in words.items():
        said, unknown = f"{title}\n{body}", templates.texts(language)["words"]["unknown"]
        assert unknown not in said
        assert "{" not in said
    assert words["zh"][1].endswith("第 2 级。")


def test_a_warning_in_words() -> None:
    watch = Watch(None, datetime(2026, 5, 1, 16, 5, tzinfo=UTC))
    event = watch.event("raised", "w1", level="red").form()
    assert templates.words_of(event) == {
        "zh": (
            "断桥：红色预警",
            "2026年5月2日 00:05 断桥有 90 人，为瞬时承载量 100 人的 90.0%。请确认并处置。",
        ),
        "en": (
            "Broken Bridge: red warning",
            "2 May 2026 00:05 (Beijing time): 90 people at Broken Bridge, 90.0% of its capacity of 100. "
            "Please acknowledge and act.",
        ),
    }


def test_an_event_that_says_too_little_is_told_all_the_same() -> None:
    words = templates.words_of(
        {"type": "transport.warning.raised", "time": "2026-05-01T16:05:00Z", "data": {}}
    )
    assert words["zh"][0] == "（未知）：（未知）预警"
    assert templates.words_of({"type": "new.thing.done", "time": "2026-05-01T16:05:00Z", "data": {}})[
        "en"
    ] == (
        "New notification",
        "2 May 2026 00:05 (Beijing time) new.thing.done",
    )


NIGHT = QuietHours(starts=time(22), ends=time(7))


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-05-01T13:59:59Z", None),
        ("2026-05-01T14:00:00Z", "2026-05-01T23:00:00Z"),
        ("2026-05-01T22:59:59Z", "2026-05-01T23:00:00Z"),
        ("2026-05-01T23:00:00Z", None),
    ],
)
def test_quiet_hours_go_over_midnight(at: str, until: str | None) -> None:
    expected = None if until is None else datetime.fromisoformat(until)
    assert quiet_until(datetime.fromisoformat(at), NIGHT) == expected


def test_quiet_hours_follow_a_clock_that_is_put_forward() -> None:
    """Berlin, 29 March 2026: 02:00 becomes 03:00, so the night is an hour shorter."""
    hours = QuietHours(starts=time(22), ends=time(7), time_zone="Europe/Berlin")
    at = datetime(2026, 3, 28, 21, 30, tzinfo=UTC)
    assert quiet_until(at, hours) == datetime(2026, 3, 29, 5, tzinfo=UTC)


@given(
    at=st.integers(0, 15 * 525_600).map(
        lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    starts=st.integers(0, 1439),
    length=st.integers(1, 1439),
)
def test_quiet_hours_are_as_long_as_they_say_each_day(at: datetime, starts: int, length: int) -> None:
    """China's clock is never put forward: whether it is quiet depends on the minute of the day alone."""
    clock = [time(*divmod(minute % 1440, 60)) for minute in (starts, starts + length)]
    until = quiet_until(at, QuietHours(starts=clock[0], ends=clock[1]))
    local = at + timedelta(hours=8)
    minute = local.hour * 60 + local.minute
    assert (until is not None) is ((minute - starts) % 1440 < length)
    assert until is None or timedelta(0) < until - at <= timedelta(minutes=length)
