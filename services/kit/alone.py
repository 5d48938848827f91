"""Work that one process of a service does at a time: relaying, consuming, sequencing.

A lock at the database, held by a session of its own: when the process dies, or the network between them, the
database gives the lock to the next. What is done under it must be harmless when done twice all the same.
"""

import asyncio
import hashlib
from typing import Any

ASK_EVERY_S = 1.0


def lock_key(name: str) -> int:
    """A key for PostgreSQL's advisory locks, which know numbers alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


async def alone(session: Any, name: str) -> None:
    """Returns once this session is the one that does `name`; it stays so until the session ends.

    From then on the session prefers indexes: it asks about few rows of tables that grow from nothing to
    millions under it, and a plan made while a table was empty would read all of it until the next analyse.
    """
    key = lock_key(name)
    while not await session.fetchval("select pg_try_advisory_lock($1)", key):  # noqa: ASYNC110 - another process
        await asyncio.sleep(ASK_EVERY_S)
    await session.execute("set enable_seqscan = off")
