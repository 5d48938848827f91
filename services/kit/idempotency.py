"""A push sent twice counts once: keys and answers, kept in the record's own commit."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.kit.problems import Problem, unprocessable

if TYPE_CHECKING:
    from services.kit.database import Connection


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was, or will be, sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Slot:
    """The place of one key.

    Attributes:
        answer: what the first push of this key was answered; None when this is the first.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.kept: Answer | None = None

    def keep(self, answer: Answer) -> None:
        """The answer that every repetition gets."""
        self.kept = answer


def request_hash(*parts: bytes) -> bytes:
    """What makes two requests the same: method, path and body, say. Each part's length counts too."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8))
        whole.update(part)
    return whole.digest()


def content_key(body_sha256: bytes) -> str:
    """The key of a batch that came without one: its content. Such keys are kept for good."""
    return f"sha256:{body_sha256.hex()}"


def key_reused() -> Problem:
    return unprocessable(
        "idempotency_key_reused",
        "this Idempotency-Key came with a different request before; take a new key for a new request",
    )


async def known_answer(db: "Connection", client: str, key: str, request_hash: bytes) -> Answer | None:
    """The answer already given, for a push whose work costs much before its transaction can begin.

    Raises:
        Problem: 422 as `idempotent`.
    """
    known = await db.fetchval("select true from idempotency where client = $1 and key = $2", client, key)
    return await _answered(db, client, key, request_hash) if known else None


@asynccontextmanager
async def idempotent(tx: "Connection", client: str, key: str, request_hash: bytes) -> AsyncIterator[Slot]:
    """Does a client's push once, however often it is sent.

        async with idempotent(tx, who.client_id, key, request_hash(body)) as slot:
            if slot.answer is None:
                ...the work...
                slot.keep(Answer(201, receipt))

    Of two at the same time, the second waits for the first's commit and gets its answer; if the first is
    undone, the second does the work.

    Raises:
        Problem: 422 `idempotency_key_reused` when the key came with another request before.
    """
    first = await tx.fetchval(
        """insert into idempotency (client, key, request_hash) values ($1, $2, $3)
           on conflict do nothing returning true""",
        client,
        key,
        request_hash,
    )
    if not first:
        yield Slot(await _answered(tx, client, key, request_hash))
        return
    slot = Slot()
    yield slot
    if slot.kept is None:
        raise RuntimeError("the work was done without keeping its answer for repetitions")
    await tx.execute(
        "update idempotency set status = $3, headers = $4, body = $5 where client = $1 and key = $2",
        client,
        key,
        slot.kept.status,
        dict(slot.kept.headers),
        slot.kept.body,
    )


async def _answered(tx: "Connection", client: str, key: str, request_hash: bytes) -> Answer:
    row = await tx.fetchrow(
        "select request_hash, status, headers, body from idempotency where client = $1 and key = $2",
        client,
        key,
    )
    assert row is not None, "a conflicting row that is committed can be read"
    if row["request_hash"] != request_hash:
        raise key_reused()
    return Answer(row["status"], row["body"], row["headers"])
