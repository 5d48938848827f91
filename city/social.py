"""Social security as its offices write it down: contributions, payments, claims and claim lines.

Rows hold exactly the columns of the import door, as text, in its order.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from city.dice import Dice, opaque
from city.hospital import visit_number
from city.illness import History, Visit
from city.institutions import Alliance, Institutions
from city.people import Person
from city.population import Population

CONTRIBUTION_MONTHS, PAYMENT_MONTHS, CLAIM_DAYS = 12, 24, 730
_CURRENCY = "CNY"
_LOWEST_BASE, _HIGHEST_BASE = 498_600, 2_493_000  # fen a month
_EMPLOYEE_RATES = (("employee_pension", 240), ("employee_medical", 115), ("unemployment", 10))  # per mille
_UNEMPLOYMENT_BENEFIT = 204_300
_LIVING_STANDARD = 131_500


class Contribution(NamedTuple):
    contribution_id: str
    citizen_number: str
    name: str
    employer_uscc: str
    scheme: str
    area: str
    period: str
    base: str
    amount: str
    currency: str
    declared_on: str


class Payment(NamedTuple):
    payment_id: str
    citizen_number: str
    scheme: str
    benefit: str
    area: str
    period: str
    amount: str
    currency: str
    paid_on: str
    account_hash: str


class Claim(NamedTuple):
    claim_id: str
    citizen_number: str
    provider_uscc: str
    scheme: str
    area: str
    admitted_on: str
    discharged_on: str
    claimed_on: str
    diagnosis: str
    total: str
    currency: str


class ClaimLine(NamedTuple):
    claim_id: str
    line_no: str
    item_code: str
    item_name: str
    service_date: str
    quantity: str
    unit_price: str
    amount: str
    currency: str
    practitioner: str


@dataclass(frozen=True, slots=True)
class Planted:
    """An irregularity put in by hand, or its innocent neighbour, by the keys of its rows (see `key`)."""

    rule: str
    form: str
    near_miss: bool
    citizen_number: str
    rows: tuple[str, ...]


def key(row: Contribution | Payment | Claim | ClaimLine) -> str:
    """How a finding's evidence names a row: its kind and the key the door takes it by."""
    if isinstance(row, ClaimLine):
        return f"claim_line {row.claim_id} {row.line_no}"
    kinds = {Contribution: "contribution", Payment: "payment", Claim: "claim"}
    return f"{kinds[type(row)]} {row[0]}"


@dataclass(slots=True)
class SocialRecords:
    contributions: list[Contribution] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    claim_lines: list[ClaimLine] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)


Month = tuple[int, int]


def yuan(fen: int) -> str:
    """Money as text with two places; never through a float."""
    return f"{fen // 100}.{fen % 100:02d}"


def months_after(month: Month, count: int) -> Month:
    total = month[0] * 12 + month[1] - 1 + count
    return total // 12, total % 12 + 1


def month_of(day: date) -> Month:
    return day.year, day.month


def last_whole_month(today: date) -> Month:
    """The last month all of whose rows are written by today."""
    return month_of(today) if today.day >= 28 else months_after(month_of(today), -1)


def period(month: Month) -> str:
    return f"{month[0]}-{month[1]:02d}"


def day_in(month: Month, day: int) -> str:
    return f"{month[0]}-{month[1]:02d}-{day:02d}"


def account_of(household: int, seed: int) -> str:
    """The family's bank account, as a hash; husband and wife often share one."""
    return opaque(seed, "account", household, length=20).lower()


class SocialSecurity:
    """Writes the honest rows of one person at a time."""

    def __init__(self, population: Population, institutions: Institutions) -> None:
        self.population, self.institutions = population, institutions
        self.now = last_whole_month(population.today)

    def records(self, person: Person, history: History, alliance: Alliance) -> SocialRecords:
        dice = Dice(self.population.seed, "social", person.index)
        records = SocialRecords()
        self._contribute(person, records)
        self._pay(person, records, dice)
        for visit in history.visits:
            if self.claimed(visit):
                self._claim(person, visit, alliance, records)
        return records

    def claimed(self, visit: Visit) -> bool:
        """Young enough to be among the claims."""
        return (self.population.today - visit.first).days <= CLAIM_DAYS

    def contribution(
        self, person: Person, employer: str, scheme: str, month: Month, base: int, amount: int, area: str = ""
    ) -> Contribution:
        return Contribution(
            contribution_id=f"C-{person.code}-{period(month)}-{scheme}",
            citizen_number=person.number,
            name=person.name.text,
            employer_uscc=employer,
            scheme=scheme,
            area=area or person.area,
            period=period(month),
            base=yuan(base),
            amount=yuan(amount),
            currency=_CURRENCY,
            declared_on=day_in(month, 12),
        )

    def _contribute(self, person: Person, records: SocialRecords) -> None:
        for back in reversed(range(CONTRIBUTION_MONTHS)):
            month = months_after(self.now, -back)
            if month <= month_of(person.birth) or (
                person.death is not None and month > month_of(person.death)
            ):
                continue
            if person.job is not None and self._at_work(person, month):
                self._from_wage(person, month, records)
            elif self._on_benefit(person, month):
                self._from_fund(person, month, records)
            elif person.job is None:
                self._as_resident(person, month, records)

    def _at_work(self, person: Person, month: Month) -> bool:
        assert person.job is not None
        if month < month_of(person.job.since):
            return False
        if person.jobless_from is None:
            return True
        return month < person.jobless_from or month >= months_after(
            person.jobless_from, person.jobless_months
        )

    def _from_wage(self, person: Person, month: Month, records: SocialRecords) -> None:
        assert person.job is not None
        employer = self.institutions.employers[person.job.employer]
        base = min(max(person.job.wage, _LOWEST_BASE), _HIGHEST_BASE)
        for scheme, rate in _EMPLOYEE_RATES:
            amount = (base * rate + 500) // 1000
            records.contributions.append(
                self.contribution(person, employer.code, scheme, month, base, amount, employer.area)
            )

    def _from_fund(self, person: Person, month: Month, records: SocialRecords) -> None:
        """Health insurance goes on at the unemployment fund's expense (Social Insurance Law, article 48)."""
        amount = _LOWEST_BASE * 115 // 1000
        office = self.institutions.pension_office.code
        records.contributions.append(
            self.contribution(person, office, "employee_medical", month, _LOWEST_BASE, amount)
        )

    def _as_resident(self, person: Person, month: Month, records: SocialRecords) -> None:
        """Once a year: health insurance in December for the year to come, the pension in March."""
        centre = self.institutions.service_centres[person.area].code
        if month[1] == 12 and person.medical == "resident_medical":
            records.contributions.append(
                self.contribution(person, centre, "resident_medical", month, 0, 40_000)
            )
        age = person.age_on(self.population.today)
        if month[1] == 3 and person.pension is None and 25 <= age < 60:
            paid = (10_000, 50_000, 100_000)[person.index % 3]
            records.contributions.append(
                self.contribution(person, centre, "resident_pension", month, 0, paid)
            )

    def payment(
        self, person: Person, scheme: str, benefit: str, month: Month, fen: int, paid_on: str
    ) -> Payment:
        return Payment(
            payment_id=f"P-{person.code}-{period(month)}-{scheme}",
            citizen_number=person.number,
            scheme=scheme,
            benefit=benefit,
            area=person.area,
            period=period(month),
            amount=yuan(fen),
            currency=_CURRENCY,
            paid_on=paid_on,
            account_hash=account_of(person.household, self.population.seed),
        )

    def pension_of(self, person: Person) -> int:
        """Fen a month: some thousand yuan after a working life, some hundred as a resident."""
        dice = Dice(self.population.seed, "pension", person.index)
        if person.pension == "employee_pension":
            return int(dice.bell(392_000, 110_000, 160_000, 1_050_000)) // 10 * 10
        return int(dice.bell(38_000, 9_000, 27_000, 90_000)) // 10 * 10

    def _pay(self, person: Person, records: SocialRecords, dice: Dice) -> None:
        household = self.population.households[person.household]
        head = household.members[0] == person.index
        poor = head and any(self.population.people[member].poor for member in household.members)
        fen = self.pension_of(person) if person.pension is not None else 0
        for back in reversed(range(PAYMENT_MONTHS)):
            month = months_after(self.now, -back)
            if person.death is not None and month > month_of(person.death):
                break  # the month of death is still due
            since = person.pension_since
            if person.pension is not None and since is not None and month > month_of(since):
                records.payments.append(
                    self.payment(person, person.pension, "pension", month, fen, day_in(month, 15))
                )
            if self._on_benefit(person, month):
                records.payments.append(
                    self.payment(
                        person,
                        "unemployment",
                        "unemployment_benefit",
                        month,
                        _UNEMPLOYMENT_BENEFIT,
                        day_in(month, 20),
                    )
                )
            if poor:
                fen_living = _LIVING_STANDARD * len(household.members) * 6 // 10
                records.payments.append(
                    self.payment(
                        person, "minimum_living", "minimum_living", month, fen_living, day_in(month, 10)
                    )
                )
        self._maternity(person, records)

    def _on_benefit(self, person: Person, month: Month) -> bool:
        if person.jobless_from is None:
            return False
        return person.jobless_from <= month < months_after(person.jobless_from, person.jobless_months)

    def _maternity(self, person: Person, records: SocialRecords) -> None:
        """Paid once to mothers with a job, two months after the birth (Social Insurance Law, article 56)."""
        if person.job is None or person.sex != "female":
            return
        for child in self.population.people[person.index + 1 : person.index + 6]:
            if child.mother == person.index and child.birth >= self.population.start:
                month = months_after(month_of(child.birth), 2)
                alive = person.death is None or month <= month_of(person.death)
                if months_after(self.now, 1 - PAYMENT_MONTHS) <= month <= self.now and alive:
                    fen = person.job.wage * 158 // 30
                    records.payments.append(
                        self.payment(
                            person, "maternity", "maternity_allowance", month, fen, day_in(month, 25)
                        )
                    )

    def _claim(self, person: Person, visit: Visit, alliance: Alliance, records: SocialRecords) -> None:
        claim_id = f"M-{visit_number(person, visit)}"
        provider = next(org for org in alliance.providers() if org.code == visit.doctor.provider)
        stay = visit.kind == "IMP"
        claimed = min(visit.last + timedelta(days=1 if stay else 0), self.population.today)
        records.claims.append(
            Claim(
                claim_id=claim_id,
                citizen_number=person.number,
                provider_uscc=provider.code,
                scheme=person.medical,
                area=provider.area,
                admitted_on=visit.first.isoformat() if stay else "",
                discharged_on=visit.last.isoformat() if stay else "",
                claimed_on=claimed.isoformat(),
                diagnosis=visit.illness.code,
                total=yuan(visit.total()),
                currency=_CURRENCY,
            )
        )
        for line_no, charge in enumerate(visit.charges, start=1):
            records.claim_lines.append(
                ClaimLine(
                    claim_id=claim_id,
                    line_no=str(line_no),
                    item_code=charge.code,
                    item_name=charge.name,
                    service_date=charge.day.isoformat(),
                    quantity=str(charge.quantity),
                    unit_price=yuan(charge.price),
                    amount=yuan(charge.price * charge.quantity),
                    currency=_CURRENCY,
                    practitioner=visit.doctor.number,
                )
            )
