"""Irregularities planted among the honest rows, each with two near misses beside it.

A plant is what somebody does wrong; its near misses look much the same and break no rule. Nothing here
decides what counts as a finding: that is the oracle's part, which reads the finished rows and knows no plant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from city import deeds
from city.dice import Dice
from city.institutions import Institutions
from city.people import Person
from city.population import Population
from city.social import (
    PAYMENT_MONTHS,
    Month,
    Planted,
    SocialRecords,
    last_whole_month,
    month_of,
    months_after,
)

_PEOPLE_PER_CASE = 500
_FEWEST, _MOST = 2, 200
_OLD_ENOUGH_TO_DIE = 66

Deed = Callable[[deeds.Scene, Person, SocialRecords], deeds.Keys]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to somebody's rows; `near_miss` says that no rule is broken by it."""

    rule: str
    form: str
    deed: Deed
    near_miss: bool = False


PAID_ON = Plan("payment_after_death", "paid_on_after_death", deeds.pay_on)
DEATHS = (
    PAID_ON,
    Plan("payment_after_death", "arrears_for_the_month_of_death", deeds.pay_late, near_miss=True),
)
WIDOW = Plan("payment_after_death", "widow_on_the_same_account", deeds.pay_widow, near_miss=True)
CHARGES = (
    (
        Plan("duplicate_charge", "twice_on_one_claim", deeds.charge_twice),
        Plan("duplicate_charge", "another_day", deeds.charge_daily, near_miss=True),
        Plan("duplicate_charge", "another_provider", deeds.charge_by_two, near_miss=True),
    ),
    (
        Plan("duplicate_charge", "claimed_twice", deeds.claim_twice),
        Plan("duplicate_charge", "quantity_of_two", deeds.count_two, near_miss=True),
        Plan("duplicate_charge", "another_price", deeds.charge_otherwise, near_miss=True),
    ),
)
PENSIONS = (
    Plan("incompatible_benefits", "two_pensions", deeds.draw_two),
    Plan("incompatible_benefits", "changed_over", deeds.change_over, near_miss=True),
    Plan("incompatible_benefits", "one_pension_in_parts", deeds.pay_in_parts, near_miss=True),
)
JOBLESS = (
    Plan("incompatible_benefits", "unemployed_and_insured", deeds.insure_jobless),
    Plan("incompatible_benefits", "medical_paid_by_the_fund", deeds.insured_by_fund, near_miss=True),
    Plan("incompatible_benefits", "declared_after_the_payment", deeds.declare_later, near_miss=True),
)


class Plants:
    """Chooses who gets which plant; `tamper` then works on that person's rows.

    Args:
        billed: whether somebody has bills to tamper with, and none that look tampered with already.
    """

    def __init__(
        self,
        population: Population,
        institutions: Institutions,
        *,
        seed: int,
        billed: Callable[[Person], bool],
    ) -> None:
        self.population = population
        self.scene = deeds.Scene(population, institutions, last_whole_month(population.today))
        self.cases = min(_MOST, max(_FEWEST, len(population.people) // _PEOPLE_PER_CASE))
        self.plans: dict[int, Plan] = {}
        self._left_alone: set[int] = set()
        self._dice = Dice(seed, "plants")
        self._plan_deaths()
        self._plan_pensions()
        self._plan_jobless()
        self._plan_charges(billed)

    def tamper(self, person: Person, records: SocialRecords) -> None:
        plan = self.plans.get(person.index)
        if plan is not None:
            rows = plan.deed(self.scene, person, records)
            planted = Planted(plan.rule, plan.form, plan.near_miss, person.number, tuple(rows))
            records.planted.append(planted)

    def _free(self, candidates: Sequence[Person]) -> list[Person]:
        free = [p for p in candidates if p.index not in self.plans and p.index not in self._left_alone]
        self._dice.shuffle(free)
        return free

    def _deal(self, plans: Sequence[Plan], candidates: Sequence[Person]) -> None:
        """As many whole sets as there are cases and people for: no plant without its near misses."""
        free = self._free(candidates)
        for _ in range(min(self.cases, len(free) // len(plans))):
            for plan in plans:
                self.plans[free.pop().index] = plan

    # Deaths: those of the last two years; where they are too few, the oldest have died as well.

    def _plan_deaths(self) -> None:
        first, last = months_after(self.scene.now, 2 - PAYMENT_MONTHS), months_after(self.scene.now, -4)
        self._widow(first, last)
        drawing = [person for person in self.population.people if self._died_drawing(person, first, last)]
        missing = len(DEATHS) * self.cases - len(self._free(drawing))
        oldest = sorted((p for p in self.population.people if self._may_die(p, first)), key=lambda p: p.birth)
        for person in oldest[: max(0, missing)]:
            self._die(person, first, last)
            drawing.append(person)
        self._deal(DEATHS, drawing)

    def _widow(self, first: Month, last: Month) -> None:
        """One of a couple has died; the other draws a pension into the account they shared."""
        people = self.population.people
        widowed = [p for p in people if self._died_drawing(p, first, last) and self._spouse_drawing(p, first)]
        couples = [p for p in people if self._may_die(p, first) and self._spouse_drawing(p, first)]
        for person in [*self._free(widowed), *self._free(couples)]:
            taken = sum(plan is WIDOW for plan in self.plans.values())
            if taken < self.cases and person.spouse is not None and person.index not in self._left_alone:
                if person.death is None:
                    self._die(person, first, last)
                self.plans[person.index] = WIDOW
                self._left_alone.add(person.spouse)

    def _died_drawing(self, person: Person, first: Month, last: Month) -> bool:
        if person.death is None or person.pension_since is None:
            return False
        return first <= month_of(person.death) <= last and month_of(person.pension_since) < month_of(
            person.death
        )

    def _spouse_drawing(self, person: Person, first: Month) -> bool:
        if person.spouse is None:
            return False
        spouse = self.population.people[person.spouse]
        return (
            spouse.death is None
            and spouse.pension_since is not None
            and month_of(spouse.pension_since) < first
        )

    def _may_die(self, person: Person, first: Month) -> bool:
        """Old, drawing a pension for long, and nobody's guardian."""
        if (
            person.death is not None
            or person.pension_since is None
            or month_of(person.pension_since) >= first
        ):
            return False
        household = self.population.households[person.household]
        wards = [at for at in household.members if person.index in self.population.people[at].guardians]
        return not wards and person.age_on(self.population.today) >= _OLD_ENOUGH_TO_DIE

    def _die(self, person: Person, first: Month, last: Month) -> None:
        span = (last[0] - first[0]) * 12 + last[1] - first[1]
        person.death = date(*months_after(first, self._dice.between(0, span)), self._dice.between(2, 27))

    # The living.

    def _adults(self) -> list[Person]:
        today = self.population.today
        return [p for p in self.population.people if p.death is None and p.age_on(today) >= 18]

    def _plan_pensions(self) -> None:
        long_retired = months_after(self.scene.now, -12)
        self._deal(
            PENSIONS,
            [
                person
                for person in self._adults()
                if person.pension == "employee_pension"
                and person.pension_since is not None
                and month_of(person.pension_since) < long_retired
            ],
        )

    def _plan_jobless(self) -> None:
        """Where too few lost their job, some workers lose theirs for this."""
        jobless = [person for person in self._adults() if person.jobless_from is not None]
        workers = [
            person
            for person in self._adults()
            if person.job is not None
            and person.job.title == "worker"
            and person.jobless_from is None
            and month_of(person.job.since) < months_after(self.scene.now, -12)
        ]
        missing = len(JOBLESS) * self.cases - len(self._free(jobless))
        for person in self._free(workers)[: max(0, missing)]:
            person.jobless_from, person.jobless_months = months_after(self.scene.now, -8), 6
            jobless.append(person)
        self._deal(JOBLESS, jobless)

    def _plan_charges(self, billed: Callable[[Person], bool]) -> None:
        wanted = [plan for turn in range(self.cases) for plan in CHARGES[turn % len(CHARGES)]]
        for person in self._free(self._adults()):
            if not wanted:
                break
            if billed(person):
                self.plans[person.index] = wanted.pop(0)
        # The last set may be cut short by a city with few bills: then none of it stays.
        if wanted and len(wanted) % len(CHARGES[0]):
            for index in list(self.plans)[-(len(CHARGES[0]) - len(wanted) % len(CHARGES[0])) :]:
                del self.plans[index]
