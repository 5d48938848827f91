"""What became of backups, drills, restores and promotions: kept, and a leaf of the log they are about."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.audit import repository
from services.audit.shapes import Outcome, OutcomeKind, OutcomePage
from services.kit.app import Kit
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Transaction
from services.kit.operations import shapes as operations
from services.kit.problems import Problem

ACTIONS: dict[OutcomeKind, str] = {
    "backup": "backup.made",
    "drill": "drill.done",
    "restore": "log.restored",
    "promote": "standby.promoted",
    "standby": "standby.followed",
}


async def tell(tx: Transaction, outcome: Outcome) -> Outcome:
    """Keeps it once, with its leaf; what is known already is answered as it was told.

    Raises:
        Problem: 409, the id was used for another outcome.
    """
    if not await repository.keep_outcome(tx, outcome):
        known = await repository.outcome(tx, outcome.id)
        if known != outcome:
            raise Problem(409, "outcome_differs", f"outcome {outcome.id} was told before, and differently")
        return known
    words = outcome.detail if outcome.ok else f"failed: {outcome.detail}"
    await tx.leaf(
        action=ACTIONS[outcome.kind],
        resource=f"{outcome.kind}/{outcome.id}",
        reason=f"{outcome.at.isoformat()} {words}",
    )
    return outcome


async def page(db: Connection, *, kind: OutcomeKind | None, after: str | None, limit: int) -> OutcomePage:
    """Newest first.

    Raises:
        Problem: 400, the cursor is none of this list's.
    """
    behind: tuple[datetime, UUID] | None = None
    if after is not None:
        at, number = decode_cursor(after, 2)
        try:
            behind = datetime.fromisoformat(at), UUID(number)
        except ValueError as error:
            raise bad_cursor() from error
        if behind[0].tzinfo is None:
            raise bad_cursor()
    found = await repository.outcomes(db, kind, behind, limit)
    last = found[-1] if len(found) == limit else None
    return OutcomePage(items=found, next=encode_cursor(last.at.isoformat(), last.id) if last else None)


async def for_operators(_kit: Kit, db: Connection) -> dict[str, Any]:
    """How the newest of each kind ended."""
    newest = await repository.newest_outcomes(db)
    return {"outcomes": [operations.Outcome(**one.model_dump(exclude={"id"})) for one in newest]}
