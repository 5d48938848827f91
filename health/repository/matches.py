"""The Patients that are about certain persons, as far as the caller may see them."""

from collections.abc import Sequence

from health.reaching import Reach
from health.repository.compartment import columns
from health.repository.reach import Args, readable
from services.kit.database import Connection, Row


async def patients_about(db: Connection, reach: Reach, sector_ids: Sequence[str], *, limit: int) -> list[Row]:
    """The caller's own first: `columns`."""
    args = Args()
    order = f"order by m.client <> {args(reach.client)}, m.pk"
    return await db.fetch(
        f"""select {columns(reach, args, order)} {readable(reach, args)} and m.type = 'Patient'
            and m.pk in (select pt from patient_person where sector_id = any({args(list(sector_ids))}))
            {order} limit {args(limit)}""",
        *args.values,
    )


async def kept(db: Connection, sector_ids: Sequence[str]) -> set[str]:
    """Those of the persons of whom there is a Patient, whoever may see it."""
    rows = await db.fetch(
        "select distinct sector_id from patient_person where sector_id = any($1)", list(sector_ids)
    )
    return {row["sector_id"] for row in rows}
