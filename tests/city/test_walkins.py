"""Patients without papers: of each form as many as the city is large, and near misses beside them."""

from collections import Counter

from city.simulation import City
from city.truth import compute
from city.walkins import walk_ins


def test_every_form_is_there_once_a_thousand_people() -> None:
    found = list(walk_ins(City(people=2_000)))
    forms = Counter((one.form, one.same) for one in found)
    assert forms == {
        (form, form not in ("namesake", "same_day")): 2
        for form in ("sound", "variant", "birth_digit", "day_month", "namesake", "same_day")
    }
    assert len({one.like.index for one in found}) == len({one.number for one in found}) == len(found)


def test_each_says_something_else_than_the_register_and_nothing_of_a_number() -> None:
    for one in walk_ins(City(people=300)):
        [entry] = one.bundle["entry"]
        patient = entry["resource"]
        written = patient["name"][0]["text"], patient["birthDate"]
        assert written != (one.like.name.text, one.like.birth.isoformat())
        assert written[0] == one.like.name.text or written[1] == one.like.birth.isoformat()
        assert one.like.number not in str(one.bundle)


def test_the_truth_says_who_is_whom() -> None:
    city = City(people=60, seed=3)
    assert compute(city)["walk_ins"] == [one.told() for one in walk_ins(city)] != []
