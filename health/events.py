"""What health publishes: no event carries a patient's id."""

from datetime import datetime
from typing import Literal

from services.kit.events.declared import Data, Declared


class RecordsAccepted(Data):
    """A push of records.

    Attributes:
        batch: SHA-256 of what was pushed.
        types: how many resources of each type.
        history: root of the tree over the histories' links the push made.
    """

    batch: str
    count: int
    types: dict[str, int]
    history: str


class EmergencyAccess(Data):
    """A record opened without the patient's say, to save a life.

    Attributes:
        recipient: the patient as notify knows them, sealed to notify.
        due_at: by when the review is to be decided.
        state: what the review came to.
    """

    id: str
    organisation: str
    ends_at: datetime | None = None
    due_at: datetime | None = None
    recipient: str | None = None
    state: Literal["justified", "unjustified"] | None = None


class TreatmentClaimed(Data):
    """An organisation treats a person by its own records, which opens those of others to it.

    Attributes:
        recipient: the person as notify knows them, sealed to notify.
    """

    organisation: str
    recipient: str


EVENTS = (
    Declared("health.treatment.claimed", TreatmentClaimed, "Somebody says they treat. 诊疗关系已登记。"),
    Declared("health.records.accepted", RecordsAccepted, "Records were taken in. 病历已接收。"),
    Declared("health.emergency_access.opened", EmergencyAccess, "A record was opened. 紧急调阅已开启。"),
    Declared("health.emergency_access.decided", EmergencyAccess, "It was reviewed. 紧急调阅已复核。"),
    Declared(
        "health.emergency_access.overdue", EmergencyAccess, "Nobody reviewed it in time. 紧急调阅复核超期。"
    ),
)
