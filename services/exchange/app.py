"""The doors of the exchange: the catalogue, the agreements, and reads under them."""

from typing import Annotated, Any

from fastapi import Query
from starlette.responses import JSONResponse

from services.exchange import agreements, catalogue, dcat, reads, repository
from services.exchange.shapes import (
    READ_LIMIT,
    Agreement,
    AgreementPage,
    Dataset,
    DatasetPage,
    ReadPage,
    Step,
)
from services.kit.app import Kit, KitDep, Read, Router, Tx, service
from services.kit.principals import Principal, allowed

router = Router(prefix="/exchange", tags=["exchange"])
published = Router(tags=["exchange"])
Consumer = Annotated[Principal, allowed("exchange:read", kinds=("service",))]
Decider = Annotated[Principal, allowed("exchange:agreements:write")]
After = Annotated[str | None, Query(max_length=2000)]
PageSize = Annotated[int, Query(ge=1, le=1000)]


@router.get("/datasets")
async def list_datasets(db: Read, after: After = None, limit: PageSize = 100) -> DatasetPage:
    """The catalogue. Open to everybody: it holds no data, only what there is and on which terms."""
    return await catalogue.page(db, after=after, limit=limit)


@router.get("/datasets/{id}")
async def one_dataset(id: str, kit: KitDep) -> Dataset:
    return await catalogue.find(kit, id)


@router.get("/agreements")
async def list_agreements(db: Read, after: After = None, limit: PageSize = 100) -> AgreementPage:
    """All agreements. Open to everybody: each person may know under which terms their data moves."""
    return await agreements.page(db, after=after, limit=limit)


@router.get("/agreements/{id}")
async def one_agreement(id: str, db: Read) -> Agreement:
    return await agreements.find(db, id)


@router.post("/agreements/{id}/suspension")
async def suspend(id: str, body: Step, tx: Tx, _who: Decider) -> Agreement:
    """Takes effect at once: a read that is not answered yet is refused."""
    return await agreements.change(tx, id, to="suspended", reason=body.reason)


@router.post("/agreements/{id}/resumption")
async def resume(id: str, body: Step, tx: Tx, _who: Decider) -> Agreement:
    return await agreements.change(tx, id, to="active", reason=body.reason)


@router.get("/reads/{dataset}")
async def read(
    dataset: str,
    kit: KitDep,
    who: Consumer,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=READ_LIMIT)] = 5000,
) -> ReadPage:
    """A page of the agreed items, people under the calling service's own sector ids."""
    return await reads.read(kit, principal=who, dataset_id=dataset, after=after, limit=limit)


@published.get("/catalog.jsonld")
async def catalog(kit: KitDep, db: Read) -> JSONResponse:
    """The catalogue as DCAT-AP 3."""
    found: dict[str, Any] = dcat.catalogue(await catalogue.offered(db), kit.settings.public_url)
    return JSONResponse(found, media_type="application/ld+json")


async def _open(kit: Kit) -> None:
    async with kit.db.transaction() as tx:
        await agreements.seed(tx)


app = service(
    "exchange",
    title="Huimin exchange",
    description="The catalogue of shared data, the agreements, and reads across domains under them.",
    routers=[router, published],
    startup=[_open],
    background=[catalogue.keep_fresh],
    counts=repository.counts,
)
