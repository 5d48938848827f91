"""Terms of agreements: until when a request is to be decided, who is told when it was not, and their end."""

import asyncio

from services.exchange.repository import agreements as repository
from services.kit.app import Kit

DECIDE_WITHIN_DAYS = 10
"""Working days a provider has to answer (国发〔2016〕51号 第十二条)."""
LOOK_EVERY_S = 10.0
AT_ONCE = 100


async def sweep(kit: Kit) -> int:
    """Tells of requests nobody decided in time, and ends what is past its validity; how many."""
    async with kit.db.transaction() as tx:
        overdue = await repository.newly_overdue(tx, limit=AT_ONCE)
        for row in overdue:
            data = {name: row[name] for name in ("dataset", "provider", "consumer")}
            await tx.publish(
                "exchange.agreement.overdue",
                aggregate=f"agreement/{row['id']}",
                data={"agreement": row["id"], **data, "due_at": row["due_at"].isoformat()},
            )
        expired = await repository.expired(tx, limit=AT_ONCE)
        for row in expired:
            await repository.add_step(
                tx, row["id"], state="ended", reason="有效期届满 · expired", decided_by="service:exchange"
            )
            data = {name: row[name] for name in ("dataset", "provider", "consumer")}
            await tx.publish(
                "exchange.agreement.ended",
                aggregate=f"agreement/{row['id']}",
                data={"agreement": row["id"], **data},
            )
    return len(overdue) + len(expired)


async def keep_terms(kit: Kit) -> None:
    while True:
        if await sweep(kit) < AT_ONCE:
            await asyncio.sleep(LOOK_EVERY_S)
