"""Subscriptions: who is told what, what is still to be looked at, what each was told."""

from collections.abc import Mapping, Sequence
from typing import Any

from health.criteria import Criteria
from health.reaching import Reach
from health.repository import fitting
from health.repository.clauses import all_hold
from health.repository.reach import Args, reached, shown
from health.repository.store import about
from health.versions import Version
from services.kit.database import Connection, Row

_ALONE = 0x7375_6273
"""The advisory lock of whoever gives events their numbers."""
KEPT = 1000
"""Events of a Subscription that can still be asked for after they were taken."""


async def take(db: Connection, **said: Any) -> None:
    """A Subscription as its client last said it; the numbers of its events go on."""
    names = list(said)
    places = ", ".join(f"${n}" for n, _ in enumerate(names, 1))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != "pk")
    await db.execute(
        f"""insert into subscription ({", ".join(names)}) values ({places})
            on conflict (pk) do update set {changes}, attempts = 0, next_at = now(), error = null""",
        *said.values(),
    )


async def end(db: Connection, pks: Sequence[int]) -> None:
    await db.execute("delete from subscription where pk = any($1)", pks)


async def due(db: Connection, versions: Sequence[Version]) -> bool:
    """Notes what a push kept, if any Subscription may be told of it; whether one may."""
    done = await db.execute(
        """insert into subscription_due (at, pks, created)
           select $1, $2, $3 where exists (
               select from subscription where state = 'active' and types && $4::text[])""",
        versions[0].ts,
        [one.pk for one in versions],
        [one.version == 1 for one in versions],
        sorted({one.type for one in versions}),
    )
    return bool(done == "INSERT 0 1")


async def taken_up(db: Connection, *, limit: int) -> list[Row]:
    """What pushes kept and nothing was held against yet, in the order of the pushes: pk, at, created. From
    here on it is the caller's, who alone numbers events until the commit; nothing while another does."""
    if not await db.fetchval("select pg_try_advisory_xact_lock($1)", _ALONE):
        return []
    return await db.fetch(
        """with gone as (
               delete from subscription_due where seq = any(array(
                   select seq from subscription_due order by seq limit $1)) returning *)
           select one.pk, gone.at, one.created from gone,
               unnest(gone.pks, gone.created) with ordinality as one (pk, created, place)
           order by gone.seq, one.place""",
        limit,
    )


async def active(db: Connection) -> list[Row]:
    return await db.fetch(
        """select * from subscription where state = 'active' and (ends_at is null or ends_at > now())
           order by pk for no key update"""
    )


async def number(
    db: Connection, subscription: int, rows: Sequence[Row], wanted: Sequence[tuple[Criteria, Reach]]
) -> None:
    """Gives a number to each of the changes whose resource the Subscription means and may see.

    Args:
        wanted: by type what is meant, and what its holder may see.
    """
    args = Args(subscription, *(list(column) for column in zip(*rows, strict=True)))
    meant = [
        f"(r.type = any({args(list(criteria.types))}) and {reached(reach, args, 'r')}"
        f" and {all_hold(criteria, args, 'r.pk', reach)})"
        for criteria, reach in wanted
    ]
    await db.execute(
        f"""with found as (
                select one.pk, one.at, one.created, row_number() over (order by one.place) as place
                from unnest($2::bigint[], $3::timestamptz[], $4::boolean[])
                    with ordinality as one (pk, at, created, place)
                join resource r on r.pk = one.pk where {" or ".join(meant)}),
            counted as (
                update subscription s set numbered = s.numbered + n.number
                from (select count(*) as number from found) n where s.pk = $1
                returning s.numbered - n.number as before)
            insert into subscription_event (subscription, number, at, pk, created)
            select $1, counted.before + found.place, found.at, found.pk, found.created
            from found, counted""",
        *args.values,
    )


async def claim(db: Connection, *, lease_s: float, limit: int) -> list[Row]:
    """Those with something to say now, leased to the caller: `requested`, with events that were not taken
    yet, silent for their heartbeat, or over."""
    return await db.fetch(
        """update subscription s set next_at = now() + make_interval(secs => $1), attempts = s.attempts + 1
           where pk = any(array(
               select pk from subscription
               where next_at <= now() and (state = 'requested' or (state = 'active' and (
                   numbered > taken or ends_at <= now()
                   or told_at + make_interval(secs => (said ->> 'heartbeat_s')::int) <= now())))
               order by next_at limit $2 for update skip locked))
           returning *, ends_at <= now() as over""",
        lease_s,
        limit,
    )


async def events(
    db: Connection, reach: Reach, subscription: int, *, since: int, until: int, limit: int
) -> list[Row]:
    """Events by number, as far as one answer holds them, and their resources as far as the reader may see
    them now: number, at, created, type, id (null where not), body, and `about` them."""
    args, order = Args(subscription, since, until, limit), "order by e.number"
    whole = fitting.body(shown(reach, args, "r"), order, args(fitting.ANSWER_BYTES))
    rows = await db.fetch(
        f"""select e.number, e.at, e.created, r.type, r.id, {whole}, {about(reach, args, "r")}
            from (select * from subscription_event
                  where subscription = $1 and number > $2 and number <= $3 order by number limit $4) e
            left join resource r on r.pk = e.pk and {reached(reach, args, "r")} {order}""",
        *args.values,
    )
    return fitting.page(rows, limit)


async def took(db: Connection, row: Row, upto: int) -> bool:
    """The endpoint took everything up to this number; False where the Subscription was changed meanwhile."""
    done = await db.execute(
        """update subscription set state = 'active', taken = greatest(taken, $3), attempts = 0,
               told_at = now(), next_at = now(), error = null
           where pk = $1 and version = $2 and attempts = $4""",
        row["pk"],
        row["version"],
        upto,
        row["attempts"],
    )
    await db.execute(
        "delete from subscription_event where subscription = $1 and number <= $2", row["pk"], upto - KEPT
    )
    return bool(done == "UPDATE 1")


async def again(db: Connection, row: Row, pause_s: float, error: str | None) -> None:
    await db.execute(
        """update subscription set next_at = now() + make_interval(secs => $4), error = $5
           where pk = $1 and version = $2 and attempts = $3""",
        row["pk"],
        row["version"],
        row["attempts"],
        pause_s,
        error,
    )


async def stop(db: Connection, row: Row, state: str, error: str | None) -> bool:
    """It is told nothing more; False where it was changed meanwhile."""
    done = await db.execute(
        """update subscription set state = $3, error = $4 where pk = $1 and version = $2 and attempts = $5""",
        row["pk"],
        row["version"],
        state,
        error,
        row["attempts"],
    )
    return bool(done == "UPDATE 1")


async def said_again(db: Connection, pk: int, version: int) -> None:
    """The Subscription has this version now, by the server's own word."""
    await db.execute("update subscription set version = $2 where pk = $1", pk, version)


async def standing(db: Connection, pks: Sequence[int]) -> Mapping[int, Row]:
    rows = await db.fetch("select * from subscription where pk = any($1)", pks)
    return {row["pk"]: row for row in rows}
