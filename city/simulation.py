"""The city as a whole: who lives in it, what stands in it, and each person's story on demand.

Everything follows from the number of people, the seed and the day that counts as today. Stories are made when
asked for and not kept, so that a large city fits in little memory.
"""

from datetime import date
from functools import cached_property

from city.careers import Careers
from city.hospital import Chart, Json
from city.illness import History, history_of
from city.institutions import Alliance, Institutions
from city.people import Person
from city.plants import Plants
from city.population import Population
from city.social import SocialRecords, SocialSecurity

PEOPLE = 2_000
SEED = 1
TODAY = date(2026, 10, 31)
FEWEST_PEOPLE = 50


class City:
    """A simulated city.

    Args:
        people: how many there are, those who died in the last three years included.
        seed: same seed, same city.
        today: the last day the city knows of; never read from a clock.
    """

    def __init__(self, *, people: int = PEOPLE, seed: int = SEED, today: date = TODAY) -> None:
        if people < FEWEST_PEOPLE:
            raise ValueError(f"a city has at least {FEWEST_PEOPLE} people, not {people}")
        self.size, self.seed, self.today = people, seed, today
        self.population = Population(size=people, seed=seed, today=today)
        self.institutions = Institutions(size=people, seed=seed)
        Careers(self.population, self.institutions)
        self.social = SocialSecurity(self.population, self.institutions)
        self.plants = Plants(self.population, self.institutions, seed=seed, billed=self._billed)

    @property
    def people(self) -> list[Person]:
        return self.population.people

    @cached_property
    def births(self) -> dict[int, list[date]]:
        """The days on which each mother gave birth, inside the years the records cover."""
        births: dict[int, list[date]] = {}
        for person in self.people:
            if person.mother is not None and person.birth >= self.population.start:
                births.setdefault(person.mother, []).append(person.birth)
        return births

    def alliance_of(self, person: Person) -> Alliance:
        return self.institutions.alliance_of(person.area)

    def history(self, person: Person) -> History:
        return history_of(
            person,
            self.alliance_of(person),
            seed=self.seed,
            start=self.population.start,
            today=self.today,
            births=self.births.get(person.index, []),
        )

    def bundle(self, person: Person, history: History | None = None) -> Json:
        """The person's FHIR transaction, as their hospital sends it."""
        chart = Chart(
            person,
            history or self.history(person),
            self.alliance_of(person),
            self.institutions.medical_fund,
            self.seed,
        )
        return chart.write([self.people[guardian] for guardian in person.guardians])

    def social_records(self, person: Person, history: History | None = None) -> SocialRecords:
        """The person's contributions, payments and claims, with what was planted among them."""
        records = self.social.records(person, history or self.history(person), self.alliance_of(person))
        self.plants.tamper(person, records)
        return records

    def _billed(self, person: Person) -> bool:
        """Bills in the claims' time, and never two visits in one day."""
        days = [visit.first for visit in self.history(person).visits if self.social.claimed(visit)]
        return bool(days) and len(set(days)) == len(days)
