"""Discovery (RFC 8414, OpenID Connect Discovery 1.0): the endpoints, what they take, and the keys."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from services.identity import scopes
from services.identity.keys import SigningKeys
from services.kit.app import KitDep

GRANTS = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:token-exchange",
)
# Plain routes: OAuth clients may add parameters, which RFC 6749 section 3.1 says to ignore.
router = APIRouter(prefix="/.well-known", tags=["oauth"])


def metadata(issuer: str) -> dict[str, Any]:
    known = {
        scope for row in (scopes.CLIENTS, scopes.CITIZEN, scopes.ROLES) for s in row.values() for scope in s
    }
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": sorted(known | scopes.OPENID),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"],
        "ui_locales_supported": ["zh-Hans", "en"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


@router.get("/openid-configuration")
@router.get("/oauth-authorization-server")
async def discovery(kit: KitDep) -> JSONResponse:
    return JSONResponse(metadata(kit.settings.issuer), headers={"cache-control": "public, max-age=300"})


@router.get("/jwks.json")
async def jwks(kit: KitDep) -> JSONResponse:
    keys: SigningKeys = kit.parts["keys"]
    # A key is published as `next` long before it signs, so a minute's cache never misses one.
    return JSONResponse(await keys.published(), headers={"cache-control": "public, max-age=60"})
