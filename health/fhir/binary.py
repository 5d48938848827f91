"""Binary in its own form: bytes under their own media type (FHIR R4 binary.html)."""

import base64
from urllib.parse import quote

import orjson
from starlette.requests import Request

from health.fhir.interactions import Reply
from health.fhir.negotiation import JSON, accepts
from health.fhir.outcome import refused

KIND = "Binary"
_SAFE = {"content-security-policy": "sandbox; default-src 'none'"}
"""What was sent as a page is never run as one of ours."""


def is_own_form(request: Request) -> bool:
    """Whether the body is the content itself, and no resource."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() not in JSON


def resource_of(request: Request, body: bytes, id: str | None) -> bytes:
    """The resource that holds the content.

    Raises:
        Refusal: 400 without a media type.
    """
    media = request.headers.get("content-type", "")
    if not media:
        raise refused(400, "required", "say what it is", "Content-Type")
    found: dict[str, object] = {"resourceType": KIND, "contentType": media}
    if id:
        found["id"] = id
    if context := request.headers.get("x-security-context"):
        found["securityContext"] = {"reference": context}
    if body:
        found["data"] = base64.b64encode(body).decode()
    return orjson.dumps(found)


def wants_own_form(request: Request) -> bool:
    """Whether the reader wants the content, which it does unless it names a media type of FHIR."""
    asked = request.headers.get("accept", "").lower()
    return "_format" not in request.query_params and not any(media in asked for media in JSON)


def own_form(request: Request, reply: Reply) -> tuple[bytes, str, dict[str, str]]:
    """The content, its media type and its headers.

    Raises:
        Refusal: 406 where the reader does not take this media type.
    """
    binary = orjson.loads(reply.body)
    media = binary["contentType"]
    if not media.isascii() or not media.isprintable() or not accepts(request, media):
        words = f"the content is {media}; accept that, or {JSON[0]} for the resource"
        raise refused(406, "not-supported", words, "Accept")
    headers = {**reply.headers, **_SAFE}
    if context := binary.get("securityContext", {}).get("reference"):
        headers["x-security-context"] = quote(context, safe="/:#?&=%")
    return base64.b64decode(binary.get("data", "")), media, headers
