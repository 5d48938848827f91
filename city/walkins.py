"""Patients a hospital took in without papers: a number of its own, a name and a birth date as it heard them.

Some are people of this city whose entry was written with a slip; some only look like one. Which is which is
the truth's to tell; nothing here knows how anybody would find out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from city.dice import Dice, opaque
from city.hospital import Bundle, Json
from city.people import Person
from city.simulation import City

EMERGENCY_NUMBER = "urn:huimin:city:emergency-number"
_PEOPLE_PER_CASE = 1_000
_SOUND = dict(zip("伟明芳静涛宇婷浩英玲", "炜铭方婧韬雨亭皓瑛铃", strict=True))
_VARIANT = dict(zip("国华强丽军云兰凤东", "國華強麗軍雲蘭鳳東", strict=True))


@dataclass(frozen=True, slots=True)
class WalkIn:
    """One such patient.

    Attributes:
        form: what was slipped in, or what makes it look alike.
        like: the person it looks like.
        same: whether it is that person.
    """

    number: str
    client: str
    form: str
    like: Person
    same: bool
    bundle: Json

    def told(self) -> Json:
        """As the truth lists it."""
        return {
            "number": self.number,
            "form": self.form,
            "citizen_number": self.like.number,
            "same": self.same,
        }


Said = tuple[str, date]
Slip = Callable[[Person], Said | None]


def _replaced(table: dict[str, str]) -> Slip:
    """The last character of the given name that the table has, written the other way."""

    def slip(person: Person) -> Said | None:
        given = person.name.given
        at = next((at for at in range(len(given) - 1, -1, -1) if given[at] in table), None)
        if at is None or person.name.text != person.name.family + given:
            return None
        return person.name.family + given[:at] + table[given[at]] + given[at + 1 :], person.birth

    return slip


def _digit(person: Person) -> Said | None:
    """The day before or after, where that is another last digit and no other."""
    day = person.birth.day
    return (person.name.text, person.birth.replace(day=day + 1)) if day % 10 < 8 and day < 28 else None


def _day_month(person: Person) -> Said | None:
    day, month = person.birth.day, person.birth.month
    differs = day <= 12 and day != month
    return (person.name.text, person.birth.replace(month=day, day=month)) if differs else None


def _namesake(person: Person) -> Said | None:
    return person.name.text, person.birth - timedelta(days=9 * 365 + 71)


def _same_day(person: Person) -> Said | None:
    """Of the same family name, born on the same day."""
    other = "依山" if person.sex == "male" else "望舒"
    return (person.name.family + other, person.birth) if len(person.name.family) == 1 else None


_FORMS: tuple[tuple[str, Slip, bool], ...] = (
    ("sound", _replaced(_SOUND), True),
    ("variant", _replaced(_VARIANT), True),
    ("birth_digit", _digit, True),
    ("day_month", _day_month, True),
    ("namesake", _namesake, False),
    ("same_day", _same_day, False),
)


def walk_ins(city: City) -> Iterator[WalkIn]:
    """As many of each form as the city is large, everybody at most once; the same for the same city."""
    pool = city.population.living()
    Dice(city.seed, "walk-ins").shuffle(pool)
    cases = max(1, city.size // _PEOPLE_PER_CASE)
    for form, slip, same in _FORMS:
        found = [(person, said) for person in pool if (said := slip(person)) is not None][:cases]
        pool = [person for person in pool if all(person is not taken for taken, _ in found)]
        for person, (name, birth) in found:
            number = "E" + opaque(city.seed, "walk-in", form, person.index)
            bundle = Bundle(city.seed, "walk-in", form, person.index)
            bundle.add(_patient(number, name, birth, person.sex))
            yield WalkIn(number, city.alliance_of(person).client, form, person, same, bundle.whole())


def _patient(number: str, name: str, birth: date, sex: str) -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [{"use": "temp", "system": EMERGENCY_NUMBER, "value": number}],
        "active": True,
        "name": [{"use": "official", "text": name}],
        "gender": sex,
        "birthDate": birth.isoformat(),
    }
