"""Where people live, since when: each move holds until the next one. And how many live where.

`person.area` is where the history says that a person lives now; a move and the area are one commit.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.identity import persons
from services.identity.naming import civil_ids, named, not_applied, seq_of
from services.identity.population_shapes import MovePush, Residents, ResidentsPage, Stay, StayPage
from services.identity.register import Register
from services.identity.repository import people
from services.identity.repository import population as table
from services.identity.repository.population import MoveRow
from services.identity.shapes import Accepted
from services.kit.cursors import decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Transaction
from services.kit.problems import Fault

DIGITS = {"province": 2, "prefecture": 4, "county": 6}


async def register(
    tx: Transaction, register: Register, *, pushes: Sequence[MovePush], source: str
) -> Accepted:
    """Takes a batch whole or not at all; saying a move again changes nothing.

    Raises:
        Problem: 422, naming each fault: somebody unknown, a day to come, or one before the birth.
    """
    faults: list[Fault] = []
    mentions = {f"moves.{index}.person": push.person for index, push in enumerate(pushes)}
    pids = await named(tx, register, mentions, faults)
    born = {row["pid"]: row["birth_date"] for row in await people.persons(tx, list(set(pids.values())))}
    rows: dict[tuple[UUID, date], MoveRow] = {}
    for index, push in enumerate(pushes):
        pid = pids.get(f"moves.{index}.person")
        if pid is None:
            continue
        where = f"moves.{index}.since"
        if push.since > persons.today():
            faults.append(Fault("since lies in the future", path=where, code="future"))
        elif born[pid] is not None and push.since < born[pid]:
            faults.append(Fault("since lies before the birth", path=where, code="before_birth"))
        if (pid, push.since) in rows:
            faults.append(Fault("stands twice in this batch", path=f"moves.{index}", code="repeated"))
        rows[pid, push.since] = MoveRow(pid, push.since, push.area)
    if faults:
        raise not_applied("moves", faults)
    moved = sorted(set(pids.values()))
    await people.lock_persons(tx, moved)
    changed = await table.add_moves(tx, list(rows.values()), source)
    await table.settle(tx, moved)
    await tx.leaf(
        action="moves.registered",
        subjects=register.log_ids(moved),
        records=len(pushes),
        resource="moves",
        reason="registration",
    )
    return Accepted(accepted=len(pushes), changed=changed)


async def page(
    tx: Transaction, register: Register, *, areas: Sequence[str] | None, after: str | None, limit: int
) -> StayPage:
    rows = await table.residences(tx, areas=areas, after=seq_of(after), limit=limit + 1)
    ids = civil_ids(register, (row["pid"] for row in rows))
    items = [
        Stay(person=ids[row["pid"]], since=row["since"], until=row["until"], area=row["area"])
        for row in rows[:limit]
    ]
    await tx.leaf(
        action="residences.read",
        subjects=register.log_ids({row["pid"] for row in rows[:limit]}),
        records=len(items),
        resource="residences",
        reason="registration",
    )
    return StayPage(items=items, next=encode_cursor(rows[limit - 1]["seq"]) if len(rows) > limit else None)


async def residents(
    db: Connection,
    *,
    on: date,
    level: str,
    areas: Sequence[str] | None,
    after: str | None,
    limit: int,
) -> ResidentsPage:
    """How many people lived in each area on a day, by year of birth and sex; those alive, each once."""
    start = ("", 0, "")
    if after is not None:
        area, year, sex = decode_cursor(after, 3)
        start = (area, whole_number(year), sex)
    rows = await table.residents(db, on=on, digits=DIGITS[level], areas=areas, after=start, limit=limit + 1)
    items = [Residents(**dict(row)) for row in rows[:limit]]
    last = items[-1] if len(rows) > limit else None
    cursor = encode_cursor(last.area, last.birth_year, last.sex) if last else None
    return ResidentsPage(on=on, items=items, next=cursor)
