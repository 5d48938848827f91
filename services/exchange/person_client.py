"""What the exchange says of one person: usages, reports about them, consents."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.exchange.person_shapes import (
    Consent,
    ConsentAnswer,
    ConsentPage,
    ConsentRequest,
    Receipt,
    Report,
    ReportPage,
    ReportRequest,
    ReportState,
    UsagePage,
    Wards,
)
from services.kit.calls import ServiceClient


class PersonClient(ServiceClient):
    """Part of `ExchangeClient`."""

    service = "exchange"

    async def consents(
        self,
        *,
        organisation: str,
        purpose: str,
        ids: Sequence[str],
        action: str | None = None,
        dataset: str | None = None,
    ) -> list[bool]:
        """For each of the calling service's own people whether their consent covers this now.

        To be asked for each access, within its own deadline: a consent revoked a moment ago is none.

        Args:
            organisation: who would have the data; its unified social credit code.
            purpose: a code of services/kit/purposes.py.
            action: as the leaf will name it, e.g. `fhir.read`; or say a dataset.

        Raises:
            DomainError: the exchange does not answer: then there is no consent to rest on.
        """
        body = {"organisation": organisation, "purpose": purpose, "ids": list(ids)}
        body |= {name: value for name, value in (("action", action), ("dataset", dataset)) if value}
        return ConsentAnswer.model_validate(await self.post("/exchange/consents/check", body)).in_force

    async def my_usages(
        self, *, ward: str | None = None, own: bool = True, after: str | None = None, limit: int = 100
    ) -> UsagePage:
        params = {"ward": ward, "own": own, "after": after, "limit": limit}
        return UsagePage.model_validate(await self.get("/exchange/usages/me", params, deadline_s=30.0))

    async def my_wards(self) -> Wards:
        return Wards.model_validate(await self.get("/exchange/wards/me"))

    async def report_usage(self, request: ReportRequest) -> Report:
        answer = await self.post("/exchange/usage-reports", request.model_dump(mode="json"))
        return Report.model_validate(answer)

    async def my_reports(
        self, *, ward: str | None = None, after: str | None = None, limit: int = 100
    ) -> ReportPage:
        params = {"ward": ward, "after": after, "limit": limit}
        return ReportPage.model_validate(await self.get("/exchange/usage-reports/me", params))

    async def reports_to_answer(
        self, *, state: ReportState | None = None, after: str | None = None, limit: int = 100
    ) -> ReportPage:
        params = {"state": state, "after": after, "limit": limit}
        return ReportPage.model_validate(await self.get("/exchange/usage-reports", params))

    async def answer_report(self, id: UUID, words: str) -> Report:
        return await self._report(id, "answer", {"words": words})

    async def close_report(self, id: UUID) -> Report:
        return await self._report(id, "closing", None)

    async def _report(self, id: UUID, what: str, body: Any) -> Report:
        return Report.model_validate(await self.post(f"/exchange/usage-reports/{id}/{what}", body))

    async def give_consent(self, request: ConsentRequest) -> Consent:
        answer = await self.post("/exchange/consents", request.model_dump(mode="json"))
        return Consent.model_validate(answer)

    async def revoke_consent(self, id: UUID) -> Consent:
        return Consent.model_validate(await self.post(f"/exchange/consents/{id}/revocation"))

    async def my_consents(
        self, *, ward: str | None = None, after: str | None = None, limit: int = 100
    ) -> ConsentPage:
        params = {"ward": ward, "after": after, "limit": limit}
        return ConsentPage.model_validate(await self.get("/exchange/consents/me", params))

    async def consent_receipt(self, id: UUID) -> Receipt:
        found: Receipt = await self.get(f"/exchange/consents/{id}/receipt")
        return found
