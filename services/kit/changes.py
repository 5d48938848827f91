"""In which order an offered dataset changed: a log of its people, kept by triggers that no statement forgets.

A migration declares each table that the dataset is made of (`services.kit.migrations.changes_of`), and the
offer reads with `read`. Of each change it is kept what the row was, as far as agreements choose rows by it:
whoever was told of it is told that it is gone, and nobody else is.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.kit import row_filters
from services.kit.app import Kit
from services.kit.cursors import decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Row
from services.kit.problems import conflict
from services.kit.row_filters import Condition

RowsOf = Callable[[Connection, Sequence[str], Sequence[Condition]], Awaitable[list[dict[str, Any]]]]
"""The rows of these people as they are now, with `sector_id`, among those that keep the conditions."""


@dataclass(frozen=True, slots=True)
class Place:
    """Up to which change somebody has read. Numbers of transactions mean something in one cluster alone."""

    cluster: int
    xid: int = 0
    seq: int = 0


async def read(
    db: Connection,
    dataset: str,
    rows_of: RowsOf,
    types: Mapping[str, str],
    *,
    after: str | None,
    limit: int,
    where: Sequence[Condition],
    single: bool = False,
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """As `services.kit.offers.ReadChanges`. Of one person a row that says they are gone, and then all there
    are now: whoever applies them in this order has what the dataset has.

    Args:
        single: a person has at most one row, which takes the place of the one before.
        types: of the items that the log keeps: by others nobody can be told what is gone.

    Raises:
        Problem: 409 `place_of_another_cluster` when the database was restored elsewhere since: the places
            given out before mean nothing here, and whoever has one begins anew; 409 `not_told_by` for a
            condition on another item.
    """
    others = [condition.item for condition in where if condition.item not in types]
    if others:
        raise conflict("not_told_by", f"changes of {dataset} are not told by {', '.join(others)}")
    place = await _place(db, after)
    changed = await _changes(db, dataset, place, limit)
    if not changed:
        return [], None, await _settled(db, dataset, place)
    was = {row["sector_id"]: False for row in changed}
    for row in changed:
        was[row["sector_id"]] |= any(row_filters.holds(where, one, types) for one in row["was"] or ())
    now: dict[str, list[dict[str, Any]]] = {}
    for one in await rows_of(db, list(was), where):
        now.setdefault(one["sector_id"], []).append(one)
    told: list[dict[str, Any]] = []
    for id, before in was.items():
        if before or id in now:
            gone = [{"sector_id": id}] if not (single and id in now) else []
            told += [*gone, *now.get(id, ())]
    place = Place(place.cluster, changed[-1]["xid"], changed[-1]["seq"])
    return told, encode_cursor(place.cluster, place.xid, place.seq), await _settled(db, dataset, place)


async def _place(db: Connection, after: str | None) -> Place:
    here = int(await db.fetchval("select system_identifier from pg_control_system()"))
    if after is None:
        return Place(here)
    place = Place(*map(whole_number, decode_cursor(after, 3)))
    if place.cluster != here:
        raise conflict("place_of_another_cluster", "this place is of another database; begin without one")
    return place


async def _changes(db: Connection, dataset: str, after: Place, limit: int) -> list[Row]:
    """In order. Transactions are numbered when they begin to write and seen when they commit: up to the
    oldest that goes on nothing can come in between; what lies behind it waits."""
    return await db.fetch(
        """select xid::text::bigint as xid, seq, sector_id, was from offer_change
           where dataset = $1 and (xid, seq) > ($2::text::xid8, $3::bigint)
               and xid < pg_snapshot_xmin(pg_current_snapshot())
           order by xid, seq limit $4""",
        dataset,
        str(after.xid),
        after.seq,
        limit,
    )


async def _settled(db: Connection, dataset: str, after: Place) -> bool:
    """Whether there is no change behind this place, in order or not."""
    return not await db.fetchval(
        """select exists (select from offer_change
                          where dataset = $1 and (xid, seq) > ($2::text::xid8, $3::bigint))""",
        dataset,
        str(after.xid),
        after.seq,
    )


async def order_those_of_elsewhere(kit: Kit) -> None:
    """Changes restored from another database cluster may have numbers that this one has yet to reach; to be
    called when the service starts."""
    async with kit.db.transaction() as tx:
        await tx.execute(
            """update offer_change set xid = pg_current_xact_id()
               where xid >= pg_snapshot_xmax(pg_current_snapshot())"""
        )
