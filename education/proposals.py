"""A person's word on what a push no longer mentioned: end it, or keep it."""

from datetime import UTC, datetime
from uuid import UUID

from education.imports import SCHOOL_TIME
from education.repository import episodes, intake, people, roster, staging
from education.repository.tables import TABLES
from education.shapes import Decision
from education.stages import STAGE_OF_GRADE
from services.kit.database import Transaction
from services.kit.problems import conflict, not_found


async def decide(tx: Transaction, *, source: str, proposal_id: UUID, decision: Decision) -> UUID:
    """Ends the proposed rows, or lets them stand. Returns the import that the proposal came from.

    Raises:
        Problem: 404 when it is not the sender's; 409 when it was decided already, or a later push settled it.
    """
    await staging.begin(tx, source)
    row = await intake.proposal_for_decision(tx, source, proposal_id)
    if row is None:
        raise not_found("there is no such proposal of yours")
    if row["status"] != "open":
        raise conflict(
            "already_decided", f"the proposal is {row['status']} since {row['decided_at']:%F %R} UTC"
        )
    confirmed = decision.decision == "confirm"
    ended = 0
    if confirmed:
        ended = await roster.end_proposed(tx, TABLES[row["table_name"]], row)
        today = datetime.now(UTC).astimezone(SCHOOL_TIME).date()
        await episodes.refresh(tx, source, row["import_id"], today=today, stages=STAGE_OF_GRADE)
    await intake.decide(
        tx,
        proposal_id,
        status="confirmed" if confirmed else "rejected",
        decided_by=decision.decided_by,
        note=decision.note,
    )
    await tx.leaf(
        action=f"education.roster.{decision.decision}",
        subjects=await people.subjects(tx, source) or None,
        records=ended,
        resource=f"proposal/{proposal_id}",
        reason=decision.note,
    )
    import_id = row["import_id"]
    assert isinstance(import_id, UUID)
    return import_id
