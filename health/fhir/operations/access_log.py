"""`Patient/{id}/$access-log`: who had to do with a patient's records."""

from fastapi import APIRouter, Request, Response

from health.fhir import access_log
from health.fhir.routing import FhirDep, ParameterRoute, response
from services.kit.principals import Anyone

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])


@router.get("/Patient/{id}/$access-log")
async def log_of(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Who, for which organisation and purpose, to what, and when, the latest first, as AuditEvents."""
    return response(await access_log.find(fhir, who, request.query_params.multi_items(), patient=id))
