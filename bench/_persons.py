"""Persons as registers and front desks write them down: a register, and later records with what goes wrong.

Seeded, from lists of its own (_persons.json). A record made again keeps the person it is of (`truth`).
Twins, families on one telephone and common names are there so that two people can look like one.

    python -m bench._persons --people 100000 --again 0.5 --seed 20 --out /tmp/persons
"""

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = (
    "id",
    "truth",
    "name",
    "birth_date",
    "sex",
    "area",
    "citizen_number",
    "phone_hmac",
    "born",
    "people",
)
CHUNK = 100_000
OLD_NUMBERS_UNTIL = 1999  # GB 11643-1999 ended the 15 digits

_WORDS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
_PROVINCES, _CITIES, _COUNTIES = (33, 34), range(1, 7), range(1, 10)


@dataclass(frozen=True, slots=True)
class Person:
    truth: int
    name: str
    birth: date
    sex: str
    area: str
    number: str | None
    phone: str | None
    people: str

    def row(self, key: str, birth_date: str | None) -> tuple[str | None, ...]:
        facts = (self.name, birth_date, self.sex, self.area, self.number, self.phone)
        return (key, str(self.truth), *facts, self.birth.isoformat(), self.people)


class Town:
    """People one after the other, then their later records."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        families: dict[str, float] = _WORDS["families"]
        self._families = list(families)
        self._shares = list(_running_sum(families.values()))
        self._counties = [
            f"{province}{city:02d}{county:02d}"
            for province in _PROVINCES
            for city in _CITIES
            for county in _COUNTIES
        ]
        # A few counties are large, most are small.
        self._county_shares = list(_running_sum(1 / (place + 4) for place in range(len(self._counties))))
        self._orders: dict[tuple[str, date], int] = {}
        self._phone = 13_000_000_000

    def people(self, count: int) -> Iterator[Person]:
        made = 0
        while made < count:
            person = self._person(made)
            yield person
            made += 1
            if self.dice.random() < 0.008 and made < count:
                yield self._twin(person, made)
                made += 1

    def _person(self, truth: int) -> Person:
        dice = self.dice
        sex = dice.choice(("male", "female"))
        birth = date(1932, 1, 1) + timedelta(days=int(dice.triangular(0, 33_900, 20_000)))
        area = dice.choices(self._counties, cum_weights=self._county_shares)[0]
        draw = dice.random()
        if draw < 0.03:
            people, name = (
                "uyghur",
                f"{dice.choice(_WORDS['uyghur'][sex])}·{dice.choice(_WORDS['uyghur']['male'])}",
            )
        elif draw < 0.04:
            people, name = "tibetan", dice.choice(_WORDS["tibetan"])
        else:
            people, name = "han", dice.choices(self._families, cum_weights=self._shares)[0] + self._given(sex)
        number = self._number(area if dice.random() < 0.8 else dice.choice(self._counties), birth, sex)
        return Person(
            truth, name, birth, sex, area, number if dice.random() < 0.97 else None, self._telephone(), people
        )

    def _twin(self, other: Person, truth: int) -> Person:
        """Born on one day to one family: alike in everything but the number and a part of the name."""
        sex = other.sex if self.dice.random() < 0.6 else self.dice.choice(("male", "female"))
        name = other.name[:-1] + self.dice.choice(_WORDS["given"][sex].replace(other.name[-1], ""))
        if other.people != "han":
            name = f"{self.dice.choice(_WORDS['uyghur'][sex])}·{other.name.split('·')[-1]}"
        number = self._number(other.number[:6], other.birth, sex) if other.number else None
        return replace(other, truth=truth, name=name, sex=sex, number=number)

    def _given(self, sex: str) -> str:
        letters: str = _WORDS["given"][sex]
        # Some characters are far commoner than others.
        first = letters[int(len(letters) * self.dice.random() ** 1.6)]
        return (
            first
            if self.dice.random() < 0.2
            else first + letters[int(len(letters) * self.dice.random() ** 1.4)]
        )

    def _number(self, area: str, birth: date, sex: str) -> str:
        order = self._orders.get((area, birth), 0) + 1
        self._orders[area, birth] = order
        return numbered(f"{area}{birth:%Y%m%d}{(order * 2 + (sex == 'male')) % 1000:03d}")

    def _telephone(self) -> str | None:
        if self.dice.random() < 0.3:
            return None
        if self.dice.random() > 0.35:  # else the family's, the same as the last
            self._phone += self.dice.randrange(1, 50)
        return f"{self._phone:x}"

    def again(self, person: Person, key: str) -> tuple[str | None, ...]:
        """The person at another desk: most is right, something may be missing, something may be wrong."""
        dice = self.dice
        name = self._name_again(person)
        birth = self._birth_again(person.birth)
        number = self._number_again(person) if dice.random() < 0.55 else None
        area: str | None = person.area
        if (draw := dice.random()) < 0.15:
            area = None if draw < 0.05 else dice.choice(self._counties)
        phone = person.phone
        if (draw := dice.random()) < 0.40:
            phone = None if draw < 0.25 else f"{self.dice.randrange(10**11):x}"
        sex = person.sex if dice.random() < 0.995 else {"male": "female", "female": "male"}[person.sex]
        said = (key, str(person.truth), name, birth, sex, area, number, phone)
        return (*said, person.birth.isoformat(), person.people)

    def _name_again(self, person: Person) -> str:
        dice, name = self.dice, person.name
        if person.people != "han":
            return self._other_spelling(name)
        draw = dice.random()
        if draw < 0.03:
            return "".join(_WORDS["variants"].get(letter, letter) for letter in name)
        if draw < 0.06:
            return self._changed(name, _alike())
        if draw < 0.08:
            return self._changed(name, _WORDS["other_tone"])
        if draw < 0.10:
            return self._changed(name, _WORDS["shapes"])
        if draw < 0.13 and all(letter in _WORDS["latin"] for letter in name):
            words = [_WORDS["latin"][name[0]], "".join(_WORDS["latin"][letter] for letter in name[1:])]
            return " ".join(word.title() for word in (words if dice.random() < 0.6 else reversed(words)))
        if draw < 0.15:
            return f"{name[0]} {name[1:]}"
        if draw < 0.155:
            return dice.choice(self._families) + name[1:]
        return name

    def _other_spelling(self, name: str) -> str:
        draw = self.dice.random()
        if draw < 0.15:
            return name.replace("·", "")
        if draw < 0.25:
            return name.replace("·", self.dice.choice((" ", "•", "．", "-", " · ")))
        if draw < 0.32:
            return name.split("·")[0]
        if draw < 0.42:
            for one, other in _WORDS["two_ways"]:
                name = name.replace(one, other)
        return name

    def _changed(self, name: str, table: dict[str, str]) -> str:
        places = [place for place, letter in enumerate(name) if place and table.get(letter, letter) != letter]
        if not places:
            return name
        place = self.dice.choice(places)
        others = table[name[place]].replace(name[place], "") or name[place]
        return name[:place] + self.dice.choice(others) + name[place + 1 :]

    def _birth_again(self, birth: date) -> str | None:
        draw = self.dice.random()
        if draw < 0.015:
            return _lunar(birth)
        if draw < 0.025 and birth.day <= 12:
            return f"{birth.year}-{birth.day:02d}-{birth.month:02d}"
        if draw < 0.045:
            return self._mistyped_date(birth)
        if draw < 0.055:
            return f"{birth.year}-01-01"
        return None if draw < 0.065 else birth.isoformat()

    def _mistyped_date(self, birth: date) -> str:
        while True:
            text = birth.isoformat()
            place = self.dice.choice((3, 5, 6, 8, 9))
            text = text[:place] + str(self.dice.randrange(10)) + text[place + 1 :]
            try:
                date.fromisoformat(text)
            except ValueError:
                continue
            return text

    def _number_again(self, person: Person) -> str | None:
        number, draw = person.number, self.dice.random()
        if number is None or draw > 0.06:
            return number
        if draw < 0.03 and 1900 <= person.birth.year < OLD_NUMBERS_UNTIL:
            return number[:6] + number[8:17]
        place = self.dice.randrange(6, 16)
        if draw < 0.045:
            return number[:place] + number[place + 1] + number[place] + number[place + 2 :]
        return number[:place] + str(self.dice.randrange(10)) + number[place + 1 :]


def numbered(first_17: str) -> str:
    """With its check character: GB 11643, ISO 7064 MOD 11-2."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(first_17))
    return first_17 + "0123456789X"[(12 - total % 11) % 11]


@cache
def _alike() -> dict[str, str]:
    """To each character those that sound the same."""
    return {letter: group for group in _WORDS["alike"] for letter in group}


def _running_sum(shares: Iterable[float]) -> Iterator[float]:
    total = 0.0
    for share in shares:
        total += share
        yield total


def _lunar(birth: date) -> str:
    from lunar_python import Solar

    lunar = Solar.fromYmd(birth.year, birth.month, birth.day).getLunar()
    return f"{lunar.getYear()}-{abs(lunar.getMonth()):02d}-{lunar.getDay():02d}"


def write(folder: Path, *, people: int, again: float, seed: int) -> tuple[Path, Path]:
    """Writes `register.parquet` (everybody once) and `again.parquet` (later records of some of them)."""
    folder.mkdir(parents=True, exist_ok=True)
    town = Town(seed)
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    register, later = folder / "register.parquet", folder / "again.parquet"
    with pq.ParquetWriter(register, schema) as first, pq.ParquetWriter(later, schema) as second:
        rows: list[tuple[str | None, ...]] = []
        repeated: list[tuple[str | None, ...]] = []
        for person in town.people(people):
            rows.append(person.row(f"r{person.truth}", person.birth.isoformat()))
            if town.dice.random() < again:
                repeated.append(town.again(person, f"a{person.truth}"))
            if len(rows) == CHUNK:
                _put(first, rows, schema)
                _put(second, repeated, schema)
        _put(first, rows, schema)
        _put(second, repeated, schema)
    return register, later


def _put(writer: pq.ParquetWriter, rows: list[tuple[str | None, ...]], schema: pa.Schema) -> None:
    if rows:
        columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        rows.clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench._persons")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--again", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    write(asked.out, people=asked.people, again=asked.again, seed=asked.seed)
