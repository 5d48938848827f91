"""The doors of the audit log: heads, keys and proofs for anybody, leaves for auditors."""

from typing import Annotated

from fastapi import Query

from services.audit import log, proofs, repository
from services.audit.heads import HeadSigner
from services.audit.sequencer import sequence
from services.audit.shapes import (
    ConsistencyProof,
    Head,
    HeadPage,
    InclusionProof,
    Keys,
    LeafPage,
    StrayPage,
)
from services.kit.app import KitDep, Read, Router, service
from services.kit.principals import Principal, allowed

router = Router(prefix="/audit", tags=["audit"])
Auditor = Annotated[Principal, allowed("audit:read")]
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


@router.get("/leaves")
async def leaves(
    connection: Read,
    kit: KitDep,
    who: Auditor,
    after: Annotated[int, Query(ge=-1)] = -1,
    size: Size | None = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> LeafPage:
    """Leaves by index, those beyond `after` in the tree of `size` (the newest head's by default)."""
    page = await log.leaves(connection, after=after, size=size, limit=limit)
    assert kit.leaves is not None
    await kit.leaves.write(
        who, action="audit.leaves.read", records=len(page.leaves), resource=f"after {after}"
    )
    return page


@router.get("/strays")
async def strays(
    connection: Read, _who: Auditor, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> StrayPage:
    """Leaves that were put in at a source behind the log's back."""
    return await log.strays(connection, limit=limit)


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
)
