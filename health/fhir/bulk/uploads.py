"""`$import`: NDJSON that a client uploads, and the request to take it in.

R4 has no such operation yet. After the drafts of HL7's community a Parameters resource names the inputs; here
they are uploads of the same client.

Nothing is fetched from elsewhere: what is to be imported comes in through these doors.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from health.fhir import access
from health.fhir.bulk import asking, files
from health.fhir.interactions import Fhir, Reply, check_type
from health.fhir.negotiation import NDJSON
from health.fhir.outcome import refused
from health.repository import bulk as repository
from services.kit.database import Transaction
from services.kit.ids import uuid7
from services.kit.principals import Principal

if TYPE_CHECKING:
    from health.fhir.operations.parameters import Given

ACTION = "fhir.import"
TAKES = {"inputFormat": "code", "input": "part*"}
PART_BYTES = 384 * 1024
"""What one validating process takes at a time."""
INPUTS_MAX = 1000


def check(who: Principal) -> None:
    """Raises Problem 401, or Refusal 403 unless the caller may import at all."""
    asking.check(who)
    access.check_writes(who)


async def upload(fhir: Fhir, who: Principal, raw: bytes) -> Reply:
    """Keeps a file of NDJSON for an import to come; the same bytes once."""
    async with fhir.kit.db.transaction(who) as tx:
        id, _ = await _kept(fhir, tx, who, raw)
    return Reply(b"", 201, {"location": f"{fhir.base}bulk/uploads/{id}"})


async def _kept(fhir: Fhir, tx: Transaction, who: Principal, raw: bytes) -> tuple[UUID, str]:
    """The upload, and the digest of its bytes."""
    digest = await asyncio.to_thread(lambda: hashlib.sha256(raw).digest())
    known = await repository.upload_known(tx, digest, client=who.client_id)
    if known is not None:
        return known, digest.hex()
    id = uuid7()
    await repository.add_file(
        tx,
        id,
        bulk=None,
        role="input",
        name=f"upload-{id}",
        type="",
        client=who.client_id,
        organisation=who.organisation,
        kept=asking.kept(fhir.kit),
        sha256=digest,
    )
    for part in _cut(raw):
        await files.append(tx, id, part)
    return id, digest.hex()


def _cut(raw: bytes) -> Iterator[list[bytes]]:
    """The lines, about as many to a part as one process checks at a time."""
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start + PART_BYTES)
        end = len(raw) if end < 0 else end
        yield raw[start:end].split(b"\n")
        start = end + 1


async def ask_for(fhir: Fhir, who: Principal, raw: bytes) -> Reply:
    """Takes in one file that comes with the request."""
    async with fhir.kit.db.transaction(who) as tx:
        id, digest = await _kept(fhir, tx, who, raw)
        return await _asked(fhir, tx, who, [id], [""], [digest])


async def ask(fhir: Fhir, who: Principal, given: "Given") -> Reply:
    """Takes in uploads, in the order named; the same ones again while they are under way are the same import.

    Raises:
        Refusal: 400, 404 for no upload of the client's, 429.
    """
    for wanted in given["inputFormat"]:
        if wanted not in NDJSON:
            raise refused(400, "not-supported", f"{wanted!r} is not taken; {NDJSON[0]} is", "inputFormat")
    if not 1 <= len(given["input"]) <= INPUTS_MAX:
        raise refused(400, "required", f"name 1 to {INPUTS_MAX} inputs", "input")
    inputs = [_input(parts, fhir.base) for parts in given["input"]]
    ids = [id for id, _ in inputs]
    async with fhir.kit.db.transaction(who) as tx:
        found = {row["id"]: row for row in await repository.uploads(tx, ids, client=who.client_id)}
        missing = [id for id in ids if id not in found]
        if missing or len(set(ids)) < len(ids):
            words = (
                f"{missing[0]} is no upload that waits for an import" if missing else "an input stands twice"
            )
            raise refused(404 if missing else 400, "not-found" if missing else "invalid", words, "input")
        digests = [found[id]["sha256"].hex() for id in ids]
        return await _asked(fhir, tx, who, ids, [kind for _, kind in inputs], digests)


def _input(parts: Any, base: str) -> tuple[UUID, str]:
    """The upload that an input names, and the type it says its lines are of."""
    url, kind = None, ""
    for part in parts if isinstance(parts, list) else ():
        match part:
            case {"name": "url", "valueUri": str() as said} | {"name": "url", "valueUrl": str() as said}:
                url = said
            case {"name": "type", "valueCode": str() as said} | {"name": "type", "valueUri": str() as said}:
                check_type(said)
                kind = said
            case _:
                raise refused(400, "invalid", "an input has the parts url and, if you like, type", "input")
    try:
        return UUID(str(url).removeprefix(f"{base}bulk/uploads/")), kind
    except ValueError as error:
        words = f"the url is what an upload was answered as its Location: {base}bulk/uploads/…"
        raise refused(400, "value", words, "input") from error


async def _asked(
    fhir: Fhir, tx: Transaction, who: Principal, ids: Sequence[UUID], types: Sequence[str], digests: list[str]
) -> Reply:
    digest = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    known = await repository.under_way(tx, who.client_id, digest)
    if known is not None:
        return asking.accepted(fhir, known)
    asked = {"request": f"{fhir.base}$import", "digest": digest, "unguarded": who.unguarded}
    id = await asking.submit(tx, fhir.kit, who, "import", asked)
    await repository.take_uploads(tx, ids, types, bulk=id, kept=asking.kept(fhir.kit))
    return asking.accepted(fhir, id)
