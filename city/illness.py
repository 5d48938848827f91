"""A person's years with doctors: visits, stays, what was found, given, done and charged.

The hospital writes FHIR from it and the medical fund's claims come from it: both tell of the same days.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from city import medicine
from city.dice import Dice, Weighted
from city.institutions import Alliance, Doctor
from city.medicine import BIRTH, CHECKUP, ILLNESSES, PRICES, Illness, age_group
from city.people import Person

VISITS_A_YEAR = (1.0, 0.45, 0.4, 0.6, 1.2)  # by age group
_ILLNESS_AT = {
    (group, sex): Weighted(
        (illness, illness.visits[group])
        for illness in ILLNESSES
        if illness.visits[group] and illness.sex in (None, sex)
    )
    for group in range(5)
    for sex in ("male", "female")
}
_MORNING, _LAST_HOUR = 8, 16
_BACK_THE_SAME_DAY = 0.003  # and charged for both visits, rightly or not: what the rules find unplanted


@dataclass(frozen=True, slots=True)
class Charge:
    code: str
    name: str
    day: date
    quantity: int
    price: int  # fen


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured value: `code` is LOINC's."""

    code: str
    value: float


@dataclass(slots=True)
class Visit:
    order: int
    kind: Literal["AMB", "EMER", "IMP"]
    illness: Illness
    doctor: Doctor
    first: date
    last: date
    minute: int  # of the day it began
    systolic: int
    diastolic: int
    pulse: int
    labs: list[Reading] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)

    def total(self) -> int:
        return sum(charge.quantity * charge.price for charge in self.charges)


@dataclass(frozen=True, slots=True)
class Shot:
    code: str
    text: str
    day: date
    doctor: Doctor


@dataclass(slots=True)
class History:
    visits: list[Visit]
    shots: list[Shot]
    chronic: list[tuple[Illness, date]]
    height: int | None  # cm
    weight: float | None  # kg
    allergy: bool = False


def history_of(
    person: Person, alliance: Alliance, *, seed: int, start: date, today: date, births: list[date]
) -> History:
    """All that happened to the person from `start` to `today`. `births` are the days she gave birth."""
    dice = Dice(seed, "illness", person.index)
    end = min(person.death or today, today)
    begin = max(start, person.birth)
    chronic = _chronic(person, dice, begin)
    days = _visit_days(person, dice, begin, end)
    events = [(day, _why(person, dice, day, chronic)) for day in days]
    events += [(day, BIRTH) for day in births if begin <= day < end]
    events.sort(key=lambda event: event[0])
    visits: list[Visit] = []
    for day, illness in events:
        if visits and day <= visits[-1].last:
            continue  # still in hospital
        visits.append(_visit(len(visits), person, alliance, dice, day, illness, end))
        if visits[-1].kind == "AMB" and dice.chance(_BACK_THE_SAME_DAY):
            visits.append(_visit(len(visits), person, alliance, dice, day, CHECKUP, end))
    return History(
        visits,
        _shots(person, alliance, dice, begin, end),
        chronic,
        *_size(person, dice, end),
        allergy=dice.chance(0.05),
    )


def _chronic(person: Person, dice: Dice, begin: date) -> list[tuple[Illness, date]]:
    """Long illnesses, known since before the records begin or found early in them."""
    column = _ILLNESS_AT[age_group(person.age_on(begin)), person.sex]
    found = []
    for illness in ILLNESSES:
        if illness.chronic and illness.sex in (None, person.sex):
            weight = illness.visits[age_group(person.age_on(begin))]
            if dice.chance(weight / column.total):
                found.append((illness, begin + timedelta(days=dice.between(0, 300))))
    return found


def _visit_days(person: Person, dice: Dice, begin: date, end: date) -> list[date]:
    """Chance by chance, a month at a time, with the rate of the age then."""
    days = []
    month = begin
    while month < end:
        rate = VISITS_A_YEAR[age_group(person.age_on(month))] / 12
        if person.death is not None and (person.death - month).days < 120:
            rate *= 4  # the last months are the heaviest
        if dice.chance(rate):
            day = month + timedelta(days=dice.between(0, 29))
            if day < end:
                days.append(day)
        month += timedelta(days=30)
    return days


def _why(person: Person, dice: Dice, day: date, chronic: list[tuple[Illness, date]]) -> Illness:
    known = [illness for illness, since in chronic if since <= day]
    if known and dice.chance(0.5):
        return dice.pick(known)
    if dice.chance(0.09):
        return CHECKUP
    return dice.draw(_ILLNESS_AT[age_group(person.age_on(day)), person.sex])


def _visit(
    order: int, person: Person, alliance: Alliance, dice: Dice, day: date, illness: Illness, end: date
) -> Visit:
    stays = dice.chance(illness.inpatient)
    doctor = _doctor(person, alliance, dice, illness, stays=stays)
    last = min(day + timedelta(days=dice.between(2, 9)), end - timedelta(days=1)) if stays else day
    high = any(code in illness.code for code in ("I10", "I25", "I63"))
    age = person.age_on(day)
    visit = Visit(
        order=order,
        kind="IMP" if stays else "EMER" if illness.department == "急诊科" else "AMB",
        illness=illness,
        doctor=doctor,
        first=day,
        last=max(day, last),
        minute=dice.between(_MORNING * 60, _LAST_HOUR * 60),
        systolic=round(dice.bell(146 if high else 104 + min(age, 70) * 0.32, 10, 80, 200)),
        diastolic=round(dice.bell(90 if high else 68 + min(age, 70) * 0.12, 7, 45, 120)),
        pulse=round(dice.bell(118 if age < 3 else 92 if age < 12 else 76, 8, 45, 160)),
    )
    visit.labs = [
        Reading(
            code, round(dice.bell(measure.mean, measure.spread, measure.low, measure.high), measure.digits)
        )
        for code, measure in ((code, medicine.LABS[code]) for code in illness.labs)
    ]
    visit.charges = _charges(visit, dice, clinic=doctor.provider != alliance.hospital.code)
    return visit


def _doctor(person: Person, alliance: Alliance, dice: Dice, illness: Illness, *, stays: bool) -> Doctor:
    """Stays and the special departments are the hospital's; a cold goes to the clinic next door."""
    near = [clinic for clinic in alliance.clinics if clinic.area == person.area]
    light = illness.department in ("全科", "预防保健科") or (illness.chronic and dice.chance(0.6))
    if near and not stays and light:
        return dice.pick(alliance.doctors[dice.pick(near).code])
    doctors = alliance.doctors[alliance.hospital.code]
    return dice.pick([doctor for doctor in doctors if doctor.department == illness.department] or doctors)


def _charges(visit: Visit, dice: Dice, *, clinic: bool) -> list[Charge]:
    """Each service once a day; a stay's bed and nursing on every day of it."""
    level = 2 if clinic else 1

    def service(code: str, day: date, quantity: int = 1) -> Charge:
        return Charge(code, PRICES[code][0], day, quantity, int(PRICES[code][level]))

    charges = [service("110200002" if visit.kind == "EMER" else "110200001", visit.first)]
    services = dict.fromkeys(medicine.LAB_SERVICES[reading.code] for reading in visit.labs)
    if visit.illness.code[0] == "J" and dice.chance(0.3):
        services["210102015"] = None
    if visit.illness.code[0] == "I" and dice.chance(0.5):
        services["310701001"] = None
    if visit.illness.code[0] in "KZ" and dice.chance(0.3):
        services["220301001"] = None
    charges += [service(code, visit.first) for code in services]
    if visit.kind == "IMP":
        day = visit.first
        while day < visit.last:
            charges += [service("110900001", day), service("120100003", day)]
            day += timedelta(days=1)
        if visit.illness.procedure is not None:
            charges.append(service(medicine.PROCEDURE_SERVICES[visit.illness.procedure], visit.first))
    for drug in visit.illness.drugs:
        boxes = dice.between(1, 3) if visit.illness.chronic else 1
        charges.append(
            Charge(f"X{drug}", medicine.DRUGS[drug][0], visit.first, boxes, medicine.DRUG_PRICES[drug])
        )
    return charges


def _shots(person: Person, alliance: Alliance, dice: Dice, begin: date, end: date) -> list[Shot]:
    near = [clinic for clinic in alliance.clinics if clinic.area == person.area] or alliance.clinics
    doctor = alliance.doctors[near[person.index % len(near)].code][-1]
    shots = []
    if person.age_on(end) < 14:
        for code, text, after in medicine.CHILD_VACCINES:
            day = person.birth + timedelta(days=after + dice.between(0, 9))
            if day < end and dice.chance(0.985):
                shots.append(Shot(code, text, day, doctor))
    age = person.age_on(begin)
    for year in range(begin.year, end.year + 1):
        day = date(year, 10, 8) + timedelta(days=dice.between(0, 50))
        if begin < day < end and dice.chance(0.3 if age >= 60 or age < 6 else 0.06):
            shots.append(Shot(*medicine.INFLUENZA, day, doctor))
    if age >= 65 and dice.chance(0.35):
        day = dice.day(begin, end)
        if day < end:
            shots.append(Shot(*medicine.PNEUMOCOCCAL, day, doctor))
    return shots


def _size(person: Person, dice: Dice, end: date) -> tuple[int | None, float | None]:
    """Height and weight as last measured; two in five were never measured."""
    if dice.chance(0.4):
        return None, None
    age = min(person.age_on(end), 18)
    grown = 172 if person.sex == "male" else 160
    height = round(dice.bell(52 + (grown - 52) * age / 18, 5, 46, 200))
    mass_index = dice.bell(16 + 0.4 * age, 1.9, 12.5, 38)
    return height, round(mass_index * height * height / 10_000, 1)
