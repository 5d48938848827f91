"""CSV as agencies really send it: which encoding, which header, and every row with the line it starts on."""

import codecs
import csv
import difflib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.kit.problems import Fault, Problem, bad_request
from social_security.imports.kinds import Kind

CHUNK_ROWS = 2_000
# What a sender may declare; anything else is answered with this list. GBK and GB 2312 are parts of GB 18030.
_CODECS = {
    "utf-8": "utf-8-sig",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "utf-16": "utf-16",
}
_MAGIC = {
    b"PK\x03\x04": "a zip or Excel workbook: export the sheet as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: export the sheet as 'CSV UTF-8'",
    b"PAR1": "Parquet: send it as application/vnd.apache.parquet",
    b"\x1f\x8b": "gzip: send it unpacked",
}

Numbered = tuple[list[int], list[list[str]]]
"""The lines some rows start on, and the rows, all as wide as the header."""


class CsvFile:
    """One CSV file of a push, read as often as needed; nothing of it is held but the row at hand.

    Raises:
        Problem: 400 when it is no CSV in a known encoding, or its header is not the one of `kind`.
    """

    def __init__(self, path: Path, kind: Kind, *, charset: str | None = None, by_row: bool = False) -> None:
        self.kind = kind
        self._path = path
        self._by_row = by_row
        self._encoding = self._encoding_of(charset)
        self.header = self._header()

    def chunks(self) -> Iterator[tuple[Numbered, list[tuple[int, int]]]]:
        """Rows in chunks; with each the (line, width) of rows that are not as wide as the header."""
        lines: list[int] = []
        rows: list[list[str]] = []
        odd: list[tuple[int, int]] = []
        width = len(self.header)
        for line, row in self._rows():
            if len(row) == width:
                lines.append(line)
                rows.append(row)
            elif row:
                odd.append((line, len(row)))
            if len(rows) + len(odd) >= CHUNK_ROWS:
                yield (lines, rows), odd
                lines, rows, odd = [], [], []
        yield (lines, rows), odd

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        reader = None
        try:
            with self._path.open(encoding=self._encoding, newline="") as text:
                reader = csv.reader(text, strict=True)
                next(reader)
                for number in itertools.count(1):
                    line = reader.line_num + 1
                    row = next(reader, None)
                    if row is None:
                        return
                    # A Parquet file comes through here too, and has rows instead of lines.
                    yield number if self._by_row else line, row
        except csv.Error as error:
            raise self._malformed(reader.line_num if reader else 1, str(error)) from error
        except UnicodeError as error:
            raise self._undecodable() from error

    def _header(self) -> list[str]:
        try:
            with self._path.open(encoding=self._encoding, newline="") as text:
                header = next(csv.reader(text, strict=True), [])
        except csv.Error as error:
            raise self._malformed(1, str(error)) from error
        except UnicodeError as error:
            raise self._undecodable() from error
        check_header(header, self.kind)
        return header

    def _encoding_of(self, charset: str | None) -> str:
        if charset is not None:
            declared = _CODECS.get(charset.lower().replace("_", "-"))
            if declared is None:
                raise self._refused(
                    "unknown_charset", f"charset {charset} is not known here; known are {', '.join(_CODECS)}"
                )
            return declared
        with self._path.open("rb") as file:
            start = file.read(4096)
        for magic, what in _MAGIC.items():
            if start.startswith(magic):
                raise self._refused("not_csv", f"this is not CSV but {what}")
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in start:
            raise self._refused(
                "wrong_encoding",
                "this is UTF-16, or no text; save it as 'CSV UTF-8', or declare it: Content-Type: text/csv; "
                "charset=utf-16",
            )
        return "utf-8-sig"

    def _undecodable(self) -> Problem:
        """Names the line of the first byte that does not fit, and the encoding it probably is."""
        line = self._first_bad_line(self._encoding)
        if self._encoding != "utf-8-sig":
            return self._refused(
                "wrong_encoding", f"the text is not in the charset declared (line {line})", line
            )
        if self._first_bad_line("gb18030") is None:
            return self._refused(
                "wrong_encoding",
                f"not UTF-8 (line {line}); it looks like GB 18030, which Chinese Excel writes by default. "
                "Save it as 'CSV UTF-8', or declare it: Content-Type: text/csv; charset=gb18030",
                line,
            )
        return self._refused("wrong_encoding", f"not UTF-8 (line {line}); save it as 'CSV UTF-8'", line)

    def _first_bad_line(self, encoding: str) -> int | None:
        decoder = codecs.getincrementaldecoder(encoding)()
        number = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    decoder.decode(line)
                except UnicodeError:
                    return number
        try:
            decoder.decode(b"", final=True)
        except UnicodeError:
            return number
        return None

    def _malformed(self, line: int, reason: str) -> Problem:
        return self._refused(
            "malformed_csv",
            f"line {line} is not CSV (RFC 4180): {reason}; a quote inside a field is written twice, and each "
            "quoted field is closed",
            line,
        )

    def _refused(self, code: str, detail: str, line: int | None = None) -> Problem:
        return bad_request(code, detail, Fault(detail, line=line, file=self.kind.name, code=code))


def check_header(header: Sequence[str], kind: Kind) -> None:
    """Column names exactly as agreed, in any order.

    Raises:
        Problem: 400 `wrong_columns`, one fault for each column unknown, missing or given twice.
    """
    faults: list[Fault] = []
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        faults.append(_header_fault("separator", header[0], "the columns are separated by commas"))
    for name in dict.fromkeys(header):
        if name not in kind.names:
            near = difflib.get_close_matches(name.strip().lower(), kind.names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(kind.names)}"
            faults.append(_header_fault("unknown_column", name, f"unknown column {name[:40]!r}; {hint}"))
        if header.count(name) > 1:
            faults.append(_header_fault("column_twice", name, f"column {name} is given twice"))
    for column in kind.columns:
        if column.required and column.name not in header:
            faults.append(_header_fault("missing_column", column.name, f"column {column.name} is missing"))
    if faults:
        detail = f"{kind.name}: " + "; ".join(fault.message for fault in faults)
        raise Problem(
            400,
            "wrong_columns",
            detail,
            faults=[Fault(f.message, line=1, field=f.field, file=kind.name, code=f.code) for f in faults],
        )


def _header_fault(code: str, field: str, message: str) -> Fault:
    return Fault(message, field=field[:40], code=code)
