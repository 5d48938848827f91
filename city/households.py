"""Who lives together: households put together by kind, with ages that fit one another.

The weights were chosen so that the sum comes out like a coastal prefecture's in the 2020 census, six years
older: 2.35 people a household, one in five past sixty, more boys than girls among the young.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from city.dice import Dice, Weighted
from city.people import Sex

Role = Literal["head", "spouse", "child", "grandparent"]


@dataclass(frozen=True, slots=True)
class Member:
    role: Role
    sex: Sex
    age: float  # years, with the part of the year
    father: int | None = None  # place in the list
    mother: int | None = None
    spouse: int | None = None


_BOYS = 0.525
_YOUNGEST_FATHER = 19.0
_CHILDREN = Weighted(((1, 55.0), (2, 39.0), (3, 6.0)))
_ADULT_AGES = Weighted([(age, 1.9 if age < 31 else 1.0) for age in range(20, 65)])
_OLD_AGES = Weighted([(age, max(1.0, 30.0 - abs(age - 71) * 1.25)) for age in range(65, 95)])
_EMPTY_NEST = Weighted([(age, 1.2 if age < 60 else 1.0 if age < 75 else 0.5) for age in range(47, 88)])
_MOTHERS = Weighted(
    [(age, 0.5 if age < 27 else 1.0 if age < 33 else 1.4 if age < 45 else 1.0) for age in range(23, 54)]
)


def _sex(dice: Dice, boys: float = 0.51) -> Sex:
    return "male" if dice.chance(boys) else "female"


def _year_of(dice: Dice, age: float) -> float:
    return age + dice.unit()


def _husband(dice: Dice, wife: float) -> float:
    return max(22.0, wife + dice.bell(1.8, 2.2, -4.0, 9.0))


def _single(dice: Dice) -> list[Member]:
    if dice.chance(0.3):
        return [Member("head", _sex(dice, 0.4), _year_of(dice, dice.draw(_OLD_AGES)))]
    return [Member("head", _sex(dice, 0.69), _year_of(dice, dice.draw(_ADULT_AGES)))]


def _pair(dice: Dice, wife: float) -> list[Member]:
    return [
        Member("head", "male", _husband(dice, wife), spouse=1),
        Member("spouse", "female", wife, spouse=0),
    ]


def _couple(dice: Dice) -> list[Member]:
    if dice.chance(0.3):
        return _pair(dice, _year_of(dice, dice.between(23, 35)))
    return _pair(dice, _year_of(dice, dice.draw(_EMPTY_NEST)))


def _children(
    dice: Dice, mother: float, *, father: float | None = None, father_at: int | None, mother_at: int | None
) -> list[Member]:
    """Born when the mother was 20 to 43 and the father grown, more than a year apart, and still at home."""
    births = sorted(dice.bell(27.5 + 3.0 * order, 3.2, 20.5, 43.0) for order in range(dice.draw(_CHILDREN)))
    ages: list[float] = []
    for age_then in births:
        age = mother - age_then
        grown = father is None or father - age >= _YOUNGEST_FATHER
        if 0.05 <= age < 23.0 and grown and all(abs(age - other) > 1.2 for other in ages):
            ages.append(age)
    return [
        Member("child", _sex(dice, _BOYS), age, father=father_at, mother=mother_at)
        for age in sorted(ages, reverse=True)
    ]


def _nuclear(dice: Dice) -> list[Member]:
    mother = _year_of(dice, dice.draw(_MOTHERS))
    pair = _pair(dice, mother)
    return pair + _children(dice, mother, father=pair[0].age, father_at=0, mother_at=1)


def _three_generations(dice: Dice) -> list[Member]:
    members = _nuclear(dice)
    paternal = dice.chance(0.75)
    child_at = 0 if paternal else 1
    child = members[child_at]
    grandmother = child.age + dice.bell(25.0, 3.0, 19.0, 38.0)
    both = dice.chance(0.62)
    place = len(members)
    elders = [Member("grandparent", "female", grandmother, spouse=place + 1 if both else None)]
    if both:
        elders.append(
            Member(
                "grandparent",
                "male",
                max(_husband(dice, grandmother), child.age + _YOUNGEST_FATHER),
                spouse=place,
            )
        )
    members[child_at] = Member(
        child.role,
        child.sex,
        child.age,
        father=place + 1 if both else None,
        mother=place,
        spouse=child.spouse,
    )
    return members + elders


def _lone_parent(dice: Dice) -> list[Member]:
    mother = _year_of(dice, dice.draw(_MOTHERS))
    if dice.chance(0.75):
        children = _children(dice, mother, father_at=None, mother_at=0)
        return [Member("head", "female", mother), *children]
    father = _husband(dice, mother)
    return [
        Member("head", "male", father),
        *_children(dice, mother, father=father, father_at=0, mother_at=None),
    ]


def _grandchild_left(dice: Dice) -> list[Member]:
    """Grandparents bring up a child whose parents work far away."""
    grandmother = _year_of(dice, dice.between(52, 70))
    members = _pair(dice, grandmother)
    ages = [dice.unit() * 13 + 1.5]
    return members + [Member("child", _sex(dice, _BOYS), age) for age in ages]


def _old_parent(dice: Dice) -> list[Member]:
    parent = _year_of(dice, dice.draw(_OLD_AGES))
    sex = _sex(dice, 0.36)
    child = Member(
        "child",
        _sex(dice, 0.6),
        max(22.0, parent - dice.bell(27.0, 4.0, 20.0, 42.0)),
        father=0 if sex == "male" else None,
        mother=0 if sex == "female" else None,
    )
    return [Member("head", sex, parent), child]


Builder = Callable[[Dice], list[Member]]
_KINDS: Weighted[tuple[str, Builder]] = Weighted(
    [
        (("single", _single), 26.0),
        (("couple", _couple), 27.0),
        (("nuclear", _nuclear), 29.0),
        (("three_generations", _three_generations), 10.0),
        (("lone_parent", _lone_parent), 3.0),
        (("grandchild_left", _grandchild_left), 2.0),
        (("old_parent", _old_parent), 3.0),
    ]
)


def next_household(dice: Dice, room: int) -> tuple[str, list[Member]]:
    """The next household, of at most `room` people: kinds that do not fit are drawn again."""
    if room == 1:
        return "single", _single(dice)
    while True:
        kind, builder = dice.draw(_KINDS)
        members = builder(dice)
        if len(members) <= room:
            return kind, members
