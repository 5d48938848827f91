"""The doors of the audit log: heads, keys and proofs for anybody, leaves for auditors."""

from datetime import date
from typing import Annotated

from fastapi import Query, Response

from services.audit import log, outcomes, proofs, repository, usages
from services.audit.heads import HeadSigner
from services.audit.sequencer import sequence
from services.audit.shapes import (
    ConsistencyProof,
    DailyHeadPage,
    Head,
    HeadPage,
    InclusionProof,
    Keys,
    LeafPage,
    Outcome,
    OutcomeKind,
    OutcomePage,
    StrayPage,
    TilePage,
    UsagePage,
    UsagePeriod,
    UsagesRequest,
)
from services.kit.app import KitDep, Read, Router, Tx, permitted, service
from services.kit.policy import Resource
from services.kit.principals import Principal

router = Router(prefix="/audit", tags=["audit"])
LOG = Resource("Audit::Log", id="leaves")
USAGES = Resource("Audit::Usage", id="usages")
OUTCOMES = Resource("Audit::Outcome", id="outcomes")
Auditor = Annotated[Principal, permitted("audit.leaves.read", LOG, "audit:read")]
Verifier = Annotated[Principal, permitted("audit.strays.read", LOG, "audit:read")]
Exchange = Annotated[Principal, permitted("usages.read", USAGES, "audit:usages:read", kinds=("service",))]
Teller = Annotated[
    Principal, permitted("outcomes.told", OUTCOMES, "audit:outcomes:write", kinds=("service",))
]
Operator = Annotated[Principal, permitted("outcomes.read", OUTCOMES, "audit:read")]
Size = Annotated[int, Query(ge=0, description="Number of leaves of a signed head")]


@router.get("/heads/latest")
async def latest_head(connection: Read) -> Head:
    """The newest signed head."""
    return await log.latest_head(connection)


@router.get("/heads")
async def heads(
    connection: Read,
    after: Annotated[int, Query(ge=-1)] = -1,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> HeadPage:
    """Signed heads by size, those larger than `after`."""
    return await log.heads(connection, after=after, limit=limit)


@router.get("/heads/daily")
async def daily_heads(
    connection: Read,
    after: date | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 400,
) -> DailyHeadPage:
    """One signed head a day, those behind the day `after`: what to keep elsewhere, and compare later."""
    return await log.daily_heads(connection, after=after, limit=limit)


@router.get("/leaves", response_model=LeafPage)
async def leaves(
    connection: Read,
    kit: KitDep,
    who: Auditor,
    after: Annotated[int, Query(ge=-1)] = -1,
    size: Size | None = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Response:
    """Leaves by index, those beyond `after` in the tree of `size` (the newest head's by default)."""
    page, records = await log.leaves(connection, after=after, size=size, limit=limit)
    assert kit.leaves is not None
    await kit.leaves.write(who, action="audit.leaves.read", records=records, resource=f"after {after}")
    return Response(page, media_type="application/json")


@router.get("/tiles")
async def tiles(
    connection: Read,
    _who: Verifier,
    after: Annotated[str, Query(pattern=r"^[0-7]/-?[0-9]{1,15}$")] = "0/-1",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> TilePage:
    """Tiles by `level/number`, those behind `after`."""
    return await log.tiles(connection, after=after, limit=limit)


@router.get("/strays")
async def strays(
    connection: Read, _who: Verifier, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> StrayPage:
    """Rows that were put in, taken out or changed behind the log's back, where the leaves do not show it."""
    return await log.strays(connection, limit=limit)


@router.post("/usages")
async def find_usages(connection: Read, body: UsagesRequest, _who: Exchange) -> UsagePage:
    """Who had to do with a person's data; for the exchange, which knows whose list may be shown to whom."""
    return await usages.find(connection, body)


@router.get("/usages/period")
async def usage_period(connection: Read) -> UsagePeriod:
    """Since when accesses are on record."""
    return UsagePeriod(since=await repository.first_access(connection))


@router.get("/proofs/inclusion")
async def inclusion(
    connection: Read, index: Annotated[int, Query(ge=0)], size: Size | None = None
) -> InclusionProof:
    """That leaf `index` is in the tree of `size` (the newest head's by default)."""
    found = await proofs.inclusion(connection, index=index, size=size)
    return InclusionProof(
        index=found.index,
        leaf=found.leaf.hex(),
        path=[step.hex() for step in found.path],
        head=log.head_shape(found.head),
    )


@router.get("/proofs/consistency")
async def consistency(connection: Read, first: Size, second: Size | None = None) -> ConsistencyProof:
    """That the tree of `first` became that of `second` (the newest head's by default) by appending alone."""
    found = await proofs.consistency(connection, first=first, second=second)
    return ConsistencyProof(
        path=[step.hex() for step in found.path],
        first=log.head_shape(found.first),
        second=log.head_shape(found.second),
    )


@router.post("/outcomes", status_code=201)
async def tell_outcome(tx: Tx, body: Outcome, _who: Teller) -> Outcome:
    """What became of a backup, drill, restore or promotion: a row and a leaf, once for each id."""
    return await outcomes.tell(tx, body)


@router.get("/outcomes")
async def list_outcomes(
    connection: Read,
    _who: Operator,
    kind: OutcomeKind | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> OutcomePage:
    """Outcomes, newest first."""
    return await outcomes.page(connection, kind=kind, after=after, limit=limit)


@router.get("/keys")
async def keys(kit: KitDep) -> Keys:
    """The keys that heads are signed with (JWK set)."""
    return Keys(**HeadSigner.of(kit.settings).public_keys())


app = service(
    "audit",
    title="Huimin audit",
    description="One Merkle log over every access leaf: signed heads, proofs, leaves for auditors.",
    routers=[router],
    background=[sequence],
    counts=repository.counts,
    contribution=outcomes.for_operators,
)
