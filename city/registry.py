"""The population register: tells identity who there is, who lives with whom and where, who was born and died.

The simulation begins on a day; what it knows to have been so before is told as since that day.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta

from city.dice import Dice, opaque
from city.hospital import Json
from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.simulation import City


def _identifier(person: Person) -> Json:
    return {"system": CITIZEN_NUMBER, "value": person.number}


def persons(city: City) -> Iterator[Json]:
    """Everybody, as the register has them. Deaths are told apart."""
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


_TO_THE_HEAD = {"head": "head", "spouse": "spouse", "child": "child", "grandparent": "parent"}


def households(city: City) -> Iterator[Json]:
    for home in city.population.households:
        members = [city.people[at] for at in home.members]
        yield {
            "code": opaque(city.seed, "household-number", home.index),
            "area": home.area,
            "valid_from": city.population.start.isoformat(),
            "members": [
                {
                    "person": _identifier(member),
                    "relation": _TO_THE_HEAD[member.role],
                    "valid_from": _since(city, member).isoformat(),
                }
                for member in members
            ],
        }


def moves(city: City) -> Iterator[Json]:
    """Nobody in the simulation has moved yet: one entry each."""
    for person in city.people:
        yield {
            "person": _identifier(person),
            "since": _since(city, person).isoformat(),
            "area": person.area,
        }


def births(city: City) -> Iterator[Json]:
    """Those since the simulation began, registered within the month that the law gives
    (户口登记条例 第7条)."""
    for child in city.people:
        if child.birth < city.population.start:
            continue
        parents = {"mother": child.mother, "father": child.father}
        yield {
            "child": [_identifier(child)],
            "name": child.name.text,
            "born_on": child.birth.isoformat(),
            "sex": child.sex,
            "registered_on": _registered(city, child, child.birth).isoformat(),
            "area": child.area,
            **{role: _identifier(city.people[at]) for role, at in parents.items() if at is not None},
        }


def deaths(city: City) -> Iterator[Json]:
    for person in city.people:
        if person.death is not None:
            yield {
                "person": _identifier(person),
                "died_on": person.death.isoformat(),
                "registered_on": _registered(city, person, person.death).isoformat(),
                "area": person.area,
            }


def _since(city: City, person: Person) -> date:
    return max(city.population.start, person.birth)


def _registered(city: City, person: Person, event: date) -> date:
    """Within a month, or today if that is not over."""
    days = Dice(city.seed, "registered", event.isoformat(), person.index).between(1, 30)
    return min(event + timedelta(days=days), city.population.today)


REGISTERS: Mapping[str, Callable[[City], Iterator[Json]]] = {
    "guardianships": guardianships,
    "households": households,
    "births": births,
    "deaths": deaths,
    "moves": moves,
}
"""What the register tells besides the people themselves, by the door it goes through."""
