"""What leaves the exchange is signed: a consumer can prove what it was given, and under which agreement."""

from typing import Any

from fastapi import Request
from joserfc.jwk import ECKey
from starlette.responses import Response

from services.exchange.shapes import AGREEMENT_HEADER, CONSUMER_HEADER, ReadPage
from services.kit import signatures
from services.kit.app import Kit
from services.kit.client_keys import p256_key


def _key(kit: Kit) -> ECKey:
    key = kit.parts.get("signing")
    if key is None:
        key = kit.parts["signing"] = p256_key(kit.settings.secret_for("exchange", "signing"))
        key.ensure_kid()
    assert isinstance(key, ECKey)
    return key


def public_keys(kit: Kit) -> dict[str, Any]:
    key = _key(kit)
    return {"keys": [{**key.as_dict(private=False), "kid": key.kid, "alg": "ES256", "use": "sig"}]}


def signed_push(kit: Kit, body: bytes, *, path: str) -> dict[str, str]:
    """The headers that sign a batch on its way to a consumer's door (RFC 9421)."""
    return signatures.signed_push(_key(kit), body, path=path)


def signed_page(kit: Kit, request: Request, page: ReadPage, *, consumer: str) -> Response:
    """The page as it goes out, with its signature (RFC 9421)."""
    body = page.model_dump_json().encode()
    headers = signatures.signed(
        _key(kit),
        body,
        path=request.url.path,
        query=request.scope["query_string"].decode("latin-1"),
        headers={AGREEMENT_HEADER: page.agreement, CONSUMER_HEADER: consumer},
    )
    return Response(body, headers=headers, media_type="application/json")
