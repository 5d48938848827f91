"""The files of bulk requests: NDJSON in compressed parts, written and sent on in constant memory."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from itertools import count
from uuid import UUID

from health.fhir import access
from health.fhir.bulk import asking
from health.fhir.interactions import Fhir
from health.fhir.outcome import refused
from health.repository import bulk as repository
from services.kit.database import Database, Row, Transaction
from services.kit.ids import uuid7
from services.kit.principals import Principal

PART_BYTES = 1024 * 1024
FILE_LINES = 200_000
"""Lines of one file; a type with more has several, which can be fetched side by side."""
_LEVEL = 3
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST_BLOCK = b"\x03\0"

Commit = Callable[[], AbstractAsyncContextManager[Transaction]]


class Writer:
    """Writes lines of one kind of file, part by part.

    Args:
        commit: makes each part's own commit.
        bulk: the row of the request the files are of.
        name: what their names begin with.
    """

    def __init__(
        self, commit: Commit, bulk: Row, *, role: str, name: str, type: str, kept: timedelta
    ) -> None:
        self._commit = commit
        self._bulk = bulk
        self._role = role
        self._name = name
        self._type = type
        self._kept = kept
        self._file: UUID | None = None
        self._files = 0
        self._lines = 0
        self._waiting: list[bytes] = []
        self._bytes = 0

    async def add(self, lines: Sequence[bytes]) -> None:
        """Takes lines without their ends."""
        for line in lines:
            self._waiting.append(line)
            self._bytes += len(line)
            if self._bytes >= PART_BYTES:
                await self._write()

    async def close(self) -> None:
        if self._waiting:
            await self._write()

    async def _write(self) -> None:
        lines, self._waiting, self._bytes = self._waiting, [], 0
        async with self._commit() as tx:
            if self._file is None or self._lines >= FILE_LINES:
                await self._begin(tx)
            assert self._file is not None
            await append(tx, self._file, lines)
        self._lines += len(lines)

    async def _begin(self, tx: Transaction) -> None:
        self._file, self._lines = uuid7(), 0
        self._files += 1
        await repository.add_file(
            tx,
            self._file,
            bulk=self._bulk["id"],
            role=self._role,
            name=f"{self._name}-{self._files}.ndjson",
            type=self._type,
            client=self._bulk["client"],
            organisation=self._bulk["organisation"],
            kept=self._kept,
        )


async def append(tx: Transaction, file: UUID, lines: Sequence[bytes]) -> None:
    """Adds a part of these lines, given without their ends."""
    end = await repository.end_of(tx, file)
    data = b"\n".join(lines) + b"\n"
    body, crc = await asyncio.to_thread(_packed, data, end["crc"])
    await repository.add_part(
        tx, file, end["n"], first=end["first"], lines=len(lines), body=body, size=len(data), crc=crc
    )


def _packed(data: bytes, crc: int) -> tuple[bytes, int]:
    """Compressed so that more can follow it, and the CRC of what was before with it."""
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush(zlib.Z_SYNC_FLUSH), zlib.crc32(data, crc)


def unpacked(body: bytes) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body)


async def packed_parts(database: Database, file: Row) -> AsyncIterator[bytes]:
    """A file as one gzip stream (RFC 1952), of the parts as they are kept."""
    yield _GZIP_HEAD
    async for part in _parts(database, file):
        yield part
    yield _LAST_BLOCK + file["crc"].to_bytes(4, "little") + (file["size"] % 2**32).to_bytes(4, "little")


async def parts(database: Database, file: Row) -> AsyncIterator[bytes]:
    """A file in clear: whole lines, with their ends."""
    async for part in _parts(database, file):
        yield await asyncio.to_thread(unpacked, part)


async def _parts(database: Database, file: Row) -> AsyncIterator[bytes]:
    # No connection is held while somebody slow takes it.
    for n in count():
        async with database.session() as db:
            part = await repository.part(db, file["id"], n)
        if part is None:
            return
        yield part


async def fetched(fhir: Fhir, who: Principal, bulk: UUID, name: str) -> Row:
    """A file that the caller is about to be given, with the leaf of that.

    Raises:
        Refusal: 403 where the purpose is another, or scopes or policies do not permit it (any more); 404 for
            none of the caller's.
    """
    row = await asking.find(fhir, who, bulk)
    async with fhir.kit.db.session() as db:
        file = await repository.file_named(db, bulk, name)
    if file is None:
        raise refused(404, "not-found", f"this request has no file {name[:80]!r}, or not any more")
    if row["kind"] == "export":
        asking.tied(fhir.kit, who)
        asked = asking.asker(row)
        now = access.reach(fhir.kit.policy, who, file["type"], "s").granted
        if who.purpose != asked.purpose or not now.covers(access.granted(asked, "s"), file["type"]):
            raise refused(403, "forbidden", "it was asked for with another purpose, or by wider scopes")
    kind = row["kind"]
    assert fhir.kit.leaves is not None
    await fhir.kit.leaves.write(
        who, action=f"fhir.{kind}.fetched", records=file["lines"], resource=f"bulk/{bulk}/{name}"
    )
    return file


async def ndjson(database: Database, bulk: UUID, type: str) -> AsyncIterator[bytes]:
    """What a finished export has of a type, some whole lines at a time."""
    async with database.session() as db:
        files = await repository.files(db, bulk)
    for file in files:
        if file["role"] == "output" and file["type"] == type:
            async for part in parts(database, file):
                yield part
