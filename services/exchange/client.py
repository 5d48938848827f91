"""How the domains read each other's data: through the exchange, under an agreement."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
from joserfc.jwk import KeySet

from services.exchange.open_client import OpenDataClient
from services.exchange.person_client import PersonClient
from services.exchange.shapes import (
    AGREEMENT_HEADER,
    CONSUMER_HEADER,
    Agreement,
    AgreementFile,
    AgreementPage,
    AgreementRequest,
    Dataset,
    DatasetPage,
    Department,
    Push,
    PushPage,
    ReadPage,
    Standing,
    State,
    SubscriptionPage,
)
from services.kit import signatures
from services.kit.calls import Calls, DomainError, Token

READ_DEADLINE_S = 60.0


class ExchangeClient(PersonClient, OpenDataClient):
    def __init__(self, calls: Calls, token: Token = None) -> None:
        super().__init__(calls, token)
        self._keys: KeySet | None = None

    async def read(self, dataset: str, *, limit: int = 5000) -> AsyncIterator[list[dict[str, Any]]]:
        """All rows of a dataset that the calling service has an agreement for, in batches.

        Each batch holds the agreed items only, with people under the calling service's own sector ids.

        Args:
            dataset: provider and name, e.g. `health.deaths`.

        Raises:
            DomainError: FORBIDDEN (`problem["code"]` is `no_agreement`) without an agreement in force, also
                in the middle when it was suspended; RATE_LIMITED when the day's quota is used up;
                SERVICE_UNAVAILABLE when the provider does not answer; INTERNAL (`bad_signature`) for an
                answer that the exchange did not sign, or not as it arrived.
        """
        after: str | None = None
        while True:
            page = await self.page(dataset, after=after, limit=limit)
            if page.rows:
                yield page.rows
            if page.next is None:
                return
            after = page.next

    async def page(self, dataset: str, *, after: str | None = None, limit: int = 5000) -> ReadPage:
        """One batch, for callers that keep their place themselves."""
        params: dict[str, Any] = {"limit": limit} | ({"after": after} if after is not None else {})
        response = await self.calls.request(
            self.service,
            "GET",
            f"/exchange/reads/{dataset}",
            token=self.token,
            params=params,
            deadline_s=READ_DEADLINE_S,
        )
        await self._verify(response)
        return ReadPage.model_validate_json(response.content)

    async def settled(self, dataset: str) -> str | None:
        """The agreement under which all there is of a dataset was pushed to the calling service; None when
        only reading shows it.

        Raises:
            DomainError: exchange or provider does not answer.
        """
        page = SubscriptionPage.model_validate(await self.get("/exchange/subscriptions", {"limit": 100}))
        for one in page.items:
            if one.dataset == dataset and one.state == "active" and one.in_force:
                standing = await self.get(f"/exchange/subscriptions/{one.id}/standing")
                found = Standing.model_validate(standing)
                return found.agreement if found.settled else None
        return None

    async def _verify(self, response: httpx.Response) -> None:
        """With the exchange's published keys, asked for once more when they do not fit: they may be new."""
        asked = response.request.url
        for known in (self._keys, None):
            keys = known or await self._fetch_keys()
            try:
                signatures.verify(
                    keys,
                    response.content,
                    path=asked.path,
                    query=asked.query.decode(),
                    headers=response.headers,
                    covering=[AGREEMENT_HEADER, CONSUMER_HEADER],
                )
                if response.headers[CONSUMER_HEADER] != self.calls.service:
                    raise signatures.BadSignature("it was given to another service")
            except signatures.BadSignature as error:
                if known is not None:
                    continue
                detail = "the answer is not signed as what the exchange sends; it is not used"
                problem = {"code": "bad_signature"}
                raise DomainError(self.service, "INTERNAL", detail, problem=problem) from error
            return

    async def _fetch_keys(self) -> KeySet:
        response = await self.calls.request(self.service, "GET", "/exchange/keys", anonymous=True)
        self._keys = KeySet.import_key_set(response.json())
        return self._keys

    async def datasets(self, *, after: str | None = None, limit: int = 100) -> DatasetPage:
        answer = await self.get("/exchange/datasets", {"after": after, "limit": limit})
        return DatasetPage.model_validate(answer)

    async def dataset(self, id: str) -> Dataset:
        return Dataset.model_validate(await self.get(f"/exchange/datasets/{quote(id, safe='')}"))

    async def agreements(
        self, *, state: State | None = None, after: str | None = None, limit: int = 100
    ) -> AgreementPage:
        answer = await self.get("/exchange/agreements", {"state": state, "after": after, "limit": limit})
        return AgreementPage.model_validate(answer)

    async def agreement(self, id: str) -> AgreementFile:
        """With the steps it took and its use by day."""
        return AgreementFile.model_validate(await self.get(f"/exchange/agreements/{quote(id, safe='')}/file"))

    async def request_agreement(self, request: AgreementRequest) -> Agreement:
        answer = await self.post("/exchange/agreements", request.model_dump(mode="json"))
        return Agreement.model_validate(answer)

    async def decide_agreement(self, id: str, *, approve: bool, reason: str) -> Agreement:
        return await self._step(id, "decision", {"approve": approve, "reason": reason})

    async def suspend_agreement(self, id: str, reason: str) -> Agreement:
        return await self._step(id, "suspension", {"reason": reason})

    async def resume_agreement(self, id: str, reason: str) -> Agreement:
        return await self._step(id, "resumption", {"reason": reason})

    async def end_agreement(self, id: str, reason: str) -> Agreement:
        return await self._step(id, "end", {"reason": reason})

    async def _step(self, id: str, what: str, body: dict[str, Any]) -> Agreement:
        return Agreement.model_validate(
            await self.post(f"/exchange/agreements/{quote(id, safe='')}/{what}", body)
        )

    async def pushes(self, *, after: str | None = None, limit: int = 100) -> PushPage:
        return PushPage.model_validate(await self.get("/exchange/pushes", {"after": after, "limit": limit}))

    async def change_push(self, id: str, change: str, reason: str) -> Push:
        """`change` is pause, resumption or retelling."""
        return Push.model_validate(
            await self.post(f"/exchange/pushes/{quote(id, safe='')}/{change}", {"reason": reason})
        )

    async def departments(self) -> list[Department]:
        return [Department.model_validate(one) for one in await self.get("/exchange/departments")]
