"""`me`, as the population register knows the person signed in; the clerical queue for its staff."""

from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry
from strawberry.types import Info

from services.identity import match_shapes, shapes
from services.identity.client import IdentityClient
from services.identity.shapes import Me
from services.kit.graphql import Page, client_of, coded, first_of, load, page


@strawberry.type(description="An administrative area (GB/T 2260). 行政区划。")
class Area:
    code: str
    name: str | None
    name_en: str | None


@strawberry.type(description="An identifier, its middle covered. 部分遮盖的证件号码。")
class MaskedIdentifier:
    system: str
    value: str


@strawberry.type(description="A child the person stands for, until it turns 18. 被监护的未成年人。")
class Ward:
    name: str | None
    birth_date: date | None
    relation: str
    until: date


async def _mine(info: Info[Any, Any]) -> Me | None:
    return await load(info, IdentityClient, IdentityClient.mine, "me")


@strawberry.type
class MeFields:
    @strawberry.field(description="Name in the population register. 姓名。")
    async def name(self, info: Info[Any, Any]) -> str | None:
        found = await _mine(info)
        return found.name if found else None

    @strawberry.field(description="Birth date. 出生日期。")
    async def birth_date(self, info: Info[Any, Any]) -> date | None:
        found = await _mine(info)
        return found.birth_date if found else None

    @strawberry.field(description="male, female, other or unknown. 性别。")
    async def sex(self, info: Info[Any, Any]) -> str | None:
        found = await _mine(info)
        return found.sex if found else None

    @strawberry.field(description="Area of residence. 居住地。")
    async def area(self, info: Info[Any, Any]) -> Area | None:
        found = await _mine(info)
        return _area(found.area) if found else None

    @strawberry.field(description="Own identifiers, masked. 证件号码（部分遮盖）。")
    async def masked_identifiers(self, info: Info[Any, Any]) -> list[MaskedIdentifier] | None:
        found = await _mine(info)
        if found is None:
            return None
        return [MaskedIdentifier(system=one.system, value=one.value) for one in found.masked_identifiers]

    @strawberry.field(description="Children the person is guardian of today. 监护的未成年人。")
    async def guardian_of(self, info: Info[Any, Any]) -> list[Ward] | None:
        found = await _mine(info)
        if found is None:
            return None
        return [
            Ward(name=ward.name, birth_date=ward.birth_date, relation=ward.relation, until=ward.until)
            for ward in found.guardian_of
        ]


@strawberry.enum(description="What has been decided about a pair. 核对状态。")
class MatchState(Enum):
    OPEN = "open"
    UNSURE = "unsure"
    PROPOSED = "proposed"
    SAME = "same"
    DIFFERENT = "different"


@strawberry.enum(description="A clerk's word on a pair. 核对结论。")
class MatchDecision(Enum):
    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


@strawberry.type(
    description="One comparison: what it found, and its weight in bits. 一项比较及其权重（比特）。"
)
class MatchPart:
    comparison: str
    comparison_zh: str
    comparison_en: str
    level: str
    zh: str
    en: str
    bits: float
    agrees: bool


@strawberry.type(description="One of the two people. 待核对的一方。")
class MatchSide:
    person: strawberry.ID
    name: str | None
    birth_date: date | None
    sex: str | None
    death_date: date | None
    area: Area | None
    registered: bool
    known_since: datetime
    identifiers: list[MaskedIdentifier]


@strawberry.type(description="A pair that may be one person. 可能属于同一人的两份登记。")
class MatchReview:
    id: strawberry.ID
    state: MatchState
    why: str
    model: str
    weight: float
    prior: float
    probability: float
    parts: list[MatchPart]
    sides: list[MatchSide]
    source: str
    created_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    proposed_by: str | None


@strawberry.enum(description="How far a run is. 运行状态。")
class LinkageState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@strawberry.type(description="A look through the whole register for doubles. 全库重复登记比对。")
class LinkageRun:
    id: strawberry.ID
    state: LinkageState
    done: int
    total: int | None
    people: int | None
    pairs: int | None
    queued: int | None
    error: str | None
    submitted_at: datetime
    finished_at: datetime | None


def _area(place: shapes.PlaceRef | None) -> Area | None:
    return Area(code=place.code, name=place.name, name_en=place.name_en) if place else None


def _side(side: match_shapes.MatchSide) -> MatchSide:
    return MatchSide(
        person=strawberry.ID(side.person),
        name=side.name,
        birth_date=side.birth_date,
        sex=side.sex,
        death_date=side.death_date,
        area=_area(side.area),
        registered=side.registered,
        known_since=side.known_since,
        identifiers=[MaskedIdentifier(system=one.system, value=one.value) for one in side.identifiers],
    )


def _review(found: match_shapes.MatchReview) -> MatchReview:
    return MatchReview(
        id=strawberry.ID(str(found.id)),
        state=MatchState(found.state),
        why=found.why,
        model=found.model,
        weight=found.weight,
        prior=found.prior,
        probability=found.probability,
        parts=[MatchPart(**part.model_dump()) for part in found.parts],
        sides=[_side(side) for side in found.sides],
        source=found.source,
        created_at=found.created_at,
        decided_by=found.decided_by,
        decided_at=found.decided_at,
        reason=found.reason,
        proposed_by=found.proposed_by,
    )


def _run(found: match_shapes.LinkageRun) -> LinkageRun:
    said = found.model_dump(exclude={"id", "state"})
    return LinkageRun(id=strawberry.ID(str(found.id)), state=LinkageState(found.state), **said)


def _id(id: strawberry.ID) -> UUID:
    try:
        return UUID(str(id))
    except ValueError as error:
        raise coded("BAD_USER_INPUT", f"{str(id)[:50]} is not the id of a pair") from error


@strawberry.type
class Query:
    @strawberry.field(
        description="Pairs that may be one person, in the clerk's areas. 身份核对队列（核对人员）。"
    )
    async def match_reviews(
        self,
        info: Info[Any, Any],
        first: int = 20,
        after: str | None = None,
        state: MatchState = MatchState.OPEN,
    ) -> Page[MatchReview] | None:
        client = await client_of(info, IdentityClient)
        found = await client.match_reviews(state=state.value, first=first_of(first), after=after)
        return page([_review(one) for one in found.items], found.next)

    @strawberry.field(description="One of these pairs. 单个待核对项。")
    async def match_review(self, info: Info[Any, Any], id: strawberry.ID) -> MatchReview | None:
        client = await client_of(info, IdentityClient)
        return _review(await client.match_review(_id(id)))

    @strawberry.field(description="Looks through the whole register for doubles. 全库比对记录（核对人员）。")
    async def linkage_runs(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[LinkageRun] | None:
        client = await client_of(info, IdentityClient)
        found = await client.linkage_runs(first=first_of(first), after=after)
        return page([_run(one) for one in found.items], found.next)


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="A clerk's word on a pair; SAME proposes a merge or confirms another's. 作出核对结论。"
    )
    async def decide_match(
        self, info: Info[Any, Any], id: strawberry.ID, decision: MatchDecision, reason: str
    ) -> MatchReview | None:
        client = await client_of(info, IdentityClient)
        return _review(await client.decide_match(_id(id), decision.value, reason))

    @strawberry.mutation(
        description="Proposes that two people are one; another clerk confirms. 提议合并两人。"
    )
    async def merge_persons(
        self, info: Info[Any, Any], person: strawberry.ID, other: strawberry.ID, reason: str
    ) -> MatchReview | None:
        client = await client_of(info, IdentityClient)
        return _review(await client.merge(str(person), str(other), reason))

    @strawberry.mutation(description="Looks through the whole register for doubles. 启动全库比对。")
    async def start_linkage(self, info: Info[Any, Any]) -> LinkageRun | None:
        client = await client_of(info, IdentityClient)
        return _run(await client.start_linkage())

    @strawberry.mutation(description="Takes back that a pair is one person. 撤销合并。")
    async def unmerge(self, info: Info[Any, Any], id: strawberry.ID, reason: str) -> MatchReview | None:
        client = await client_of(info, IdentityClient)
        return _review(await client.unmerge(_id(id), reason))
