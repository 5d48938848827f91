"""`.well-known/smart-configuration`: where a client gets its token, and what of SMART App Launch 2.0 is there
(conformance.html). What the issuer can do is asked of the issuer.
"""

from typing import Any

import orjson
from fastapi import APIRouter, Response

from health.fhir.routing import FhirDep, FhirRoute
from services.kit.calls import DomainError
from services.kit.problems import unavailable

router = APIRouter(route_class=FhirRoute, tags=["FHIR R4"])

_ISSUER = "/.well-known/oauth-authorization-server"
_TOLD = (
    "issuer",
    "jwks_uri",
    "authorization_endpoint",
    "token_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "grant_types_supported",
    "response_types_supported",
    "code_challenge_methods_supported",
)
_CAPABILITIES = (
    "launch-standalone",
    "client-public",
    "permission-offline",
    "permission-patient",
    "permission-user",
    "permission-v2",
)
"""Not among them: scopes of SMART 1, launches from within a record system, `fhirUser`; and
`client-confidential-asymmetric`, which asks for ES384 and RS384 where the issuer takes ES256."""


@router.get("/.well-known/smart-configuration")
async def configuration(fhir: FhirDep) -> Response:
    """The endpoints of the issuer and the SMART capabilities of this server; open to everybody."""
    try:
        answer = await fhir.kit.calls.request("identity", "GET", _ISSUER, anonymous=True)
    except DomainError as error:
        raise unavailable("the issuer of tokens cannot be reached at present") from error
    issuer: dict[str, Any] = answer.json()
    found = {name: issuer[name] for name in _TOLD}
    scopes = [s for s in issuer["scopes_supported"] if "/" in s or s == "offline_access"]
    found |= {"scopes_supported": scopes, "capabilities": _CAPABILITIES}
    return Response(orjson.dumps(found), media_type="application/json")
