"""How other services and the gateway call identity."""

from collections.abc import Sequence
from typing import Any

from services.identity.shapes import (
    RESOLVE_LIMIT,
    TRANSLATE_LIMIT,
    Accepted,
    AccountAnswer,
    AccountRequest,
    ClientAnswer,
    ClientRequest,
    GuardianshipPush,
    Me,
    OrganisationPush,
    PersonPush,
    Place,
    PlacePage,
    PlacePush,
    ResolveAnswer,
    Resolved,
    TranslateAnswer,
)
from services.kit.calls import DomainError, ServiceClient

RESOLVE_DEADLINE_S = 30.0


class IdentityClient(ServiceClient):
    """Who people are, in the sector of the service that asks."""

    service = "identity"

    async def resolve(self, people: Sequence[PersonPush], *, create: bool = True) -> list[Resolved]:
        """Each person's id in the calling service's sector, in the order given.

        Any number of people; they travel in batches of 2,000, one after the other, and each batch is one
        commit. Refs must differ. A person that cannot be told has no `sector_id`; `outcome`, `code` and
        `problem` say why. Sending the same people again changes nothing.

        Raises:
            DomainError: identity refuses the batch (BAD_USER_INPUT) or does not answer.
        """
        found: list[Resolved] = []
        for start in range(0, len(people), RESOLVE_LIMIT):
            part = [
                push.model_dump(mode="json", exclude_none=True)
                for push in people[start : start + RESOLVE_LIMIT]
            ]
            answer = await self.post(
                "/identity/resolve", {"people": part, "create": create}, deadline_s=RESOLVE_DEADLINE_S
            )
            found += ResolveAnswer.model_validate(answer).people
        return found

    async def translate(self, ids: Sequence[str], *, source: str, target: str) -> list[str | None]:
        """Sector ids of `source` as `target` knows the same people, in order; None where there is nobody.

        For the exchange alone.
        """
        found: list[str | None] = []
        for start in range(0, len(ids), TRANSLATE_LIMIT):
            part = list(ids[start : start + TRANSLATE_LIMIT])
            answer = await self.post("/identity/translate", {"from": source, "to": target, "ids": part})
            found += TranslateAnswer.model_validate(answer).ids
        return found

    async def register_persons(self, people: Sequence[PersonPush]) -> list[Resolved]:
        """The population registry's people (scope identity:persons:write); at most 2,000 a call."""
        part = [push.model_dump(mode="json", exclude_none=True) for push in people]
        answer = await self.post("/identity/persons", {"people": part}, deadline_s=RESOLVE_DEADLINE_S)
        return ResolveAnswer.model_validate(answer).people

    async def me(self) -> Me:
        """The session's own entry in the population register."""
        return Me.model_validate(await self.get("/identity/persons/me"))

    async def mine(self, keys: list[str]) -> list[Me | DomainError | None]:
        """`me` for the gateway's loader: however many fields ask, one call answers."""
        found = await self.me()
        return [found for _ in keys]

    async def places(self, codes: Sequence[str]) -> list[Place | None]:
        """The areas with these codes, in the order given."""
        known: dict[str, Place] = {}
        for start in range(0, len(codes), 100):
            part = list(codes[start : start + 100])
            answer = await self.get("/identity/places", {"codes": part, "limit": 100})
            known |= {place.code: place for place in PlacePage.model_validate(answer).items}
        return [known.get(code) for code in codes]

    async def add_client(self, request: ClientRequest) -> ClientAnswer:
        return ClientAnswer.model_validate(await self._sent("/identity/clients", request))

    async def add_account(self, request: AccountRequest) -> AccountAnswer:
        return AccountAnswer.model_validate(await self._sent("/identity/accounts", request))

    async def add_organisations(self, pushes: Sequence[OrganisationPush]) -> Accepted:
        return await self._registered("/identity/organisations", "organisations", pushes)

    async def add_places(self, pushes: Sequence[PlacePush]) -> Accepted:
        return await self._registered("/identity/places", "places", pushes)

    async def add_guardianships(self, pushes: Sequence[GuardianshipPush]) -> Accepted:
        return await self._registered("/identity/guardianships", "guardianships", pushes)

    async def _sent(self, path: str, request: ClientRequest | AccountRequest) -> Any:
        return await self.post(path, request.model_dump(mode="json", exclude_none=True))

    async def _registered(
        self,
        path: str,
        name: str,
        pushes: Sequence[OrganisationPush] | Sequence[PlacePush] | Sequence[GuardianshipPush],
    ) -> Accepted:
        body = {name: [push.model_dump(mode="json", exclude_none=True) for push in pushes]}
        return Accepted.model_validate(await self.post(path, body))
