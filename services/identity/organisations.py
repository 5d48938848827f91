"""The register of legal entities (法人库), by unified social credit code (GB 32100)."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.identity.naming import named
from services.identity.numbers import NumberError, parse_uscc
from services.identity.register import Register
from services.identity.repository import registers
from services.identity.shapes import Accepted, Organisation, OrganisationPage, OrganisationPush
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Transaction
from services.kit.problems import Fault, unprocessable


@dataclass(frozen=True, slots=True)
class _Entry:
    uscc: str
    parent: str | None
    representative: UUID | None


async def register(
    tx: Transaction, people: Register, *, pushes: Sequence[OrganisationPush], source: str
) -> Accepted:
    """Takes a batch whole or not at all; an organisation already known is brought up to date."""
    faults: list[Fault] = []
    mentions = {f"organisations.{at}.representative": push.representative for at, push in enumerate(pushes)}
    representatives = await named(tx, people, mentions, faults)
    entries: dict[str, tuple[_Entry, OrganisationPush]] = {}
    for place, push in enumerate(pushes):
        where = f"organisations.{place}"
        uscc = _checked(push.uscc, f"{where}.uscc", faults)
        parent = _checked(push.parent, f"{where}.parent", faults) if push.parent is not None else None
        if uscc in entries:
            faults.append(Fault("stands twice in this batch", path=f"{where}.uscc", code="repeated"))
        if push.valid_from and push.valid_to and push.valid_to <= push.valid_from:
            message = "valid_to must lie after valid_from"
            faults.append(Fault(message, path=f"{where}.valid_to", code="empty_term"))
        if uscc is not None:
            entries[uscc] = _Entry(uscc, parent, representatives.get(f"{where}.representative")), push
    parents = {entry.parent for entry, _ in entries.values() if entry.parent is not None} - entries.keys()
    unknown = parents - await registers.known_organisations(tx, sorted(parents))
    faults += [
        Fault(f"no organisation {code} is known", field="parent", code="unknown_parent")
        for code in sorted(unknown)
    ]
    if faults:
        raise unprocessable("invalid_organisations", f"{len(faults)} faults; nothing was applied", *faults)
    rows = [
        (
            e.uscc, p.name, p.name_en, p.kind, p.area, e.parent, p.status, e.representative, p.valid_from,
            p.valid_to,
        )
        for e, p in entries.values()
    ]  # fmt: skip
    changed = await registers.upsert_organisations(tx, [[row[c] for row in rows] for c in range(10)], source)
    if representatives:
        await tx.leaf(
            action="representatives.registered",
            subjects=people.log_ids(set(representatives.values())),
            records=len(representatives),
            resource="organisations",
            reason="registration",
        )
    return Accepted(accepted=len(pushes), changed=changed)


def _checked(text: str, where: str, faults: list[Fault]) -> str | None:
    try:
        return parse_uscc(text)
    except NumberError as error:
        faults.append(Fault(str(error), path=where, code=error.code))
        return None


async def page(
    db: Connection, *, codes: Sequence[str] | None, area: str | None, after: str | None, limit: int
) -> OrganisationPage:
    start = decode_cursor(after, 1)[0] if after else ""
    rows = await registers.organisations(db, codes=codes, area=area, after=start, limit=limit + 1)
    items = [Organisation(**dict(row)) for row in rows[:limit]]
    return OrganisationPage(items=items, next=encode_cursor(items[-1].uscc) if len(rows) > limit else None)
