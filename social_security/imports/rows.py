"""From rows of text to rows of typed values, column by column, with every fault by line and field."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from services.kit.problems import Fault
from social_security.imports.checks import Check, Refused, masked
from social_security.imports.csv_rows import CsvFile, Numbered
from social_security.imports.kinds import Column, Kind

REMEMBERED = 50_000
_MISSING = Refused("missing", "a value is required")


@dataclass(slots=True)
class Checked:
    """A chunk of rows: those that hold, typed, in the kind's column order; and the faults of the others."""

    lines: list[int] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    faults: dict[int, list[Fault]] = field(default_factory=dict)


def checked_rows(file: CsvFile, *, today: date) -> Iterator[Checked]:
    """Every row of the file once, good or refused."""
    checker = RowChecker(file.kind, file.header, today=today)
    for numbered, odd in file.chunks():
        found = checker.check(numbered)
        for line, width in odd:
            message = f"{width} fields where the header has {len(file.header)}"
            found.faults[line] = [fault_of(file.kind, line, None, Refused("field_count", message))]
        yield found


def fault_of(kind: Kind, line: int, field: str | None, refused: Refused, value: str | None = None) -> Fault:
    return Fault(refused.message, line=line, field=field, file=kind.name, code=refused.rule, value=value)


class RowChecker:
    """The checks of one file, with what they remember of values that repeat."""

    def __init__(self, kind: Kind, header: Sequence[str], *, today: date) -> None:
        self._kind = kind
        self._at = [header.index(column.name) if column.name in header else None for column in kind.columns]
        self._checks = [_remembering(column, column.check(today)) for column in kind.columns]

    def check(self, numbered: Numbered) -> Checked:
        lines, rows = numbered
        sent = list(zip(*rows, strict=True))
        columns: list[Sequence[Any]] = []
        faults: dict[int, list[Fault]] = {}
        for column, at, check in zip(self._kind.columns, self._at, self._checks, strict=True):
            if at is None or not rows:
                columns.append([None] * len(rows))
                continue
            typed = list(map(check, sent[at]))
            columns.append(typed)
            if Refused in map(type, typed):
                self._note(faults, column, lines, sent[at], typed)
        return self._sorted_out(lines, columns, faults)

    def _note(
        self,
        faults: dict[int, list[Fault]],
        column: Column,
        lines: Sequence[int],
        sent: Sequence[str],
        typed: Sequence[Any],
    ) -> None:
        for line, text, value in zip(lines, sent, typed, strict=True):
            if type(value) is Refused:
                shown = masked(text, personal=column.personal) if text else None
                faults.setdefault(line, []).append(fault_of(self._kind, line, column.name, value, shown))

    def _sorted_out(
        self, lines: list[int], columns: Sequence[Sequence[Any]], faults: dict[int, list[Fault]]
    ) -> Checked:
        rows = list(zip(*columns, strict=True))
        row_check = self._kind.row_check
        if row_check is not None:
            for line, row in zip(lines, rows, strict=True):
                if line not in faults and (found := row_check(row)) is not None:
                    faults[line] = [fault_of(self._kind, line, found.field, found.refused)]
        if not faults:
            return Checked(lines, rows)
        good = [(line, row) for line, row in zip(lines, rows, strict=True) if line not in faults]
        return Checked([line for line, _ in good], [row for _, row in good], faults)


def _remembering(column: Column, check: Check) -> Callable[[str], object]:
    def judged(text: str) -> object:
        if text:
            return check(text)
        return _MISSING if column.required else None

    if not column.repeats:
        return judged
    return _Memory(judged).__getitem__


class _Memory(dict[str, object]):
    """Checked values by their text; emptied when a column turns out not to repeat after all."""

    def __init__(self, check: Callable[[str], object]) -> None:
        super().__init__()
        self._check = check

    def __missing__(self, text: str) -> object:
        if len(self) >= REMEMBERED:
            self.clear()
        found = self[text] = self._check(text)
        return found
