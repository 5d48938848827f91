"""The processes of the chaos tests: `python -m tests.chaos.parts chaos_source | chaos_target | worker PORT`.

Two services made with the kit as it is shipped: one counts things up and publishes each count, the other
notes what it gets. Nothing here knows that it will be killed.
"""

import os
import sys
from typing import Any

import uvicorn
from joserfc.jwk import ECKey
from pydantic import BaseModel

from services.kit.app import KitDep, Read, Router, Tx, service
from services.kit.client_keys import p256_key
from services.kit.database import Transaction
from services.kit.events import Draft, Event, on, publish_many
from services.kit.principals import Anyone
from services.stack.processes import die_with_parent
from tests.kit.scratch import SECRET
from tests.support.issuer import Issuer

SOURCE, TARGET, WORKER = "chaos_source", "chaos_target", "worker"
WORKER_LEASE_S = 3.0
SOURCE_SQL = "create table thing (name text primary key, n int not null);"
# No constraint keeps a second effect out: the kit alone does.
TARGET_SQL = """
create table effect (place bigint generated always as identity, thing text not null, n int not null,
                     seq bigint not null);
create table sum (thing text primary key, n bigint not null);
"""


class Push(BaseModel):
    things: list[str]


router = Router(prefix="/chaos-source")


@router.post("/pushes")
async def push(push: Push, tx: Tx) -> dict[str, int]:
    """Counts each of these things up by one; an event for each."""
    rows = await tx.fetch(
        """insert into thing (name, n) select name, 1 from unnest($1::text[]) as pushed (name) order by name
           on conflict (name) do update set n = thing.n + 1 returning name, n""",
        sorted(set(push.things)),
    )
    await publish_many(
        tx,
        [Draft("chaos_source.thing.counted", row["name"], {"n": row["n"], "pad": "x" * 100}) for row in rows],
    )
    return {"events": len(rows)}


@router.get("/things")
async def things(read: Read, _who: Anyone) -> dict[str, int]:
    return {row["name"]: row["n"] for row in await read.fetch("select name, n from thing")}


def issuer() -> Issuer:
    """In place of identity: its two processes have the same key."""
    found = Issuer()
    found.key = ECKey.import_key({**p256_key(SECRET.encode()).as_dict(private=True), "kid": "test-issuer"})
    return found


@router.get("/.well-known/jwks.json")
async def keys() -> dict[str, Any]:
    return {"keys": [issuer().public_jwk]}


@router.post("/oauth/token")
async def token(kit: KitDep) -> dict[str, Any]:
    """The target's own token; nobody else asks here."""
    minted = issuer().mint(
        kit.settings, SOURCE, scopes="events:read", kind="service", subject=f"service:{TARGET}"
    )
    return {"access_token": minted, "token_type": "Bearer", "expires_in": 900}


async def take(tx: Transaction, event: Event) -> None:
    n = event.data["n"]
    await tx.execute("insert into effect (thing, n, seq) values ($1, $2, $3)", event.aggregate, n, event.seq)
    await tx.execute(
        """insert into sum (thing, n) values ($1, $2)
           on conflict (thing) do update set n = sum.n + excluded.n""",
        event.aggregate,
        n,
    )


def work() -> None:
    """The Celery worker. Its leases are shorter than in earnest."""
    from services.kit.jobs import celery, table

    # Before anything computes with it.
    table.LEASE_S = WORKER_LEASE_S
    options = ["--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"]
    celery.worker_main(["--quiet", "worker", *options])


def main(name: str, port: int) -> None:
    import signal

    die_with_parent(signal.SIGKILL)
    if name == WORKER:
        work()
        return
    apps = {
        SOURCE: lambda: service(SOURCE, routers=[router]),
        TARGET: lambda: service(TARGET, handlers=[on("chaos_source.thing.counted", take)]),
    }
    uvicorn.run(apps[name](), host="127.0.0.1", port=port, access_log=False, log_config=None)


if __name__ == "__main__":
    os.environ.setdefault("HUIMIN_LOG_LEVEL", "WARNING")
    main(sys.argv[1], int(sys.argv[2]))
