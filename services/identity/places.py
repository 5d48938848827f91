"""Administrative areas by code: GB/T 2260 down to counties (6 digits), below it by 9 and 12 digits.

A code says where it belongs: its parent is the nearest known area whose prefix it carries. The table of
first levels ships with the service; everything below is pushed.

Codes have a history: an area may get another name, or its code may end and go into one other (changed,
merged) or several (split). What a code meant on a day can be looked up for ever.
"""

import json
from collections.abc import Container, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from services.identity.repository import registers
from services.identity.shapes import Accepted, Place, PlacePage, PlacePush
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Transaction
from services.kit.problems import Fault, unprocessable

Level = Literal["province", "prefecture", "county", "township", "village"]
SOURCE = "GB/T 2260"


def level_of(code: str) -> Level:
    if len(code) == 12:
        return "village"
    if len(code) == 9:
        return "township"
    if code.endswith("0000"):
        return "province"
    return "prefecture" if code.endswith("00") else "county"


def ancestors(code: str) -> list[str]:
    """Codes this one lies in, nearest first."""
    found = [f"{code[:2]}0000", f"{code[:4]}00", code[:6], code[:9]]
    return [other for other in reversed(found) if level_rank(other) < level_rank(code)]


def level_rank(code: str) -> int:
    return ("province", "prefecture", "county", "township", "village").index(level_of(code))


@cache
def first_levels() -> list[dict[str, Any]]:
    text = files("services.identity").joinpath("knowledge/provinces.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["provinces"]
    return found


async def seed(tx: Transaction) -> None:
    """The first levels, at every start; a later push may have renamed one, so known ones stay."""
    known = await registers.known_places(tx, [entry["code"] for entry in first_levels()])
    missing = [PlacePush(**entry) for entry in first_levels() if entry["code"] not in known]
    if missing:
        await register(tx, pushes=missing, source=SOURCE)


async def register(tx: Transaction, *, pushes: Sequence[PlacePush], source: str) -> Accepted:
    """Takes a batch whole or not at all; an area already known is brought up to date."""
    codes = [push.code for push in pushes]
    successors = sorted({(push.code, other) for push in pushes for other in push.successors})
    asked = {other for code in codes for other in ancestors(code)} | {other for _, other in successors}
    known = set(codes) | await registers.known_places(tx, sorted(asked))
    faults: list[Fault] = []
    rows: dict[str, tuple[object, ...]] = {}
    for index, push in enumerate(pushes):
        where = f"places.{index}"
        if push.code in rows:
            faults.append(Fault("stands twice in this batch", path=f"{where}.code", code="repeated"))
        if push.valid_from and push.valid_to and push.valid_to <= push.valid_from:
            faults.append(
                Fault("valid_to must lie after valid_from", path=f"{where}.valid_to", code="empty_term")
            )
        parent = _parent(push.code, known)
        if parent is None and level_of(push.code) != "province":
            faults.append(
                Fault(f"no known area contains {push.code}", path=f"{where}.code", code="unknown_parent")
            )
        faults += _of_successors(where, push, known)
        rows[push.code] = (
            push.code, push.name, push.name_en, parent, level_of(push.code), push.valid_from, push.valid_to
        )  # fmt: skip
    if faults:
        raise unprocessable("invalid_places", f"{len(faults)} faults; nothing was applied", *faults)
    columns = [[row[column] for row in rows.values()] for column in range(7)]
    await registers.keep_former_names(tx, columns)
    changed = await registers.upsert_places(tx, columns, source)
    changed += await registers.add_successors(tx, successors)
    return Accepted(accepted=len(pushes), changed=changed)


def _of_successors(where: str, push: PlacePush, known: Container[str]) -> list[Fault]:
    faults = [
        Fault(f"no area {other} is known", path=f"{where}.successors.{place}", code="unknown_successor")
        for place, other in enumerate(push.successors)
        if other not in known
    ]
    if push.code in push.successors:
        message = "an area does not succeed itself"
        faults.append(Fault(message, path=f"{where}.successors", code="own_successor"))
    if push.successors and push.valid_to is None:
        message = "a code with successors says when it ended"
        faults.append(Fault(message, path=f"{where}.valid_to", code="no_end"))
    return faults


def _parent(code: str, known: Container[str]) -> str | None:
    return next((other for other in ancestors(code) if other in known), None)


async def page(
    db: Connection,
    *,
    codes: Sequence[str] | None,
    parent: str | None,
    on: date | None = None,
    after: str | None,
    limit: int,
) -> PlacePage:
    """Areas by code; with `on`, those there were on that day, as they were called then."""
    start = decode_cursor(after, 1)[0] if after else ""
    rows = await registers.places(db, codes=codes, parent=parent, on=on, after=start, limit=limit + 1)
    items = [Place(**dict(row)) for row in rows[:limit]]
    return PlacePage(items=items, next=encode_cursor(items[-1].code) if len(rows) > limit else None)
