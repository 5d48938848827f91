"""The oracle and the suite's own state machine, written apart from the same text, on the same crowds.

(The rules of the benefit audit are compared with the oracle where they run: over the pushed city.)
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import oracle, sights
from city.gate import BUSIEST_DAY, day_at_the_sights
from transport.capacity import rule_of
from transport.shapes import CapacityPolicyIn
from transport.warnings import State, step

START = datetime(2026, 10, 1, tzinfo=UTC)


def walked(inside: list[int], capacity: int) -> list[tuple[int, str, str, int]]:
    content = CapacityPolicyIn(capacity=capacity).model_dump(mode="json", by_alias=True)
    rule = rule_of(UUID(int=1), capacity, content)
    state = State()
    found: list[tuple[int, str, str, int]] = []
    for at, people in enumerate(inside):
        state, change = step(rule, state, people, START + timedelta(minutes=at))
        if change is not None:
            found.append((change.episode, change.kind, change.level.word, at))
    return found


def listed(inside: list[int], capacity: int) -> list[tuple[int, str, str, int]]:
    found = oracle.episodes(
        inside,
        capacity=capacity,
        levels=sights.LEVELS,
        dwell_up=sights.DWELL_UP,
        dwell_down=sights.DWELL_DOWN,
        hysteresis=sights.HYSTERESIS,
    )
    return [(one.episode, one.kind, one.level, one.at) for one in found]


@given(st.lists(st.integers(60, 110), max_size=200), st.sampled_from([100, 97, 133]))
def test_any_crowd_raises_the_same_warnings(inside: list[int], capacity: int) -> None:
    assert walked(inside, capacity) == listed(inside, capacity)


@pytest.mark.parametrize("zone", sights.ZONES, ids=lambda zone: zone.id)
def test_the_busiest_day_raises_the_same_warnings(zone: sights.Zone) -> None:
    inside = day_at_the_sights(BUSIEST_DAY, seed=1).inside[zone.id]
    assert walked(inside, zone.capacity) == listed(inside, zone.capacity)
