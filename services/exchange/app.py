"""The doors of the exchange: the catalogue, the agreements, and reads under them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request
from starlette.responses import JSONResponse, Response

from services.exchange import (
    agreements,
    catalogue,
    dcat,
    departments,
    directory,
    doors,
    find_usage,
    pushes,
    reads,
    signing,
    subscriptions,
    terms,
    usage_reports,
)
from services.exchange.open_data import dcat as open_data_dcat
from services.exchange.open_data import doors as open_data
from services.exchange.open_data import exports
from services.exchange.repository.catalogue import counts
from services.exchange.repository.open_data import newest_published
from services.exchange.shapes import (
    READ_LIMIT,
    Agreement,
    AgreementFile,
    AgreementPage,
    AgreementRequest,
    Dataset,
    DatasetPage,
    Department,
    DepartmentIn,
    Push,
    PushPage,
    ReadPage,
    Standing,
    State,
    Step,
    Subscription,
    SubscriptionPage,
    SubscriptionRequest,
    Verdict,
)
from services.kit.app import Kit, KitDep, Read, Router, Tx, service
from services.kit.events import on
from services.kit.principals import Principal, allowed
from services.kit.renewal import RENEWS

router = Router(prefix="/exchange", tags=["exchange"])
published = Router(tags=["exchange"])
Consumer = Annotated[Principal, allowed("exchange:read", kinds=("service",))]
Agrees = Annotated[Principal, allowed("exchange:agreements:write")]
Operates = Annotated[Principal, allowed("exchange:agreements:write", kinds=("service",))]
Id = Annotated[str, Path(pattern=r"^[!-~]{1,200}$")]
After = Annotated[str | None, Query(max_length=2000)]
PageSize = Annotated[int, Query(ge=1, le=1000)]


@router.get("/datasets")
async def list_datasets(db: Read, after: After = None, limit: PageSize = 100) -> DatasetPage:
    """The catalogue. Open to everybody: it holds no data, only what there is and on which terms."""
    return await catalogue.page(db, after=after, limit=limit)


@router.get("/datasets/{id}")
async def one_dataset(id: Id, kit: KitDep) -> Dataset:
    return await catalogue.find(kit, id)


@router.get("/catalogue.json")
async def whole_directory(db: Read) -> JSONResponse:
    """政务信息资源目录: every dataset on offer, with the core metadata that 国发〔2016〕51号 asks for."""
    return JSONResponse(directory.directory(await catalogue.offered(db)))


@router.get("/departments")
async def list_departments(db: Read) -> list[Department]:
    """Which organisation answers for which service's data."""
    return await departments.all_of_them(db)


@router.put("/departments/{service}")
async def register_department(service: Id, body: DepartmentIn, tx: Tx, _who: Operates) -> Department:
    return await departments.register(tx, service, body)


@router.get("/agreements")
async def list_agreements(
    db: Read, state: State | None = None, after: After = None, limit: PageSize = 100
) -> AgreementPage:
    """All agreements, newest first. Open to everybody: each may know under which terms their data moves."""
    return await agreements.page(db, state=state, after=after, limit=limit)


@router.post("/agreements", status_code=201)
async def request_agreement(body: AgreementRequest, kit: KitDep, who: Agrees) -> Agreement:
    """Asks for another department's data; the provider decides within its term."""
    return await agreements.request(kit, who, body)


@router.get("/agreements/{id}")
async def one_agreement(id: Id, db: Read) -> Agreement:
    return await agreements.find(db, id)


@router.get("/agreements/{id}/file")
async def agreement_file(id: Id, db: Read) -> AgreementFile:
    """The agreement with the steps it took and its use by day."""
    return await agreements.whole(db, id)


@router.post("/agreements/{id}/decision")
async def decide(id: Id, body: Verdict, kit: KitDep, who: Agrees) -> Agreement:
    return await agreements.decide(kit, who, id, body)


@router.post("/agreements/{id}/suspension")
async def suspend(id: Id, body: Step, kit: KitDep, who: Agrees) -> Agreement:
    """Takes effect at once: a read that is not answered yet is refused."""
    return await agreements.change(kit, who, id, change="suspend", reason=body.reason)


@router.post("/agreements/{id}/resumption")
async def resume(id: Id, body: Step, kit: KitDep, who: Agrees) -> Agreement:
    return await agreements.change(kit, who, id, change="resume", reason=body.reason)


@router.post("/agreements/{id}/end")
async def end(id: Id, body: Step, kit: KitDep, who: Agrees) -> Agreement:
    """For good. A request may be taken back this way too."""
    return await agreements.change(kit, who, id, change="end", reason=body.reason)


@router.get("/reads/{dataset}", response_model=ReadPage)
async def read(
    dataset: Id,
    request: Request,
    kit: KitDep,
    who: Consumer,
    agreement: Annotated[str | None, Query(pattern=r"^[!-~]{1,200}$")] = None,
    hidden: UUID | None = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=READ_LIMIT)] = 5000,
) -> Response:
    """A page of the agreed items and rows, people under the calling service's own sector ids; signed."""
    page = await reads.read(
        kit,
        principal=who,
        dataset_id=dataset,
        agreement_id=agreement,
        hidden=hidden,
        after=after,
        limit=limit,
    )
    return signing.signed_page(kit, request, page, consumer=str(who.service))


@router.get("/subscriptions")
async def list_subscriptions(
    db: Read, who: Consumer, after: After = None, limit: PageSize = 100
) -> SubscriptionPage:
    """The calling service's own, newest first."""
    return await subscriptions.page(db, who, after=after, limit=limit)


@router.post("/subscriptions")
async def subscribe(body: SubscriptionRequest, kit: KitDep, who: Consumer) -> Subscription:
    """Has a dataset's changes pushed to the caller's `exchange-inbox`; of each agreement there is one."""
    return await subscriptions.subscribe(kit, who, body)


@router.get("/subscriptions/{id}/standing")
async def subscription_standing(id: UUID, kit: KitDep, who: Consumer) -> Standing:
    """Whether everything there is was pushed and taken, as the provider says now."""
    return await subscriptions.standing(kit, who, id)


@router.post("/subscriptions/{id}/resumption")
async def resume_subscription(id: UUID, tx: Tx, who: Consumer) -> Subscription:
    """One that was parked goes on."""
    return await subscriptions.resume(tx, who, id)


@router.post("/subscriptions/{id}/end")
async def end_subscription(id: UUID, tx: Tx, who: Consumer) -> Subscription:
    return await subscriptions.end(tx, who, id)


@router.get("/pushes")
async def list_pushes(db: Read, _who: Agrees, after: After = None, limit: PageSize = 100) -> PushPage:
    """Every subscription, newest first: up to when it was told, and what hinders it."""
    return await subscriptions.every(db, after=after, limit=limit)


@router.post("/pushes/{id}/pause")
async def pause_push(id: UUID, body: Step, kit: KitDep, tx: Tx, _who: Agrees) -> Push:
    """Holds it back until its provider's staff resume it; reads under the agreement go on."""
    return await subscriptions.change(kit, tx, id, change="pause", reason=body.reason)


@router.post("/pushes/{id}/resumption")
async def resume_push(id: UUID, body: Step, kit: KitDep, tx: Tx, _who: Agrees) -> Push:
    """One that was paused, or parked by its consumer's refusal, goes on where it stopped."""
    return await subscriptions.change(kit, tx, id, change="resume", reason=body.reason)


@router.post("/pushes/{id}/retelling")
async def retell_push(id: UUID, body: Step, kit: KitDep, tx: Tx, _who: Agrees) -> Push:
    """All of it is told again from the beginning; its consumer begins anew."""
    return await subscriptions.change(kit, tx, id, change="retell", reason=body.reason)


@router.get("/keys")
async def keys(kit: KitDep) -> JSONResponse:
    """The keys that reads are signed with, as a JWK set (RFC 7517)."""
    return JSONResponse(signing.public_keys(kit))


@published.get("/catalog.jsonld")
async def catalog(kit: KitDep, db: Read) -> JSONResponse:
    """The catalogue as DCAT-AP 3, open data included."""
    base = kit.settings.public_url
    found: dict[str, Any] = dcat.catalogue(await catalogue.offered(db), base)
    found["dataset"] += open_data_dcat.entries(await newest_published(db), base)
    return JSONResponse(found, media_type="application/ld+json")


async def _open(kit: Kit) -> None:
    async with kit.db.transaction() as tx:
        await departments.seed(tx)
        await agreements.seed(tx)


app = service(
    "exchange",
    title="Huimin exchange",
    description="The catalogue of shared data, the agreements, and reads across domains under them.",
    routers=[router, doors.router, open_data.router, published, open_data.published],
    mounts={"/v2": find_usage.app},
    startup=[_open],
    background=[
        catalogue.keep_fresh,
        terms.keep_terms,
        usage_reports.watch,
        exports.keep_terms,
        pushes.keep_pushing,
    ],
    handlers=[
        on(f"identity.{what}", subscriptions.tell_again)
        for what in ("persons.merged", "persons.unmerged", "sector.rekeyed")
    ]
    + [RENEWS],
    counts=counts,
    contribution=catalogue.for_operators,
)
