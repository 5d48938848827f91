"""One's own record: everything of one person, nothing of another, and the same through GraphQL."""

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import strawberry

from services.kit.principals import ANONYMOUS, Principal
from social_security.client import Asked, SocialSecurityClient
from social_security.graphql import MeFields, Query
from social_security.shapes import Record
from tests.social_security.conftest import Door
from tests.social_security.pushes import claim, contribution, csv_of, line, payment
from tests.support.running import RunningServices

MINE = "social_security:records:read"
AUDITOR: dict[str, Any] = {"roles": ["auditor"], "areas": ["000000"], "purpose": "benefit_audit"}


class Someone:
    """A person with a record, as the gateway's short token has them."""

    def __init__(self, door: Door, index: int, sector_id: str, client: httpx.AsyncClient) -> None:
        self.door = door
        self.index = index
        self.sector_id = sector_id
        self.client = client

    async def record(self, **params: Any) -> dict[str, Any]:
        answer = await self.client.get("/social-security/records/me", params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def someone(door: Door, request: pytest.FixtureRequest) -> Someone:
    """Nobody else's test pushes anything about this person."""
    index = 2_000 + sum(map(ord, request.node.name)) * 3
    other = index + 1
    answer = await door.push_together(
        contributions=csv_of(
            "contributions",
            [
                *(contribution(f"k{month}", index, period=f"2025-{month:02d}") for month in range(1, 13)),
                contribution("k13", index, period="2026-01", amount="500.00"),
                contribution("k14", index, period="2026-01", scheme="employee_medical", amount="200.00"),
                contribution("other", other),
            ],
        ),
        payments=csv_of(
            "payments",
            [
                *(payment(f"p{day}", index, paid_on=f"2026-03-{day:02d}") for day in range(10, 15)),
                payment("other", other),
            ],
        ),
        claims=csv_of("claims", [claim("c1", index), claim("other", other)]),
        claim_lines=csv_of("claim_lines", [line("c1", 1), line("c1", 2), line("other", 1)]),
    )
    assert answer.status_code == 201, answer.text
    rows = await door.rows("select person from payment where organisation = $1 and payment_id = 'p10'")
    sector_id = str(rows[0]["person"])
    return Someone(door, index, sector_id, await _person(door.house, sector_id))


async def _person(house: RunningServices, sector_id: str | None) -> httpx.AsyncClient:
    return await house.client(
        "social_security", scopes=MINE, kind="person", organisation=None, sector_id=sector_id, subject="s"
    )


class TestWhoMayRead:
    async def test_nobody_but_a_person(self, house: RunningServices) -> None:
        for who, status in (({"scopes": None}, 401), ({"scopes": MINE}, 403)):
            client = await house.client("social_security", **who)
            assert (await client.get("/social-security/records/me")).status_code == status

    async def test_nobody_whose_token_names_no_one(self, house: RunningServices) -> None:
        client = await _person(house, None)
        assert (await client.get("/social-security/records/me")).status_code == 403

    async def test_somebody_without_a_record_sees_an_empty_one(self, house: RunningServices) -> None:
        client = await _person(house, "nobody-here")
        assert (await client.get("/social-security/records/me")).json() == {
            "contributions": [],
            "payments": {"items": [], "next": None},
            "claims": {"items": [], "next": None},
            "findings": {"items": [], "next": None},
        }


class TestTheRecord:
    async def test_is_all_of_one_person_and_nothing_of_another(self, someone: Someone) -> None:
        record = await someone.record()
        assert [(y["year"], y["scheme"], y["months"], y["amount"]) for y in record["contributions"]] == [
            (2026, "employee_medical", 1, "200.00"),
            (2026, "employee_pension", 1, "500.00"),
            (2025, "employee_pension", 12, "5760.00"),
        ]
        assert [p["payment_id"] for p in record["payments"]["items"]] == ["p14", "p13", "p12", "p11", "p10"]
        assert record["payments"]["items"][0]["period"] == "2026-03"
        assert [c["claim_id"] for c in record["claims"]["items"]] == ["c1"]
        assert [entry["line_no"] for entry in record["claims"]["items"][0]["lines"]] == [1, 2]

    async def test_goes_page_by_page(self, someone: Someone) -> None:
        seen: list[str] = []
        params: dict[str, Any] = {"parts": "payments", "payments_first": 2}
        while True:
            page = (await someone.record(**params))["payments"]
            seen += [item["payment_id"] for item in page["items"]]
            if page["next"] is None:
                break
            params["payments_after"] = page["next"]
        assert seen == ["p14", "p13", "p12", "p11", "p10"]

    async def test_shows_corrections_only_in_their_newest_form(self, someone: Someone) -> None:
        await someone.door.push_rows(
            "payments", payment("p14", someone.index, paid_on="2026-03-14", amount="1.00")
        )
        record = await someone.record(parts="payments")
        assert [(p["payment_id"], p["amount"]) for p in record["payments"]["items"]][:2] == [
            ("p14", "1.00"),
            ("p13", "3200.00"),
        ]

    async def test_leaves_a_trace(self, someone: Someone) -> None:
        await someone.record()
        kit = someone.door.house.kit("social_security")
        assert kit.leaves is not None
        await kit.leaves.flush()
        async with kit.db.read() as connection:
            bodies = await connection.fetch(
                "select body::jsonb as body from leaf where subject = $1", someone.sector_id
            )
        assert [row["body"]["action"] for row in bodies] == ["record.read"]

    @pytest.mark.parametrize(
        ("params", "status", "code"),
        [
            ({"parts": "payments,salary"}, 400, "unknown_part"),
            ({"payments_after": "%%%"}, 400, "invalid_cursor"),
            ({"payments_after": "eHg"}, 400, "invalid_cursor"),
            ({"payments_first": "1000"}, 422, "invalid_input"),
            ({"person": "somebody"}, 400, "unknown_parameter"),
        ],
    )
    async def test_refuses_what_it_does_not_understand(
        self, house: RunningServices, params: dict[str, str], status: int, code: str
    ) -> None:
        answer = await (await _person(house, "x")).get("/social-security/records/me", params=params)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


@strawberry.type
class Me(MeFields):
    pass


@strawberry.type
class Root(Query):
    @strawberry.field
    def me(self) -> Me | None:
        return Me()


@dataclass
class Session:
    """What the gateway gives to resolvers."""

    client_: SocialSecurityClient
    principal: Principal = ANONYMOUS
    trace_id: str = "t"
    loaders: dict[tuple[str, str], Any] = field(default_factory=dict)

    async def client(self, kind: type[Any]) -> Any:
        assert kind is SocialSecurityClient
        return self.client_


class Counting(SocialSecurityClient):
    calls_made = 0

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        self.calls_made += 1
        return await super().get(*args, **kwargs)


def _session(house: RunningServices, **who: Any) -> Session:
    token = house.token("social_security", **who)
    return Session(Counting(house.kit("social_security").calls, token))


SCHEMA = strawberry.Schema(Root)
RECORD = """{ me { socialSecurity {
    contributions { year scheme months amount }
    payments(first: 2) { nodes { paymentId amount paidOn period } pageInfo { endCursor hasNextPage } }
    claims { nodes { claimId lines { lineNo itemName } } }
    findings { nodes { rule explanation { zh } } }
} } }"""


class TestGraphQL:
    async def test_a_whole_record_is_one_call(self, someone: Someone) -> None:
        session = _session(
            someone.door.house, scopes=MINE, kind="person", organisation=None, sector_id=someone.sector_id
        )
        answer = await SCHEMA.execute(RECORD, context_value=session)
        assert answer.errors is None
        assert answer.data is not None
        found = answer.data["me"]["socialSecurity"]
        assert [year["months"] for year in found["contributions"]] == [1, 1, 12]
        assert [node["paymentId"] for node in found["payments"]["nodes"]] == ["p14", "p13"]
        assert found["payments"]["pageInfo"]["hasNextPage"] is True
        assert found["claims"]["nodes"][0]["lines"][1] == {"lineNo": 2, "itemName": "尿常规"}
        assert found["findings"]["nodes"] == []
        assert isinstance(session.client_, Counting)
        assert session.client_.calls_made == 1

    async def test_two_pages_of_one_part_are_two_calls(self, someone: Someone) -> None:
        session = _session(
            someone.door.house, scopes=MINE, kind="person", organisation=None, sector_id=someone.sector_id
        )
        asked = [Asked("payments", 1), Asked("payments", 2), Asked("claims", 1), Asked("payments", 1)]
        first, second, claims, again = await session.client_.my_parts(asked)
        assert isinstance(first, Record)
        assert isinstance(second, Record)
        assert isinstance(claims, Record)
        assert [len(record.payments.items) for record in (first, second) if record.payments] == [1, 2]
        assert claims.claims is not None
        assert again == first
        assert isinstance(session.client_, Counting)
        assert session.client_.calls_made == 2

    async def test_findings_are_for_auditors(self, house: RunningServices) -> None:
        query = "{ findings(first: 3, status: OPEN) { nodes { rule } pageInfo { hasNextPage } } }"
        citizen = await SCHEMA.execute(query, context_value=_session(house, scopes=MINE, kind="person"))
        assert citizen.data == {"findings": None}
        assert citizen.errors is not None
        auditor = _session(house, scopes="social_security:findings:read", kind="staff", **AUDITOR)
        answer = await SCHEMA.execute(query, context_value=auditor)
        assert answer.errors is None
        assert answer.data == {"findings": {"nodes": [], "pageInfo": {"hasNextPage": False}}}

    async def test_a_page_too_large_is_refused_before_any_call(self, house: RunningServices) -> None:
        session = _session(house, scopes="social_security:findings:read", kind="staff")
        answer = await SCHEMA.execute("{ findings(first: 101) { nodes { rule } } }", context_value=session)
        assert answer.errors is not None
        assert (answer.errors[0].extensions or {})["code"] == "BAD_USER_INPUT"
        assert isinstance(session.client_, Counting)
        assert session.client_.calls_made == 0
