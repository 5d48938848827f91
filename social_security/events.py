"""What social security publishes."""

from uuid import UUID

from services.kit.events.declared import Data, Declared
from social_security.shapes import FileReceipt, RuleOutcome, RunStatus


class ImportAccepted(Data):
    """A push of contributions, payments or claims: what was taken of each file."""

    receipt_id: UUID
    sha256: str
    files: list[FileReceipt]


class AuditRunFinished(Data):
    """A benefit audit: what each of its rules came to."""

    id: UUID
    status: RunStatus
    outcomes: list[RuleOutcome]


EVENTS = (
    Declared("social_security.import.accepted", ImportAccepted, "A push was taken in. 数据已接收。"),
    Declared("social_security.audit_run.finished", AuditRunFinished, "A benefit audit ended. 稽核已完成。"),
)
