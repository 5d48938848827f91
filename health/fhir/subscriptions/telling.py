"""Telling subscribers, after the commit: what pushes kept is held against all Subscriptions at once, what
matches gets its number, and each Subscription is told one thing after the other.

What may be told is asked at both steps under the reach of the Subscription's holder as it is then. A process
that is killed leaves a lease, after which the same is told again under the same id.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

from health import repository as records
from health.criteria import Criteria
from health.fhir import access, search, text
from health.fhir.commit import Push, applied
from health.fhir.interactions import Fhir
from health.fhir.outcome import Refusal, refused
from health.fhir.resolve import Sender
from health.fhir.search.coded import settled
from health.fhir.subscriptions import bundles
from health.fhir.subscriptions.kept import ACTION, DUE, holder
from health.reaching import EVERYBODY, Reach
from health.repository import subscriptions as repository
from services.identity.client import IdentityClient
from services.kit import telemetry
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.database import Connection, Row, Transaction
from services.kit.principals import Principal
from services.kit.problems import Problem
from services.kit.waking import stopped, wait, wake, woken
from services.notify.client import NotifyClient
from services.notify.shapes import Attempt, Attempted

LOOK_EVERY_S = 1.0
PUSHES = 100
"""Held against the Subscriptions at once."""
IN_FLIGHT = 32
LEASE_S = 30.0
"""Longer than an attempt takes."""
AGAIN_S = 5.0
NO_LONGER = "the rights it was made with no longer permit it"


async def watch(kit: Kit) -> None:
    """Runs for as long as the service does."""
    teller = _Teller(kit)
    try:
        with woken(DUE) as due:
            while True:
                due.clear()
                if not await teller.round():
                    await wait(due, LOOK_EVERY_S)
    finally:
        await teller.stop()


def reach_of(kit: Kit, who: Principal, row: Row) -> Reach:
    """What somebody may see now of what the Subscription tells.

    Raises:
        Refusal: 403 without the right to read one of its types.
    """
    reaches = [access.reach(kit.policy, who, kind, "r") for kind in row["types"]]
    return reaches[0]


def _holders(kit: Kit, row: Row) -> Reach | None:
    try:
        return reach_of(kit, holder(row["holder"]), row)
    except Problem:
        return None


class _Teller:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _fhir(self) -> Fhir:
        found: Fhir = self._kit.parts["fhir"]
        return found

    async def round(self) -> bool:
        """Whether there was anything to do."""
        async with self._kit.db.transaction() as tx:
            due = await repository.taken_up(tx, limit=PUSHES)
            for row in await repository.active(tx) if due else ():
                if wanted := await self._wanted(tx, row):
                    await repository.number(tx, row["pk"], due, wanted)
            rows = await repository.claim(tx, lease_s=LEASE_S, limit=IN_FLIGHT - len(self._tasks))
        for row in rows:
            task = asyncio.create_task(self._told(row), name="health:subscription")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(due or rows)

    async def stop(self) -> None:
        for task in list(self._tasks):
            await stopped(task)

    async def _wanted(self, db: Connection, row: Row) -> Sequence[tuple[Criteria, Reach]]:
        """By type; nothing where the holder's rights, or a value set it names, are gone."""
        reach = _holders(self._kit, row)
        if reach is None:
            return ()
        found = []
        for kind in row["types"]:
            criteria = Criteria((kind,))
            for query in row["said"]["filters"].get(kind, ()):
                more = search.condition(kind, query, base=self._fhir.base, path="criteria")
                criteria = Criteria((kind,), criteria.clauses + more.clauses)
            try:
                found.append((await settled(db, reach, criteria), reach))
            except Refusal:
                continue
        return found

    async def _told(self, row: Row) -> None:
        try:
            await self._tell(row)
        except (DomainError, Problem) as error:
            # The lease passes, and it is told again.
            about = {"subscription": row["id"], "error": str(error)}
            telemetry.logger(self._kit.name).warning("a subscriber was not told", extra=about)
        wake(DUE)

    async def _tell(self, row: Row) -> None:
        if row["over"]:
            return await self._say(row, "off")
        reach = _holders(self._kit, row)
        if reach is None:
            return await self._say(row, "error", error=NO_LONGER)
        events: list[Row] = []
        if row["state"] == "active" and row["numbered"] > row["taken"]:
            async with self._kit.db.read() as db:
                until, most = row["numbered"], row["said"]["most"]
                events = await repository.events(
                    db, reach, row["pk"], since=row["taken"], until=until, limit=most
                )
        upto = events[-1]["number"] if events else row["taken"]
        answer = await self._attempt(row, events, upto)
        if answer.state == "dead":
            await self._say(row, "error", error=answer.reason or "the endpoint does not take it")
        elif answer.state == "waiting":
            async with self._kit.db.transaction() as tx:
                await repository.again(tx, row, answer.pause_s or AGAIN_S, answer.reason)
        elif row["state"] == "requested":
            await self._say(row, "active", upto=upto)
        else:
            async with self._kit.db.transaction() as tx:
                await repository.took(tx, row, upto)

    async def _attempt(self, row: Row, events: Sequence[Row], upto: int) -> Attempted:
        said, base = row["said"], self._fhir.base
        kind = "handshake" if row["state"] == "requested" else "event-notification" if events else "heartbeat"
        first = bundles.status(row, kind, base=base, upto=upto, state=row["state"], events=events)
        if said["content"] == "empty":
            events = ()
            first["parameter"] = [one for one in first["parameter"] if one["name"] != "notification-event"]
        body = bundles.notification(row, first, base=base, events=events, content=said["content"])
        if seen := [one for one in events if one["id"] is not None]:
            resource = f"Subscription/{row['id']}"
            await access.leave(self._kit, holder(row["holder"]), "fhir.read", seen, resource=resource)
        since = row["told_at"] if kind == "heartbeat" else row["taken"]
        name = f"{base}Subscription/{row['id']}/{row['version']}/{kind}/{since}-{upto}"
        return await self._kit.calls.client(NotifyClient).attempt(
            row["destination"],
            Attempt(
                id=uuid5(NAMESPACE_URL, name),
                attempt=row["attempts"],
                body=body.decode(),
                media_type=said["media_type"],
                timeout_s=said["timeout_s"],
            ),
        )

    async def _say(self, row: Row, state: str, *, upto: int = 0, error: str | None = None) -> None:
        """The server's own word on how a Subscription stands, as a new version of it; nothing where its
        client has changed it meanwhile."""
        async with self._kit.db.session() as db:
            current = (await records.current(db, [row["pk"]])).get(row["pk"])
        if current is None or current["version"] != row["version"]:
            return
        tree = text.parsed(current["body"])
        tree |= {"status": state, **({"error": error} if error else {})}
        if error is None:
            tree.pop("error", None)
        raw = text.written(tree).encode()
        fhir, who = self._fhir, holder(row["holder"])
        prepared = await fhir.workers.resource(raw, fhir.base, "Subscription", row["id"])
        prepared.entries[0].if_match = f'W/"{row["version"]}"'
        sender = Sender(who.client_id, who.organisation, EVERYBODY, lambda _right: EVERYBODY.granted)
        async with self._kit.db.transaction(who) as tx:
            push = Push(ACTION, hashlib.sha256(raw).digest(), sender)
            identity = self._kit.calls.client(IdentityClient)
            [result] = (await applied(tx, prepared, push, identity=identity, base=fhir.base)).values()
            # The resource before its row, as every push of its client has them.
            if not await self._noted(tx, row, state, upto, error):
                raise refused(409, "conflict", "another process tells it by now")
            await repository.said_again(tx, row["pk"], result.version)

    async def _noted(self, tx: Transaction, row: Row, state: str, upto: int, error: str | None) -> bool:
        if state == "active":
            return await repository.took(tx, row, upto)
        return await repository.stop(tx, row, state, error)
