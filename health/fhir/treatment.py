"""Who treats whom, as visits, episodes, requests and appointments say, and what follows for the person."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from health import repository
from health.fhir import extract, protection
from health.repository import treatments
from health.versions import Treating
from services.kit.database import Row, Transaction

if TYPE_CHECKING:
    from services.kit.jobs import RunningJob

TREATED_FOR = timedelta(days=365)
"""How long after a visit, or the end of a stay, the organisation is still taken to treat the patient."""
FILLED_AT_ONCE = 1000


def ends(treated: int | None, at: datetime) -> datetime:
    """When a relation ends that is told at `at` of a treatment until `treated` (microseconds since 1970)."""
    # A date still to come makes the relation no longer than one of today.
    last = min(at, extract.moment(treated)) if treated is not None else at
    return last + TREATED_FOR


async def claim(tx: Transaction, pts: set[int]) -> None:
    """Whoever says that it treats a person may read what others keep: the person's list says so at once, and
    of a new one the person is told (health.treatments)."""
    if not pts:
        return
    opened = await repository.opened_by_care(tx, pts)
    for organisation, subjects in opened.items():
        about: dict[str, Any] = {"subjects": subjects} if len(subjects) > 1 else {"subject": subjects[0]}
        await tx.leaf(
            action="treatment.claimed",
            records=0,
            resource=f"care/{organisation}",
            relation="treatment",
            **about,
        )
    # An earlier visit elsewhere opens what is kept here from now on, too.
    earlier = await repository.opened_by_care(tx, pts, kept=True)
    for organisation, subjects in (*opened.items(), *earlier.items()):
        await treatments.note_claims(tx, organisation, subjects)


async def fill(job: "RunningJob") -> dict[str, Any]:
    """The relations that records tell of which were kept before relations were; it may be run again."""
    kinds = sorted(protection.TREATING)
    done, found, after = 0, 0, 0
    async with job.kit.db.read() as db:
        total = await repository.count_without_care(db, kinds)
    while True:
        async with job.transaction() as tx:
            rows = await repository.without_care(tx, kinds, after=after, limit=FILLED_AT_ONCE)
            treating = [one for row in rows for one in _told(row)]
            if treating:
                await repository.keep_care(tx, treating)
                await claim(tx, {one.pt for one in treating})
        if not rows:
            return {"records": done, "relations": found}
        done, found, after = done + len(rows), found + len(treating), rows[-1]["pk"]
        await job.progress(done, max(done, total))


def _told(row: Row) -> Iterator[Treating]:
    resource = orjson.loads(row["body"])
    named = protection.treating(resource)
    for organisation in () if named is None else (named or [""]):
        until = ends(protection.treated_until(resource), row["ts"])
        yield Treating(
            row["pk"], row["pt"], organisation.partition("/")[2] or None, row["organisation"], until
        )
