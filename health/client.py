"""How the gateway calls health."""

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from health.shapes import (
    QUERIES_MAX,
    AccessReview,
    AccessReviewPage,
    EmergencyAccess,
    EmergencyAccessPage,
    EmergencyRequest,
    Objection,
    RecordPage,
    RecordPages,
    RecordQuery,
    ReviewDecision,
    ReviewState,
    TreatmentClaimPage,
)
from services.kit.calls import DomainError, ServiceClient


class HealthClient(ServiceClient):
    """A person's own health record (the token carries the person's sector id), and what staff do with one."""

    service = "health"

    async def records(self, queries: Sequence[RecordQuery]) -> list[RecordPage | DomainError | None]:
        """Pages of records, in the order asked; however many, in one call for each 32 of the same person.

        Raises:
            DomainError: the service refuses (BAD_USER_INPUT for a cursor it did not give out) or does not
                answer.
        """
        found: dict[RecordQuery, RecordPage | DomainError | None] = {}
        for patient in dict.fromkeys(query.patient for query in queries):
            of_one = [query for query in queries if query.patient == patient]
            for start in range(0, len(of_one), QUERIES_MAX):
                part = of_one[start : start + QUERIES_MAX]
                found |= zip(part, await self._pages(patient, part), strict=True)
        return [found[query] for query in queries]

    async def _pages(self, patient: str | None, queries: Sequence[RecordQuery]) -> list[RecordPage]:
        asked = [{k: v for k, v in asdict(query).items() if k != "patient"} for query in queries]
        if patient is None:
            answer = await self.post("/health/records/me", {"queries": asked})
        else:
            answer = await self.post("/health/records/patients", {"patient": patient, "queries": asked})
        return RecordPages.model_validate(answer).pages

    async def open_record(self, asked: EmergencyRequest) -> EmergencyAccess:
        """Opens a patient's record in an emergency.

        Raises:
            DomainError: FORBIDDEN for who may not, NOT_FOUND for no such patient.
        """
        answer = await self.post("/health/emergency-accesses", asked.model_dump(mode="json"))
        return EmergencyAccess.model_validate(answer)

    async def emergency_accesses(self, *, first: int, after: str | None = None) -> EmergencyAccessPage:
        """Who opened the caller's own record in an emergency, the latest first."""
        found = await self.get("/health/emergency-accesses/me", {"first": first, "after": after})
        return EmergencyAccessPage.model_validate(found)

    async def treatment_claims(self, *, first: int, after: str | None = None) -> TreatmentClaimPage:
        """Who says that they treat the caller, by organisation."""
        found = await self.get("/health/treatment-claims/me", {"first": first, "after": after})
        return TreatmentClaimPage.model_validate(found)

    async def object_to_treatment(self, said: Objection) -> None:
        """Says that an organisation does not treat the caller, or takes that back.

        Raises:
            DomainError: NOT_FOUND when it does not say so.
        """
        await self.post("/health/treatment-claims/me/objections", said.model_dump(mode="json"))

    async def access_reviews(
        self, *, state: ReviewState | None = None, first: int, after: str | None = None
    ) -> AccessReviewPage:
        """Reviews of emergency accesses at the caller's organisation, the oldest first."""
        found = await self.get("/health/access-reviews", {"state": state, "first": first, "after": after})
        return AccessReviewPage.model_validate(found)

    async def decide_review(self, id: UUID, said: ReviewDecision) -> AccessReview:
        """Whether an emergency access was justified.

        Raises:
            DomainError: FORBIDDEN, NOT_FOUND, or CONFLICT when it was decided already.
        """
        answer = await self.post(f"/health/access-reviews/{id}/decision", said.model_dump(mode="json"))
        return AccessReview.model_validate(answer)
