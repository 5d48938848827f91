"""The people of the city: households settled in districts, names and numbers given, guardians appointed, and
those who died in the years looked back on."""

from datetime import date, timedelta

from city.areas import ELSEWHERE, MONGOL_HOME, TIBETAN_HOME, UYGHUR_HOME, Area, districts_for
from city.areas import FIRST_NUMBERS as FIRST_CARDS
from city.dice import Dice, Weighted, opaque
from city.households import Member, next_household
from city.names import PEOPLES, Name, name_of, surname
from city.numbers import citizen_number
from city.people import Household, Person

WINDOW_YEARS = 3  # how far back the city's records go
_LOCAL_SHARE = 0.74
_OF_ELSEWHERE = Weighted(ELSEWHERE)
_HOMES = {"维吾尔族": UYGHUR_HOME, "藏族": TIBETAN_HOME, "蒙古族": MONGOL_HOME}

# Deaths a thousand people a year, up to and without the age named.
DEATHS_PER_THOUSAND: tuple[tuple[int, float], ...] = (
    (1, 4.0),
    (5, 0.4),
    (15, 0.25),
    (30, 0.4),
    (40, 0.8),
    (50, 1.8),
    (60, 4.0),
    (65, 8.0),
    (70, 13.0),
    (75, 22.0),
    (80, 38.0),
    (85, 65.0),
    (90, 120.0),
    (200, 190.0),
)


def death_rate(age: float) -> float:
    """The yearly chance of dying at this age."""
    return next(rate for until, rate in DEATHS_PER_THOUSAND if age < until) / 1000


class Population:
    """Everyone, by index; those who died since `start` are among them."""

    def __init__(self, *, size: int, seed: int, today: date) -> None:
        self.seed, self.today = seed, today
        self.start = date(today.year - WINDOW_YEARS, today.month, 1)
        self.people: list[Person] = []
        self.households: list[Household] = []
        self._orders: dict[tuple[str, date], set[int]] = {}
        self._settle(size)
        self._appoint_guardians()
        self._bury()

    def living(self) -> list[Person]:
        return [person for person in self.people if person.death is None]

    def dead(self) -> list[Person]:
        return [person for person in self.people if person.death is not None]

    def is_minor(self, person: Person) -> bool:
        return person.age_on(self.today) < 18

    def _settle(self, size: int) -> None:
        dice = Dice(self.seed, "households")
        districts = Weighted((area, area.weight) for area in districts_for(size))
        while len(self.people) < size:
            kind, members = next_household(dice, size - len(self.people))
            self._move_in(kind, members, dice.draw(districts))

    def _move_in(self, kind: str, members: list[Member], area: Area) -> None:
        household = Household(len(self.households), area.code, kind)
        dice = Dice(self.seed, "household", household.index)
        first = len(self.people)
        custom = dice.draw(PEOPLES)
        local = custom not in _HOMES and dice.chance(_LOCAL_SHARE)
        home = None if local else dice.pick(_HOMES[custom]) if custom in _HOMES else dice.draw(_OF_ELSEWHERE)
        names = self._names(dice, custom, members)
        for place, member in enumerate(members):
            birth = self.today - timedelta(days=max(3, round(member.age * 365.25)))
            at_home = local or (member.role == "child" and dice.chance(0.6))
            origin = area.code_in(max(birth.year, FIRST_CARDS)) if at_home or home is None else home
            person = Person(
                index=first + place,
                household=household.index,
                sex=member.sex,
                birth=birth,
                area=area.code,
                people=custom,
                name=names[place],
                number=self._number(dice, origin, birth, member.sex),
                code=opaque(self.seed, "person", first + place),
                role=member.role,
                father=None if member.father is None else first + member.father,
                mother=None if member.mother is None else first + member.mother,
                spouse=None if member.spouse is None else first + member.spouse,
            )
            self.people.append(person)
            household.members.append(person.index)
        self.households.append(household)

    def _names(self, dice: Dice, custom: str, members: list[Member]) -> dict[int, Name]:
        """Elders first, so that children can take the father's name."""
        names: dict[int, Name] = {}
        for place in sorted(range(len(members)), key=lambda place: -members[place].age):
            member = members[place]
            parent = member.father if member.father is not None else member.mother
            handed_down = names[parent].family if parent is not None and parent in names else None
            if parent is None and member.role == "child":
                handed_down = names[0].family if 0 in names else None
            father = (
                names[member.father].given if member.father in names and member.father is not None else None
            )
            year = self.today.year - int(member.age)
            names[place] = name_of(dice, member.sex, year, custom, handed_down or surname(dice), father)
        return names

    def _number(self, dice: Dice, area: str, birth: date, sex: str) -> str:
        """Order codes are handed out once for each area and birthday: odd for men, even for women."""
        taken = self._orders.setdefault((area, birth), set())
        while True:
            order = dice.between(0, 499) * 2 + (sex == "male")
            if order not in taken:
                taken.add(order)
                return citizen_number(area, birth, order)

    def _appoint_guardians(self) -> None:
        """Parents are guardians (Civil Code, article 27); where there are none, the grandparents at home."""
        for person in self.people:
            if not self.is_minor(person):
                continue
            parents = tuple(parent for parent in (person.father, person.mother) if parent is not None)
            person.guardians = parents or tuple(
                member
                for member in self.households[person.household].members
                if self.people[member].role in ("head", "spouse", "grandparent")
            )

    def _bury(self) -> None:
        """Month by month, with the age then. A child's last guardian is spared: no minor is left alone."""
        wards: dict[int, list[Person]] = {}
        for person in self.people:
            for guardian in person.guardians:
                wards.setdefault(guardian, []).append(person)
        days = (self.today - self.start).days
        for person in self.people:
            dice = Dice(self.seed, "death", person.index)
            for month in range(days * 12 // 365):
                first = self.start + timedelta(days=month * 30)
                if person.birth >= first or not dice.chance(
                    death_rate((first - person.birth).days / 365.25) / 12
                ):
                    continue
                if all(len(self._left(ward)) > 1 for ward in wards.get(person.index, ())):
                    person.death = dice.day(
                        first, min(first + timedelta(days=29), self.today - timedelta(days=2))
                    )
                break
        for person in self.people:
            person.guardians = tuple(self._left(person)) if person.death is None else ()

    def _left(self, ward: Person) -> list[int]:
        return [guardian for guardian in ward.guardians if self.people[guardian].death is None]
