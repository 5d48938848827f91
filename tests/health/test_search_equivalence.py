"""Searches against a plain reading of R4's search.html over the same resources, one at a time, in memory."""

import asyncio
import calendar
import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.health.support import locations, post, transaction

Resource = dict[str, Any]
Holds = Callable[[Resource], bool]
Interval = tuple[datetime, datetime]

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
LOINC, UCUM, OTHER = "http://loinc.org", "http://unitsofmeasure.org", "urn:other"
CODES = ["1", "2", "3"]
SYSTEMS = [LOINC, OTHER, None]
UNITS = [("mg", UCUM), ("g", UCUM), ("{tablet}", UCUM), ("mg", OTHER), (None, None)]
NUMBERS = ["1", "1.0", "1.04", "1.05", "0.95", "100", "99.5", "100.5", "1000", "-1", "0", "1e2", "0.5"]
DATES = [
    "2013", "2013-01", "2013-01-14", "2013-01-14T10:00:00Z", "2013-01-14T23:30:00-05:00", "2013-12",
    "2013-12-31", "2014", "2014-01-01", "2014-06-01T00:00:00.500Z", "2012-02-29", "2013-01-15",
]  # fmt: skip
NAMES = [
    "Muñoz",
    "MUNOZ",
    "munozer",
    "Van Hel",
    "van  hel sing",
    "王小明",
    "王",
    "Ærø",
    "a,b",
    "a|b$c",
    "50%_x",
]
URLS = [
    "http://acme.org/fhir/ValueSet/1",
    "http://acme.org/fhir/ValueSet/12",
    "http://acme.org/fhir",
    "urn:oid:1.2",
]
ABOUT = "about"
"""Beside a reference the resource that it leads to, for whoever reads along a chain."""
PREFIXES = ["", "eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"]


@dataclass(frozen=True)
class Asked:
    """A parameter, and what it asks of a resource."""

    name: str
    value: str
    holds: Holds


def escaped(text: str) -> str:
    for mark in "\\,|$":
        text = text.replace(mark, "\\" + mark)
    return text


# The resources


def made(chance: random.Random, index: int, people: dict[str, Resource]) -> Resource:
    found: Resource = {
        "resourceType": "Observation",
        "status": chance.choice(["final", "amended"]),
        "code": {"coding": [coding(chance) for _ in range(chance.randint(1, 2))]},
        "identifier": [{"system": "urn:made", "value": str(index)}],
    }
    if chance.random() < 0.8:
        found |= chance.choice(
            [{"effectiveDateTime": chance.choice(DATES)}, {"effectivePeriod": period(chance)}]
        )
    if chance.random() < 0.8:
        found["valueQuantity"] = quantity(chance)
    if chance.random() < 0.3:
        found["category"] = [{"coding": [coding(chance)], "text": chance.choice(NAMES)}]
    if chance.random() < 0.7:
        reference = chance.choice(sorted(people))
        found["subject"] = {"reference": reference, ABOUT: people[reference]}
    return found


def sent(resource: Resource) -> Resource:
    subject = {name: value for name, value in resource.get("subject", {}).items() if name != ABOUT}
    return resource | ({"subject": subject} if subject else {})


def coding(chance: random.Random) -> Resource:
    system = chance.choice(SYSTEMS)
    return {"code": chance.choice(CODES)} | ({"system": system} if system else {})


def period(chance: random.Random) -> Resource:
    start, end = sorted(chance.sample(DATES, 2), key=lambda date: interval(date)[0])
    return {"start": start, "end": end} if interval(start)[1] <= interval(end)[0] else {"start": start}


def quantity(chance: random.Random) -> Resource:
    unit, system = chance.choice(UNITS)
    literal = chance.choice([one for one in NUMBERS if "e" not in one])
    found: Resource = {"value": float(literal) if "." in literal else int(literal)}
    found |= {"code": unit} if unit else {}
    return found | ({"system": system} if system else {})


def person(chance: random.Random, index: int) -> Resource:
    found: Resource = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:made", "value": f"p{index}"}],
        "name": [{"family": chance.choice(NAMES)} for _ in range(chance.randint(0, 2))] or None,
    }
    if chance.random() < 0.7:
        found["gender"] = chance.choice(["male", "female"])
    return {name: value for name, value in found.items() if value is not None}


def risk(chance: random.Random) -> Resource:
    literal = chance.choice(["1", "0.95", "0.5", "0"])
    return {
        "resourceType": "RiskAssessment",
        "status": "final",
        "subject": {"display": "somebody"},
        "prediction": [{"probabilityDecimal": float(literal)}],
    }


def value_set(chance: random.Random) -> Resource:
    return {"resourceType": "ValueSet", "status": "draft", "url": chance.choice(URLS)}


# What R4 says


def interval(written: str) -> Interval:
    date, _, time = written.partition("T")
    year, month, day = (int(part) for part in [*date.split("-"), "1", "1"][:3])
    if not time:
        parts = date.count("-")
        last = [12, month, month][parts]
        whole = calendar.monthrange(year, last)[1] if parts < 2 else day
        end = datetime(year, last, whole, tzinfo=UTC) + timedelta(days=1)
        return datetime(year, month, day, tzinfo=UTC), end
    clock, offset = (time[:-1], "+00:00") if time.endswith("Z") else (time[:-6], time[-6:])
    zone = timezone(
        (1 if offset[0] == "+" else -1) * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:]))
    )
    fraction = clock.partition(".")[2]
    at = datetime.fromisoformat(f"{date}T{clock.partition('.')[0]}").replace(tzinfo=zone).astimezone(UTC)
    width = timedelta(seconds=1) if not fraction else timedelta(microseconds=10 ** (6 - len(fraction)))
    return at + timedelta(microseconds=int(fraction.ljust(6, "0") or 0) if fraction else 0), (
        at + timedelta(microseconds=int(fraction.ljust(6, "0")) if fraction else 0) + width
    )


def effective(resource: Resource) -> list[Interval]:
    if "effectiveDateTime" in resource:
        return [interval(resource["effectiveDateTime"])]
    if "effectivePeriod" in resource:
        found = resource["effectivePeriod"]
        return [
            (
                interval(found["start"])[0] if "start" in found else FIRST,
                interval(found["end"])[1] if "end" in found else LAST,
            )
        ]
    return []


def date_holds(prefix: str, asked: Interval, stored: Interval) -> bool:
    """search.html#prefix over what each side may be."""
    (a, b), (low, high) = asked, stored
    contained = a <= low and high <= b
    return {
        "": contained,
        "eq": contained,
        "ne": not contained,
        "gt": high > b,
        "lt": low < a,
        "ge": high > b or contained,
        "le": low < a or contained,
        "sa": low >= b,
        "eb": high <= a,
    }[prefix]


def number_holds(prefix: str, literal: str, stored: Fraction) -> bool:
    """search.html#number: the precision counts for equality alone."""
    exact = Fraction(literal)
    digits, _, exponent = literal.lower().partition("e")
    half = Fraction(1, 2) * Fraction(10) ** (int(exponent or 0) - len(digits.partition(".")[2]))
    equal = exact - half <= stored < exact + half
    return {
        "": equal, "eq": equal, "ne": not equal, "gt": stored > exact, "ge": stored >= exact,
        "lt": stored < exact, "le": stored <= exact, "sa": stored > exact, "eb": stored < exact,
    }[prefix]  # fmt: skip


def plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in apart if not unicodedata.combining(c)).split())


def codings(resource: Resource, name: str) -> list[Resource]:
    found = resource.get(name, [])
    return [one for concept in (found if isinstance(found, list) else [found]) for one in concept["coding"]]


def token_holds(codings: list[Resource], system: str | None, code: str) -> bool:
    return any(
        (system is None or one.get("system", "") == system) and (not code or one.get("code") == code)
        for one in codings
    )


# The parameters


@st.composite
def dates(draw: st.DrawFn) -> Asked:
    found = draw(
        st.lists(st.tuples(st.sampled_from(PREFIXES), st.sampled_from(DATES)), min_size=1, max_size=3)
    )

    def holds(resource: Resource) -> bool:
        return any(date_holds(p, interval(d), one) for one in effective(resource) for p, d in found)

    return Asked("date", ",".join(p + d for p, d in found), holds)


@st.composite
def tokens(draw: st.DrawFn) -> Asked:
    name = draw(st.sampled_from(["code", "category"]))
    systems = st.sampled_from([None, "", LOINC, OTHER])
    asked = draw(st.lists(st.tuples(systems, st.sampled_from([*CODES, "9", ""])), min_size=1, max_size=3))
    found = [(s, c if c or s else "1") for s, c in asked]
    negated = draw(st.booleans())

    def holds(resource: Resource) -> bool:
        return any(token_holds(codings(resource, name), s, c) for s, c in found) != negated

    value = ",".join(c if s is None else f"{s}|{c}" for s, c in found)
    return Asked(f"{name}:not" if negated else name, value, holds)


@st.composite
def quantities(draw: st.DrawFn) -> Asked:
    prefix, literal = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(NUMBERS))
    unit = draw(
        st.sampled_from(["", "||mg", f"|{UCUM}|mg", f"|{UCUM}|g", f"|{OTHER}|mg", f"|{UCUM}|{{tablet}}"])
    )

    def holds(resource: Resource) -> bool:
        found = resource.get("valueQuantity")
        amount = None if found is None else in_unit(found, unit)
        return amount is not None and number_holds(prefix, literal, amount)

    return Asked("value-quantity", f"{prefix}{literal}{unit}", holds)


def in_unit(stored: Resource, unit: str) -> Fraction | None:
    """The amount in the unit that is asked for; None where it is another."""
    amount, code, system = Fraction(str(stored["value"])), stored.get("code"), stored.get("system")
    if not unit:
        return amount
    _, wanted, asked = unit.split("|")
    masses = {"mg": Fraction(1), "g": Fraction(1000)}
    if asked in masses and code in masses and system == UCUM and wanted in ("", UCUM):
        return amount * masses[code] / masses[asked]
    return amount if code == asked and wanted in ("", system) else None


@st.composite
def missing(draw: st.DrawFn) -> Asked:
    name = draw(st.sampled_from(["date", "value-quantity", "category"]))
    absent = draw(st.booleans())
    held: dict[str, Holds] = {
        "date": lambda resource: bool(effective(resource)),
        "value-quantity": lambda resource: "valueQuantity" in resource,
        "category": lambda resource: "category" in resource,
    }
    return Asked(f"{name}:missing", str(absent).lower(), lambda resource: held[name](resource) != absent)


@st.composite
def texts(draw: st.DrawFn) -> Asked:
    asked = draw(st.lists(st.sampled_from([*NAMES, "mun", "van", "小", "ñ"]), min_size=1, max_size=3))
    modifier = draw(st.sampled_from(["", ":exact", ":contains"]))

    def alike(stored: str) -> bool:
        match modifier:
            case ":exact":
                return stored in asked
            case ":contains":
                return any(plain(one) in plain(stored) for one in asked)
        return any(plain(stored).startswith(plain(one)) for one in asked)

    def holds(resource: Resource) -> bool:
        return any(alike(name["family"]) for name in resource.get("name", []))

    return Asked(f"family{modifier}", ",".join(escaped(one) for one in asked), holds)


@st.composite
def genders(draw: st.DrawFn) -> Asked:
    asked = draw(st.sampled_from(["male", "female", "http://hl7.org/fhir/administrative-gender|male"]))
    negated = draw(st.booleans())
    code = asked.rpartition("|")[2]
    name = "gender:not" if negated else "gender"
    return Asked(name, asked, lambda resource: (resource.get("gender") == code) != negated)


@st.composite
def chains(draw: st.DrawFn) -> Asked:
    along = draw(st.sampled_from(["patient", "subject:Patient"]))
    asked = draw(st.one_of(texts(), genders()))

    def holds(resource: Resource) -> bool:
        person = resource.get("subject", {}).get(ABOUT)
        return person is not None and asked.holds(person)

    return Asked(f"{along}.{asked.name}", asked.value, holds)


@st.composite
def risks(draw: st.DrawFn) -> Asked:
    prefix, literal = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(NUMBERS))

    def holds(resource: Resource) -> bool:
        return number_holds(prefix, literal, Fraction(str(resource["prediction"][0]["probabilityDecimal"])))

    return Asked("probability", f"{prefix}{literal}", holds)


@st.composite
def uris(draw: st.DrawFn) -> Asked:
    asked = draw(st.sampled_from([*URLS, "http://acme.org/fhir/ValueSet/1/2", "http://acme"]))
    match draw(st.sampled_from(["", ":below", ":above", ":contains"])):
        case ":below":
            return Asked("url:below", asked, lambda resource: resource["url"].startswith(asked))
        case ":above":
            return Asked("url:above", asked, lambda resource: f"{asked}/".startswith(f"{resource['url']}/"))
        case ":contains":
            return Asked("url:contains", asked, lambda resource: asked in resource["url"])
    return Asked("url", asked, lambda resource: resource["url"] == asked)


SEARCHES = {
    "Observation": st.lists(
        st.one_of(dates(), tokens(), quantities(), missing(), chains()), min_size=1, max_size=3
    ),
    "Patient": st.lists(st.one_of(texts(), genders()), min_size=1, max_size=2),
    "RiskAssessment": st.lists(risks(), min_size=1, max_size=2),
    "ValueSet": st.lists(uris(), min_size=1, max_size=2),
}


async def test_a_search_finds_what_a_plain_reading_of_the_standard_finds(fhir: httpx.AsyncClient) -> None:
    chance = random.Random(20260901)

    async def kept(resources: list[Resource]) -> list[tuple[str, Resource]]:
        answer = await fhir.post("/fhir", json=transaction(*(post(sent(one)) for one in resources)))
        assert answer.status_code == 200, answer.text
        return list(zip(locations(answer.json()), resources, strict=True))

    people = await kept([person(chance, n) for n in range(30)])
    others = [risk(chance) for _ in range(8)] + [value_set(chance) for _ in range(12)]
    stored = people + await kept([*(made(chance, n, dict(people)) for n in range(90)), *others])

    async def check(kind: str, asked: list[Asked]) -> None:
        params = [(one.name, one.value) for one in asked]
        found: list[str] = []
        url: str | None = str(httpx.URL(f"/fhir/{kind}", params=[*params, ("_count", "40")]))
        while url is not None:
            response = await fhir.get(url)
            assert response.status_code == 200, (params, response.text)
            bundle = response.json()
            found += [f"{kind}/{entry['resource']['id']}" for entry in bundle.get("entry", [])]
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        meant = [
            local
            for local, resource in stored
            if resource["resourceType"] == kind and all(one.holds(resource) for one in asked)
        ]
        assert found == meant, params
        total = await fhir.get(f"/fhir/{kind}", params=[*params, ("_summary", "count")])
        assert total.json()["total"] == len(meant), params

    loop = asyncio.get_running_loop()

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(sorted(SEARCHES)).flatmap(lambda kind: st.tuples(st.just(kind), SEARCHES[kind])))
    def each(asked: tuple[str, list[Asked]]) -> None:
        asyncio.run_coroutine_threadsafe(check(*asked), loop).result()

    await asyncio.to_thread(each)
