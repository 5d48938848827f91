"""`$lookup`, `$validate-code` and `$subsumes` of code systems (FHIR R4, codesystem-operations.html)."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from health.fhir import access
from health.fhir.interactions import Fhir, Reply
from health.fhir.operations import codes
from health.fhir.operations.parameters import given
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.repository import terminology as kept
from health.terminology import CODES_MAX, NotKnown, Terminology
from health.terminology.composing import System
from services.kit.database import Connection, Row
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])

LOOKS_UP = {
    "code": "code",
    "system": "uri",
    "version": "string",
    "coding": "Coding",
    "displayLanguage": "code",
    "property": "code*",
}
VALIDATES = {
    "url": "uri",
    "code": "code",
    "version": "string",
    "display": "string",
    "coding": "Coding",
    "codeableConcept": "CodeableConcept",
    "abstract": "boolean",
    "displayLanguage": "code",
}
SUBSUMES = {
    "codeA": "code",
    "codeB": "code",
    "system": "uri",
    "version": "string",
    "codingA": "Coding",
    "codingB": "Coding",
}


@router.get("/CodeSystem/$lookup")
@router.post("/CodeSystem/$lookup")
async def lookup(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """What is known of a code: displays, properties, what is right above and below it."""
    return response(await _looked_up(request, fhir, who))


@router.get("/CodeSystem/$validate-code")
@router.post("/CodeSystem/$validate-code")
async def validate_code(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Whether a code is one of a code system, and its display right."""
    return response(await _validated(request, fhir, who, None))


@router.get("/CodeSystem/{id}/$validate-code")
@router.post("/CodeSystem/{id}/$validate-code")
async def validate_code_stored(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same of a CodeSystem that is stored here."""
    return response(await _validated(request, fhir, who, id))


@router.get("/CodeSystem/$subsumes")
@router.post("/CodeSystem/$subsumes")
async def subsumes(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Whether one code is above another."""
    return response(await _compared(request, fhir, who, None))


@router.get("/CodeSystem/{id}/$subsumes")
@router.post("/CodeSystem/{id}/$subsumes")
async def subsumes_stored(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same in a CodeSystem that is stored here."""
    return response(await _compared(request, fhir, who, id))


async def _looked_up(request: Request, fhir: Fhir, who: Principal) -> Reply:
    reach = access.reach(fhir.kit.policy, who, "CodeSystem", "r")
    asked = await given(request, LOOKS_UP)
    [(url, code, _)] = codes.codings({**asked, "display": [], "codeableConcept": []})
    if url is None:
        raise refused(400, "required", "name the code system: system with code, or in the coding", "system")
    async with fhir.kit.db.session() as db:
        with codes.told():
            system = await Terminology(db, reach).known_system(url, codes.one(asked, "version"))
            row = await _concept(db, system, code)
            near = await kept.related(db, system.pk, code, limit=CODES_MAX)
    wanted = set(asked["property"])
    display = codes.shown(row, codes.one(asked, "displayLanguage")) or code
    properties = [("property", "part", part) for part in _properties(system, row, near, wanted)]
    designations = [
        ("designation", "part", [("language", "code", d.get("language")), ("use", "Coding", d.get("use")),
                                 ("value", "string", d["value"])])
        for d in row["designations"]
        if not wanted or "designation" in wanted
    ]  # fmt: skip
    said: list[tuple[str, str, Any]] = [
        ("name", "string", system.title),
        ("version", "string", system.version or None),
        ("display", "string", display),
    ]
    return codes.parameters([*said, *designations, *properties])


def _properties(
    system: System, row: Row, near: Iterable[Row], wanted: set[str]
) -> Iterator[list[tuple[str, str, Any]]]:
    for name in ("inactive", "abstract"):
        if row[name] and (not wanted or name in wanted):
            yield [("code", "code", name), ("value", "boolean", True)]
    for other in near:
        name = "parent" if other["above"] else "child"
        if not wanted or name in wanted:
            value = [("code", "code", name), ("value", "code", other["code"])]
            yield [*value, ("description", "string", other["display"])]
    for name, values in row["properties"].items():
        if name not in ("inactive", "abstract") and (not wanted or name in wanted):
            for value in values:
                yield [("code", "code", name), ("value", _type(system, name, value), value)]


def _type(system: System, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, dict):
        return "Coding"
    return system.properties.get(name, "string" if isinstance(value, str) else "decimal")


async def _validated(request: Request, fhir: Fhir, who: Principal, id: str | None) -> Reply:
    reach = access.reach(fhir.kit.policy, who, "CodeSystem", "r")
    asked = await given(request, VALIDATES)
    wanted = codes.codings(asked, systems="url")
    url, version = codes.one(asked, "url"), codes.one(asked, "version")
    if id is None and url is None:
        url = wanted[0][0]
    abstract = codes.flag(asked, "abstract")
    async with fhir.kit.db.session() as db:
        with codes.told():
            system = await _which(Terminology(db, reach), id, url, version)

            async def look(coding: codes.Coding) -> Row | None:
                here = coding[0] in (None, system.url)
                return await kept.concept(db, system.pk, coding[1]) if here else None

            row, coding = await codes.first(wanted, look, abstract=abstract)
    where = f"the code system {system.title}"
    return codes.judged(row, coding, where, codes.one(asked, "displayLanguage"))


async def _compared(request: Request, fhir: Fhir, who: Principal, id: str | None) -> Reply:
    reach = access.reach(fhir.kit.policy, who, "CodeSystem", "r")
    asked = await given(request, SUBSUMES)
    url = codes.one(asked, "system")
    sides = []
    for side in ("A", "B"):
        plain, coding = codes.one(asked, f"code{side}"), codes.one(asked, f"coding{side}")
        if (plain is None) == (coding is None):
            raise refused(400, "required", f"give one of code{side} and coding{side}", f"code{side}")
        sides.append((url, plain) if plain else codes.coding(coding, f"coding{side}")[:2])
    urls = {said for said, _ in sides if said} | ({url} if url else set())
    if len(urls) > 1:
        raise refused(400, "value", "both codes are of one code system", "system")
    async with fhir.kit.db.session() as db:
        with codes.told():
            said = next(iter(urls), None)
            system = await _which(Terminology(db, reach), id, said, codes.one(asked, "version"))
            a, b = [await _concept(db, system, code) for _, code in sides]
    if a["code"] == b["code"]:
        outcome = "equivalent"
    elif a["code"] in b["ancestors"]:
        outcome = "subsumes"
    else:
        outcome = "subsumed-by" if b["code"] in a["ancestors"] else "not-subsumed"
    return codes.parameters([("outcome", "code", outcome)])


async def _which(known: Terminology, id: str | None, url: str | None, version: str | None) -> System:
    if id is None:
        if url is None:
            raise refused(400, "required", "name the code system", "system")
        return await known.known_system(url, version)
    return await known.system_of(await codes.stored(known, "CodeSystem", id))


async def _concept(db: Connection, system: System, code: str) -> Row:
    row = await kept.concept(db, system.pk, code)
    if row is None:
        raise NotKnown(f"{system.url} has no code {code}")
    return row
