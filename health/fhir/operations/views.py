"""`$viewdefinition-run` (SQL on FHIR 2): a ViewDefinition's table, at once."""

from fastapi import APIRouter, Request, Response

from health.fhir.bulk import asking
from health.fhir.negotiation import JSON, NDJSON
from health.fhir.operations.parameters import given, whole
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, ParameterRoute
from health.fhir.views import answer
from services.kit.principals import Anyone


class TableRoute(ParameterRoute):
    """A route that answers with a table."""

    offers = (*NDJSON, *JSON, "text/csv")


router = APIRouter(route_class=TableRoute, tags=["FHIR R4"])
_TAKES = {
    "viewResource": "resource",
    "resource": "resource*",
    "source": "string",
    "_format": "code",
    "header": "boolean",
    "_limit": "integer",
}


@router.post("/$viewdefinition-run")
async def run(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The rows of `viewResource` over `resource`s sent along or the client's export named as `source`."""
    asking.check(who)
    asked = await given(request, _TAKES)
    if not asked["viewResource"]:
        raise refused(422, "required", "viewResource is missing", "viewResource")
    form = next(iter(asked["_format"]), "ndjson")
    if form not in answer.FORMATS:
        raise refused(406, "not-supported", f"_format is one of {', '.join(answer.FORMATS)}", "_format")
    limit = whole(asked["_limit"], "_limit", least=1)
    if limit is not None and limit > answer.ROWS_MAX:
        raise refused(422, "value", f"_limit is from 1 to {answer.ROWS_MAX}", "_limit")
    reply = await answer.run(
        fhir, who, asked["viewResource"][0], asked["resource"], next(iter(asked["source"]), None),
        form=form, header=asked["header"] != ["false"], limit=limit,
    )  # fmt: skip
    return Response(reply.body, reply.status, headers=reply.headers)
