"""Tokens for tests: an issuer key of our own, believed beside the real issuer's."""

import time
from collections.abc import Iterable
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from services.kit.principals import Kind, seal
from services.kit.settings import Settings

LIFETIME_S = 900


class Issuer:
    """Mints what `services/identity` would, for any caller a test needs."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "test-issuer"}, private=True)

    @property
    def public_jwk(self) -> dict[str, Any]:
        return dict(self.key.as_dict(private=False))

    def mint(
        self,
        settings: Settings,
        service: str | Iterable[str],
        *,
        scopes: str | Iterable[str] = (),
        kind: Kind = "organisation",
        subject: str = "test-client",
        client_id: str | None = None,
        organisation: str | None = "test-organisation",
        roles: Iterable[str] = (),
        areas: Iterable[str] = (),
        purpose: str | None = None,
        sector_id: str | None = None,
        lifetime_s: float = LIFETIME_S,
        **claims: Any,
    ) -> str:
        """A token for the service (the audience; several may be named), expired if `lifetime_s` is negative.

        Args:
            sector_id: sealed to the service, as the gateway's exchange would have it.
            claims: put in as they are, over everything else.
        """
        audience = [service] if isinstance(service, str) else list(service)
        scope = scopes if isinstance(scopes, str) else " ".join(scopes)
        now = time.time()
        found: dict[str, Any] = {
            "iss": settings.issuer,
            "aud": audience,
            "sub": subject,
            "client_id": client_id or subject,
            "kind": kind,
            "scope": scope,
            "roles": list(roles),
            "areas": list(areas),
            "iat": int(now),
            "exp": int(now + lifetime_s),
        }
        if organisation is not None:
            found["org"] = organisation
        if purpose is not None:
            found["purpose"] = purpose
        if sector_id is not None:
            found["sid"] = seal(sector_id, settings.secret_for(audience[0], "seal"))
        return jwt.encode({"alg": "ES256", "kid": "test-issuer"}, {**found, **claims}, self.key)
