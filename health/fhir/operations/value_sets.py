"""`$expand` and `$validate-code` of value sets (FHIR R4, valueset-operations.html)."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
from fastapi import APIRouter, Request, Response

from health.fhir import access, text
from health.fhir.interactions import Fhir, Reply
from health.fhir.operations import codes
from health.fhir.operations.parameters import Given, given, whole
from health.fhir.outcome import Refusal, refused
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.repository import terminology as kept
from health.terminology import CODES_MAX, Terminology, TooCostly
from health.terminology.composing import ValueSet, of_resource
from services.kit.database import Row
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])

_WHICH = {"url": "uri", "valueSet": "resource", "valueSetVersion": "string", "displayLanguage": "code"}
EXPANDS = {
    **_WHICH,
    "filter": "string",
    "offset": "integer",
    "count": "integer",
    "includeDesignations": "boolean",
    "activeOnly": "boolean",
    "excludeNested": "boolean",
    "system-version": "canonical*",
}
VALIDATES = {
    **_WHICH,
    "code": "code",
    "system": "uri",
    "systemVersion": "string",
    "display": "string",
    "coding": "Coding",
    "codeableConcept": "CodeableConcept",
    "abstract": "boolean",
}
_KEPT = ("id", "url", "version", "name", "title", "status", "experimental", "date", "publisher", "copyright")


@router.get("/ValueSet/$expand")
@router.post("/ValueSet/$expand")
async def expand(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """All codes of a value set, named by `url` or given as `valueSet`; by pages with `offset` and `count`."""
    return response(await _expanded(request, fhir, who, None))


@router.get("/ValueSet/{id}/$expand")
@router.post("/ValueSet/{id}/$expand")
async def expand_stored(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same of a ValueSet that is stored here."""
    return response(await _expanded(request, fhir, who, id))


@router.get("/ValueSet/$validate-code")
@router.post("/ValueSet/$validate-code")
async def validate_code(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Whether a code is in a value set, and its display right."""
    return response(await _validated(request, fhir, who, None))


@router.get("/ValueSet/{id}/$validate-code")
@router.post("/ValueSet/{id}/$validate-code")
async def validate_code_stored(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same of a ValueSet that is stored here."""
    return response(await _validated(request, fhir, who, id))


async def _expanded(request: Request, fhir: Fhir, who: Principal, id: str | None) -> Reply:
    reach = access.reach(fhir.kit.policy, who, "ValueSet", "r")
    asked = await given(request, EXPANDS, alone=("valueSet", "ValueSet"))
    words = unicodedata.normalize("NFKC", codes.one(asked, "filter") or "").lower().split()
    offset, count = whole(asked["offset"], "offset") or 0, whole(asked["count"], "count")
    active = codes.flag(asked, "activeOnly")
    codes.flag(asked, "excludeNested")  # an expansion here is always flat
    versions = dict(_pinned(one) for one in asked["system-version"])
    async with fhir.kit.db.session() as db:
        with codes.told():
            known = Terminology(db, reach, versions)
            value_set = await _which(fhir, known, asked, id)
            composed = await known.composed(value_set)
            if active:
                composed = replace(composed, active_only=True)
            total = await kept.size(db, composed, words)
            wanted = max(0, total - offset) if count is None else min(count, max(0, total - offset))
            if wanted > CODES_MAX:
                raise TooCostly(
                    f"that are {wanted:,} codes, more than the {CODES_MAX:,} of one answer: "
                    "ask by pages (offset, count) or with a filter"
                )
            rows = await kept.members(db, composed, words, offset=offset, limit=wanted) if wanted else []
    language, designated = codes.one(asked, "displayLanguage"), codes.flag(asked, "includeDesignations")
    expansion: dict[str, Any] = {
        "identifier": f"urn:uuid:{uuid4()}",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "total": total,
        "offset": offset,
        "parameter": [
            {"name": name, "valueString": value}
            for name, values in asked.items()
            for value in values
            if isinstance(value, str) and value
        ],
        "contains": [_contained(row, language, designated) for row in rows],
    }
    expansion = {name: value for name, value in expansion.items() if value != []}
    return Reply(orjson.dumps({**_about(value_set), "expansion": expansion}))


def _pinned(canonical: str) -> tuple[str, str]:
    system, bar, version = canonical.partition("|")
    if not bar or not version:
        raise refused(400, "value", "system-version is SYSTEM|VERSION", "system-version")
    return system, version


def _about(value_set: ValueSet) -> dict[str, Any]:
    said = value_set.body
    own = {"url": value_set.url, "version": value_set.version, "title": value_set.title, "status": "active"}
    found = {**{k: v for k, v in own.items() if v}, **{name: said[name] for name in _KEPT if name in said}}
    return {"resourceType": "ValueSet", **found}


def _contained(row: Row, language: str | None, designated: bool | None) -> dict[str, Any]:
    said = {
        "system": row["system"],
        "version": row["version"],
        "abstract": row["abstract"],
        "inactive": row["inactive"],
        "code": row["code"],
        "display": codes.shown(row, language),
        "designation": row["designations"] if designated else None,
    }
    return {name: value for name, value in said.items() if value}


async def _validated(request: Request, fhir: Fhir, who: Principal, id: str | None) -> Reply:
    reach = access.reach(fhir.kit.policy, who, "ValueSet", "r")
    asked = await given(request, VALIDATES)
    wanted, abstract = codes.codings(asked), codes.flag(asked, "abstract")
    system, version = codes.one(asked, "system"), codes.one(asked, "systemVersion")
    versions = {system: version} if system and version else {}
    async with fhir.kit.db.session() as db:
        with codes.told():
            known = Terminology(db, reach, versions)
            value_set = await _which(fhir, known, asked, id)
            composed = await known.composed(value_set)

            async def look(coding: codes.Coding) -> Row | None:
                return next(iter(await kept.found(db, composed, coding[0], coding[1])), None)

            row, coding = await codes.first(wanted, look, abstract=abstract)
    where = f"the value set {value_set.title or value_set.url}"
    return codes.judged(row, coding, where, codes.one(asked, "displayLanguage"))


async def _which(fhir: Fhir, known: Terminology, asked: Given, id: str | None) -> ValueSet:
    """The value set meant: the stored one, that of `url`, or the one sent along."""
    url, sent = codes.one(asked, "url"), codes.one(asked, "valueSet")
    if sum(one is not None for one in (id, url, sent)) != 1:
        raise refused(400, "required", "name one value set: by url, or send it as valueSet", "url")
    if sent is not None:
        _, issues = await fhir.workers.validate(text.written(sent).encode(), "ValueSet")
        if any(issue.severity in ("error", "fatal") for issue in issues):
            raise Refusal(422, issues)
        return of_resource(sent)
    if url is not None:
        return await known.value_set(url, codes.one(asked, "valueSetVersion"))
    assert id is not None
    return of_resource(orjson.loads((await codes.stored(known, "ValueSet", id))["body"]))
