"""The population register: tells identity who there is, and who stands for whom."""

from collections.abc import Iterator

from city.hospital import Json
from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.simulation import City


def _identifier(person: Person) -> Json:
    return {"system": CITIZEN_NUMBER, "value": person.number}


def persons(city: City) -> Iterator[Json]:
    """Everybody, as the register has them. Deaths are told by the hospitals."""
    for person in city.people:
        yield {
            "ref": person.code,
            "identifiers": [_identifier(person)],
            "name": person.name.text,
            "birth_date": person.birth.isoformat(),
            "sex": person.sex,
            "area": person.area,
        }


def guardianships(city: City) -> Iterator[Json]:
    """From the child's birth; identity ends them at eighteen by itself."""
    for ward in city.people:
        for at in ward.guardians:
            parent = at in (ward.father, ward.mother)
            yield {
                "guardian": _identifier(city.people[at]),
                "ward": _identifier(ward),
                "relation": "parent" if parent else "grandparent",
                "valid_from": ward.birth.isoformat(),
            }
