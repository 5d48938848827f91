"""The rows of a push that cannot be taken, and the answer they come to."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from services.kit.problems import Fault, Problem
from social_security.imports.kinds import Kind

SHOWN = 100
"""Faults named in one answer; the counts cover all."""
MOST_ROWS = 10_000
"""With more refused rows than this a push is refused whole, in either mode: its maker has to look at it."""


class Refusals:
    """Refused rows by kind and line, each with its faults."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, list[Fault]]] = {}

    def add(self, kind: Kind, faults: dict[int, list[Fault]]) -> None:
        """Takes the faults of some lines.

        Raises:
            Problem: 422 once there are too many to go on.
        """
        rows = self._rows.setdefault(kind.name, {})
        for line, found in faults.items():
            rows.setdefault(line, []).extend(found)
        if self.count() > MOST_ROWS:
            raise self.problem(f"more than {MOST_ROWS} rows are refused; nothing was applied", more=True)

    def count(self, kind: Kind | None = None) -> int:
        if kind is not None:
            return len(self._rows.get(kind.name, {}))
        return sum(len(rows) for rows in self._rows.values())

    def __bool__(self) -> bool:
        return any(self._rows.values())

    def rows(self) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
        """For keeping: kind, line, faults without their empty members."""
        for kind, rows in self._rows.items():
            for line, faults in sorted(rows.items()):
                yield kind, line, [_without_nothing(fault) for fault in faults]

    def problem(self, detail: str | None = None, *, more: bool = False) -> Problem:
        """422 with the first faults in the order of the lines."""
        count = self.count()
        if detail is None:
            detail = (
                f"{count} {'row is' if count == 1 else 'rows are'} refused, so nothing was applied; "
                "correct them and send the push again; ?mode=accept-valid takes the other rows without them"
            )
        refused = {kind: len(rows) for kind, rows in self._rows.items() if rows}
        return Problem(
            422,
            "rows_refused",
            detail,
            faults=self._first(),
            extra={"refused": refused, "refused_more": more},
        )

    def _first(self) -> Sequence[Fault]:
        found = [
            fault for rows in self._rows.values() for _, faults in sorted(rows.items()) for fault in faults
        ]
        return found[:SHOWN]


def _without_nothing(fault: Fault) -> dict[str, Any]:
    return {name: value for name, value in asdict(fault).items() if value is not None}
