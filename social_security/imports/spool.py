"""A push on its way to disk: hashed as it arrives, in a folder that goes when the push is done."""

import asyncio
import base64
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import Message
from pathlib import Path
from typing import Protocol

from services.kit.problems import Fault, Problem, bad_request
from social_security.imports.kinds import KINDS, Kind
from social_security.imports.push import SentFile

CSV_TYPES = frozenset({"text/csv", "application/csv"})
PARQUET_TYPES = frozenset({"application/vnd.apache.parquet", "application/x-parquet"})
# What browsers and tools call a file they do not know; its first bytes say whether it is Parquet.
VAGUE_TYPES = frozenset({"application/octet-stream", "application/vnd.ms-excel", "text/plain", ""})
ABANDONED_S = 3600.0
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]+={0,2}):")


class Part(Protocol):
    """A part of a multipart body."""

    @property
    def content_type(self) -> str | None: ...
    async def read(self, size: int = -1) -> bytes: ...


@asynccontextmanager
async def folder_under(root: Path) -> AsyncIterator[Path]:
    """A private folder for one push; gone afterwards, whatever becomes of the push."""
    folder = await asyncio.to_thread(_make_folder, root)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)


def _make_folder(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(dir=root))


def sweep(root: Path) -> None:
    """Removes what pushes left behind whose process was killed."""
    for folder in root.iterdir() if root.is_dir() else ():
        if time.time() - folder.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(folder)


async def from_body(
    body: AsyncIterator[bytes], folder: Path, *, kind: str | None, headers: Mapping[str, str]
) -> list[SentFile]:
    """The one file of a plain body.

    Raises:
        Problem: 400 without a kind, 415 for another media type, 400 when Content-Digest says otherwise.
    """
    if kind is None:
        detail = f"say what the rows are: ?kind={'|'.join(KINDS)}"
        raise bad_request("missing_kind", detail, Fault(detail, field="kind", code="missing_kind"))
    file = await _spooled(body, folder, KINDS[kind], headers.get("content-type", ""))
    _check_digest(headers.get("content-digest"), file)
    return [file]


async def from_parts(
    parts: list[tuple[str, Part | str]], folder: Path, *, kind: str | None
) -> list[SentFile]:
    """The files of a multipart body, each under the name of its kind.

    Raises:
        Problem: 400 for a part of another name, a kind twice, or none at all.
    """
    names = [name for name, _ in parts]
    wrong = [name for name in names if name not in KINDS] + [name for name in KINDS if names.count(name) > 1]
    if wrong or not parts or kind is not None:
        detail = (
            f"a multipart push has one file for each kind, named {', '.join(KINDS)}, and no ?kind; "
            f"this one has {', '.join(names) or 'none'}"
        )
        faults = [Fault(f"{name[:40]} is unknown or given twice", field=name[:40]) for name in wrong]
        raise bad_request("wrong_parts", detail, *faults)
    files: list[SentFile] = []
    for name, part in parts:
        if isinstance(part, str):
            raise bad_request("wrong_parts", f"{name} is a field, not a file: give it a filename")
        files.append(await _spooled(_chunks(part), folder, KINDS[name], part.content_type or ""))
    return files


async def _chunks(part: Part) -> AsyncIterator[bytes]:
    while chunk := await part.read(1 << 20):
        yield chunk


async def _spooled(body: AsyncIterator[bytes], folder: Path, kind: Kind, content_type: str) -> SentFile:
    media_type, charset = _media_type(content_type)
    if media_type not in CSV_TYPES | PARQUET_TYPES | VAGUE_TYPES:
        raise Problem(
            415,
            "unsupported_media_type",
            f"{kind.name} came as {media_type}; send text/csv or application/vnd.apache.parquet",
        )
    path = folder / f"{kind.name}.sent"
    digest = hashlib.sha256()
    start = b""
    with path.open("wb") as file:
        async for chunk in body:
            start = start or chunk[:4]
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    if not start:
        raise bad_request("empty_body", f"{kind.name} is empty", Fault("the file is empty", file=kind.name))
    parquet = media_type in PARQUET_TYPES or (media_type in VAGUE_TYPES and start == b"PAR1")
    return SentFile(kind, path, digest.hexdigest(), parquet=parquet, charset=charset)


def _media_type(header: str) -> tuple[str, str | None]:
    message = Message()
    message["content-type"] = header
    charset = message.get_param("charset")
    return header.partition(";")[0].strip().lower(), charset if isinstance(charset, str) else None


def _check_digest(header: str | None, file: SentFile) -> None:
    """RFC 9530: a body cut short or altered on the way is found before anything is done with it."""
    found = _DIGEST.search(header or "")
    # Compared as text: what is no base64 at all is no digest of this body either.
    if found and found[1] != base64.b64encode(bytes.fromhex(file.sha256)).decode():
        raise bad_request(
            "digest_mismatch", "the body is not the one that Content-Digest names; send it again"
        )
