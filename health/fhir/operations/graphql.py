"""`$graphql`: queries of the server and of one resource (FHIR R4 graphql.html).

The answer is `data`, or else `errors`, each with an OperationOutcome; never a part of the data beside errors.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from health.fhir import text
from health.fhir.graphql import Asked, answered
from health.fhir.interactions import Fhir, check_type
from health.fhir.negotiation import check_content
from health.fhir.outcome import Issue, Refusal, issues_of, outcome, refused
from health.fhir.routing import FhirDep, ParameterRoute
from services.kit.principals import Anyone, Principal
from services.kit.problems import Problem, unauthenticated

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])

_GRAPHQL = "application/graphql"
_MEMBERS = frozenset({"query", "operationName", "variables", "extensions"})


@router.get("/$graphql")
@router.post("/$graphql")
async def system(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A query that reads and searches resources; no mutation, and no introspection (`__schema`, `__type`)."""
    return await _response(request, fhir, who, None, None)


@router.get("/{type}/{id}/$graphql")
@router.post("/{type}/{id}/$graphql")
async def instance(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A query of one resource, and of what refers to it."""
    return await _response(request, fhir, who, type, id)


async def _response(
    request: Request, fhir: Fhir, who: Principal, kind: str | None, id: str | None
) -> Response:
    try:
        if who.kind == "anonymous":
            raise unauthenticated("this needs a bearer token")
        if kind is not None:
            check_type(kind)
        asked = _asked(await _members(request), kind)
        root = f"{kind}/{id}" if kind is not None else None
        data = await answered(fhir, who, asked, root=root, posted=request.method == "POST")
    except Problem as problem:
        return _json({"data": None, "errors": _errors(problem)}, problem.status, problem.headers)
    return Response(text.written({"data": data}), media_type="application/json")


def _json(body: Any, status: int, headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")


async def _members(request: Request) -> dict[str, Any]:
    """What was sent, by the names of GraphQL over HTTP."""
    if request.method == "GET":
        found: dict[str, Any] = {
            name: value for name, value in request.query_params.items() if name != "_format"
        }
        if "variables" in found:
            found["variables"] = text.parsed(found["variables"])
        return found
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _GRAPHQL:
        return {"query": text.decoded(await request.body())}
    check_content(request)
    body = await asyncio.to_thread(text.parsed, text.decoded(await request.body()))
    if not isinstance(body, dict):
        raise refused(400, "structure", "send an object with the query, or the query as application/graphql")
    return body


def _asked(members: Mapping[str, Any], kind: str | None) -> Asked:
    if issue := text.unstorable(dict(members), "$graphql"):
        raise Refusal(400, [issue])
    if unknown := sorted(set(members) - _MEMBERS):
        raise refused(400, "not-supported", f"unknown parameter {unknown[0][:80]}", unknown[0][:80])
    query, operation = members.get("query"), members.get("operationName")
    variables = members.get("variables")
    if not isinstance(query, str) or not isinstance(operation, str | None):
        raise refused(400, "required", "send the query, as text", "query")
    if not isinstance(variables, dict | None):
        raise refused(400, "structure", "variables are an object", "variables")
    return Asked(query, operation, variables or {}, kind)


def _errors(problem: Problem) -> list[dict[str, Any]]:
    issues = problem.issues if isinstance(problem, Refusal) else issues_of(problem)
    return [_error(issue) for issue in issues]


def _error(issue: Issue) -> dict[str, Any]:
    found: dict[str, Any] = {"message": issue.diagnostics}
    if issue.line is not None:
        found["locations"] = [{"line": issue.line, "column": issue.column}]
    return {**found, "extensions": {"resource": orjson.Fragment(outcome([issue]))}}
