"""Lines of NDJSON, checked in the worker processes: what is ready for the store, what is refused and why.

A line with an id is an update, one without a create, under an id that follows from the file's content and
the line: the same file again means the same resources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import orjson

from health.fhir import positions, prepare, scopes, text
from health.fhir.definitions import definitions
from health.fhir.entries import Entry
from health.fhir.outcome import Issue, Refusal, outcome, refused
from health.reaching import EVERYBODY
from health.repository import REGISTERS
from services.kit.telemetry import place_of

_PLACE = 2**32
"""A line's number among those of all inputs: the input's place times this, and its number there."""
_UNFORESEEN = Issue("exception", "this line could not be checked, by a fault of the server that is on record")
LAST = 2
"""The rank of what comes after registers (0) and Patients (1)."""


@dataclass(slots=True)
class Checked:
    """What became of some lines.

    Attributes:
        taken: rows of `bulk_line` in the text form of PostgreSQL's COPY.
        refused: the numbers of the others, with an OperationOutcome each.
        faults: where in the code a line met what nobody foresaw; such a line is refused.
    """

    taken: str
    refused: list[tuple[int, str]]
    faults: list[str]


def number_of(place: int, line: int) -> int:
    return place * _PLACE + line


def checked(body: bytes, asked: Mapping[str, Any]) -> Checked:
    """The lines of a part.

    Args:
        asked: bulk (the import), place and first (of the lines), type (that they must be of; "" for any),
            base, seed (of ids), scopes (of the sender's token; None for no limit).
    """
    taken: list[str] = []
    others: list[tuple[int, str]] = []
    faults: list[str] = []
    for n, line in enumerate(body.split(b"\n"), asked["first"]):
        if line.strip():
            number = number_of(asked["place"], n)
            try:
                taken.append(_row(line, number, asked))
            except Refusal as refusal:
                others.append((number, told(number, _located(line, refusal.issues))))
            except Exception as error:  # noqa: BLE001 - the other lines are taken, whatever is wrong with this one
                others.append((number, told(number, [_UNFORESEEN])))
                faults.append(place_of(error))
    return Checked("".join(taken), others, faults)


def _row(line: bytes, number: int, asked: Mapping[str, Any]) -> str:
    plain = text.plain(line)
    kind, id = _named(plain, asked["type"])
    prepared = prepare.resource(line, asked["base"], kind, id, plain=plain)
    [entry] = prepared.entries
    if id is None:
        entry.id = str(uuid5(NAMESPACE_OID, f"{asked['seed']} {number}"))
    _check_right(entry, asked["scopes"])
    entry.path = f"line[{number}].{entry.path}"
    refs = ",".join(f'"{target}"' for target in prepared.outside)
    rank = 0 if kind in REGISTERS else 1 if kind == "Patient" else LAST
    said = orjson.dumps({"entry": entry, "outside": prepared.outside}).decode().replace("\\", "\\\\")
    columns = (asked["bulk"], str(rank), str(number), kind, entry.local, f"{{{refs}}}", said)
    return "\t".join(columns) + "\n"


def _named(plain: Any, wanted: str) -> tuple[str, str | None]:
    kind = plain.get("resourceType") if isinstance(plain, dict) else None
    if not isinstance(kind, str) or kind not in definitions().resources:
        raise refused(400, "structure", f"{kind!r} is no resource type of FHIR R4", "resourceType")
    if wanted and kind != wanted:
        raise refused(400, "invalid", f"this file is said to hold {wanted}", f"{kind}.resourceType")
    id = plain.get("id")
    return kind, id if isinstance(id, str) else None


def _check_right(entry: Entry, said: Sequence[str] | None) -> None:
    right = "c" if entry.method == "POST" else "u"
    granted = EVERYBODY.granted if said is None else scopes.granted(frozenset(said), "system", right)
    if not granted.includes(entry.type, entry.tokens):
        raise refused(403, "forbidden", f"the token grants no right to write this {entry.type}", entry.type)
    if said is not None:
        scopes.check_for_all(said, entry.type, entry.type)


def _located(line: bytes, issues: Sequence[Issue]) -> list[Issue]:
    expressions = [issue.expression for issue in issues if issue.expression is not None]
    return positions.located(line, expressions[0].partition(".")[0], issues) if expressions else list(issues)


def told(number: int, issues: Sequence[Issue]) -> str:
    """The OperationOutcome on one line: the places of its issues are those of the file."""
    place, line = divmod(number, _PLACE)
    found = orjson.loads(outcome(issues))
    for issue, body in zip(issues, found["issue"], strict=False):
        column = f", column {issue.column}" if issue.column is not None else ""
        body["location"] = [f"input {place}, line {line}{column}"]
    return orjson.dumps(found).decode()


def taken(number: int, status: str, location: str) -> bytes:
    """The receipt of one line that was taken."""
    issue = Issue("informational", f"{status}: {location}", location.partition("/")[0], "information")
    return told(number, [issue]).encode()


def by_line(issues: Sequence[Issue]) -> dict[int, list[Issue]]:
    """Issues of several lines by the lines' numbers, as far as their expressions begin with one."""
    found: dict[int, list[Issue]] = {}
    for issue in issues:
        head, _, path = (issue.expression or "").partition("].")
        if head.startswith("line["):
            found.setdefault(int(head[5:]), []).append(replace(issue, expression=path))
    return found
