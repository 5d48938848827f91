"""`Patient/$match`: which patients a Patient may be, as the population register weighs them.

FHIR R4 patient-operation-match.html. The register is asked without anything being kept there; of whom it
names, the caller is told of those Patients that a search would show it, and of nobody else.
"""

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from health import repository
from health.fhir import access, text
from health.fhir.interactions import Fhir, Reply
from health.fhir.negotiation import check_content
from health.fhir.operations.parameters import given, whole
from health.fhir.operations.results import searchset
from health.fhir.outcome import Issue, Refusal, refused
from health.fhir.patient import person_of
from health.fhir.routing import FhirDep, FhirRoute, response
from health.reaching import Reach
from health.repository import fitting
from services.identity.client import IdentityClient
from services.identity.match_shapes import CANDIDATES_MAX, PersonCandidate
from services.identity.shapes import Identifier, PersonPush
from services.kit.calls import DomainError
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=FhirRoute, tags=["FHIR R4"])

PER_MINUTE = 60
"""Questions of one client. Somebody who registers patients asks less; somebody who fishes for them more."""
DEFAULT, MOST = 10, 100
GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
_TAKES = {"resource": "resource", "onlyCertainMatches": "boolean", "count": "integer"}


@router.post("/Patient/$match")
async def match(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The Patients that a Patient may be, the likeliest first, each with its score and grade."""
    check_content(request)
    reach = access.reach(fhir.kit.policy, who, "Patient", "s")
    if reach.sector_ids:
        raise refused(403, "forbidden", "a person asks for their own record alone; this matches patients")
    patient, certain, count = await _asked(request)
    await _bounded(fhir, who)
    person = await _person(fhir, patient)
    identity = fhir.kit.calls.client(IdentityClient)
    try:
        found = await identity.candidates(person, organisation=who.organisation, limit=CANDIDATES_MAX)
    except DomainError as error:
        if error.code != "BAD_USER_INPUT":
            raise
        raise refused(422, "business-rule", str(error), "Patient.identifier") from error
    if certain:
        found = [one for one in found if one.grade == "certain"]
        count = 1
    return response(Reply(await _answer(fhir, who, reach, found, count)))


async def _asked(request: Request) -> tuple[dict[str, Any], bool, int]:
    """The Patient, whether only one that is certain is wanted, and how many."""
    found = await given(request, _TAKES, alone=("resource", "Patient"))
    if not found["resource"]:
        raise refused(400, "required", "send the Patient to be matched", "Parameters.parameter")
    count = whole(found["count"], "count", least=1) or DEFAULT
    return found["resource"][0], found["onlyCertainMatches"] == ["true"], min(count, MOST)


async def _bounded(fhir: Fhir, who: Principal) -> None:
    """Raises Refusal 429 where a client asks more often than anybody has patients to register."""
    minute, passed = divmod(int(time.time()), 60)
    key = f"health:match:{who.client_id}:{who.subject}:{minute}"
    asked = await fhir.kit.redis.incr(key)
    await fhir.kit.redis.expire(key, 120)
    if asked > PER_MINUTE:
        words = f"more than {PER_MINUTE} matches a minute"
        raise Refusal(429, [Issue("throttled", words)], headers={"Retry-After": str(60 - passed)})


async def _person(fhir: Fhir, patient: dict[str, Any]) -> PersonPush:
    _, issues = await fhir.workers.validate(text.written(patient).encode(), "Patient")
    wrong = [issue for issue in issues if issue.severity in {"error", "fatal"}]
    if wrong:
        raise Refusal(400, wrong)
    facts = person_of(patient)
    push = PersonPush(
        ref="match",
        identifiers=[Identifier(**one) for one in facts["identifiers"]],
        **{name: facts[name] for name in ("name", "birth_date", "sex", "area", "phone") if name in facts},
    )
    if not push.identifiers and (push.name is None or (push.birth_date is None and push.phone is None)):
        words = "say an identifier, or the name with the birth date or a telephone number"
        raise refused(400, "required", words, "Patient")
    return push


async def _answer(
    fhir: Fhir, who: Principal, reach: Reach, found: Sequence[PersonCandidate], count: int
) -> bytes:
    by_id = {id: candidate for candidate in found for id in candidate.sector_ids}
    async with fhir.kit.db.session() as db:
        rows = await repository.patients_about(db, reach, list(by_id), limit=MOST)
        kept = await repository.kept(db, list(by_id))
    rows.sort(key=lambda row: -by_id[row["sector_id"]].score)
    shown = fitting.page(rows, count)
    path = "Patient/$match"
    await access.leave(fhir.kit, who, "fhir.search", shown, resource=path)
    unseen = sorted(kept - {row["sector_id"] for row in rows})
    if unseen:
        # Whoever looks for somebody it has nothing to do with stands in that person's own list.
        assert fhir.kit.leaves is not None
        about: dict[str, Any] = {"subjects": unseen} if len(unseen) > 1 else {"subject": unseen[0]}
        fhir.kit.leaves.add(
            who,
            action="fhir.search",
            resource=path,
            records=0,
            reason=access.NO_TIE,
            outcome="refused",
            **about,
        )
    return searchset(fhir.base, path, ((_search(by_id[row["sector_id"]]), row) for row in shown))


def _search(candidate: PersonCandidate) -> dict[str, Any]:
    return {
        "extension": [{"url": GRADE, "valueCode": candidate.grade}],
        "mode": "match",
        "score": candidate.score,
    }
