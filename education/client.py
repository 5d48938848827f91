"""How the gateway and other services call education."""

from education.shapes import LearningRecord
from services.kit.calls import DomainError, ServiceClient

CLASSES_IN_RECORD = 50


class EducationClient(ServiceClient):
    """Learners' records. Calls carry the session's token; what comes back is what its person may see."""

    service = "education"

    async def my_record(self, *, first: int = CLASSES_IN_RECORD, after: str | None = None) -> LearningRecord:
        """The session's own lifelong record; `first` and `after` page through its classes."""
        answer = await self.get("/education/records/me", {"first": first, "after": after})
        return LearningRecord.model_validate(answer)

    async def my_records(
        self, keys: list[tuple[int, str | None]]
    ) -> list[LearningRecord | DomainError | None]:
        """`my_record` for the gateway's loader: a key is (first, after); equal keys travel once."""
        return [await self.my_record(first=first, after=after) for first, after in keys]
