"""Agreements: who may read which items of whose data, what for, on what ground, until when."""

import json
from datetime import datetime
from importlib.resources import files
from typing import Any

from services.exchange import repository
from services.exchange.shapes import Agreement, AgreementPage, State
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Row, Transaction
from services.kit.problems import Problem, conflict, not_found

SEEDED_BY = "services/exchange/knowledge/agreements.json"


def _seeds() -> list[dict[str, Any]]:
    text = files("services.exchange").joinpath("knowledge/agreements.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["agreements"]
    for seed in found:
        for name in ("valid_from", "valid_until"):
            seed[name] = datetime.fromisoformat(seed[name])
    return found


async def seed(tx: Transaction) -> None:
    """The agreements that ship with the suite, at every start; one that was suspended stays so."""
    for agreement in _seeds():
        await repository.seed_agreement(tx, agreement, decided_by=SEEDED_BY)


def shape_of(row: Row) -> Agreement:
    return Agreement(**{name: row[name] for name in Agreement.model_fields})


async def page(db: Connection, *, after: str | None, limit: int) -> AgreementPage:
    start = decode_cursor(after, 1)[0] if after else ""
    rows = await repository.agreements(db, after=start, limit=limit + 1)
    items = [shape_of(row) for row in rows[:limit]]
    return AgreementPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def find(db: Connection, id: str) -> Agreement:
    row = await repository.agreement(db, id)
    if row is None:
        raise _unknown(id)
    return shape_of(row)


async def change(tx: Transaction, id: str, *, to: State, reason: str) -> Agreement:
    """Suspends or resumes an agreement; reads that have not been answered yet already obey it."""
    row = await repository.lock_agreement(tx, id)
    if row is None:
        raise _unknown(id)
    expected: State = "active" if to == "suspended" else "suspended"
    if row["state"] != expected:
        raise conflict("wrong_state", f"the agreement is {row['state']}; only an {expected} one can be {to}")
    assert tx.principal is not None
    await repository.set_state(tx, id, to)
    await repository.add_step(tx, id, state=to, reason=reason, decided_by=tx.principal.subject)
    await tx.leaf(action=f"agreement.{to}", resource=row["dataset"], agreement=id, reason=reason)
    await tx.publish(
        f"exchange.agreement.{to}",
        aggregate=f"agreement/{id}",
        data={"agreement": id, "dataset": row["dataset"], "consumer": row["consumer"]},
    )
    return await find(tx, id)


def _unknown(id: str) -> Problem:
    return not_found(f"there is no agreement {id}", code="unknown_agreement")
