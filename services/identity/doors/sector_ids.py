"""Sector ids across sectors and key versions: for the exchange, for a domain about its own, for operators."""

from typing import Annotated

from fastapi import Query

from services.identity import persons, rotation, sector_ids
from services.identity.register import Register
from services.identity.shapes import (
    TRANSLATE_LIMIT,
    AdoptionRequest,
    MergedIdsPage,
    RenewalsPage,
    RotationAnswer,
    RotationRequest,
    SealAnswer,
    SealRequest,
    SectorIdsAnswer,
    SectorIdsRequest,
    SectorKeysAnswer,
    TranslateAnswer,
    TranslateRequest,
)
from services.identity.tokens import Issuer
from services.identity.vault import VaultTx
from services.kit.app import Kit, KitDep, Router, permitted
from services.kit.leaves import LeafBuffer
from services.kit.policy import Resource
from services.kit.principals import Principal

router = Router(prefix="/identity", tags=["sector ids"])
PEOPLE = Resource("Identity::Person", id="sector-ids")
KEYS = Resource("Identity::Client", id="sector-keys")
TRANSLATE, FIND, ADMIN = "identity:translate", "identity:sector-ids:read", "identity:sector-keys:write"
Translator = Annotated[Principal, permitted("sector_ids.translated", PEOPLE, TRANSLATE, kinds=("service",))]
Finder = Annotated[Principal, permitted("sector_ids.read", PEOPLE, FIND, kinds=("service",))]
Domain = Annotated[
    Principal, permitted("sector_ids.renewed", PEOPLE, "identity:sector-ids:renew", kinds=("service",))
]
Merger = Annotated[
    Principal, permitted("sector_ids.merged", PEOPLE, "identity:persons:resolve", kinds=("service",))
]
Sealer = Annotated[
    Principal, permitted("sector_ids.sealed", PEOPLE, "identity:persons:resolve", kinds=("service",))
]
KeyReader = Annotated[Principal, permitted("keys.read", KEYS, ADMIN)]
KeyAdmin = Annotated[Principal, permitted("keys.rotated", KEYS, ADMIN)]


def _parts(kit: Kit) -> tuple[LeafBuffer, Register]:
    assert kit.leaves is not None
    return kit.leaves, kit.parts["register"]


@router.post("/translate")
async def translate(body: TranslateRequest, kit: KitDep, tx: VaultTx, _who: Translator) -> TranslateAnswer:
    """Ids of one sector as another sector knows the same people; for the exchange alone."""
    ids = await sector_ids.translate(tx, *_parts(kit), source=body.source, target=body.target, ids=body.ids)
    return TranslateAnswer(ids=ids)


@router.post("/sector-ids")
async def find(body: SectorIdsRequest, kit: KitDep, tx: VaultTx, _who: Finder) -> SectorIdsAnswer:
    """Every id these people have had in other sectors, for their own lists of usages; the exchange alone."""
    found = await sector_ids.everywhere(
        tx, *_parts(kit), source=body.source, targets=body.targets, ids=body.ids, purpose=body.purpose
    )
    return SectorIdsAnswer(ids=found)


@router.get("/sector-ids/renewals")
async def renewals(
    kit: KitDep,
    tx: VaultTx,
    who: Domain,
    after: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=TRANSLATE_LIMIT)] = 1000,
) -> RenewalsPage:
    """The calling service's own ids as its sector's next key version has them."""
    _, register = _parts(kit)
    sector = persons.sector_of(who, register)
    return await sector_ids.renewals(tx, register, sector=sector, after=after, limit=limit)


@router.get("/sector-ids/merged")
async def merged(
    kit: KitDep,
    tx: VaultTx,
    who: Merger,
    after: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=TRANSLATE_LIMIT)] = 1000,
) -> MergedIdsPage:
    """The calling service's own ids that go by another one now: their people were decided to be one."""
    _, register = _parts(kit)
    sector = persons.sector_of(who, register)
    return await sector_ids.merged(tx, register, sector=sector, after=after, limit=limit)


@router.post("/sector-ids/sealed")
async def seal(body: SealRequest, kit: KitDep, tx: VaultTx, who: Sealer) -> SealAnswer:
    """The people behind the calling service's own ids as another sector knows them, for it alone to read."""
    leaves, register = _parts(kit)
    source = persons.sector_of(who, register)
    ids = await sector_ids.translate(tx, leaves, register, source=source, target=body.target, ids=body.ids)
    issuer: Issuer = kit.parts["issuer"]
    return SealAnswer(sealed=[issuer.seal(id, body.target) if id is not None else None for id in ids])


@router.post("/sector-ids/adoption")
async def adopt(body: AdoptionRequest, kit: KitDep, tx: VaultTx, who: Domain) -> SectorKeysAnswer:
    """The calling service stores the ids of this version now, and is given them from here on."""
    _, register = _parts(kit)
    sector = persons.sector_of(who, register)
    await rotation.adopt(tx, register, sector=sector, version=body.version)
    return SectorKeysAnswer(keys=[key for key in await rotation.listed(tx) if key.sector == sector])


@router.get("/sector-keys")
async def list_keys(tx: VaultTx, _who: KeyReader) -> SectorKeysAnswer:
    return SectorKeysAnswer(keys=await rotation.listed(tx))


@router.post("/sector-keys/rotations", status_code=202)
async def rotate(body: RotationRequest, kit: KitDep, tx: VaultTx, _who: KeyAdmin) -> RotationAnswer:
    """Offers a new key version of a sector; a job prepares it, the domain adopts it."""
    assert kit.jobs is not None
    version, job = await rotation.begin(
        tx, kit.jobs, kit.parts["register"], sector=body.sector, overlap_days=body.overlap_days
    )
    return RotationAnswer(sector=body.sector, version=version, job=job)
