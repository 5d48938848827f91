"""The operations of `/fhir`, one module each: `$validate` and the like (FHIR R4 operations.html)."""

from health.fhir.operations import validate

ROUTERS = (validate.router,)
