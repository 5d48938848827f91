"""Estonia's usage list (e-gov/AJ, OpenAPI 2.1.0): `/v2/findUsage`, `/v2/usagePeriod`, `/v2/heartbeat`.

A people's portal asks each register and keeps nothing. `userCode` is how the exchange knows a person: it
stands in an address, so a citizen number in its place is refused, unread and unrepeated. The standard knows
the errors 400 and 500 alone; who may ask is settled before it, by 401 and 403.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Header, Query
from pydantic import AwareDatetime
from starlette.responses import JSONResponse, Response

from services.audit.client import AuditClient
from services.audit.shapes import USAGES_LIMIT
from services.exchange import usage
from services.exchange.person_shapes import Usage
from services.kit.app import Kit, KitDep, Router, standard_app
from services.kit.calls import DomainError
from services.kit.principals import Principal, allowed
from services.kit.problems import MEDIA_TYPE, Problem, bad_request

Portal = Annotated[Principal, allowed("exchange:usages:find", "exchange:usages:read")]
CODE = re.compile(r"h1_[A-Z2-7]{26}")
router = Router(tags=["usage list"])


def render(problem: Problem) -> Response:
    """The standard's own statuses; the words stay."""
    status = problem.status
    if status >= 500:
        status = 500
    elif status not in (401, 403, 404, 405, 429):
        status = 400
    body = {**problem.body(), "status": status}
    return JSONResponse(body, status, headers=problem.headers, media_type=MEDIA_TYPE)


@router.get("/findUsage")
async def find_usage(
    kit: KitDep,
    who: Portal,
    user_code: Annotated[str, Query(alias="userCode", max_length=200)],
    user_id: Annotated[str, Header(alias="X-Road-UserId", max_length=200)],
    period_start: Annotated[AwareDatetime | None, Query(alias="periodStart")] = None,
    period_end: Annotated[AwareDatetime | None, Query(alias="periodEnd")] = None,
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=0, le=USAGES_LIMIT)] = 1000,
    accept_language: Annotated[str, Header(max_length=500)] = "zh",
) -> dict[str, Any]:
    """Accesses to the person's data, newest first; `totalUsages` ignores limit and offset.

    Without `periodEnd` the list grows at its front while it is read: say one to read it in parts.
    """
    code, acting = _code(user_code, "userCode"), _code(user_id, "X-Road-UserId")
    if who.kind == "person" and acting not in who.sector_ids:
        raise Problem(403, "not_you", "X-Road-UserId is not the person signed in")
    asked = usage.Asked(since=period_start, until=period_end, offset=offset, limit=limit)
    found = await usage.read(kit, who, asked, code=code, acting=acting)
    language = "en" if accept_language.strip().lower().startswith("en") else "zh"
    return {"totalUsages": found.total, "usages": [_usage(one, language) for one in found.items]}


@router.get("/usagePeriod")
async def usage_period(kit: KitDep) -> dict[str, str]:
    """Since when accesses are on record: from the beginning of the day of the first one."""
    since = (await kit.calls.client(AuditClient).usage_period()).since or datetime.now(UTC)
    since = since.astimezone(UTC) - timedelta(seconds=1)
    return {"periodStart": since.strftime("%Y-%m-%dT00:00:00Z")}


@router.get("/heartbeat")
async def heartbeat(kit: KitDep) -> dict[str, str]:
    """Whether the list can be had: it needs the log and the population register."""
    silent = [name for name in ("audit", "identity") if not await _answers(kit, name)]
    if silent:
        return {"status": "FAIL", "message": f"no answer from {', '.join(silent)}"}
    return {"status": "OK"}


async def _answers(kit: Kit, service: str) -> bool:
    try:
        await kit.calls.request(service, "GET", f"/{service}/readyz", anonymous=True, probe=True)
    except DomainError:
        return False
    return True


def _code(said: str, name: str) -> str:
    if not CODE.fullmatch(said):
        raise bad_request(
            "invalid_code", f"{name} is a code that this exchange gave out (h1_…), never a citizen number"
        )
    return said


def _usage(found: Usage, language: str) -> dict[str, Any]:
    """The standard's members, then ours; members nobody knows are left out."""
    said = {
        "logtime": found.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "action": getattr(found.action_words, language),
        "receiverCode": found.organisation,
        "receiverName": getattr(found.organisation_words, language),
        "receiverSystem": found.system,
        "action_code": found.action,
        "outcome": found.outcome,
        "reason": getattr(found.reason_words, language),
        "legal_basis": found.legal_basis,
        "purpose": found.purpose,
        "record_ids_count": found.records,
        "proof": found.leaf_index,
    }
    return {name: value for name, value in said.items() if value is not None}


app = standard_app("Huimin usage list", render, routers=[router])
