"""A zip from outside, opened only as far as it is safe."""

import difflib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from education.faults import Fault
from education.oneroster.files import ALL_NAMES, MANIFEST

# A million rows unpack to about 150 MB; four times that is no roster any more.
UNPACKED_LIMIT_BYTES = 600 * 1024 * 1024
# Deflate cannot go beyond 1032; rosters of repeating ids measured 6 to 25.
RATIO_LIMIT = 200
RATIO_MATTERS_ABOVE_BYTES = 4 * 1024 * 1024
ENTRIES_LIMIT = 100
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Refused(Exception):
    """The archive as a whole cannot be read."""

    faults: tuple[Fault, ...]


def known_files() -> tuple[str, ...]:
    return (MANIFEST, *(f"{name}.csv" for name in ALL_NAMES))


def nearest(name: str, known: tuple[str, ...]) -> str:
    found = difflib.get_close_matches(name.lower(), [one.lower() for one in known], n=1, cutoff=0.5)
    return next((one for one in known if found and one.lower() == found[0]), ", ".join(known[:3]) + ", …")


def opened(body: bytes) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """The archive and its entries by name.

    Raises:
        Refused: it is no zip, broken off, unsafe, or holds what does not belong there.
    """
    try:
        archive = zipfile.ZipFile(BytesIO(body))
        entries = archive.infolist()
        if any(entry.header_offset < 0 for entry in entries):
            raise zipfile.BadZipFile("bytes are missing before its directory")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise Refused((unreadable(error),)) from error
    entries = [entry for entry in entries if not _is_debris(entry)]
    faults = tuple(_faults_of(entries))
    if faults:
        raise Refused(faults)
    return archive, {entry.filename: entry for entry in entries}


def unreadable(error: Exception) -> Fault:
    return Fault("unreadable_zip", about={"reason": str(error) or type(error).__name__})


def _is_debris(entry: zipfile.ZipInfo) -> bool:
    """What macOS puts into every zip, and nobody sent."""
    name = entry.filename
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in {".DS_Store", "Thumbs.db"}


def _faults_of(entries: list[zipfile.ZipInfo]) -> Iterator[Fault]:
    if len(entries) > ENTRIES_LIMIT:
        yield Fault("unreadable_zip", about={"reason": f"{len(entries)} entries"})
        return
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        yield from _name_faults(name)
        if name in seen:
            yield Fault("duplicate_file", file=name, about={"name": name})
        seen.add(name)
        if entry.flag_bits & _ENCRYPTED:
            yield Fault("encrypted_zip", file=name, about={"name": name})
        if entry.compress_type not in _METHODS:
            yield Fault(
                "unsupported_compression", file=name, about={"name": name, "method": entry.compress_type}
            )
    yield from _size_faults(entries)


def _name_faults(name: str) -> Iterator[Fault]:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]:
        yield Fault("unsafe_name", file=name, about={"name": name})
    elif len(parts) > 1:
        yield Fault("file_in_folder", file=name, about={"name": name})
    elif name not in known_files():
        yield Fault("unknown_file", file=name, about={"name": name, "nearest": nearest(name, known_files())})


def _size_faults(entries: list[zipfile.ZipInfo]) -> Iterator[Fault]:
    total = sum(entry.file_size for entry in entries)
    if total > UNPACKED_LIMIT_BYTES:
        about = {"name": "the archive", "bytes": total, "limit": UNPACKED_LIMIT_BYTES}
        yield Fault("too_much_data", about=about)
    for entry in entries:
        ratio = entry.file_size // max(entry.compress_size, 1)
        if entry.file_size > RATIO_MATTERS_ABOVE_BYTES and ratio > RATIO_LIMIT:
            yield Fault(
                "compressed_too_far", file=entry.filename, about={"name": entry.filename, "ratio": ratio}
            )
