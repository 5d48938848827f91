"""`/open-data/…` for everybody; ordering releases, and applications for exports, under `/exchange`."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path, Query
from starlette.responses import Response

from services.exchange.open_data import exports, products, releases
from services.exchange.open_shapes import (
    Application,
    ApplicationIn,
    ApplicationPage,
    ApplicationState,
    DecisionIn,
    Product,
    ProductPage,
    Release,
    ReleasePage,
)
from services.exchange.repository import open_data as repository
from services.exchange.shapes import Step
from services.kit.app import KitDep, Read, Router, Tx
from services.kit.principals import Principal, allowed

published = Router(prefix="/open-data", tags=["open data"])
router = Router(prefix="/exchange", tags=["open data"])
Steward = Annotated[Principal, allowed("exchange:open-data:write")]
Applicant = Annotated[Principal, allowed("exchange:exports:request", kinds=("organisation",))]
Reader = Annotated[Principal, allowed("exchange:exports:request", "exchange:exports:decide")]
Decider = Annotated[Principal, allowed("exchange:exports:decide", kinds=("staff",))]
After = Annotated[str | None, Query(max_length=200)]
PageSize = Annotated[int, Query(ge=1, le=100)]
Version = Annotated[int, Path(ge=1, lt=2**31)]
Format = Literal["csv", "parquet"]


@published.get("/products")
async def list_products(db: Read, after: After = None, limit: PageSize = 50) -> ProductPage:
    """The open datasets, each with its newest release."""
    return releases.product_page(await repository.newest_published(db), after=after, limit=limit)


@published.get("/products/{id}")
async def one_product(id: str, db: Read) -> Product:
    newest = await repository.newest_published(db)
    return releases.product_shape(products.find(id), newest.get(id))


@published.get("/products/{id}/releases")
async def list_releases(id: str, db: Read, after: After = None, limit: PageSize = 50) -> ReleasePage:
    """All versions, those withheld or withdrawn with the reason."""
    return await releases.release_page(db, id, after=after, limit=limit)


@published.get("/products/{id}/releases/{version}")
async def one_release(id: str, version: Version, db: Read) -> Release:
    return await releases.one(db, id, version)


@published.get("/products/{id}/releases/{version}/{kind}", response_class=Response)
async def file(id: str, version: Version, kind: Format, db: Read) -> Response:
    """The table as CSV (RFC 4180, UTF-8) or Parquet. A version never changes."""
    content = await releases.file(db, id, version, kind)
    headers = {
        "content-disposition": f'attachment; filename="{id}-{version}.{kind}"',
        "cache-control": "public, max-age=3600",
    }
    return Response(content, media_type=releases.MEDIA_TYPES[kind], headers=headers)


@router.post("/open-data/{id}/releases", status_code=202)
async def order(id: str, kit: KitDep, tx: Tx, who: Steward) -> Release:
    """Has the next version made: counted, small counts withheld, checked, and only then published."""
    return await releases.order(kit, tx, id, who=who)


@router.post("/open-data/{id}/releases/{version}/withdrawal")
async def withdraw(id: str, version: Version, body: Step, kit: KitDep, tx: Tx, who: Steward) -> Release:
    return await releases.withdraw(kit, tx, id, version, who=who, reason=body.reason)


@router.post("/exports", status_code=201)
async def apply(body: ApplicationIn, kit: KitDep, who: Applicant) -> Application:
    """Asks for rows of a dataset under pseudonyms, sealed to a key of the applicant's."""
    return await exports.apply(kit, body, who=who)


@router.get("/exports")
async def list_applications(
    kit: KitDep,
    db: Read,
    who: Reader,
    state: ApplicationState | None = None,
    after: After = None,
    limit: PageSize = 50,
) -> ApplicationPage:
    """The caller's own applications; all of them for a data steward."""
    return await exports.page(kit, db, who=who, state=state, after=after, limit=limit)


@router.get("/exports/{id}")
async def one_application(id: UUID, kit: KitDep, db: Read, who: Reader) -> Application:
    return await exports.find(kit, db, id, who=who)


@router.post("/exports/{id}/decision")
async def decide(id: UUID, body: DecisionIn, kit: KitDep, tx: Tx, who: Decider) -> Application:
    return await exports.decide(kit, tx, id, approve=body.approve, reason=body.reason, who=who)


@router.get("/exports/{id}/file", response_class=Response)
async def sealed_file(id: UUID, kit: KitDep, tx: Tx, who: Reader) -> Response:
    """The export: a zip with CSV and Parquet in a JWE (ECDH-ES+A256KW, A256GCM) for the applicant's key."""
    return Response(await exports.sealed_file(kit, tx, id, who=who), media_type=exports.MEDIA_TYPE)
