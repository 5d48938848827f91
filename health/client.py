"""How the gateway calls health."""

from collections.abc import Sequence
from dataclasses import asdict

from health.shapes import QUERIES_MAX, RecordPage, RecordPages, RecordQuery
from services.kit.calls import DomainError, ServiceClient


class HealthClient(ServiceClient):
    """A person's own health record; the token carries the person's sector id."""

    service = "health"

    async def records(self, queries: Sequence[RecordQuery]) -> list[RecordPage | DomainError | None]:
        """Pages of the person's record, in the order asked; however many, in one call for each 32.

        Raises:
            DomainError: the service refuses (BAD_USER_INPUT for a cursor it did not give out) or does not
                answer.
        """
        found: list[RecordPage | DomainError | None] = []
        for start in range(0, len(queries), QUERIES_MAX):
            part = [asdict(query) for query in queries[start : start + QUERIES_MAX]]
            answer = await self.post("/health/records/me", {"queries": part})
            found += RecordPages.model_validate(answer).pages
        return found
