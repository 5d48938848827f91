"""How other services and the gateway call identity."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.identity.match_shapes import (
    CandidatesAnswer,
    CandidatesRequest,
    LinkageRun,
    LinkageRunPage,
    MatchDecision,
    MatchReview,
    MatchReviewPage,
    MatchState,
    PersonCandidate,
)
from services.identity.shapes import (
    RESOLVE_LIMIT,
    SECTOR_IDS_LIMIT,
    TRANSLATE_LIMIT,
    Accepted,
    AccountAnswer,
    AccountRequest,
    ClientAnswer,
    ClientRequest,
    GuardianshipPush,
    KnownWard,
    Me,
    MergedIdsPage,
    Organisation,
    OrganisationPage,
    OrganisationPush,
    PersonPush,
    Place,
    PlacePage,
    PlacePush,
    ResolveAnswer,
    Resolved,
    SealAnswer,
    SectorIdsAnswer,
    TranslateAnswer,
    WardsAnswer,
)
from services.kit.calls import DomainError, ServiceClient

RESOLVE_DEADLINE_S = 30.0


class IdentityClient(ServiceClient):
    """Who people are, in the sector of the service that asks."""

    service = "identity"

    async def resolve(
        self, people: Sequence[PersonPush], *, organisation: str | None, create: bool = True
    ) -> list[Resolved]:
        """Each person's id in the calling service's sector, in the order given.

        `organisation` is whose records these are: local identifiers name people among its own only.

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
            asked = {"people": part, "create": create} | (
                {"organisation": organisation} if organisation else {}
            )
            answer = await self.post("/identity/resolve", asked, deadline_s=RESOLVE_DEADLINE_S)
            found += ResolveAnswer.model_validate(answer).people
        return found

    async def candidates(
        self, person: PersonPush, *, organisation: str | None, limit: int
    ) -> list[PersonCandidate]:
        """Whom a record may be about, the likeliest first, among those the calling service's sector knows by
        an id already; nothing is made or changed.

        Raises:
            DomainError: an identifier cannot be right (BAD_USER_INPUT), or identity does not answer.
        """
        asked = CandidatesRequest(person=person, organisation=organisation, limit=limit)
        answer = await self.post("/identity/candidates", asked.model_dump(mode="json", exclude_none=True))
        return CandidatesAnswer.model_validate(answer).candidates

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

    async def sector_ids(
        self, ids: Sequence[str], *, to: Sequence[str], source: str = "exchange", purpose: str | None = None
    ) -> list[dict[str, list[str]] | None]:
        """For each of the exchange's ids all ids the person has had in these sectors, the current one first;
        None where there is nobody.

        For the exchange alone (scope identity:sector-ids:read).
        """
        found: list[dict[str, list[str]] | None] = []
        for start in range(0, len(ids), SECTOR_IDS_LIMIT):
            part = list(ids[start : start + SECTOR_IDS_LIMIT])
            asked = {"from": source, "to": list(to), "ids": part, "purpose": purpose}
            answer = await self.post("/identity/sector-ids", asked)
            found += SectorIdsAnswer.model_validate(answer).ids
        return found

    async def merged_ids(self) -> dict[str, str]:
        """Of the calling service's own ids those that go by another one now, and by which: their people were
        decided to be one. Everything else that identity or the exchange answers gives the latter."""
        found: dict[str, str] = {}
        asked: dict[str, Any] = {"limit": TRANSLATE_LIMIT}
        while True:
            page = MergedIdsPage.model_validate(await self.get("/identity/sector-ids/merged", asked))
            found |= {one.id: one.now for one in page.items}
            if page.next is None:
                return found
            asked["after"] = page.next

    async def sealed_ids(self, ids: Sequence[str], *, target: str) -> list[str | None]:
        """The people behind the calling service's own ids as `target` knows them, for `target` alone to read.

        What is handed on so carries no id of either sector in clear.
        """
        answer = await self.post("/identity/sector-ids/sealed", {"target": target, "ids": list(ids)})
        return SealAnswer.model_validate(answer).sealed

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

    async def wards(self, guardian: str) -> list[KnownWard]:
        """Whom a person stands for today, by ids of the calling service's sector (identity:wards:read)."""
        answer = await self.post("/identity/wards", {"guardian": guardian})
        return WardsAnswer.model_validate(answer).wards

    async def organisations(self, codes: Sequence[str]) -> dict[str, Organisation]:
        """Those of the organisations that are registered, by unified social credit code."""
        known: dict[str, Organisation] = {}
        for start in range(0, len(codes), 100):
            part = list(codes[start : start + 100])
            answer = await self.get("/identity/organisations", {"codes": part, "limit": 100})
            known |= {found.uscc: found for found in OrganisationPage.model_validate(answer).items}
        return known

    async def match_reviews(
        self, *, state: MatchState = "open", first: int = 20, after: str | None = None
    ) -> MatchReviewPage:
        """Pairs that may be one person, in a clerk's areas (scope identity:matches:decide), oldest first."""
        asked = {"state": state, "limit": first} | ({"after": after} if after else {})
        return MatchReviewPage.model_validate(await self.get("/identity/match-reviews", asked))

    async def match_review(self, id: UUID) -> MatchReview:
        return MatchReview.model_validate(await self.get(f"/identity/match-reviews/{id}"))

    async def decide_match(self, id: UUID, decision: MatchDecision, reason: str) -> MatchReview:
        """A clerk's word; `same` proposes that the two are one person, or confirms another's proposal."""
        said = {"decision": decision, "reason": reason}
        return MatchReview.model_validate(await self.post(f"/identity/match-reviews/{id}/decision", said))

    async def merge(self, person: str, other: str, reason: str) -> MatchReview:
        """Two people, as `MatchSide.person` names them, proposed to be one, or confirmed."""
        said = {"person": person, "other": other, "reason": reason}
        return MatchReview.model_validate(await self.post("/identity/merges", said))

    async def unmerge(self, id: UUID, reason: str) -> MatchReview:
        """Takes back that a pair is one person."""
        answer = await self.post(f"/identity/match-reviews/{id}/unmerge", {"reason": reason})
        return MatchReview.model_validate(answer)

    async def start_linkage(self) -> LinkageRun:
        """A look through the whole register for doubles; the one under way, if there is one."""
        return LinkageRun.model_validate(await self.post("/identity/linkage/runs", {}))

    async def linkage_runs(self, *, first: int = 20, after: str | None = None) -> LinkageRunPage:
        asked = {"limit": first} | ({"after": after} if after else {})
        return LinkageRunPage.model_validate(await self.get("/identity/linkage/runs", asked))

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
