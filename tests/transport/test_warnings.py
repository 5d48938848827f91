"""The episode state machine by itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.reference import episodes
from transport.capacity import rule_of
from transport.shapes import CapacityPolicyIn
from transport.warnings import Change, Level, Rule, State, peek, step

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
POLICY = UUID(int=1)


def rule(capacity: int = 100, **content: object) -> Rule:
    policy = CapacityPolicyIn.model_validate({"capacity": capacity, "red_at_once": False, **content})
    return rule_of(POLICY, capacity, policy.model_dump(mode="json", by_alias=True))


def minute(i: int) -> datetime:
    return START + timedelta(minutes=i)


def walk(used: Rule, people: list[int], state: State | None = None) -> tuple[State, list[Change]]:
    state = state or State()
    changes = []
    for i, n in enumerate(people):
        state, change = step(used, state, n, minute(i))
        if change is not None:
            changes.append(change)
    return state, changes


def levels(changes: list[Change]) -> list[tuple[int, Level]]:
    return [(int((c.at - START).total_seconds() // 60), c.level) for c in changes]


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        pytest.param([80], [], id="one observation is not two"),
        pytest.param([80, 80], [(1, Level.YELLOW)], id="two in a row raise"),
        pytest.param([80, 79, 80], [], id="a gap starts the count anew"),
        pytest.param([79, 79, 79], [], id="just below the level"),
        pytest.param([95, 95], [(1, Level.ORANGE)], id="straight to the highest that was reached twice"),
        pytest.param([85, 95, 95], [(1, Level.YELLOW), (2, Level.ORANGE)], id="level by level"),
        pytest.param(
            [80, 80, 69, 69, 69, 69], [(1, Level.YELLOW)], id="four observations below do not end it"
        ),
        pytest.param(
            [80, 80, 69, 69, 69, 69, 69],
            [(1, Level.YELLOW), (6, Level.NORMAL)],
            id="five below the level less ten points end it",
        ),
        pytest.param([80, 80, *[70] * 9], [(1, Level.YELLOW)], id="within the dead band it stays"),
        pytest.param(
            [100, 100, *[75] * 5],
            [(1, Level.RED), (6, Level.YELLOW)],
            id="down to the level that still holds",
        ),
    ],
)
def test_levels_rise_and_fall_by_the_rule(people: list[int], expected: list[tuple[int, Level]]) -> None:
    assert levels(walk(rule(), people)[1]) == expected


def test_red_comes_at_once_where_the_policy_says_so() -> None:
    assert levels(walk(rule(red_at_once=True), [100])[1]) == [(0, Level.RED)]


def test_an_episode_numbers_its_steps_from_one() -> None:
    _, changes = walk(rule(), [85, 85, 95, 95, *[0] * 5, 85, 85])
    assert [(c.kind, c.episode, c.revision) for c in changes] == [
        ("raised", 1, 1),
        ("changed", 1, 2),
        ("ended", 1, 3),
        ("raised", 2, 1),
    ]


def test_an_observation_that_is_not_later_counts_for_nothing() -> None:
    state, _ = step(rule(), State(), 100, minute(5))
    assert step(rule(), state, 100, minute(5)) == (state, None)
    assert step(rule(), state, 100, minute(4)) == (state, None)


def test_another_policy_counts_anew_but_keeps_the_level() -> None:
    state, _ = walk(rule(), [95, 95, 0, 0, 0, 0])
    other = replace(rule(), policy=UUID(int=2))
    state, change = step(other, state, 0, minute(9))
    assert (state.level, change, state.below) == (Level.ORANGE, None, (1, 1, 1))


def test_an_open_window_raises_what_is_to_be_raised_at_once_but_is_not_counted() -> None:
    used = rule(red_at_once=True)
    state, _ = step(used, State(), 90, minute(0))
    raised, change = peek(used, state, 100, minute(1))
    assert change is not None
    assert (change.level, change.kind) == (Level.RED, "raised")
    assert (raised.above, raised.at) == (state.above, state.at)
    assert step(used, raised, 100, minute(1))[1] is None


def test_an_open_window_says_nothing_of_levels_that_have_to_last() -> None:
    state, _ = step(rule(), State(), 100, minute(0))
    assert peek(rule(), state, 100, minute(1)) == (state, None)


def test_an_open_window_never_lowers() -> None:
    used = rule(red_at_once=True)
    state, _ = walk(used, [95, 95, 0, 0, 0, 0])
    assert peek(used, state, 0, minute(9)) == (state, None)


def test_a_surge_after_a_long_calm_is_not_over_with_the_next_window() -> None:
    used = rule(red_at_once=True)
    state, _ = walk(used, [0] * 50)
    state, change = peek(used, state, 100, minute(50))
    assert change is not None
    for i in range(51, 55):
        state, change = step(used, state, 0, minute(i))
        assert change is None
    assert step(used, state, 0, minute(55))[1] is not None


people_lists = st.lists(st.integers(0, 130), max_size=120)
# Values that hover about the levels find more than values from everywhere.
hovering = st.lists(st.sampled_from([0, 68, 69, 70, 71, 79, 80, 81, 89, 90, 91, 99, 100, 120]), max_size=200)


@given(
    people=people_lists | hovering,
    up=st.integers(1, 4),
    down=st.integers(1, 7),
    points=st.integers(0, 30),
    red_at_once=st.booleans(),
)
def test_the_machine_says_what_the_whole_history_says(
    people: list[int], up: int, down: int, points: int, red_at_once: bool
) -> None:
    used = rule(dwell_up=up, dwell_down=down, hysteresis=points, red_at_once=red_at_once)
    found = [(c.at, int(c.previous), int(c.level)) for c in walk(used, people)[1]]
    counts = [(minute(i), n) for i, n in enumerate(people)]
    assert found == episodes(counts, 100, up=up, down=down, points=points, red_at_once=red_at_once)


@given(capacity=st.integers(1, 10**8), tenths=st.integers(1, 1998))
def test_a_threshold_is_the_smallest_number_of_people_that_reaches_it(capacity: int, tenths: int) -> None:
    levels = {"yellow": tenths / 10, "orange": 199.9, "red": 200}
    at = rule(capacity, levels=levels, hysteresis=0).raise_at[0]
    assert at * 1000 >= tenths * capacity > (at - 1) * 1000
