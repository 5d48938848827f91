"""Pushes that were refused or failed, by sender and reason, counted by the hour.

They are gathered in memory and written set-wise: the first at once, then at most once a second, however many
come. A row is a sender, a door and a reason in an hour, so that repeating a bad push adds no rows.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import Scope

from services.kit.calls import DomainError
from services.kit.operations.shapes import HOURS, FailedPushes
from services.kit.principals import Principal
from services.kit.problems import Problem

if TYPE_CHECKING:
    from services.kit.app import Kit
    from services.kit.database import Connection, Transaction

UNIDENTIFIED = Principal(kind="organisation", subject="")
"""Whoever sent a token that is not believed."""
METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
SENDERS, REASONS = 50, 5
"""How many senders are shown, and how many reasons of each: the most frequent."""
GATHERED = 10_000
"""Different rows kept in memory while the database is away; beyond them, what is new is not counted."""

_WRITE_SQL = """
insert into push_failure (hour, organisation, client, door, status, reason, count, last_at)
select date_trunc('hour', now(), 'UTC'), *, now()
from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::bigint[])
order by 2, 3, 4, 5, 6
on conflict (hour, organisation, client, door, status, reason)
    do update set count = push_failure.count + excluded.count, last_at = excluded.last_at
"""
_READ_SQL = """
with recent as (
    select *, (extract(epoch from date_trunc('hour', now(), 'UTC') - hour) / 3600)::int as ago
    from push_failure where hour > now() - make_interval(hours => $1)
), sender as (
    select organisation, client, max(last_at) as last_at,
        coalesce(sum(count) filter (where status < 500), 0)::int as refused,
        coalesce(sum(count) filter (where status >= 500), 0)::int as failed
    from recent group by organisation, client order by sum(count) desc, organisation, client limit $2
)
select sender.*,
    (select array_agg(coalesce(of_hour.count, 0) order by ago desc)
     from generate_series(0, $1 - 1) as ago left join (
        select recent.ago, sum(count)::int as count from recent
        where (organisation, client) = (sender.organisation, sender.client) group by recent.ago
     ) as of_hour using (ago)) as hours,
    (select jsonb_agg(to_jsonb(most)) from (
        select door, status, reason, sum(count)::int as count from recent
        where (organisation, client) = (sender.organisation, sender.client)
        group by door, status, reason order by sum(count) desc, door, status, reason limit $3
     ) as most) as reasons
from sender
"""


@dataclass(frozen=True, slots=True)
class Failed:
    """What of a failed push is counted together."""

    organisation: str
    client: str
    door: str
    status: int
    reason: str


class PushFailures:
    """Those of this process that are not written yet."""

    def __init__(self) -> None:
        self._counts: Counter[Failed] = Counter()
        self.came = asyncio.Event()

    def add(self, failed: Failed) -> None:
        if failed in self._counts or len(self._counts) < GATHERED:
            self._counts[failed] += 1
        self.came.set()

    async def write(self, tx: "Transaction") -> "Counter[Failed]":
        """What was gathered, in the transaction; to be taken off once that is committed."""
        self.came.clear()
        taken = Counter(self._counts)
        if taken:
            parts = zip(*((f.organisation, f.client, f.door, f.status, f.reason) for f in taken), strict=True)
            await tx.execute(_WRITE_SQL, *map(list, parts), list(taken.values()))
        return taken

    def written(self, taken: "Counter[Failed]") -> None:
        self._counts -= taken


async def note(scope: Scope, status: int) -> None:
    """Counts the request among the failures if it was an organisation's push that came to nothing."""
    kit: Kit = scope["app"].state.kit
    if kit.database is None or status < 400 or scope["method"] not in METHODS:
        return
    who = await _sender(kit, scope, status)
    if who is None or who.kind != "organisation":
        return
    # Ids are no doors: a path that nobody declared is left out, as in the metrics.
    door = scope.get("root_path", "") + getattr(scope.get("route"), "path", "unmatched")
    reason = scope.get("state", {}).get("problem", "")
    kit.push_failures.add(
        Failed(who.organisation or "", who.client_id, f"{scope['method']} {door}", status, reason)
    )


async def _sender(kit: "Kit", scope: Scope, status: int) -> Principal | None:
    """Who pushed, also where that was refused before anybody looked at the token; None for nobody."""
    known: Principal | None = scope.get("state", {}).get("principal")
    token = Headers(scope=scope).get("authorization")
    if known is not None or token is None:
        return known
    try:
        return UNIDENTIFIED if status == 401 else await kit.tokens.principal(token)
    except (Problem, DomainError):
        return UNIDENTIFIED


async def read(db: "Connection") -> list[FailedPushes]:
    """The senders with the most failures of the last 24 hours."""
    rows = await db.fetch(_READ_SQL, HOURS, SENDERS, REASONS)
    return [FailedPushes(**dict(row)) for row in rows]
