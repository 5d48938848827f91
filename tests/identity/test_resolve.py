"""POST /identity/resolve, /identity/persons, /identity/translate: pushes to people, people to sector ids."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import httpx
import pytest

from services.identity import persons
from services.identity.shapes import PersonPush
from services.identity.vault import vault_of
from services.kit.database import Database, Transaction
from services.kit.principals import ANONYMOUS, Principal
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person

NUMBER = citizen_number()


@dataclass
class OneConnection:
    """A database that always gives this connection."""

    connection: Any

    @asynccontextmanager
    async def transaction(self, principal: Principal | None = None) -> AsyncIterator[Transaction]:
        async with self.connection.transaction():
            yield Transaction(self.connection, "identity", principal)


MRN = "urn:hospital:a:mrn"
STUDENT = "urn:huimin:id:student-number"


async def resolve(
    http: httpx.AsyncClient, *people: dict[str, Any], create: bool = True
) -> list[dict[str, Any]]:
    asked = {"people": list(people), "create": create, "organisation": "hospital-a"}
    answer = await http.post("/identity/resolve", json=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["people"]
    return found


@pytest.mark.parametrize(
    ("caller", "status", "code"),
    [
        ({"scopes": None}, 401, "unauthenticated"),
        ({"scopes": "identity:persons:read", "kind": "service"}, 403, "insufficient_scope"),
        ({"scopes": "identity:persons:resolve", "kind": "organisation"}, 403, "forbidden"),
        (
            {"scopes": "identity:persons:resolve", "kind": "service", "subject": "service:gateway"},
            403,
            "no_sector",
        ),
    ],
)
async def test_only_a_service_with_a_sector_may_ask(
    identity: Identity, caller: dict[str, Any], status: int, code: str
) -> None:
    http = await identity.house.client("identity", **caller)
    answer = await http.post("/identity/resolve", json={"people": [person("a", (CITIZEN_NUMBER, NUMBER))]})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await identity.rows("select from person") == []


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({"people": [{"ref": "a"}]}, "invalid_input", "body.people.0.identifiers"),
        ({"people": [], "created": True}, "invalid_input", "body.created"),
        ({"people": [person("a", ("", "1"))]}, "invalid_input", "body.people.0.identifiers.0.system"),
        (
            {"people": [person("a", (MRN, "1"), birth_date="1985-02-30")]},
            "invalid_input",
            "body.people.0.birth_date",
        ),
        ({"people": [person("a", (MRN, "1"), area="33")]}, "invalid_input", "body.people.0.area"),
        ({"people": [person(str(n), (MRN, str(n))) for n in range(2001)]}, "invalid_input", "body.people"),
        ({"people": [person("a", (MRN, "1")), person("a", (MRN, "2"))]}, "repeated_ref", None),
    ],
)
async def test_bad_input_is_named_and_nothing_applied(
    identity: Identity, body: dict[str, Any], code: str, path: str | None
) -> None:
    http = await identity.as_service("health")
    answer = await http.post("/identity/resolve", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    if path is not None:
        assert [fault["path"] for fault in answer.json()["errors"]] == [path]
    assert await identity.rows("select from person") == []


async def test_the_same_person_is_found_again_and_each_sector_has_its_own_id(identity: Identity) -> None:
    health, school = await identity.as_service("health"), await identity.as_service("education")
    [made] = await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER), (MRN, "77"), name="张伟"))
    assert made["outcome"] == "created"
    assert made["sector_id"].startswith("h1_")
    [by_link] = await resolve(health, person("b", (MRN, "77")))
    [by_number] = await resolve(school, person("c", (CITIZEN_NUMBER, NUMBER), (STUDENT, "G1")))
    [by_student_number] = await resolve(school, person("d", (STUDENT, "G1")))
    assert by_link == {**made, "ref": "b", "outcome": "matched"}
    assert by_number["outcome"] == by_student_number["outcome"] == "matched"
    assert by_number["sector_id"] == by_student_number["sector_id"] != made["sector_id"]
    assert await identity.rows("select name, birth_date, sex from person") == [
        {"name": "张伟", "birth_date": date(1985, 3, 14), "sex": "male"}
    ]


async def test_people_that_repeat_inside_a_push_are_one(identity: Identity) -> None:
    health = await identity.as_service("health")
    answers = await resolve(
        health,
        person("a", (MRN, "1")),
        person("b", (MRN, "1"), (CITIZEN_NUMBER, NUMBER)),
        person("c", (CITIZEN_NUMBER, NUMBER)),
        person("d", (MRN, "2")),
    )
    assert [one["outcome"] for one in answers] == ["created", "matched", "matched", "created"]
    assert len({one["sector_id"] for one in answers}) == 2


async def test_unknown_people_are_not_made_unless_asked(identity: Identity) -> None:
    health = await identity.as_service("health")
    [unknown] = await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER)), create=False)
    [nobody] = await resolve(health, person("a"))
    assert (unknown["outcome"], unknown["code"]) == ("unknown", "unknown_person")
    assert (nobody["outcome"], nobody["code"]) == ("unknown", "no_identifier")
    assert await identity.rows("select from person") == []


async def test_a_contradiction_is_a_conflict_and_changes_nothing(identity: Identity) -> None:
    health = await identity.as_service("health")
    other = citizen_number(date(1990, 1, 1))
    await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER), (MRN, "1")), person("b", (MRN, "2")))
    before = await identity.rows("select scheme, pid from identifier order by 1, 2")
    answers = await resolve(
        health,
        person("date", (CITIZEN_NUMBER, NUMBER), birth_date="1985-03-15"),
        person("two people", (CITIZEN_NUMBER, NUMBER), (MRN, "2")),
        person("two numbers", (MRN, "1"), (CITIZEN_NUMBER, other)),
        person("fine", (CITIZEN_NUMBER, NUMBER)),
    )
    assert [(one["outcome"], one["code"]) for one in answers] == [
        ("conflict", "birth_date_differs"),
        ("conflict", "several_people"),
        ("conflict", "citizen_number_differs"),
        ("matched", None),
    ]
    assert [one["sector_id"] is None for one in answers] == [True, True, True, False]
    assert await identity.rows("select scheme, pid from identifier order by 1, 2") == before
    assert len(await identity.rows("select from person")) == 2


async def test_pushes_fill_what_is_empty_and_the_registry_overrides(identity: Identity) -> None:
    health = await identity.as_service("health")
    registry = await identity.registered("registry", organisation="民政")
    token = (await registry.token(identity.http)).json()["access_token"]
    civil = await identity.house.client("identity", token=token)
    await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER), name="张玮"))
    [warned] = await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER), name="张伟", area="330106"))
    assert warned["warnings"] == ["name_differs"]
    assert await identity.rows("select name, area from person") == [{"name": "张玮", "area": "330106"}]
    answer = await civil.post(
        "/identity/persons",
        json={"people": [person("a", (CITIZEN_NUMBER, NUMBER), name="张伟", death_date="2026-02-03")]},
    )
    assert answer.json()["people"][0]["outcome"] == "matched"
    await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER), name="张三", death_date="2026-02-09"))
    assert await identity.rows("select name, area, death_date, registered from person") == [
        {"name": "张伟", "area": "330106", "death_date": date(2026, 2, 3), "registered": True}
    ]


async def test_only_the_registry_may_override(identity: Identity) -> None:
    hospital = await identity.registered("hospital")
    token = (await hospital.token(identity.http)).json()["access_token"]
    http = await identity.house.client("identity", token=token)
    answer = await http.post("/identity/persons", json={"people": []})
    # A hospital's token is for health: it does not even reach the scope.
    assert answer.status_code == 401


async def test_a_batch_costs_the_same_few_statements_however_large(identity: Identity) -> None:
    register = identity.kit.parts["register"]

    async def statements(pushes: list[PersonPush]) -> int:
        counted: list[str] = []
        async with vault_of(identity.kit).session() as connection:
            with connection.query_logger(lambda record: counted.append(record.query)):
                database = OneConnection(connection)
                await persons.resolve(
                    cast(Database, database),
                    register,
                    principal=ANONYMOUS,
                    sector="health",
                    pushes=pushes,
                    create=True,
                )
        return len(counted)

    def pushes(first: int, count: int) -> list[PersonPush]:
        people = (
            person(str(n), (CITIZEN_NUMBER, citizen_number(sequence=n)), (MRN, str(n)), name="张伟")
            for n in range(first, first + count)
        )
        return [PersonPush.model_validate(one) for one in people]

    await statements(pushes(905, 1))  # a new connection asks for its types first
    few, many = await statements(pushes(0, 5)), await statements(pushes(5, 900))
    assert few == many
    assert many < 20
    assert await statements(pushes(0, 905)) < many


async def test_many_pushes_at_once_make_each_person_once(identity: Identity) -> None:
    """Eight senders, the same 200 people in different orders, each also under its own identifiers."""
    clients = [await identity.as_service(name) for name in ("health", "education") * 4]
    numbers = [citizen_number(date(1980, 1, 1 + n % 28), n) for n in range(200)]

    async def push(sender: int) -> list[dict[str, Any]]:
        order = sorted(range(200), key=lambda n: (n * (sender * 2 + 1)) % 211)
        people = [
            person(str(n), (CITIZEN_NUMBER, numbers[n]), (f"urn:sender:{sender}", str(n))) for n in order
        ]
        return await resolve(clients[sender], *people)

    answers = await asyncio.gather(*(push(sender) for sender in range(8)))
    outcomes = Counter(one["outcome"] for answer in answers for one in answer)
    assert outcomes == {"created": 200, "matched": 1400}
    assert len({one["sector_id"] for answer in answers for one in answer}) == 400
    assert [row["n"] for row in await identity.rows("select count(*) as n from person")] == [200]
    assert [row["n"] for row in await identity.rows("select count(*) as n from link")] == [1600]


async def test_two_numbers_for_one_link_at_once_end_with_one(identity: Identity) -> None:
    health = await identity.as_service("health")
    await resolve(health, person("a", (MRN, "1")))
    numbers = [citizen_number(date(1980, 1, day)) for day in (1, 2)]
    answers = await asyncio.gather(
        *(resolve(health, person("a", (MRN, "1"), (CITIZEN_NUMBER, number))) for number in numbers)
    )
    assert sorted(one["outcome"] for [one] in answers) == ["conflict", "matched"]
    assert len(await identity.rows("select from identifier")) == 1


async def test_translation_keeps_the_order_and_knows_only_its_own_sector(identity: Identity) -> None:
    health, social = await identity.as_service("health"), await identity.as_service("social_security")
    exchange = await identity.as_service("exchange")
    people = [person(str(n), (CITIZEN_NUMBER, citizen_number(sequence=n))) for n in range(5)]
    theirs = [one["sector_id"] for one in await resolve(health, *people)]
    ours = [one["sector_id"] for one in await resolve(social, *people)]
    asked = [theirs[3], "h1_AAAAAAAAAAAAAAAAAAAAAAAAAA", theirs[0], theirs[3]]
    body = {"from": "health", "to": "social_security", "ids": asked}
    answer = await exchange.post("/identity/translate", json=body)
    assert answer.json() == {"ids": [ours[3], None, ours[0], ours[3]]}
    answer = await exchange.post("/identity/translate", json={**body, "ids": [*asked, ours[1]]})
    assert (answer.status_code, answer.json()["code"]) == (422, "foreign_sector_id")


async def test_translation_is_for_the_exchange_alone(identity: Identity) -> None:
    health = await identity.as_service("health")
    body = {"from": "health", "to": "social_security", "ids": []}
    assert (await health.post("/identity/translate", json=body)).status_code == 403
    granted: dict[str, Any] = {"scopes": "identity:translate", "kind": "service", "subject": "service:health"}
    other = await identity.house.client("identity", **granted)
    assert (await other.post("/identity/translate", json=body)).status_code == 403
    exchange = await identity.as_service("exchange")
    answer = await exchange.post("/identity/translate", json={**body, "to": "moon"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_sector")


async def test_each_look_up_is_a_leaf_and_no_number_is_left_anywhere(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    health = await identity.as_service("health")
    await resolve(health, person("a", (CITIZEN_NUMBER, NUMBER), (MRN, "MRN-4711"), name="张伟"))
    await resolve(health, person("bad", (CITIZEN_NUMBER, "330106198503140018")))
    leaves = await identity.leaves("persons.resolved")
    assert [(leaf["client"], leaf["records"], leaf["subjects_count"]) for leaf in leaves] == [
        ("service:health", 1, 1),
        ("service:health", 1, 0),
    ]
    assert {leaf["resource"] for leaf in leaves} == {"persons/health"}
    everything = caplog.text
    for row in await identity.rows("select tablename from pg_tables where schemaname = 'identity'"):
        dumped = await identity.rows(f"select t::text as row from identity.{row['tablename']} t")
        everything += "".join(one["row"] for one in dumped)
    for secret in (NUMBER, NUMBER.encode().hex(), "MRN-4711", b"MRN-4711".hex()):
        assert secret not in everything
