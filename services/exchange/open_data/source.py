"""The rows of a dataset, as its provider offers them to the exchange, with the people in them.

Every page is one access leaf with the Merkle root of its people, so that it stands in each one's own list.
"""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

from services.exchange.shapes import Dataset
from services.identity.client import IdentityClient
from services.kit.app import Kit, prefix_of
from services.kit.jobs import RunningJob

ROWS_A_PAGE = 5_000
SECTOR = "exchange"
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Authority:
    """On what ground the rows are read: the words of the leaf."""

    action: str
    purpose: str
    legal_basis: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A page; `people` stand beside the rows, under the exchange's own ids, None where nobody is known."""

    rows: list[dict[str, Any]]
    people: list[str | None]


async def pages(
    job: RunningJob, dataset: Dataset, items: Collection[str], authority: Authority
) -> AsyncIterator[Rows]:
    """All pages of a dataset.

    Raises:
        DomainError: the provider or identity does not answer.
    """
    after: str | None = None
    while True:
        rows, following = await _page(job.kit, dataset, items, after)
        people = await _people(job.kit, dataset, rows)
        async with job.transaction() as tx:
            known = [person for person in people if person is not None]
            await tx.leaf(
                action=authority.action,
                subjects=known if dataset.personal else None,
                records=len(rows),
                resource=dataset.id,
                purpose=authority.purpose,
                legal_basis=authority.legal_basis,
                reason=authority.reason,
            )
        yield Rows(rows, people)
        if following is None:
            return
        after = following


async def _page(
    kit: Kit, dataset: Dataset, items: Collection[str], after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    wanted = {*items} | ({dataset.sector_id} if dataset.sector_id else set())
    params = {"limit": ROWS_A_PAGE, "items": ",".join(sorted(wanted))} | ({"after": after} if after else {})
    answer = await kit.calls.request(
        dataset.provider,
        "GET",
        f"{prefix_of(dataset.provider)}/offers/{dataset.name}",
        params=params,
        deadline_s=DEADLINE_S,
    )
    body = answer.json()
    rows: list[dict[str, Any]] = body["rows"]
    return rows, body["next"]


async def _people(kit: Kit, dataset: Dataset, rows: list[dict[str, Any]]) -> list[str | None]:
    if dataset.sector_id is None:
        return [None] * len(rows)
    ids = list(dict.fromkeys(str(row[dataset.sector_id]) for row in rows))
    ours = await kit.calls.client(IdentityClient).translate(ids, source=dataset.provider, target=SECTOR)
    by_id = dict(zip(ids, ours, strict=True))
    return [by_id[str(row[dataset.sector_id])] for row in rows]
