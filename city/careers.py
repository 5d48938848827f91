"""What people do all day: school, work and pensions by age, and the insurance that follows from it."""

from datetime import date

from city.areas import DISTRICTS
from city.dice import Dice
from city.institutions import DEPARTMENTS, Doctor, Institutions
from city.numbers import citizen_number
from city.people import Job, Person, Seat, Stage
from city.population import Population

COMPULSORY_ENROLMENT = 0.992
_KINDERGARTEN, _SENIOR, _FURTHER_STUDY = 0.92, 0.93, 0.58
_WORKING = {"male": 0.85, "female": 0.74}
_FORMAL = 0.84  # with an employer who pays contributions; the others are insured as residents
_EMPLOYEE_CAREER = {False: 0.72, True: 0.35}  # of those past working age, by whether the district is rural
_JOBLESS = 0.035
_CLASS_SIZE = 42
_RURAL = frozenset(area.code for area in DISTRICTS if area.rural)
LOWEST_WAGE, HIGHEST_WAGE = 249_000, 4_500_000  # fen a month


def school_year(today: date) -> int:
    """The calendar year in which the running school year began."""
    return today.year if today.month >= 9 else today.year - 1


def grade_of(person: Person, today: date) -> int:
    """Grade 1 for those six by 31 August (Compulsory Education Law, article 11); kindergarten is -2 to 0."""
    return person.age_on(date(school_year(today), 8, 31)) - 5


def stage_of(grade: int) -> Stage | None:
    if -2 <= grade <= 0:
        return "kindergarten"
    if 1 <= grade <= 6:
        return "primary"
    if 7 <= grade <= 9:
        return "junior"
    return "senior" if 10 <= grade <= 12 else None


def retirement_age(person: Person, *, cadre: bool) -> int:
    if person.sex == "male":
        return 60
    return 55 if cadre else 50


def anniversary(birth: date, years: int) -> date:
    day = 28 if (birth.month, birth.day) == (2, 29) else birth.day
    return date(birth.year + years, birth.month, day)


class Careers:
    """Gives everyone their seat, job or pension, and hospitals and schools their staff."""

    def __init__(self, population: Population, institutions: Institutions) -> None:
        self.population, self.institutions = population, institutions
        self.today = population.today
        for person in population.people:
            self._begin(person, Dice(population.seed, "career", person.index))
        self._form_classes()
        self._staff_hospitals()
        self._staff_schools()

    def _begin(self, person: Person, dice: Dice) -> None:
        until = person.death or self.today
        age = person.age_on(until)
        grade = grade_of(person, self.today)
        stage = stage_of(grade)
        if stage is not None:
            share = {"kindergarten": _KINDERGARTEN, "senior": _SENIOR}.get(stage, COMPULSORY_ENROLMENT)
            if person.death is None and dice.chance(share):
                self._enrol(person, stage, grade, dice)
            return
        if age < 18 or (age < 22 and dice.chance(_FURTHER_STUDY)):
            return
        cadre = dice.chance(0.3)
        if age >= retirement_age(person, cadre=cadre):
            self._retire(person, dice, cadre=cadre, age=age)
        if person.pension is None and age < 60 and dice.chance(_WORKING[person.sex]):
            self._work(person, dice, cadre=cadre)
        if person.pension is None and person.job is None:
            person.poor = age >= 40 and dice.chance(0.12)

    def _enrol(self, person: Person, stage: Stage, grade: int, dice: Dice) -> None:
        group = self.institutions.group_of(person.area)
        schools = self.institutions.school_groups[group].schools
        near = [at for at, school in enumerate(schools) if school.stage == stage]
        at_home = [at for at in near if schools[at].organisation.area == person.area]
        number = person.number
        if dice.chance(0.004):
            # The school number was given out under a citizen number that has been corrected since.
            number = citizen_number(number[:6], person.birth, int(number[14:17]) ^ 2)
        person.seat = Seat(group, dice.pick(at_home or near), stage, grade, student_number=f"G{number}")

    def _work(self, person: Person, dice: Dice, *, cadre: bool) -> None:
        if not dice.chance(_FORMAL):
            return
        start = anniversary(person.birth, dice.between(18, 24))
        since = (
            dice.day(max(start, date(2012, 1, 1)), max(start, self.today))
            if start < self.today
            else self.today
        )
        peak = 1.25 if 32 <= person.age_on(self.today) < 50 else 1.0
        wage = int(dice.bell(880_000 * peak, 330_000, LOWEST_WAGE, HIGHEST_WAGE)) // 1000 * 1000
        employer = dice.draw(self.institutions.company_sizes)
        person.job = Job(employer, "cadre" if cadre else "worker", since, wage)
        person.medical = "employee_medical"
        if dice.chance(_JOBLESS):
            self._dismiss(person, dice)

    def _dismiss(self, person: Person, dice: Dice) -> None:
        """Lost the job within the last year; the benefit runs for three to ten months."""
        assert person.job is not None
        ago = dice.between(1, 11)
        total = self.today.year * 12 + self.today.month - 1 - ago
        person.jobless_from = (total // 12, total % 12 + 1)
        person.jobless_months = dice.between(3, 10)
        person.job.since = min(person.job.since, date(self.today.year - 3, 1, 1))

    def _retire(self, person: Person, dice: Dice, *, cadre: bool, age: int) -> None:
        if dice.chance(_EMPLOYEE_CAREER[person.area in _RURAL]):
            person.pension, person.medical = "employee_pension", "employee_medical"
            person.pension_since = anniversary(person.birth, retirement_age(person, cadre=cadre))
        elif age >= 60:
            person.pension = "resident_pension"
            person.pension_since = anniversary(person.birth, 60)

    def _form_classes(self) -> None:
        """Pupils of a grade are dealt out over as many classes as its size asks for."""
        grades: dict[tuple[int, int, int], list[Person]] = {}
        for person in self.population.people:
            if person.seat is not None:
                seat = person.seat
                grades.setdefault((seat.group, seat.school, seat.grade), []).append(person)
        for pupils in grades.values():
            divisions = -(-len(pupils) // _CLASS_SIZE)
            for place, pupil in enumerate(pupils):
                assert pupil.seat is not None
                pupil.seat.division = place % divisions + 1

    def _workers(self) -> list[Person]:
        return [
            person
            for person in self.population.people
            if person.job is not None and person.death is None and person.jobless_from is None
        ]

    def _staff_hospitals(self) -> None:
        free = [person for person in self._workers() if person.age_on(self.today) >= 26]
        dice = Dice(self.population.seed, "doctors")
        dice.shuffle(free)
        first = len(self.institutions.companies)
        employers = {org.code: first + at for at, org in enumerate(self.institutions.employers[first:])}
        for alliance in self.institutions.alliances:
            for provider in alliance.providers():
                many = provider.kind == "hospital"
                wanted = max(
                    len(DEPARTMENTS) if many else 2, len(self.population.people) // (400 if many else 2000)
                )
                doctors = []
                for place in range(wanted):
                    department = (
                        DEPARTMENTS[place % len(DEPARTMENTS)] if many else ("全科", "预防保健科")[place % 2]
                    )
                    person = free.pop() if free else None
                    if person is not None and person.job is not None:
                        person.job.employer, person.job.title = employers[provider.code], "doctor"
                    name = person.name.text if person is not None else "客座医师"
                    number = f"{110 + place % 9}{provider.code[2:8]}{dice.below(10**6):06d}"
                    doctors.append(Doctor(number, name, department, provider.code))
                alliance.doctors[provider.code] = doctors

    def _staff_schools(self) -> None:
        """One teacher for each class and every second one again for its subjects."""
        free = [
            person
            for person in self._workers()
            if person.job is not None
            and person.job.title in ("worker", "cadre")
            and person.age_on(self.today) >= 23
        ]
        Dice(self.population.seed, "teachers").shuffle(free)
        classes: dict[tuple[int, int], set[tuple[int, int]]] = {}
        for person in self.population.people:
            if person.seat is not None:
                seat = person.seat
                classes.setdefault((seat.group, seat.school), set()).add((seat.grade, seat.division))
        employers = {org.code: at for at, org in enumerate(self.institutions.employers)}
        for (group, school), rooms in sorted(classes.items()):
            organisation = self.institutions.school_groups[group].schools[school].organisation
            for _ in range(min(len(free), len(rooms) + len(rooms) // 2)):
                teacher = free.pop()
                assert teacher.job is not None
                teacher.job.employer, teacher.job.title = employers[organisation.code], "teacher"
