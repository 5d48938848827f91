"""Indexing anew what is kept: for search parameters that came later than it.

Each process follows the database's table of parameters; a push whose index rows were made by an older one is
indexed once more.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from health.fhir import custom, indexing, references, text
from health.fhir.definitions import Parameter
from health.fhir.entries import Entry
from health.fhir.extract import patient_of, rows_of
from health.fhir.outcome import refused
from health.reaching import NOBODY
from health.repository import indexed, parameters
from health.versions import Index, Version
from services.kit.database import Connection, Row, Transaction
from services.kit.jobs import Jobs

if TYPE_CHECKING:
    from services.kit.app import Kit
    from services.kit.jobs import RunningJob

AT_ONCE = 500
FOLLOWED_S = 1.0
KIND = "health.tasks:reindex"


async def registered(tx: Transaction, prepared_with: str, versions: Sequence[Version]) -> None:
    """Follows up on what a push kept: its own parameters get their job, and what it kept by an older table of
    parameters than holds now is indexed once more.

    Args:
        prepared_with: version of the table that the index rows were made by.

    Raises:
        Refusal: 409, another SearchParameter has that name for that type.
    """
    jobs = Jobs("health")
    if versions and await parameters.parameters_held(tx) != prepared_with:
        await jobs.submit(tx, kind=KIND, args={"pks": [version.pk for version in versions]})
    for version in versions:
        if version.type == "SearchParameter" and (made := custom.parameters_in(orjson.loads(version.body))):
            job = await jobs.submit(tx, kind=KIND, args={"types": sorted(made)})
            rows = [(kind, one.name, custom.told(one)) for kind, one in made.items()]
            if not await parameters.add_parameter(tx, version.pk, job, rows):
                words = f"another SearchParameter has the code {next(iter(made.values())).name} already"
                raise refused(409, "conflict", words, "SearchParameter.code")


async def follow(kit: "Kit") -> None:
    """Keeps this process informed of the parameters there are."""
    while True:
        async with kit.db.read() as db:
            if custom.known().pending or await parameters.parameters_version(db) != custom.known().version:
                custom.use(await found_in(db))
        await asyncio.sleep(FOLLOWED_S)


async def found_in(db: Connection) -> custom.Known:
    """The parameters as the database has them."""
    rows = await parameters.parameters(db)
    kept: dict[str, dict[str, Parameter]] = {}
    for row in rows:
        kept.setdefault(row["type"], {})[row["code"]] = custom.heard(row["definition"])
    return custom.Known(
        version=",".join(str(row["version"]) for row in rows),
        kept=kept,
        pending={(row["type"], row["code"]): _progress(row) for row in rows if not row["ready"]},
    )


def _progress(row: Row) -> str:
    if row["state"] in ("failed", "cancelled"):
        return "what is kept could not be indexed for it"
    # As a share: how many records there are is nobody's to know.
    how_far = f"{100 * row['done'] // row['total']} % are done" if row["total"] else "it has not begun yet"
    return f"what is kept is being indexed for it: {how_far}"


async def run(job: "RunningJob") -> dict[str, Any]:
    """All that is kept, or what the job's arguments name: `types`, or `pks`.

    It goes on where an earlier attempt came to, and may be run again.
    """
    types, pks = job.args.get("types"), job.args.get("pks")
    async with job.transaction() as tx:
        # What was on its way when the parameters changed is kept now, and found below.
        await parameters.pushes_awaited(tx)
    async with job.kit.db.read() as db:
        custom.use(await found_in(db))
        total = await parameters.count_to_reindex(db, types, pks)
        after = await parameters.reindexed_to(db, job.id)
    done = 0
    while True:
        async with job.transaction() as tx:
            rows = await parameters.to_reindex(tx, types, pks, after=after, limit=AT_ONCE)
            if not rows:
                await parameters.ready_parameters(tx, job.id)
                return {"records": done}
            after = rows[-1]["pk"]
            await indexed.reindex(tx, await _indexed(tx, rows))
            await parameters.note_reindexed(tx, job.id, after)
        done += len(rows)
        await job.progress(done, max(done, total))


async def _indexed(tx: Transaction, rows: list[Row]) -> list[tuple[int, int, Index]]:
    entries = [_entry(row) for row in rows]
    pks = await parameters.pks_of(tx, sorted({target for entry in entries for target in entry.uses}))
    # Where references are unchecked, a patient may have come after what is about them.
    late = {
        row["pk"]: pks[entry.patient]
        for row, entry in zip(rows, entries, strict=True)
        if row["pt"] == NOBODY and entry.patient is not None and entry.patient in pks
    }
    if late:
        await parameters.belong(tx, late)
    return [
        (row["pk"], late.get(row["pk"], row["pt"]), indexing.index_of(entry, {}, pks))
        for row, entry in zip(rows, entries, strict=True)
    ]


def _entry(row: Row) -> Entry:
    entry = Entry(0, row["type"], row["type"], "", "", "", "")
    tree = text.parsed(row["body"])
    indexing.note(entry, rows_of(tree, custom.kept(row["type"])))
    resolver = references.Resolver(base="", unchecked=True)
    with suppress(references.Dangling):
        references.rewrite(tree, row["type"], {}, resolver)
    entry.uses = sorted(resolver.used)
    if row["pt"] == NOBODY:
        entry.patient = patient_of(tree)
    return entry
