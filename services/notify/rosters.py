"""Duty rosters: who is told first of what happens where, and who after them.

An account becomes known to notify by its own doing: staff join a roster, a lead confirms them, and only
who is confirmed can be given duties. A swap of a day holds once the substitute, or a lead, has said so.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from services.kit.app import Kit
from services.kit.areas import area_prefix
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Fault, forbidden, not_found, unprocessable
from services.kit.telemetry import holds_citizen_number
from services.notify.duty_shapes import DutyIn, ListOf, Member, OnDuty, Roster, RosterIn, Swap, SwapIn
from services.notify.ladders import tiers
from services.notify.recipients import recipient_of
from services.notify.repository import rosters as repository
from services.notify.repository.notifications import now
from services.notify.templates import CIVIL_TIME

A_DAY = timedelta(days=1)
T = TypeVar("T")


async def listed(
    kit: Kit, db: Connection, who: Principal, *, area: str | None, after: str | None, limit: int
) -> ListOf[Roster]:
    """Open rosters that have to do with an area, and with the caller's."""
    rows = await repository.listed(
        db, area=area_prefix(area), prefixes=who.area_prefixes, after=uuid_after(after), limit=limit + 1
    )
    shown = rows[:limit]
    following = encode_cursor(shown[-1]["id"]) if len(rows) > limit else None
    return ListOf(items=await _shapes(kit, db, who, shown), next=following)


async def keep(kit: Kit, tx: Transaction, who: Principal, id: UUID | None, asked: RosterIn) -> Roster:
    """A new roster, or an open one as it is to be from now on.

    Raises:
        Problem: 403 whose it is not; 404 no such roster; 422 duties that cannot be.
    """
    prefix = area_prefix(asked.area)
    _words(asked.name_zh, asked.name_en)
    at = await now(tx)
    kit.permitted(who, "rosters.write", _resource(id, who.organisation, asked.area))
    said = asked.model_dump(exclude={"duties"}) | {
        "area_prefix": prefix,
        "kept_by": who.subject,
        "kept_at": at,
    }
    if id is None:
        id = uuid7()
        if who.organisation is None:
            raise forbidden(
                "a roster is an organisation's; the account belongs to none", code="no_organisation"
            )
        await repository.insert(tx, said | {"id": id, "organisation": who.organisation})
    else:
        await _locked(kit, tx, who, id)
        await repository.update(tx, said | {"id": id})
    await _put_duties(tx, id, asked.duties)
    return await one(kit, tx, who, id)


async def _put_duties(tx: Transaction, id: UUID, duties: Sequence[DutyIn]) -> None:
    confirmed = {row["recipient"] for row in await repository.members(tx, [id]) if row["confirmed_at"]}
    faults = [
        Fault(words, field=f"duties[{place}].{field}")
        for place, duty in enumerate(duties)
        for field, words in _wrong(duty, confirmed)
    ]
    if faults:
        raise unprocessable("invalid_duties", "the duties cannot be kept; nothing was changed", *faults)
    await repository.replace_duties(
        tx,
        id,
        [
            (d.member, d.tier, sorted(set(d.weekdays)), d.starts, d.ends, d.first_day, d.last_day)
            for d in duties
        ],
    )


def _wrong(duty: DutyIn, confirmed: Collection[str]) -> list[tuple[str, str]]:
    found = []
    if duty.member not in confirmed:
        found.append(("member", "is no confirmed member of the roster"))
    if duty.tier > tiers():
        found.append(("tier", f"there are {tiers()} tiers"))
    if duty.last_day is not None and duty.last_day < duty.first_day:
        found.append(("last_day", "lies before the first day"))
    if duty.starts.tzinfo or duty.ends.tzinfo:
        found.append(("starts", "times are those of Asia/Shanghai, without an offset"))
    return found


async def close(kit: Kit, tx: Transaction, who: Principal, id: UUID) -> None:
    """Raises Problem 403, 404."""
    await _locked(kit, tx, who, id)
    await repository.close(tx, id, await now(tx))


async def join(kit: Kit, tx: Transaction, who: Principal, id: UUID, name: str) -> Roster:
    """The caller's own account becomes a member, once a lead confirms it.

    Raises:
        Problem: 403 outside the caller's areas; 404 no such roster.
    """
    _words(name)
    roster = await _open(tx, id)
    kit.permitted(who, "rosters.join", _of(roster))
    await repository.join(tx, id, recipient_of(who), name, await now(tx))
    return await one(kit, tx, who, id)


async def confirm(kit: Kit, tx: Transaction, who: Principal, id: UUID, member: str) -> Roster:
    """A lead says that a member may be given duties. Raises Problem 403, 404."""
    await _locked(kit, tx, who, id)
    if not await repository.confirm(tx, id, member, who.subject, await now(tx)):
        raise not_found(f"{member[:60]} has not joined this roster", code="no_member")
    return await one(kit, tx, who, id)


async def leave(kit: Kit, tx: Transaction, who: Principal, id: UUID, member: str) -> None:
    """A member goes, or is taken out by a lead, with all their duties. Raises Problem 403, 404."""
    roster = await _open(tx, id)
    if member != who.subject:
        kit.permitted(who, "rosters.write", _of(roster))
    if not await repository.remove(tx, id, member):
        raise not_found(f"{member[:60]} is no member of this roster", code="no_member")


async def swap(kit: Kit, tx: Transaction, who: Principal, id: UUID, asked: SwapIn) -> Swap:
    """For one day somebody else has a member's duty: at once if a lead says so, else once they accept.

    Raises:
        Problem: 403 for another's duty; 404 no such roster; 422 a day that is over, or no members.
    """
    roster = await _open(tx, id)
    member = asked.member or who.subject
    led = kit.policy.decide(who, "rosters.write", _of(roster)).permitted
    if member != who.subject and not led:
        raise forbidden("one's own duty is swapped, or any by a lead", code="not_your_duty")
    at = await now(tx)
    confirmed = {row["recipient"] for row in await repository.members(tx, [id]) if row["confirmed_at"]}
    faults = [
        Fault("is no confirmed member of the roster", field=field)
        for field, one in (("member", member), ("substitute", asked.substitute))
        if one not in confirmed
    ]
    if asked.substitute == member:
        faults.append(Fault("is whoever has the duty", field="substitute"))
    if asked.day < at.astimezone(CIVIL_TIME).date():
        faults.append(Fault("is over", field="day"))
    if faults:
        raise unprocessable("invalid_swap", "the duty cannot be swapped so", *faults)
    row = await repository.ask_swap(
        tx,
        {
            "id": uuid7(),
            "roster": id,
            "day": asked.day,
            "member": member,
            "substitute": asked.substitute,
            "asked_by": who.subject,
            "asked_at": at,
            "accepted_at": at if led else None,
        },
    )
    return Swap(**row)


async def accept(tx: Transaction, who: Principal, id: UUID) -> Swap:
    """Raises Problem 404 where nothing is asked of the caller."""
    row = await repository.accept_swap(tx, id, recipient_of(who), await now(tx))
    if row is None:
        raise not_found(f"nobody asks you for the swap {id}", code="no_swap")
    return Swap(**row)


async def on_duty(
    kit: Kit, db: Connection, who: Principal, *, area: str | None, after: str | None, limit: int
) -> ListOf[OnDuty]:
    """Who is on duty now, of a page of rosters that the caller may see into."""
    page = await listed(kit, db, who, area=area, after=after, limit=limit)
    seen = [roster.id for roster in page.items if roster.members]
    rows = await repository.on_duty(db, await now(db), seen)
    return ListOf(items=[OnDuty(**row) for row in rows], next=page.next)


async def one(kit: Kit, db: Connection, who: Principal, id: UUID) -> Roster:
    """Raises Problem 403 outside the caller's areas, 404."""
    roster = await _open(db, id)
    kit.permitted(who, "rosters.read", _of(roster))
    return (await _shapes(kit, db, who, [roster]))[0]


async def _shapes(kit: Kit, db: Connection, who: Principal, rows: Sequence[Row]) -> list[Roster]:
    """Those who are in it, and their hours, are for its leads and its members."""
    ids = [row["id"] for row in rows]
    today = (await now(db)).astimezone(CIVIL_TIME).date()
    members = _by_roster(await repository.members(db, ids), _member)
    duties = _by_roster(await repository.duties(db, ids), _duty)
    swaps = _by_roster(await repository.swaps(db, ids, today - A_DAY), lambda row: Swap(**row))
    found = []
    for row in rows:
        inside = members.get(row["id"], [])
        own = [member for member in inside if member.id == who.subject]
        kept = kit.policy.decide(who, "rosters.write", _of(row)).permitted
        shown = kept or any(member.confirmed for member in own)
        same = ("id", "organisation", "name_zh", "name_en", "area", "sites", "from_level")
        found.append(
            Roster(
                **{name: row[name] for name in same},
                members=inside if shown else [],
                duties=duties.get(row["id"], []) if shown else [],
                swaps=swaps.get(row["id"], []) if shown else [],
                mine=bool(own),
                kept=kept,
            )
        )
    return found


def _by_roster(rows: Sequence[Row], shape: Callable[[Row], T]) -> dict[UUID, list[T]]:
    found: dict[UUID, list[T]] = {}
    for row in rows:
        found.setdefault(row["roster"], []).append(shape(row))
    return found


def _member(row: Row) -> Member:
    return Member(
        id=row["recipient"],
        name=row["name"],
        confirmed=row["confirmed_at"] is not None,
        joined_at=row["joined_at"],
    )


def _duty(row: Row) -> DutyIn:
    return DutyIn(**{name: value for name, value in row.items() if name != "roster"})


async def _open(db: Connection, id: UUID) -> Row:
    roster = await repository.one(db, id)
    if roster is None:
        raise not_found(f"there is no roster {id}", code="no_roster")
    return roster


async def _locked(kit: Kit, tx: Transaction, who: Principal, id: UUID) -> Row:
    """The roster, for whoever may change it."""
    await repository.lock(tx, id)
    roster = await _open(tx, id)
    kit.permitted(who, "rosters.write", _of(roster))
    return roster


def _of(roster: Row) -> Resource:
    return _resource(roster["id"], roster["organisation"], roster["area"])


def _resource(id: UUID | None, organisation: str | None, area: str) -> Resource:
    return Resource("Notify::Roster", id=f"rosters/{id or 'new'}", organisation=organisation, area=area)


def _words(*words: str) -> None:
    if any(map(holds_citizen_number, words)):
        message = "a citizen number must not stand in a name"
        raise unprocessable("citizen_number", message, Fault(message, field="name"))
