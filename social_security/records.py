"""A person's own social security record: contributions by year, payments, claims, and every flag on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Row
from social_security import findings
from social_security.repository import records
from social_security.shapes import Claim, ClaimLine, ContributionYear, PageOf, Payment, Record

Part = Literal["contributions", "payments", "claims", "findings"]


@dataclass(frozen=True, slots=True)
class Slice:
    """How much of a part: so many from a cursor on."""

    first: int = 20
    after: str | None = None


async def of_person(
    db: Connection, persons: Sequence[str], *, parts: Sequence[Part], slices: dict[Part, Slice]
) -> Record:
    """The parts asked for, of one person alone, by all ids of that person."""
    found = Record()
    for part in parts:
        piece = slices.get(part, Slice())
        match part:
            case "contributions":
                years = await records.contribution_years(db, persons)
                found.contributions = [ContributionYear(**dict(row)) for row in years]
            case "payments":
                found.payments = await _payments(db, persons, piece)
            case "claims":
                found.claims = await _claims(db, persons, piece)
            case "findings":
                found.findings = await findings.about(db, persons, first=piece.first, after=piece.after)
    return found


async def _payments(db: Connection, persons: Sequence[str], piece: Slice) -> PageOf[Payment]:
    rows = await records.payments(db, persons, after=_after(piece.after), limit=piece.first + 1)
    return PageOf(
        items=[_payment(row) for row in rows[: piece.first]], next=_next(rows, piece.first, "paid_on")
    )


async def _claims(db: Connection, persons: Sequence[str], piece: Slice) -> PageOf[Claim]:
    rows = await records.claims(db, persons, after=_after(piece.after), limit=piece.first + 1)
    shown = rows[: piece.first]
    lines: dict[tuple[str, str], list[ClaimLine]] = {}
    for line in await records.claim_lines(db, [(row["organisation"], row["claim_id"]) for row in shown]):
        said = {name: value for name, value in line.items() if name not in {"organisation", "claim_id"}}
        lines.setdefault((line["organisation"], line["claim_id"]), []).append(ClaimLine(**said))
    items = [_claim(row, lines.get((row["organisation"], row["claim_id"]), [])) for row in shown]
    return PageOf(items=items, next=_next(rows, piece.first, "claimed_on"))


def _payment(row: Row) -> Payment:
    said = {name: value for name, value in row.items() if name not in {"id", "organisation", "period"}}
    return Payment(period=row["period"].isoformat()[:7], **said)


def _claim(row: Row, lines: list[ClaimLine]) -> Claim:
    said = {name: value for name, value in row.items() if name not in {"id", "organisation"}}
    return Claim(lines=lines, **said)


def _after(cursor: str | None) -> tuple[date, int] | None:
    if cursor is None:
        return None
    day, row_id = decode_cursor(cursor, 2)
    try:
        return date.fromisoformat(day), whole_number(row_id)
    except ValueError as error:
        raise bad_cursor() from error


def _next(rows: Sequence[Row], first: int, by: str) -> str | None:
    if len(rows) <= first:
        return None
    return encode_cursor(rows[first - 1][by].isoformat(), rows[first - 1]["id"])
