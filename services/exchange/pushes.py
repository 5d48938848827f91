"""What changed goes to those who subscribed: the same items, rows and ids as a read, under the same checks.

A batch has its number until it is answered, however often it is sent, and its consumer applies a number once:
the answer names the place up to which it was applied, and there the next batch goes on. While a batch is out
its agreement is locked: whoever suspends it waits for the answer, or came before and nothing is sent.
"""

import asyncio
from uuid import UUID

from services.exchange import catalogue, reads, signing
from services.exchange.reads import PUSH
from services.exchange.repository import agreements
from services.exchange.repository import subscriptions as table
from services.exchange.shapes import Agreement, Dataset
from services.kit import telemetry
from services.kit.alone import alone
from services.kit.app import Kit, prefix_of
from services.kit.calls import DomainError
from services.kit.database import Database, Row
from services.kit.principals import Principal, seal, unseal
from services.kit.problems import Problem
from services.kit.subscriptions import INBOX, Batch, Taken
from services.kit.waking import wait, woken

LOOK_EVERY_S = 2.0
ROWS = 1000
"""Of one batch."""
AT_ONCE = 4
"""Each holds a connection while its consumer answers."""
PUSH_DEADLINE_S = 10.0
LONGEST_PAUSE_S = 60.0
TRY_AGAIN = frozenset({0, 401, 408, 429})
"""Refusals (and 0, no answer) that say nothing about the batch; others of 4xx do."""


async def keep_pushing(kit: Kit) -> None:
    """Runs for as long as the service does; of several processes, one pushes at a time."""
    # Connections of its own: a consumer that takes its time must not keep readers waiting for one.
    own = Database(kit.settings, kit.name, max_connections=AT_ONCE + 1)
    await own.start()
    try:
        async with own.session() as session:
            await alone(session, "huimin exchange pushes")
            with woken(PUSH) as waker:
                while True:
                    await session.fetchval("select 1")  # the session, and with it the lock, is still there
                    waker.clear()
                    if not await _push_due(kit, own):
                        await wait(waker, LOOK_EVERY_S)
    finally:
        await own.stop()


async def _push_due(kit: Kit, own: Database) -> int:
    """One batch to each that may be pushed to; how many went on."""
    async with kit.db.read() as db:
        rows = await table.due(db, AT_ONCE * 25)
    going_on = 0
    for first in range(0, len(rows), AT_ONCE):
        some = rows[first : first + AT_ONCE]
        going_on += sum(await asyncio.gather(*(_pushed(kit, own, row) for row in some)))
    return going_on


async def _pushed(kit: Kit, own: Database, row: Row) -> bool:
    """Whether it went on: there may be more to push at once."""
    try:
        with telemetry.span("push"):
            return await _push(kit, own, row)
    except Problem as refusal:
        pause = float((refusal.headers or {}).get("Retry-After", LONGEST_PAUSE_S))
        await _put_off(kit, row, refusal.detail, pause)
    except DomainError as error:
        await _failed(kit, row, error)
    return False


async def _push(kit: Kit, own: Database, row: Row) -> bool:
    who = Principal(
        kind="service", subject=f"service:{row['consumer']}", client_id=f"service:{row['consumer']}",
        service=row["consumer"],
    )  # fmt: skip
    agreement = await reads.agreement_for(
        kit, who, row["consumer"], row["dataset"], row["agreement_id"], action=PUSH
    )
    dataset = await catalogue.find(kit, agreement.dataset)
    left = await reads.rows_left(kit, who, agreement, action=PUSH)
    fetched = await reads.fetch(
        kit, who, agreement, dataset, after=row["place"], limit=min(ROWS, left), changes=True
    )
    if fetched.following is None:
        if fetched.settled:
            async with kit.db.transaction() as tx:
                await table.even(tx, row["id"])
        return False
    # The first of all goes out even without rows: it tells the consumer to begin anew.
    if not fetched.rows and row["place"] is not None:
        async with kit.db.transaction() as tx:
            if await table.hold(tx, row):
                await table.passed(tx, row["id"], fetched.following)
        return True
    fetched, refusal = await reads.recorded(kit, who, agreement, fetched, action=PUSH)
    if refusal is not None:
        raise refusal
    return await _sent(kit, own, row, who, _batch(kit, row, agreement, dataset, fetched))


def _batch(kit: Kit, row: Row, agreement: Agreement, dataset: Dataset, fetched: reads.Fetched) -> Batch:
    assert dataset.sector_id is not None
    return Batch(
        subscription=row["id"],
        agreement=agreement.id,
        consumer=agreement.consumer,
        dataset=agreement.dataset,
        number=row["batches"],
        first=row["place"] is None,
        sector_id=dataset.sector_id,
        rows=fetched.rows,
        place=seal(f"{row['id']}\x1f{fetched.following}", _key(kit)),
    )


async def _sent(kit: Kit, own: Database, row: Row, who: Principal, batch: Batch) -> bool:
    async with own.transaction(who) as tx:
        if not await table.hold(tx, row):
            return True
        held = await agreements.held(tx, batch.agreement)
        if held is None or not held["in_force"]:
            await tx.leaf(
                action=PUSH, records=0, resource=batch.dataset, agreement=batch.agreement,
                reason=(held and held["lack"]) or "no_agreement", outcome="refused",
            )  # fmt: skip
            return False
        path = f"{prefix_of(batch.consumer)}{INBOX}"
        body = batch.model_dump_json().encode()
        response = await kit.calls.request(
            batch.consumer,
            "POST",
            path,
            content=body,
            headers={"content-type": "application/json", **signing.signed_push(kit, body, path=path)},
            deadline_s=PUSH_DEADLINE_S,
        )
        taken = Taken.model_validate_json(response.content)
        await table.moved(tx, row["id"], place=_opened(kit, row["id"], taken.place), rows=taken.rows)
    return True


async def _failed(kit: Kit, row: Row, error: DomainError) -> None:
    """The consumer's refusal waits for somebody; all else is tried again, with growing pauses."""
    if error.problem.get("code") == "place_of_another_cluster":
        async with kit.db.transaction() as tx:
            await table.begin_anew(tx, id=row["id"])
        return
    refused = error.service == row["consumer"] and 400 <= error.status < 500 and error.status not in TRY_AGAIN
    if not refused:
        await _put_off(kit, row, str(error), min(2.0 ** row["attempts"], LONGEST_PAUSE_S))
        return
    telemetry.logger(kit.name).error(
        "a consumer refuses what it subscribed to",
        extra={"subscription": str(row["id"]), "code": error.problem.get("code"), "status": error.status},
    )
    async with kit.db.transaction() as tx:
        await table.park(tx, row["id"], f"{error.problem.get('code') or error.code}: {error.detail}"[:500])


async def _put_off(kit: Kit, row: Row, reason: str, seconds: float) -> None:
    async with kit.db.transaction() as tx:
        await table.put_off(tx, row, reason=reason[:500], seconds=seconds)


def _opened(kit: Kit, id: UUID, sealed: str) -> str:
    owner, _, place = unseal(sealed, _key(kit)).partition("\x1f")
    if owner != str(id):
        raise ValueError("a consumer answered with the place of another subscription")
    return place


def _key(kit: Kit) -> bytes:
    return kit.settings.secret_for("exchange", "places")
