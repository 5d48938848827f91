"""The city's own account of itself: what it pushes, what is to be found in it, what is not. `truth.json`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from city import oracle, sights
from city.careers import grade_of
from city.gate import BUSIEST_DAY, OPENING, day_at_the_sights
from city.hospital import Json, count_types
from city.illness import History
from city.people import Person
from city.school import Roster, compulsory_age
from city.simulation import City
from city.social import SocialRecords
from city.walkins import walk_ins

_REPEATED = ("Organization", "Practitioner")


@dataclass(frozen=True, slots=True)
class Story:
    """One person as every domain will know them."""

    person: Person
    history: History
    bundle: Json
    social: SocialRecords


def stories(city: City) -> Iterator[Story]:
    """Everybody's, one at a time."""
    for person in city.people:
        history = city.history(person)
        yield Story(person, history, city.bundle(person, history), city.social_records(person, history))


class Truth:
    """Adds up the stories as they pass; keeps of each only what the truth names."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.sent: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.repeated: dict[str, set[tuple[str, str]]] = {kind: set() for kind in _REPEATED}
        self.findings: list[oracle.Finding] = []
        self.planted: list[dict[str, Any]] = []
        self.deaths = {p.number: p.death for p in city.people if p.death is not None}

    def add(self, story: Story) -> None:
        self.sent.update(count_types(story.bundle))
        client = self.city.alliance_of(story.person).client
        for entry in story.bundle["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] in _REPEATED:
                self.repeated[resource["resourceType"]].add((client, resource["identifier"][0]["value"]))
        social = story.social
        self.rows["contributions"] += len(social.contributions)
        self.rows["payments"] += len(social.payments)
        self.rows["claims"] += len(social.claims)
        self.rows["claim_lines"] += len(social.claim_lines)
        self.findings += oracle.findings(
            contributions=[row._asdict() for row in social.contributions],
            payments=[row._asdict() for row in social.payments],
            claims=[row._asdict() for row in social.claims],
            claim_lines=[row._asdict() for row in social.claim_lines],
            deaths=self.deaths,
        )
        self.planted += [asdict(planted) for planted in social.planted]

    def document(self) -> dict[str, Any]:
        city = self.city
        planted = {row for plant in self.planted if not plant["near_miss"] for row in plant["rows"]}
        return {
            "city": {"people": city.size, "seed": city.seed, "today": city.today.isoformat()},
            "population": self._population(),
            "counts": {"fhir": self._fhir(), "social_security": dict(sorted(self.rows.items())),
                       "oneroster": self._oneroster(), "readings": self._readings()},
            "births": self._births(),
            "deaths": [
                {"citizen_number": number, "death_date": day.isoformat()}
                for number, day in sorted(self.deaths.items())
            ],
            "schooling": self._schooling(),
            "guardianships": [
                {"guardian": city.people[at].number, "ward": person.number}
                for person in city.people
                for at in person.guardians
            ],
            "findings": [
                {
                    "rule": finding.rule,
                    "form": finding.form,
                    "citizen_number": finding.citizen_number,
                    "evidence": list(finding.evidence),
                    "amount_at_risk": str(finding.amount_at_risk),
                    "currency": finding.currency,
                    "planted": any(row in planted for row in finding.evidence),
                }
                for finding in self.findings
            ],
            "planted": [_listed(plant) for plant in self.planted if not plant["near_miss"]],
            "near_misses": [_listed(plant) for plant in self.planted if plant["near_miss"]],
            "walk_ins": [one.told() for one in walk_ins(city)],
            "warnings": warnings_of(BUSIEST_DAY, seed=city.seed),
        }  # fmt: skip

    def _population(self) -> dict[str, int]:
        living = self.city.population.living()
        today = self.city.today
        return {
            "people": len(self.city.people),
            "living": len(living),
            "dead": len(self.deaths),
            "households": len(self.city.population.households),
            "minors": sum(person.age_on(today) < 18 for person in living),
            "past_60": sum(person.age_on(today) >= 60 for person in living),
        }

    def _fhir(self) -> dict[str, Any]:
        """`stored`: what a store that matches Organizations and Practitioners by identifier ends up with."""
        stored = {**self.sent, **{kind: len(known) for kind, known in self.repeated.items()}}
        return {
            "bundles": len(self.city.people),
            "entries": self.sent.total(),
            "sent": dict(sorted(self.sent.items())),
            "stored": dict(sorted(stored.items())),
        }

    def _oneroster(self) -> dict[str, dict[str, int]]:
        return {roster.group.client: roster.counts() for roster in rosters(self.city)}

    def _readings(self) -> int:
        return len(day_at_the_sights(BUSIEST_DAY, seed=self.city.seed).readings)

    def _births(self) -> dict[str, int]:
        start = self.city.population.start
        return dict(sorted(Counter(str(p.birth.year) for p in self.city.people if p.birth >= start).items()))

    def _schooling(self) -> dict[str, Any]:
        today = self.city.today
        due = [p for p in self.city.population.living() if compulsory_age(p, today)]
        enrolled = Counter(p.seat.stage for p in self.city.people if p.seat is not None)
        return {
            "enrolled": dict(sorted(enrolled.items())),
            "compulsory_age": len(due),
            "compulsory_enrolled": sum(p.seat is not None for p in due),
            "out_of_school": [
                {"citizen_number": p.number, "grade": grade_of(p, today)} for p in due if p.seat is None
            ],
        }


def _listed(plant: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plant.items() if name != "near_miss"} | {
        "rows": list(plant["rows"])
    }


def rosters(city: City) -> Iterator[Roster]:
    for at, group in enumerate(city.institutions.school_groups):
        yield Roster(city.population, at, group, city.institutions.employers)


def warnings_of(day: date, *, seed: int) -> dict[str, Any]:
    """The warnings a full day at the sights raises, by zone; `minute` is the one at whose end it happens."""
    inside = day_at_the_sights(day, seed=seed).inside
    zones: dict[str, Any] = {}
    for zone in sights.ZONES:
        steps = oracle.episodes(
            inside[zone.id],
            capacity=zone.capacity,
            levels=sights.LEVELS,
            dwell_up=sights.DWELL_UP,
            dwell_down=sights.DWELL_DOWN,
            hysteresis=sights.HYSTERESIS,
        )
        zones[zone.id] = {
            "capacity": zone.capacity,
            "most": max(inside[zone.id]),
            "steps": [
                {
                    "episode": step.episode,
                    "kind": step.kind,
                    "level": step.level,
                    "minute": f"{(OPENING + step.at) // 60:02d}:{(OPENING + step.at) % 60:02d}",
                    "after_minutes": step.at,
                    "people": step.people,
                }
                for step in steps
            ],
        }
    return {"day": day.isoformat(), "zones": zones}


def compute(city: City) -> dict[str, Any]:
    """The truth alone, without writing what it is the truth of."""
    truth = Truth(city)
    for story in stories(city):
        truth.add(story)
    return truth.document()
