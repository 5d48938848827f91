"""One row of one file: its cells checked and written as our table's columns, in COPY's CSV form.

This is the hot path of a bulk push, so a header is compiled once into positions and memoised converters. A
row with a fault is gone through a second time, slowly, to name every fault in it.
"""

import csv
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any

from education import numbers
from education.faults import Fault, masked
from education.oneroster import vocabularies
from education.oneroster.files import METADATA_PREFIX, MODIFIED, STATUS, Column, FileSpec, Kind

TEXT_LIMIT = 4_000
MEMO_ENTRIES = 50_000
LEADING = ("line", "digest", "status", "modified", "sourced_id")
"""Every staged row begins with these."""
_ID = re.compile(r"[^\s,\"'{}\x00-\x1f\x7f]{1,255}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_YEAR = re.compile(r"(19|20|21)[0-9]{2}")
_USER_ID = re.compile(r"\{([^{}]+):([^{}:]+)\}")
# Both are rare enough that one search of the whole row tells most rows apart.
_SUSPECT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<![0-9])[1-9][0-9]{16}[0-9Xx](?![0-9])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MAY_HOLD_NUMBERS = (Kind.USER_IDS, Kind.NUMBER)


class Bad(Exception):
    """A cell that cannot be kept."""

    def __init__(self, code: str, **about: Any) -> None:
        super().__init__(code)
        self.code = code
        self.about = about


class _Memo(dict[str, str]):
    """A converter that remembers: most columns of a roster hold few different values."""

    def __init__(self, convert: Callable[[str], str], *, entries: int = MEMO_ENTRIES) -> None:
        super().__init__()
        self._convert = convert
        self._entries = entries

    def __missing__(self, cell: str) -> str:
        found = self._convert(cell)
        if len(self) < self._entries:
            self[cell] = found
        return found


class Sheet:
    """A file's header, compiled.

    Args:
        spec: the file; header: its header row, already checked to hold the standard's columns.
        delta: status and dateLastModified must be given in every row.
        key: keys the digests, so that a digest in the database tells nothing about a child.
        now: what counts as the future.
    """

    def __init__(
        self, spec: FileSpec, header: Sequence[str], *, delta: bool, key: bytes, now: datetime
    ) -> None:
        position = {name: index for index, name in enumerate(header)}
        kept = [c for c in spec.columns if c.to and c.name != "sourcedId"]
        extra = [c for c in spec.columns if not c.to and c.name not in (STATUS, MODIFIED)]
        extra += [Column(name, personal=True) for name in header if name.startswith(METADATA_PREFIX)]
        common = [Column(STATUS, required=delta), Column(MODIFIED, required=delta), spec.columns[0]]
        order = [*common, *kept, *extra]
        self.spec = spec
        self._key = key
        self._width = len(header)
        self._id_at = position["sourcedId"]
        self._order = order
        # A column that may be missing is read from one cell past the row's end.
        self._cells = itemgetter(*(position.get(c.name, self._width) for c in order))
        self._checked = [(i, memo) for i, c in enumerate(order) if (memo := _converter(c, now)) is not None]
        self._extra_from = len(common) + len(kept)
        self._extra_names = [c.name for c in extra]
        at = {c.name: i for i, c in enumerate(order)}
        self._spans = [(at[first], at[last], first, last) for first, last in spec.spans]
        self._national = [i for i, c in enumerate(order) if c.kind in _MAY_HOLD_NUMBERS]
        self.columns = (*LEADING, *(str(c.to) for c in kept), "extra") + (
            ("identifiers", "identity_digest") if self._national else ()
        )

    def written(self, cells: list[str], line: int) -> list[str | int]:
        """The row as COPY's columns.

        Raises:
            Bad: something is wrong with it; `faults` then says what.
        """
        if len(cells) != self._width:
            raise Bad("wrong_cell_count", found=len(cells), wanted=self._width)
        values = list(self._cells([*cells, ""]))
        for index, memo in self._checked:
            values[index] = memo[values[index]]
        person = self._person(values) if self._national else ()
        for first, last, first_name, last_name in self._spans:
            if values[last] and values[first] and values[last] < values[first]:
                raise Bad("ends_before_it_begins", column=last_name, other=first_name)
        joined = "\x1f".join(values)
        if len(joined) > TEXT_LIMIT or _SUSPECT.search(joined.replace("\x1f", "\n")):
            for column, value in zip(self._order, values, strict=True):
                _refuse_text(column, value)
        written: list[str | int] = [line, "", *values[: self._extra_from]]
        extra = values[self._extra_from :]
        written.append(self._extra(extra) if any(extra) else "")
        if person:
            joined += "\x1e" + person[0]
        written[1] = self._digest(joined)
        written += person
        return written

    def _digest(self, text: str) -> str:
        return "\\x" + hashlib.blake2b(text.encode(), digest_size=16, key=self._key).hexdigest()

    def _extra(self, values: list[str]) -> str:
        given = {name: value for name, value in zip(self._extra_names, values, strict=True) if value}
        return json.dumps(given, ensure_ascii=False, sort_keys=True)

    def _person(self, values: list[str]) -> tuple[str, str]:
        """Takes the national numbers out of the row, so that only identity keeps them."""
        found: list[tuple[str, str]] = []
        for index in self._national:
            if values[index]:
                values[index], national = _without_numbers(self._order[index], values[index])
                found += national
        identifiers = json.dumps(sorted(set(found))) if found else ""
        return identifiers, self._digest(identifiers)

    def faults(self, cells: list[str], line: int) -> list[Fault]:
        """Every fault of a row that `written` refused."""
        sourced_id: str | None = cells[self._id_at] if len(cells) > self._id_at else None
        if not sourced_id or not _ID.fullmatch(sourced_id) or numbers.holds_citizen_number(sourced_id):
            sourced_id = None
        found = list(self._cell_faults(cells, line, sourced_id)) if len(cells) == self._width else []
        if not found:
            try:
                self.written(cells, line)
            except Bad as bad:
                column = bad.about.get("column")
                found.append(Fault(bad.code, self.spec.file, line, column, sourced_id, None, bad.about))
        return found

    def _cell_faults(self, cells: list[str], line: int, sourced_id: str | None) -> Iterator[Fault]:
        values = self._cells([*cells, ""])
        converters = dict(self._checked)
        for index, (column, value) in enumerate(zip(self._order, values, strict=True)):
            try:
                if index in converters:
                    converters[index][value]
                if index in self._national and value:
                    _without_numbers(column, value)
                else:
                    _refuse_text(column, value)
            except Bad as bad:
                personal = column.personal or bad.code == "citizen_number_as_id"
                shown = masked(value, personal=personal) if value else None
                about = {"column": column.name, **bad.about}
                yield Fault(bad.code, self.spec.file, line, column.name, sourced_id, shown, about)


def _without_numbers(column: Column, value: str) -> tuple[str, list[tuple[str, str]]]:
    """The cell as it may be kept, and the national numbers that stood in it."""
    if column.kind is Kind.USER_IDS:
        kept, national = _user_ids(value)
        return (json.dumps(kept, ensure_ascii=False) if kept else ""), national
    kind = numbers.looks_like(value.strip().upper())
    return (value, []) if kind is None else ("", [_checked_number(kind, value)])


def _user_ids(cell: str) -> tuple[list[dict[str, str]], list[tuple[str, str]]]:
    """The identifiers to keep, and the national ones for identity."""
    found = _USER_ID.findall(cell)
    if ",".join(f"{{{kind}:{value}}}" for kind, value in found) != re.sub(
        r"\}\s*,\s*\{", "},{", cell.strip()
    ):
        raise Bad("bad_user_ids")
    kept: list[dict[str, str]] = []
    national: list[tuple[str, str]] = []
    for kind, value in found:
        known = numbers.TYPE_OF.get(re.sub(r"[-_:\s]", "", kind).lower())
        if known is not None:
            national.append(_checked_number(known, value))
        else:
            kept.append({"type": kind.strip(), "identifier": value.strip()})
    return kept, national


def _checked_number(kind: str, value: str) -> tuple[str, str]:
    value = unicodedata.normalize("NFKC", value).strip().upper()
    fault = (
        numbers.citizen_number_fault(value)
        if kind == numbers.CITIZEN_NUMBER
        else numbers.student_number_fault(value)
    )
    if fault is not None:
        raise Bad(fault)
    return kind, value


def _refuse_text(column: Column, value: str) -> None:
    if _CONTROL.search(value):
        raise Bad("control_character")
    if len(value) > TEXT_LIMIT:
        raise Bad("too_long", found=len(value), limit=TEXT_LIMIT)
    if numbers.holds_citizen_number(value):
        raise Bad("citizen_number_as_id", column=column.name)


def _converter(column: Column, now: datetime) -> _Memo | None:
    """How the column's cells are checked and rewritten; None when any text will do."""
    convert = (
        _status
        if column.name == STATUS
        else _modified(now)
        if column.name == MODIFIED
        else _kinds(column, now)
    )
    if convert is None and not column.required:
        return None
    plain: Callable[[str], str] = convert or str
    empty = "{}" if column.to and column.kind in (Kind.TEXTS, Kind.GRADES, Kind.REFERENCES) else ""

    def checked(cell: str) -> str:
        if not cell or cell.isspace():
            if column.required:
                raise Bad("required", column=column.name)
            return "active" if column.name == STATUS else empty
        return plain(cell)

    return _Memo(checked, entries=0 if column.kind is Kind.ID else MEMO_ENTRIES)


def _kinds(column: Column, now: datetime) -> Callable[[str], str] | None:
    def word(cell: str) -> str:
        assert column.words is not None
        if not column.words.accepts(cell):
            raise Bad("unknown_word", column=column.name, words=column.words.listed)
        return cell

    def boolean(cell: str) -> str:
        # Spreadsheets write TRUE.
        if cell.lower() not in vocabularies.BOOLEAN:
            raise Bad("bad_boolean", column=column.name)
        return cell.lower()

    def grades(cell: str) -> str:
        found = [one.zfill(2) if one.isdigit() else one for one in _items(cell)]
        for one in found:
            if not vocabularies.GRADE.accepts(one):
                raise Bad("unknown_word", column=column.name, words=vocabularies.GRADE.listed)
        return _array(found)

    def born(cell: str) -> str:
        if _date(cell) > now.date().isoformat():
            raise Bad("birth_date_in_future")
        return cell

    def texts(cell: str) -> str:
        return _array(_items(cell)) if column.to else cell

    converters: Mapping[Kind, Callable[[str], str]] = {
        Kind.ID: _id,
        Kind.REFERENCE: _id,
        Kind.REFERENCES: lambda cell: _array([_id(one) for one in _items(cell)]),
        Kind.TEXTS: texts,
        Kind.GRADES: grades,
        Kind.DATE: _date,
        Kind.BIRTH_DATE: born,
        Kind.BOOLEAN: boolean,
        Kind.WORD: word,
        Kind.YEAR: _year,
        Kind.PASSWORD: _password,
    }
    return converters.get(column.kind)


def _status(cell: str) -> str:
    found = vocabularies.STATUS.get(cell)
    if found is None:
        raise Bad("unknown_word", column=STATUS, words=", ".join(vocabularies.STATUS))
    return found


def _modified(now: datetime) -> Callable[[str], str]:
    # A day of grace: clocks of schools are wrong by minutes, time zones by hours.
    latest = now + timedelta(days=1)

    def modified(cell: str) -> str:
        if not _DATETIME.fullmatch(cell):
            raise Bad("bad_datetime")
        try:
            found = datetime.fromisoformat(cell)
        except ValueError as error:
            raise Bad("bad_datetime") from error
        if found > latest:
            raise Bad("modified_in_future")
        return found.astimezone(UTC).isoformat()

    return modified


def _id(cell: str) -> str:
    if not _ID.fullmatch(cell):
        raise Bad("bad_id")
    return cell


def _date(cell: str) -> str:
    if not _DATE.fullmatch(cell):
        raise Bad("bad_date")
    try:
        found = date.fromisoformat(cell)
    except ValueError as error:
        raise Bad("bad_date") from error
    if not 1850 <= found.year <= 2200:
        raise Bad("bad_date")
    return cell


def _year(cell: str) -> str:
    if not _YEAR.fullmatch(cell):
        raise Bad("bad_year")
    return cell


def _password(_cell: str) -> str:
    raise Bad("password_sent")


def _items(cell: str) -> list[str]:
    """The items of a list cell; an item with a comma stands in quotation marks (section 3.3)."""
    if '"' not in cell:
        return [one.strip() for one in cell.split(",") if one.strip()]
    return [one.strip() for one in next(csv.reader([cell], skipinitialspace=True)) if one.strip()]


def _array(items: list[str]) -> str:
    """PostgreSQL's text form of text[]."""
    quoted = (one.replace("\\", "\\\\").replace('"', '\\"') for one in items)
    return "{" + ",".join(f'"{one}"' for one in quoted) + "}"
