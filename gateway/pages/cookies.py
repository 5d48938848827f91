"""Cookies that only this gateway can read or write: sealed (JWE, dir + A256GCM), each under its own key."""

import time
from typing import Any

import orjson
from fastapi.requests import Request
from joserfc import jwe
from joserfc.jwk import OctKey
from starlette.responses import Response

from services.kit.app import Kit
from services.kit.principals import NOT_A_TOKEN

LARGEST_BYTES = 3900
"""Browsers drop a cookie of more than 4096 bytes, name and attributes included (RFC 6265 section 6.1)."""
_HEADER = {"alg": "dir", "enc": "A256GCM", "zip": "DEF"}
_ALGORITHMS = list(_HEADER.values())


def read(request: Request, kit: Kit, name: str) -> dict[str, Any] | None:
    """What was put into the cookie; None when it is not there, too old, or not of our making."""
    text = request.cookies.get(_name(kit, name))
    return opened(kit, name, text) if text is not None else None


def put(response: Response, kit: Kit, name: str, value: dict[str, Any], *, life_s: int) -> None:
    """Sets the cookie. The browser forgets it when it is closed, we after `life_s`."""
    response.set_cookie(_name(kit, name), sealed(kit, name, value, life_s=life_s), **_attributes(kit))


def sealed(kit: Kit, name: str, value: dict[str, Any], *, life_s: int) -> str:
    plain = orjson.dumps({"value": value, "until": time.time() + life_s})
    found = jwe.encrypt_compact(_HEADER, plain, _key(kit, name), algorithms=_ALGORITHMS)
    if len(found) > LARGEST_BYTES:
        raise ValueError(f"the cookie {name} would have {len(found)} bytes, which browsers drop")
    return found


def opened(kit: Kit, name: str, text: str) -> dict[str, Any] | None:
    try:
        plain = jwe.decrypt_compact(text, _key(kit, name), algorithms=_ALGORITHMS).plaintext
        found = orjson.loads(plain or b"")
    except NOT_A_TOKEN:
        return None
    value: dict[str, Any] = found["value"]
    return value if found["until"] > time.time() else None


def drop(response: Response, kit: Kit, name: str) -> None:
    response.delete_cookie(_name(kit, name), **_attributes(kit))


def _attributes(kit: Kit) -> dict[str, Any]:
    return {"path": "/", "httponly": True, "samesite": "lax", "secure": _secure(kit)}


def _name(kit: Kit, name: str) -> str:
    # The prefix keeps a sibling host from setting it (RFC 6265bis section 4.1.3.2).
    return f"__Host-huimin_{name}" if _secure(kit) else f"huimin_{name}"


def _secure(kit: Kit) -> bool:
    return kit.settings.public_url.startswith("https:")


def _key(kit: Kit, name: str) -> OctKey:
    return OctKey.import_key(kit.settings.secret_for("gateway", f"cookie-{name}"))
