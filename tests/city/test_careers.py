"""School, work and pensions by age."""

from collections import Counter

import pytest

from city.careers import grade_of, retirement_age, stage_of
from city.people import Person
from city.simulation import City


def living(city: City, low: int, high: int) -> list[Person]:
    return [p for p in city.people if p.death is None and low <= p.age_on(city.today) <= high]


def test_nearly_every_child_of_compulsory_age_is_at_school(middling: City) -> None:
    due = [p for p in middling.population.living() if 1 <= grade_of(p, middling.today) <= 9]
    enrolled = sum(person.seat is not None for person in due) / len(due)
    assert 0.98 <= enrolled < 1.0


@pytest.mark.parametrize(
    ("grades", "expected"),
    [pytest.param((-2, 0), 0.92, id="kindergarten"), pytest.param((10, 12), 0.93, id="senior school")],
)
def test_many_go_where_nobody_has_to(middling: City, grades: tuple[int, int], expected: float) -> None:
    due = [p for p in middling.population.living() if grades[0] <= grade_of(p, middling.today) <= grades[1]]
    assert sum(person.seat is not None for person in due) / len(due) == pytest.approx(expected, abs=0.06)


def test_a_seat_fits_the_age_and_the_school(middling: City) -> None:
    for person in middling.people:
        if person.seat is not None:
            seat = person.seat
            school = middling.institutions.school_groups[seat.group].schools[seat.school]
            assert seat.grade == grade_of(person, middling.today)
            assert seat.stage == stage_of(seat.grade) == school.stage
            assert person.area in middling.institutions.school_groups[seat.group].areas
            assert person.job is None
            assert person.pension is None


def test_classes_are_no_larger_than_the_rules_allow(middling: City) -> None:
    classes = Counter(
        (p.seat.group, p.seat.school, p.seat.grade, p.seat.division)
        for p in middling.people
        if p.seat is not None
    )
    assert max(classes.values()) <= 45


def test_nobody_works_and_draws_a_pension(middling: City) -> None:
    assert not [person for person in middling.people if person.job is not None and person.pension is not None]


def test_most_people_of_working_age_have_an_employer(middling: City) -> None:
    due = living(middling, 25, 49)
    assert sum(person.job is not None for person in due) / len(due) == pytest.approx(0.67, abs=0.06)


def test_everybody_past_sixty_draws_one_pension(middling: City) -> None:
    for person in living(middling, 61, 120):
        assert person.pension is not None
        assert person.pension_since is not None


def test_pensions_begin_at_sixty_fifty_five_or_fifty(middling: City) -> None:
    for person in middling.people:
        if person.pension_since is not None:
            age = person.age_on(person.pension_since)
            if person.pension == "resident_pension" or person.sex == "male":
                assert age == 60
            else:
                assert age in (50, 55)


def test_retirement_ages() -> None:
    woman = next(p for p in City(people=100).people if p.sex == "female")
    assert [retirement_age(woman, cadre=cadre) for cadre in (False, True)] == [50, 55]


def test_hospitals_and_schools_have_staff_of_the_city(middling: City) -> None:
    employers = middling.institutions.employers
    kinds = Counter(
        employers[p.job.employer].kind for p in middling.people if p.job and p.job.title == "teacher"
    )
    assert set(kinds) == {"school"}
    kinds = Counter(
        employers[p.job.employer].kind for p in middling.people if p.job and p.job.title == "doctor"
    )
    assert set(kinds) == {"hospital", "clinic"}
    for alliance in middling.institutions.alliances:
        assert all(alliance.doctors[provider.code] for provider in alliance.providers())


def test_large_firms_are_few(middling: City) -> None:
    firms = Counter(p.job.employer for p in middling.people if p.job and p.job.title in ("worker", "cadre"))
    largest = sum(count for _, count in firms.most_common(len(firms) // 10))
    assert largest > firms.total() * 0.25
