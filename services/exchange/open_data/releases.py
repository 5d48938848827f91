"""Releases of open data: ordered by a person, made by a job, checked; published, or withheld and why."""

import asyncio
from typing import Any

from services.exchange import catalogue
from services.exchange.open_data import cells, files, products, source
from services.exchange.open_data.products import Dimension, Product
from services.exchange.open_data.source import Authority
from services.exchange.open_shapes import Dimension as DimensionShape
from services.exchange.open_shapes import Product as ProductShape
from services.exchange.open_shapes import ProductPage, Release, ReleasePage
from services.exchange.repository import open_data as repository
from services.kit import purposes
from services.kit.app import Kit
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Row, Transaction
from services.kit.jobs import RunningJob
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Problem, conflict, not_found

JOB = "services.exchange.tasks:make_release"
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def product_page(newest: dict[str, Row], *, after: str | None, limit: int) -> ProductPage:
    """The products by id, each with its newest release."""
    start = decode_cursor(after, 1)[0] if after else ""
    ids = [id for id in sorted(products.products()) if id > start]
    items = [product_shape(products.products()[id], newest.get(id)) for id in ids[:limit]]
    return ProductPage(items=items, next=encode_cursor(items[-1].id) if len(ids) > limit else None)


def product_shape(product: Product, newest: Row | None) -> ProductShape:
    said = {name: getattr(product, name) for name in product.__slots__ if name != "dimensions"}
    return ProductShape(
        **said,
        dimensions=[_dimension(one) for one in product.dimensions],
        release=None if newest is None else release_shape(newest),
    )


def _dimension(one: Dimension) -> DimensionShape:
    return DimensionShape(**{name: getattr(one, name) for name in one.__slots__})


def release_shape(row: Row) -> Release:
    return Release(**{name: row[name] for name in Release.model_fields})


async def release_page(db: Connection, product: str, *, after: str | None, limit: int) -> ReleasePage:
    """A product's releases, the newest first."""
    products.find(product)
    before = whole_number(decode_cursor(after, 1)[0]) if after else None
    if before is not None and not 0 < before < 2**31:
        raise bad_cursor()
    rows = await repository.releases(db, product, before=before, limit=limit + 1)
    items = [release_shape(row) for row in rows[:limit]]
    return ReleasePage(items=items, next=encode_cursor(items[-1].version) if len(rows) > limit else None)


async def one(db: Connection, product: str, version: int) -> Release:
    row = await repository.release(db, product, version)
    if row is None:
        raise not_found(f"{product} has no release {version}", code="unknown_release")
    return release_shape(row)


async def file(db: Connection, product: str, version: int, kind: str) -> bytes:
    """A published release's file.

    Raises:
        Problem: 404 for none, and for one that is withheld or withdrawn.
    """
    found = await repository.file(db, product, version, kind)
    if found is None:
        release = await one(db, product, version)
        raise not_found(f"release {version} of {product} is {release.state}", code=f"release_{release.state}")
    return found


async def order(kit: Kit, tx: Transaction, product_id: str, *, who: Principal) -> Release:
    """Has the next release of a product made.

    Raises:
        Problem: 403 for whoever is no data steward; 404; 409 while one is being made.
    """
    product = products.find(product_id)
    decided = kit.policy.require(who, "releases.publish", Resource("Exchange::Release", product.id))
    await repository.take_turn(tx, product.id)
    await repository.withhold_failed(tx)
    other = await repository.at_work(tx, product.id)
    if other is not None:
        raise conflict("release_at_work", f"release {other['version']} of {product.id} is being made")
    assert kit.jobs is not None
    job_id = await kit.jobs.submit(tx, kind=JOB, args={"product": product.id})
    version = await repository.add_release(tx, product=product.id, job_id=job_id, requested_by=who.subject)
    await tx.leaf(
        action="releases.publish",
        resource=f"{product.id}/{version}",
        records=0,
        purpose=purposes.STATISTICS,
        legal_basis=decided.legal_basis,
    )
    return await one(tx, product.id, version)


async def withdraw(
    kit: Kit, tx: Transaction, product: str, version: int, *, who: Principal, reason: str
) -> Release:
    """Takes a published release back; its number is not given again.

    Raises:
        Problem: 403, 404; 409 for one that is not published.
    """
    kit.policy.require(who, "releases.publish", Resource("Exchange::Release", product))
    release = await one(tx, product, version)
    if not await repository.withdraw(tx, product, version, reason):
        raise conflict("wrong_state", f"the release is {release.state}; only a published one is withdrawn")
    await tx.leaf(action="releases.withdraw", resource=f"{product}/{version}", records=0, reason=reason)
    return await one(tx, product, version)


async def make(job: RunningJob) -> dict[str, Any]:
    """Counts, withholds, checks and publishes; a table that would tell too much is withheld, and why."""
    async with job.kit.db.read() as db:
        row = await repository.release_of_job(db, job.id)
    if row is None or row["state"] != "queued":
        return {"state": row and row["state"]}
    product = products.find(str(job.args["product"]))
    items = {dimension.item for dimension in product.dimensions}
    try:
        dataset = await catalogue.shared(job.kit, product.dataset, items)
    except Problem as refusal:
        return await _withheld(job, product.id, refusal.detail)
    authority = Authority(
        "open_data.read", purposes.STATISTICS, product.legal_basis, f"{product.title_zh} · {product.title_en}"
    )
    if dataset.personal and product.counts == "rows":
        return await _withheld(job, product.id, f"{dataset.id} is about people: they are counted, not rows")
    tally, records = cells.Tally(product), 0
    async for page in source.pages(job, dataset, items, authority):
        await asyncio.to_thread(tally.add, page.rows, page.people)
        records += len(page.rows)
        await job.progress(records)
    found = cells.shown(tally.counts(), k=product.k, rounded_to=product.rounded_to)
    try:
        written = await asyncio.to_thread(files.table, product.columns, found)
        least = await asyncio.to_thread(files.check, written, k=product.k, rounded_to=product.rounded_to)
    except files.NotAnonymousError as error:
        return await _withheld(job, product.id, str(error))
    return await _published(job, product.id, found, written, records=records, k=least)


async def _withheld(job: RunningJob, product: str, reason: str) -> dict[str, Any]:
    async with job.transaction() as tx:
        await repository.withhold(tx, job.id, reason)
        await tx.leaf(
            action="releases.withheld", resource=product, records=0, reason=reason, outcome="refused"
        )
    return {"state": "withheld", "reason": reason}


async def _published(
    job: RunningJob,
    product: str,
    found: list[cells.Cell],
    written: tuple[bytes, bytes],
    *,
    records: int,
    k: int,
) -> dict[str, Any]:
    async with job.transaction() as tx:
        row = await repository.release_of_job(tx, job.id)
        assert row is not None, "a release is ordered with its job"
        await repository.publish(
            tx,
            job.id,
            records=records,
            cells=len(found),
            suppressed=cells.withheld(found),
            k=k,
            csv=written[0],
            parquet=written[1],
        )
        version = row["version"]
        await tx.leaf(action="releases.published", resource=f"{product}/{version}", records=len(found))
        await tx.publish(
            "exchange.open_data.published",
            aggregate=f"open-data/{product}",
            data={"product": product, "version": version},
        )
    return {"state": "published", "version": version}
