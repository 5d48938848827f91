"""The clerical queue's doors: pairs that may be one person, decided by a clerk, and taken back."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from services.identity import reviews
from services.identity.shapes import (
    DecisionRequest,
    MatchReview,
    MatchReviewPage,
    MatchState,
    MergeRequest,
    UnmergeRequest,
)
from services.identity.vault import VaultTx
from services.kit.app import KitDep, Router
from services.kit.principals import Principal, allowed

router = Router(prefix="/identity", tags=["matching"])
Clerk = Annotated[Principal, allowed("identity:matches:decide", kinds=("staff",))]


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
    """One person, two people, or unsure; `same` makes them one at once."""
    return await reviews.decide(tx, kit, who, id, decision=body.decision, reason=body.reason)


@router.post("/match-reviews/{id}/unmerge")
async def unmerge(id: UUID, body: UnmergeRequest, kit: KitDep, tx: VaultTx, who: Clerk) -> MatchReview:
    """Takes back that they are one person, whoever decided it."""
    return await reviews.unmerge(tx, kit, who, id, reason=body.reason)


@router.post("/merges", status_code=201)
async def merge(body: MergeRequest, kit: KitDep, tx: VaultTx, who: Clerk) -> MatchReview:
    """Makes two people one whom the model has not brought together."""
    return await reviews.merge(tx, kit, who, person=body.person, other=body.other, reason=body.reason)
