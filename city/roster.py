"""Who the city needs at the suite's doors: clients for organisations, accounts for a few people."""

from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from city.areas import PREFECTURE, places
from city.institutions import Organisation
from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.sights import SITES
from city.simulation import PEOPLE, SEED, TODAY, City

REGISTRY, AGENCY, INSURER, GATE, SITE = (
    "population-register",
    "pension-office",
    "medical-fund",
    "gates",
    "scenic-area",
)


@dataclass(frozen=True, slots=True)
class Client:
    """An organisation's client. `name` is also its key file's: `<name>.json`."""

    name: str
    kind: str
    organisation: str  # unified social credit code
    area: str


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who signs in. The demo decides on the password."""

    username: str
    kind: str  # person or staff
    roles: list[str]
    areas: list[str]
    identifier: dict[str, str] | None
    organisation: str | None
    title: dict[str, str]  # who this is, zh and en


@dataclass(frozen=True, slots=True)
class Roster:
    clients: list[Client] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    organisations: list[dict[str, Any]] = field(default_factory=list)
    places: list[dict[str, str]] = field(default_factory=list)
    departments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Which organisation answers for which of the suite's services."""
    duty_rosters: list[dict[str, Any]] = field(default_factory=list)
    """Who is on duty for crowds: who keeps the roster, and who is told first, second, third."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def roster(people: int = PEOPLE, seed: int = SEED, today: date = TODAY) -> Roster:
    """What has to stand before the city can push: the same for the same city."""
    return roster_of(City(people=people, seed=seed, today=today))


def roster_of(city: City) -> Roster:
    return Roster(
        _clients(city),
        _accounts(city),
        [_organisation(org) for org in city.institutions.all()],
        places(),
        _departments(city),
        [_duty_roster()],
    )


def _clients(city: City) -> list[Client]:
    here = city.institutions
    clients = [
        Client(REGISTRY, "registry", here.registry.code, PREFECTURE),
        Client(AGENCY, "agency", here.pension_office.code, PREFECTURE),
        Client(INSURER, "insurer", here.medical_fund.code, PREFECTURE),
        Client(SITE, "site", here.site_bureau.code, PREFECTURE),
        Client(GATE, "gate", here.site_bureau.code, PREFECTURE),
    ]
    clients += [Client(one.client, "hospital", one.hospital.code, PREFECTURE) for one in here.alliances]
    return clients + [
        Client(one.client, "school", one.organisation.code, PREFECTURE) for one in here.school_groups
    ]


def _departments(city: City) -> dict[str, dict[str, str]]:
    here = city.institutions
    answering = {
        "health": here.health_commission,
        "social_security": here.pension_office,
        "education": here.education_bureau,
        "transport": here.site_bureau,
        "identity": here.registry,
    }
    return {
        service: {"organisation": one.code, "name_zh": one.name, "name_en": one.name_en}
        for service, one in answering.items()
    }


def _duty_roster() -> dict[str, Any]:
    members = (("flow-staff", "王值班", 1), ("flow-second", "李副班", 2), ("flow-chief", "陈主任", 3))
    return {
        "lead": "duty-lead",
        "name": {"zh": "景区客流值班", "en": "Crowds at the scenic areas"},
        "area": PREFECTURE,
        "members": [{"username": username, "name": name, "tier": tier} for username, name, tier in members],
    }


def _organisation(organisation: Organisation) -> dict[str, Any]:
    return {
        "uscc": organisation.code,
        "name": organisation.name,
        "name_en": organisation.name_en,
        "kind": organisation.kind,
        "area": organisation.area,
        "parent": organisation.parent,
    }


def _accounts(city: City) -> list[Account]:
    people = {username: person for username, person in _personas(city).items() if person is not None}
    titles = {
        "student": ("中学生", "a pupil at secondary school, known to all four domains"),
        "parent": ("上述中学生的家长", "the pupil's parent"),
        "pensioner": ("退休职工", "a retired worker"),
        "insured": ("有一条稽核线索的参保人", "an insured person whom an audit finding is about"),
    }
    accounts = [
        Account(
            username,
            "person",
            [],
            [],
            {"system": CITIZEN_NUMBER, "value": person.number},
            None,
            dict(zip(("zh", "en"), titles[username], strict=True)),
        )
        for username, person in people.items()
    ]
    here = city.institutions
    for username, role, organisation, zh, en in (
        ("flow-staff", "flow_staff", here.site_bureau, "景区客流值班员", "scenic area, on duty for crowds"),
        ("flow-second", "flow_staff", here.site_bureau, "客流副班", "second on duty for crowds"),
        ("flow-chief", "flow_staff", here.site_bureau, "客流带班领导", "third on duty for crowds"),
        ("duty-lead", "duty_lead", here.site_bureau, "值班负责人", "keeps the duty roster"),
        ("auditor", "auditor", here.pension_office, "社保基金稽核员", "benefit auditor"),
        ("health-desk", "exchange_staff", here.health_commission, "卫健委数据共享专员", "health data desk"),
        ("pension-desk", "exchange_staff", here.pension_office, "社保数据共享专员", "pension data desk"),
        ("clerk", "identity_clerk", here.registry, "身份核对员", "identity clerk of the population register"),
        ("second-clerk", "identity_clerk", here.registry, "身份复核员", "identity clerk who confirms merges"),
        ("operator", "operator", here.pension_office, "平台运维员", "operator of the suite"),
        ("doctor", "clinician", here.alliances[0].hospital, "急诊科医生", "a doctor in the emergency room"),
        (
            "privacy",
            "privacy_officer",
            here.alliances[0].hospital,
            "医院个人信息保护负责人",
            "privacy officer",
        ),
    ):
        accounts.append(
            Account(username, "staff", [role], [PREFECTURE], None, organisation.code, {"zh": zh, "en": en})
        )
    return accounts


def _personas(city: City) -> dict[str, Person | None]:
    """A pupil whom every domain knows, one of their parents, a pensioner, somebody with an audit finding;
    from near the sights if any."""
    near = {site.area for site in SITES}
    living = city.population.living()

    def best(candidates: list[Person]) -> Person | None:
        """Near the sights first, then known to a hospital, then young, so as to be a minor for long."""
        return max(
            candidates,
            key=lambda person: (person.area in near, min(len(city.history(person).visits), 3), person.birth),
            default=None,
        )

    pupils = [p for p in living if p.seat is not None and p.seat.stage in ("junior", "senior")]
    retired = [p for p in living if p.pension == "employee_pension" and p.index not in city.plants.plans]
    found = [p for p in living if (plan := city.plants.plans.get(p.index)) and not plan.near_miss]
    student = best(pupils)
    parent = city.people[student.guardians[0]] if student is not None else None
    return {"student": student, "parent": parent, "pensioner": best(retired), "insured": best(found)}
