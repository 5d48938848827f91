"""Households (户): who lives together under which head, from when until when."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from services.identity import persons
from services.identity.naming import civil_ids, named, not_applied
from services.identity.population_shapes import Household, HouseholdPage, HouseholdPush, Member
from services.identity.register import Register
from services.identity.repository import population as table
from services.identity.repository.population import HouseholdRow, MemberRow
from services.identity.shapes import Accepted
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Transaction
from services.kit.problems import Fault


async def register(
    tx: Transaction, register: Register, *, pushes: Sequence[HouseholdPush], source: str
) -> Accepted:
    """Takes a batch whole or not at all; a household already known is brought up to date.

    Raises:
        Problem: 422, naming each fault: somebody unknown, an empty term, somebody in two households on one
            day, a household with no head or with two.
    """
    faults: list[Fault] = []
    rows = _rows(pushes, faults)
    mentions = {
        f"households.{index}.members.{place}.person": member.person
        for index, push in enumerate(pushes)
        for place, member in enumerate(push.members)
    }
    pids = await named(tx, register, mentions, faults)
    members = _members(pushes, pids, faults)
    if faults:
        raise not_applied("households", faults)
    changed = await table.upsert_households(tx, rows, source)
    changed += await table.upsert_members(tx, list(members), source)
    faults += await _clashes(tx, pushes, members)
    if faults:
        raise not_applied("households", faults)
    await tx.leaf(
        action="households.registered",
        subjects=register.log_ids(set(pids.values())),
        records=len(pushes),
        resource="households",
        reason="registration",
    )
    return Accepted(accepted=len(pushes), changed=changed)


def _rows(pushes: Sequence[HouseholdPush], faults: list[Fault]) -> list[HouseholdRow]:
    rows: dict[str, HouseholdRow] = {}
    for index, push in enumerate(pushes):
        where = f"households.{index}"
        if push.code in rows:
            faults.append(Fault("stands twice in this batch", path=f"{where}.code", code="repeated"))
        faults += _empty_term(where, push.valid_from, push.valid_to)
        rows[push.code] = HouseholdRow(push.code, push.area, push.kind, push.valid_from, push.valid_to)
    return list(rows.values())


def _members(
    pushes: Sequence[HouseholdPush], pids: Mapping[str, UUID], faults: list[Fault]
) -> dict[MemberRow, str]:
    """The rows, each with its place in the push."""
    found: dict[tuple[str, UUID, date], MemberRow] = {}
    places: dict[MemberRow, str] = {}
    for index, push in enumerate(pushes):
        for place, member in enumerate(push.members):
            where = f"households.{index}.members.{place}"
            faults += _empty_term(where, member.valid_from, member.valid_to)
            pid = pids.get(f"{where}.person")
            if pid is None:
                continue
            key = push.code, pid, member.valid_from
            if key in found:
                faults.append(Fault("stands twice in this batch", path=where, code="repeated"))
            found[key] = row = MemberRow(*key, member.relation, member.valid_to)
            places[row] = where
    return places


def _empty_term(where: str, valid_from: date, valid_to: date | None) -> list[Fault]:
    if valid_to is None or valid_to > valid_from:
        return []
    return [Fault("valid_to must lie after valid_from", path=f"{where}.valid_to", code="empty_term")]


async def _clashes(
    tx: Transaction, pushes: Sequence[HouseholdPush], members: Mapping[MemberRow, str]
) -> list[Fault]:
    """What only shows beside what was known already; the tables' own constraints hold the same."""
    places = {(row.household, row.pid, row.valid_from): where for row, where in members.items()}
    twice = await table.in_two_households(tx, sorted({row.pid for row in members}))
    faults = [
        Fault("belongs to another household on the same days", path=where, code="two_households")
        for row in twice
        if (where := places.get((row["household"], row["pid"], row["valid_from"]))) is not None
    ]
    at = {push.code: index for index, push in enumerate(pushes)}
    for row in await table.heads(tx, sorted(at)):
        where = f"households.{at[row['household']]}.members"
        if not row["heads"]:
            faults.append(Fault("a household has a head", path=where, code="no_head"))
        elif row["several"]:
            faults.append(Fault("two heads at one time", path=where, code="two_heads"))
    return faults


async def page(
    tx: Transaction, register: Register, *, areas: Sequence[str] | None, after: str | None, limit: int
) -> HouseholdPage:
    """The households of today with those who belong to them today."""
    start, today = decode_cursor(after, 1)[0] if after else "", persons.today()
    rows = await table.households(tx, areas=areas, on=today, after=start, limit=limit + 1)
    found = {row["code"]: Household(**dict(row), members=[]) for row in rows[:limit]}
    entries = await table.members(tx, list(found), today)
    ids = civil_ids(register, (entry["pid"] for entry in entries))
    for entry in entries:
        found[entry["household"]].members.append(
            Member(
                person=ids[entry["pid"]],
                relation=entry["relation"],
                valid_from=entry["valid_from"],
                valid_to=entry["valid_to"],
            )
        )
    await tx.leaf(
        action="households.read",
        subjects=register.log_ids({entry["pid"] for entry in entries}),
        records=len(found),
        resource="households",
        reason="registration",
    )
    items = list(found.values())
    return HouseholdPage(items=items, next=encode_cursor(items[-1].code) if len(rows) > limit else None)
