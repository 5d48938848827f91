"""`$validate` of a resource by itself, or inside of Parameters."""

from fastapi import APIRouter, Request, Response

from health.fhir import interactions
from health.fhir.negotiation import check_content
from health.fhir.routing import FhirDep, FhirRoute, response
from services.kit.principals import Anyone

router = APIRouter(route_class=FhirRoute, tags=["FHIR R4"])


@router.post("/$validate")
async def validate_any(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """What would be refused of a resource, of whatever type; nothing is stored."""
    check_content(request)
    return response(await interactions.validate(fhir, who, None, await request.body()))


@router.post("/{type}/$validate")
async def validate(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same for a resource of this type."""
    check_content(request)
    return response(await interactions.validate(fhir, who, type, await request.body()))
