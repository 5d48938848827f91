"""The doors of matching: whom a record may be about; pairs that may be one person, decided by a clerk."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from services.identity import linkage_runs, persons, reviews
from services.identity.candidates import candidates
from services.identity.match_shapes import (
    CandidatesAnswer,
    CandidatesRequest,
    DecisionRequest,
    LinkageRun,
    LinkageRunPage,
    MatchReview,
    MatchReviewPage,
    MatchState,
    MergeRequest,
    UnmergeRequest,
)
from services.identity.register import Register
from services.identity.vault import VaultTx
from services.kit.app import KitDep, Read, Router, Tx, permitted
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed

router = Router(prefix="/identity", tags=["matching"])
PEOPLE = Resource("Identity::Person", id="persons")
Resolver = Annotated[
    Principal, permitted("persons.resolved", PEOPLE, "identity:persons:resolve", kinds=("service",))
]
Clerk = Annotated[Principal, allowed("identity:matches:decide", kinds=("staff",))]


@router.post("/candidates")
async def find_candidates(
    body: CandidatesRequest, kit: KitDep, tx: VaultTx, who: Resolver
) -> CandidatesAnswer:
    """Whom a record may be about, among those the calling service's sector knows; nobody is made."""
    register: Register = kit.parts["register"]
    found = await candidates(
        tx,
        register,
        principal=who,
        sector=persons.sector_of(who, register),
        push=body.person,
        organisation=body.organisation,
        limit=body.limit,
    )
    return CandidatesAnswer(candidates=found)


@router.get("/match-reviews")
async def list_reviews(
    kit: KitDep,
    tx: VaultTx,
    who: Clerk,
    state: MatchState = "open",
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> MatchReviewPage:
    """Pairs of which both sides live in the clerk's areas, the oldest first."""
    return await reviews.page(tx, kit, who, state=state, after=after, limit=limit)


@router.get("/match-reviews/{id}")
async def read_review(id: UUID, kit: KitDep, tx: VaultTx, who: Clerk) -> MatchReview:
    return await reviews.one(tx, kit, who, id)


@router.post("/match-reviews/{id}/decision")
async def decide(id: UUID, body: DecisionRequest, kit: KitDep, tx: VaultTx, who: Clerk) -> MatchReview:
    """One person, two people, or unsure; `same` proposes to make them one, and from another clerk does so."""
    return await reviews.decide(tx, kit, who, id, decision=body.decision, reason=body.reason)


@router.post("/match-reviews/{id}/unmerge")
async def unmerge(id: UUID, body: UnmergeRequest, kit: KitDep, tx: VaultTx, who: Clerk) -> MatchReview:
    """Takes back that they are one person, whoever decided it."""
    return await reviews.unmerge(tx, kit, who, id, reason=body.reason)


@router.post("/linkage/runs", status_code=202)
async def start_linkage(kit: KitDep, tx: Tx, who: Clerk) -> LinkageRun:
    """Looks through the whole register for entries that may be one person; what it finds joins the queue."""
    return await linkage_runs.start(tx, kit, who)


@router.get("/linkage/runs")
async def list_linkage_runs(
    kit: KitDep,
    db: Read,
    who: Clerk,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> LinkageRunPage:
    """The runs, the latest first, with how far they are."""
    return await linkage_runs.page(db, kit, who, after=after, limit=limit)


@router.get("/linkage/runs/{id}")
async def read_linkage_run(id: UUID, kit: KitDep, db: Read, who: Clerk) -> LinkageRun:
    return await linkage_runs.one(db, kit, who, id)


@router.post("/merges", status_code=201)
async def merge(body: MergeRequest, kit: KitDep, tx: VaultTx, who: Clerk) -> MatchReview:
    """Proposes to make two people one whom the model has not brought together; another clerk confirms."""
    return await reviews.merge(tx, kit, who, person=body.person, other=body.other, reason=body.reason)
