"""Families hold together, and the sums come out like a city's."""

from collections import Counter
from datetime import date
from itertools import pairwise

import pytest

from city.people import Person
from city.population import Population, death_rate
from city.simulation import City


def share(population: Population, low: int, high: int) -> float:
    living = population.living()
    return sum(low <= person.age_on(population.today) <= high for person in living) / len(living)


@pytest.mark.parametrize(
    ("low", "high", "expected", "tolerance"),
    [
        pytest.param(0, 14, 0.145, 0.02, id="children"),
        pytest.param(15, 59, 0.65, 0.025, id="of working age"),
        pytest.param(60, 120, 0.205, 0.02, id="past sixty"),
        pytest.param(65, 120, 0.155, 0.015, id="past sixty-five"),
        pytest.param(80, 120, 0.03, 0.01, id="past eighty"),
    ],
)
def test_the_age_pyramid(large: Population, low: int, high: int, expected: float, tolerance: float) -> None:
    assert share(large, low, high) == pytest.approx(expected, abs=tolerance)


def test_no_age_is_missing(large: Population) -> None:
    ages = {person.age_on(large.today) for person in large.living()}
    assert set(range(90)) <= ages


def test_households_are_as_large_as_they_are(large: Population) -> None:
    sizes = Counter(len(household.members) for household in large.households)
    households = sizes.total()
    assert sum(size * count for size, count in sizes.items()) == len(large.people)
    assert len(large.people) / households == pytest.approx(2.35, abs=0.1)
    assert sizes[1] / households == pytest.approx(0.27, abs=0.03)
    assert max(sizes) <= 7


def test_sexes_are_nearly_even_with_more_boys_than_girls(large: Population) -> None:
    sexes = Counter(person.sex for person in large.living())
    assert sexes["male"] / sexes["female"] == pytest.approx(1.01, abs=0.04)
    children = Counter(p.sex for p in large.living() if p.age_on(large.today) < 18)
    assert children["male"] / children["female"] == pytest.approx(1.105, abs=0.09)


def test_a_few_surnames_are_common(large: Population) -> None:
    names = Counter(person.name.family for person in large.people)
    assert {name for name, _ in names.most_common(3)} == {"王", "李", "张"}
    assert sum(count for _, count in names.most_common(5)) / len(large.people) == pytest.approx(0.3, abs=0.05)


def test_other_customs_of_naming_are_met(large: Population) -> None:
    texts = [person.name.text for person in large.people]
    assert any("·" in text for text in texts)
    assert any(ord(character) > 0xFFFF for text in texts for character in text)
    assert Counter(p.people for p in large.people)["汉族"] / len(texts) == pytest.approx(0.96, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high"), [pytest.param(40, 65, id="in middle age"), pytest.param(65, 80, id="old"), (80, 105)]
)
def test_people_die_at_the_rate_of_their_age(large: Population, low: int, high: int) -> None:
    """Deaths over the window, against those the table expects of the same people year by year."""
    expected, died = 0.0, 0
    for person in large.people:
        if low <= person.age_on(large.today) < high:
            alive = 1.0
            for back in (2.5, 1.5, 0.5):
                rate = death_rate((large.today - person.birth).days / 365.25 - back)
                expected += alive * rate
                alive *= 1 - rate
            died += person.death is not None
    assert died == pytest.approx(expected, rel=0.3)


def test_births_and_deaths_lie_where_they_can(large: Population) -> None:
    for person in large.people:
        assert person.birth < large.today
        if person.death is not None:
            assert person.birth <= person.death < large.today
            assert person.death >= large.start


def test_about_seven_in_a_thousand_are_born_a_year(large: Population) -> None:
    born = sum(person.birth >= large.start for person in large.people)
    years = (large.today - large.start).days / 365.25
    assert 1000 * born / years / len(large.people) == pytest.approx(7.5, abs=1.5)


def test_families_fit_together(large: Population) -> None:
    for person in large.people:
        for parent in (person.father, person.mother):
            if parent is not None:
                years = (person.birth - large.people[parent].birth).days / 365.25
                assert 18 <= years <= 56
        if person.spouse is not None:
            spouse = large.people[person.spouse]
            assert spouse.spouse == person.index
            assert spouse.household == person.household
            assert {spouse.sex, person.sex} == {"male", "female"}
            assert min(p.age_on(large.today) for p in (spouse, person)) >= 20


def test_children_bear_the_fathers_name(large: Population) -> None:
    """Those of the Han do; where there is no father, the mother's."""
    for person in large.people:
        parent = person.father if person.father is not None else person.mother
        if person.people == "汉族" and person.role == "child" and parent is not None:
            assert person.name.family == large.people[parent].name.family


def test_brothers_and_sisters_are_born_months_apart(large: Population) -> None:
    for household in large.households:
        by_mother: dict[int, list[date]] = {}
        for at in household.members:
            person = large.people[at]
            if person.mother is not None:
                by_mother.setdefault(person.mother, []).append(person.birth)
        for births in by_mother.values():
            births.sort()
            assert all((later - earlier).days > 300 for earlier, later in pairwise(births))


def test_every_minor_has_a_living_grown_guardian_at_home(middling: City) -> None:
    today = middling.today
    for person in middling.people:
        if person.death is None and person.age_on(today) < 18:
            assert person.guardians
        else:
            assert not person.guardians or person.death is None
        for at in person.guardians:
            guardian = middling.people[at]
            assert guardian.death is None
            assert guardian.age_on(today) >= 20
            assert guardian.household == person.household


def test_no_grown_up_has_a_guardian(middling: City) -> None:
    grown = [person for person in middling.people if person.age_on(middling.today) >= 18]
    assert not any(person.guardians for person in grown)


def test_the_number_says_the_birth_date_and_the_sex(middling: City) -> None:
    def said(person: Person) -> tuple[str, bool]:
        return person.number[6:14], bool(int(person.number[16]) % 2)

    for person in middling.people:
        assert said(person) == (f"{person.birth:%Y%m%d}", person.sex == "male")
