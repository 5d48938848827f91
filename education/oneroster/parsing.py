"""A zip of OneRoster CSV read into frames: for each file its rows in COPY's CSV form, and every fault.

Frames come in the order: `package`, then per file `table`, `rows`…, `read`, `faults`, at last `end`. Nothing
here touches a database or an event loop, so it runs in a thread or in a process of its own alike.
"""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

from education.faults import Fault, masked
from education.oneroster import archive, encodings
from education.oneroster.archive import Refused, nearest
from education.oneroster.files import (
    ALL_NAMES,
    KEPT,
    MANIFEST,
    MANIFEST_HEADER,
    MANIFEST_PROPERTIES,
    METADATA_PREFIX,
    NOT_KEPT,
    FileSpec,
)
from education.oneroster.rows import Bad, Sheet

CHUNK_CHARACTERS = 256 * 1024
VERSIONS = {"manifest.version": "1.0", "oneroster.version": "1.2"}
MODES = ("bulk", "delta", "absent")
FAULT_COLUMNS = ("file", "line", "column_name", "sourced_id", "code", "value", "about")


@dataclass(frozen=True)
class Frame:
    """One step of reading: what kind, what about it, and bytes for COPY."""

    kind: str
    head: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


def frames(body: bytes, *, key: bytes, now: datetime) -> Iterator[Frame]:
    """Reads a whole push. Faults are frames, never exceptions."""
    try:
        zipped, entries = archive.opened(body)
        manifest = _manifest(zipped, entries)
    except Refused as refused:
        yield _faults_frame(refused.faults)
        yield Frame("end")
        return
    yield Frame("package", manifest)
    for spec in KEPT:
        mode = manifest.get(f"file.{spec.name}", "absent")
        if mode != "absent":
            yield from _file(zipped, entries[spec.file], spec, mode=mode, key=key, now=now)
    yield Frame("end")


def _faults_frame(faults: Sequence[Fault]) -> Frame:
    out = io.StringIO()
    writer = csv.writer(out)
    for fault in faults:
        about = json.dumps(dict(fault.about), ensure_ascii=False)
        cells = (fault.file, fault.line, fault.column, fault.sourced_id, fault.code, fault.value, about)
        writer.writerow(cells)
    return Frame("faults", {"count": len(faults)}, out.getvalue().encode())


class _Text:
    """One CSV file of the archive as rows with their physical lines."""

    def __init__(self, zipped: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        self._zipped = zipped
        self._entry = entry
        self.name = entry.filename

    def _opened(self) -> IO[bytes]:
        return self._zipped.open(self._entry)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row with the line it begins in; blank lines are passed over.

        Raises:
            Refused: the file is not readable as UTF-8 CSV.
        """
        line = 1
        try:
            with self._opened() as stream:
                start = stream.read(4096)
            foreign = encodings.foreign_bom(start)
            if foreign is not None:
                raise self._refused("not_utf8", 1, encoding=foreign)
            with self._opened() as stream:
                reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), strict=True)
                before = 0
                for row in reader:
                    line, before = before + 1, reader.line_num
                    if row:
                        yield line, row
                line = before + 1
        except UnicodeDecodeError:
            line, encoding = encodings.where_not_utf8(self._opened)
            raise self._refused("not_utf8", line, encoding=encoding) from None
        except csv.Error as error:
            raise self._refused("broken_quotes", reader.line_num, reason=str(error)) from error
        except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error) as error:
            # RuntimeError: the entry is of a kind that zipfile does not read (patched, strongly encrypted).
            raise Refused((archive.unreadable(error),)) from error

    def _refused(self, code: str, line: int, **about: Any) -> Refused:
        return Refused((Fault(code, self.name, line, about=about),))


def _manifest(zipped: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, str]:
    """The manifest's properties, checked against the archive.

    Raises:
        Refused: with every fault of the manifest.
    """
    if MANIFEST not in entries:
        raise Refused((Fault("manifest_missing", MANIFEST),))
    rows = list(_Text(zipped, entries[MANIFEST]).rows())
    if not rows or tuple(rows[0][1]) != MANIFEST_HEADER:
        about = {"columns": ",".join(MANIFEST_HEADER)}
        raise Refused((Fault("no_header", MANIFEST, rows[0][0] if rows else 1, about=about),))
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for line, row in rows[1:]:
        faults += _property_faults(line, row, found)
        if len(row) == 2:
            found.setdefault(row[0], row[1])
    faults += _version_faults(found)
    for name in ALL_NAMES:
        faults += _presence_faults(name, found.get(f"file.{name}", "absent"), f"{name}.csv" in entries)
    if faults:
        raise Refused(tuple(faults))
    return found


def _property_faults(line: int, row: list[str], found: Mapping[str, str]) -> Iterator[Fault]:
    if len(row) != 2:
        yield Fault("wrong_cell_count", MANIFEST, line, about={"found": len(row), "wanted": 2})
        return
    name, value = row
    if name not in MANIFEST_PROPERTIES:
        about = {"name": masked(name, personal=False), "nearest": nearest(name, MANIFEST_PROPERTIES)}
        yield Fault("manifest_property_unknown", MANIFEST, line, "propertyName", about=about)
    elif name in found:
        yield Fault("manifest_property_twice", MANIFEST, line, "propertyName", about={"name": name})
    elif name.startswith("file.") and value not in MODES:
        shown = masked(value, personal=False)
        yield Fault("mode_unknown", MANIFEST, line, "value", value=shown, about={"found": shown or "(empty)"})


def _version_faults(found: Mapping[str, str]) -> Iterator[Fault]:
    for name, wanted in VERSIONS.items():
        if name not in found:
            yield Fault("manifest_property_missing", MANIFEST, about={"name": name, "example": wanted})
        elif found[name].strip() != wanted:
            about = {"name": name, "found": masked(found[name], personal=False), "wanted": wanted}
            yield Fault("version_not_supported", MANIFEST, about=about)


def _presence_faults(stem: str, mode: str, sent: bool) -> Iterator[Fault]:
    about = {"name": f"{stem}.csv", "stem": stem, "found": mode}
    if mode not in MODES:
        return
    if stem in NOT_KEPT and (sent or mode != "absent"):
        yield Fault("file_not_kept", f"{stem}.csv", about=about)
    elif mode == "absent" and sent:
        yield Fault("sent_but_absent", f"{stem}.csv", about=about)
    elif mode != "absent" and not sent:
        yield Fault("declared_but_missing", f"{stem}.csv", about=about)


def _file(
    zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, spec: FileSpec, *, mode: str, key: bytes, now: datetime
) -> Iterator[Frame]:
    """One file: its table, its rows in chunks, then its faults."""
    faults: list[Fault] = []
    rows = _Text(zipped, entry).rows()
    count = 0
    try:
        line, header = next(rows, (1, []))
        faults += _header_faults(spec, line, header)
        if faults:
            yield _faults_frame(faults)
            return
        sheet = Sheet(spec, header, delta=mode == "delta", key=key, now=now)
        yield Frame("table", {"file": spec.file, "table": spec.table, "mode": mode, "columns": sheet.columns})
        out = io.StringIO()
        write = csv.writer(out).writerow
        for line, row in rows:
            count += 1
            try:
                write(sheet.written(row, line))
            except Bad:
                faults += sheet.faults(row, line)
            if out.tell() > CHUNK_CHARACTERS:
                yield Frame("rows", payload=out.getvalue().encode())
                out.seek(0)
                out.truncate()
        if out.tell():
            yield Frame("rows", payload=out.getvalue().encode())
    except Refused as refused:
        faults += refused.faults
    yield Frame("read", {"file": spec.file, "table": spec.table, "rows_in": count})
    if faults:
        yield _faults_frame(faults)


def _header_faults(spec: FileSpec, line: int, header: list[str]) -> Iterator[Fault]:
    if not header or set(spec.headers).isdisjoint(header):
        yield Fault("no_header", spec.file, line, about={"columns": ",".join(spec.headers)})
        return
    seen: set[str] = set()
    for name in header:
        if name in seen:
            yield Fault("duplicate_column", spec.file, line, name, about={"name": name})
        elif name not in spec.headers and not _is_metadata(name):
            about = {"name": masked(name, personal=False), "nearest": nearest(name, spec.headers)}
            yield Fault("unknown_column", spec.file, line, name, about=about)
        seen.add(name)
    for column in spec.columns:
        if column.name not in seen and not column.optional_header:
            yield Fault("missing_column", spec.file, line, column.name, about={"name": column.name})


def _is_metadata(name: str) -> bool:
    return name.startswith(METADATA_PREFIX) and len(name) > len(METADATA_PREFIX)
