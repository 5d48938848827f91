"""The doors of health: `/fhir` for hospitals, a person's own record for the gateway."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from health import records, repository
from health.fhir import access, doors
from health.fhir.interactions import Fhir
from health.fhir.outcome import render
from health.fhir.paging import Pages
from health.fhir.workers import Workers
from health.offers import OFFERS
from health.shapes import (
    PAGE_MAX,
    RecordPage,
    RecordPages,
    RecordQueries,
    RecordQuery,
    RecordType,
)
from services.kit.app import Kit, KitDep, Router, service, standard_app
from services.kit.principals import Anyone, Principal
from services.kit.problems import forbidden

router = Router(prefix="/health", tags=["health"])


@router.get("/records/me")
async def my_records(
    kit: KitDep,
    who: Anyone,
    types: Annotated[list[RecordType], Query(min_length=1, max_length=9)],
    code: Annotated[str | None, Query(min_length=1, max_length=300)] = None,
    first: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: str | None = None,
) -> RecordPage:
    """A page of the signed-in person's own record, the latest first."""
    [found] = await _pages(kit, who, [RecordQuery(tuple(types), code, first, after)])
    return found


@router.post("/records/me")
async def my_record_pages(kit: KitDep, who: Anyone, body: RecordQueries) -> RecordPages:
    """Several pages of the signed-in person's own record, for a screen with several lists."""
    return RecordPages(pages=await _pages(kit, who, [query.query() for query in body.queries]))


async def _pages(kit: Kit, who: Principal, queries: list[RecordQuery]) -> list[RecordPage]:
    types = sorted({type for query in queries for type in query.types})
    sector_id = _own(who, types)
    async with kit.db.read() as db:
        found = [await records.page(db, sector_id, query) for query in queries]
    assert kit.leaves is not None
    kit.leaves.add(
        who,
        action="health.record.read",
        subject=sector_id,
        records=sum(len(page.items) for page in found),
        resource=",".join(types),
    )
    return found


def _own(who: Principal, types: Sequence[str]) -> str:
    for type in types:
        for right in ("r", "s"):
            reach = access.reach(who, type, right)
            if reach.sector_id is None:
                raise forbidden("this is a person's own record: it is read with that person's token")
    assert who.sector_id is not None
    return who.sector_id


async def _start(kit: Kit) -> None:
    base = f"{kit.settings.public_url}/fhir/"
    pages = Pages(kit.settings.secret_for("health", "pages"))
    kit.parts["fhir"] = Fhir(kit, Workers(), pages, base)


async def validating(kit: Kit) -> None:
    """Holds the worker processes for as long as the service runs."""
    fhir: Fhir = kit.parts["fhir"]
    try:
        await asyncio.Event().wait()
    finally:
        await fhir.workers.close()


app = service(
    "health",
    title="Huimin health 惠民·健康",
    description="Health records in FHIR R4, and each person's own record.",
    routers=[router],
    mounts={"/fhir": standard_app("Huimin FHIR R4", render, routers=[doors.router])},
    offers=OFFERS,
    startup=[_start],
    background=[validating],
    counts=repository.counts,
)
