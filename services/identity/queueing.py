"""Pairs that a push left behind: taken for one person by the model, in doubt, or in each other's way."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from services.identity.likeness import Likeness, Lookalike, judged
from services.identity.lookalikes import numbers_differ
from services.identity.matching import Facts
from services.identity.repository import pairs
from services.identity.repository.pairs import ReviewRow
from services.kit.database import Transaction
from services.kit.ids import uuid7


def pair(pid: UUID, other: UUID, why: str, likeness: Likeness, source: str) -> ReviewRow:
    """A pair to be decided."""
    weight = round(likeness.weight.total, 2)
    return ReviewRow(uuid7(), pid, other, why, likeness.model, weight, likeness.evidence, "open", source)


async def linked(tx: Transaction, same: Mapping[UUID, Lookalike], *, source: str) -> None:
    """What the model decided by itself, with its reasons; to be taken back like a clerk's decision."""
    rows = [pair(pid, one.pid, "model", one.likeness, source) for pid, one in same.items()]
    by = {row.id: f"model {row.model}" for row in rows}
    decided = [
        (row.id, row.pid, row.other, "same", by[row.id], f"{row.weight} bits: {_agreeing(row)}")
        for row in rows
    ]
    await pairs.add_reviews(tx, rows)
    await pairs.decide(tx, decided)
    for name in set(by.values()):
        await pairs.links_decided_by(tx, [row.pid for row in rows if by[row.id] == name], name)


async def doubted(tx: Transaction, found: Iterable[tuple[UUID, Lookalike]], *, source: str) -> None:
    await pairs.add_reviews(tx, [pair(pid, one.pid, "model", one.likeness, source) for pid, one in found])


async def conflicted(
    tx: Transaction, found: Collection[tuple[UUID, UUID]], facts: Mapping[UUID, Facts], *, source: str
) -> None:
    """People whose identifiers came in one push. Two with a citizen number each cannot be one person."""
    asked = [
        (facts[one], facts[other])
        for one, other in sorted(found)
        if not numbers_differ(facts[one], facts[other])
    ]
    if asked:
        population, _ = await pairs.population(tx)
        likenesses = await asyncio.to_thread(judged, asked, population)
        await pairs.add_reviews(
            tx,
            [
                pair(one.pid, other.pid, "identifiers", likeness, source)
                for (one, other), likeness in zip(asked, likenesses, strict=True)
            ],
        )


def _agreeing(row: ReviewRow) -> str:
    return ", ".join(part["comparison"] for part in row.evidence["parts"] if part["agrees"])
