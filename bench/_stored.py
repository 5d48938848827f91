"""What the FHIR store takes on disk."""

from dataclasses import dataclass

from services.kit.database import Database

_INDEX = ("tok", "ref", "dat", "str", "num", "qty", "uri", "pos")
_TABLES = ("resource", "history", "superseded", "patient_person", "care", *_INDEX)


@dataclass(frozen=True, slots=True)
class Stored:
    """
    Attributes:
        bytes: of every table that keeps, chains and finds resources, with their indexes.
        rows: of the tables that resources are found by.
    """

    resources: int
    bytes: int
    rows: int


async def stored(database: Database) -> Stored:
    rows = " + ".join(f"(select count(*) from {table})" for table in _INDEX)
    async with database.read() as db:
        row = await db.fetchrow(
            f"""select (select count(*) from resource) as resources, {rows} as rows,
                       (select sum(pg_total_relation_size(c.oid)) from pg_class c
                        where c.relnamespace = 'health'::regnamespace and c.relname = any($1)) as bytes""",
            _TABLES,
        )
    assert row is not None
    return Stored(row["resources"], int(row["bytes"]), row["rows"])
