"""What a person, a household and a life in it are, before any office has written them down."""

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from city.names import Name

Sex = Literal["male", "female"]
Stage = Literal["kindergarten", "primary", "junior", "senior"]
Pension = Literal["employee_pension", "resident_pension"]
Medical = Literal["employee_medical", "resident_medical"]


@dataclass(slots=True)
class Job:
    employer: int  # index in the city's employers
    title: Literal["worker", "cadre", "teacher", "doctor"]
    since: date
    wage: int  # fen a month


@dataclass(slots=True)
class Seat:
    """A pupil's place: school group and school, grade (1 to 12, or -2 to 0 in kindergarten), class."""

    group: int
    school: int
    stage: Stage
    grade: int
    division: int = 0
    student_number: str = ""


@dataclass(slots=True)
class Person:
    index: int
    household: int
    sex: Sex
    birth: date
    area: str  # where they live
    people: str  # 民族
    name: Name
    number: str  # citizen number
    code: str  # opaque: what offices use inside their own numbers
    role: Literal["head", "spouse", "child", "grandparent"]
    death: date | None = None
    father: int | None = None
    mother: int | None = None
    spouse: int | None = None
    guardians: tuple[int, ...] = ()
    seat: Seat | None = None
    job: Job | None = None
    pension: Pension | None = None
    pension_since: date | None = None
    medical: Medical = "resident_medical"
    jobless_from: tuple[int, int] | None = None  # (year, month) of the first unemployment benefit
    jobless_months: int = 0
    poor: bool = False

    def age_on(self, day: date) -> int:
        return day.year - self.birth.year - ((day.month, day.day) < (self.birth.month, self.birth.day))


@dataclass(slots=True)
class Household:
    index: int
    area: str
    kind: str
    members: list[int] = field(default_factory=list)
