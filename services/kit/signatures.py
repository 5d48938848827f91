"""Signed answers and pushes (RFC 9421 HTTP Message Signatures over an RFC 9530 Content-Digest), ECDSA P-256.

The signature covers the status, the body by its digest, and the path and query that were asked, so that an
answer is good for its own question alone; of a push the method, the path and the body. Without the digest a
signature would say nothing of the body.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
)
from http_message_signatures.algorithms import ECDSA_P256_SHA256
from joserfc.jwk import ECKey, KeySet

# Not `date`: servers put one of their own there. The signature carries when it was made.
COVERED = ("@status", '"@path";req', '"@query";req')
COVERED_OF_PUSH = ("@method", "@path")
TAG = "huimin"
MAX_AGE = timedelta(minutes=5)


class BadSignature(Exception):
    """An answer that is not signed by whom it should be, or not as it was sent."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Response:
    status_code: int
    headers: dict[str, str]
    request: _Request


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, keys: KeySet) -> None:
        self._keys = {key.kid: key for key in keys.keys if isinstance(key, ECKey)}

    def resolve_public_key(self, key_id: str) -> Any:
        key = self._keys.get(key_id)
        return None if key is None else key.public_key

    def resolve_private_key(self, key_id: str) -> Any:
        return self._keys[key_id].private_key


def signed(
    key: ECKey,
    body: bytes,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    status: int = 200,
    method: str = "GET",
) -> dict[str, str]:
    """The headers to send with the body: those given, all covered, with digest and signature.

    Args:
        path: as asked, percent-encoded; `query` likewise, without its question mark.
    """
    key.ensure_kid()
    message = _Response(status, dict(headers), _request(method, path, query))
    _sign(key, message, [*COVERED, *(name.lower() for name in headers)], body)
    return message.headers


def signed_push(key: ECKey, body: bytes, *, path: str) -> dict[str, str]:
    """The headers to POST the body with."""
    key.ensure_kid()
    headers: dict[str, str] = {}
    _sign(key, _Request("POST", f"http://huimin{path}", headers), COVERED_OF_PUSH, body)
    return headers


def _sign(key: ECKey, message: Any, covered: Sequence[str], body: bytes) -> None:
    HTTPMessageSigner(signature_algorithm=ECDSA_P256_SHA256, key_resolver=_Keys(KeySet([key]))).sign(
        message, key_id=str(key.kid), tag=TAG, label=TAG, covered_component_ids=list(covered), body=body
    )


def verify(
    keys: KeySet,
    body: bytes,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    covering: Collection[str],
    status: int = 200,
    method: str = "GET",
) -> None:
    """That the answer came from a holder of one of the keys, for this very request, unaltered, just now.

    Args:
        covering: further headers that the signature must cover.

    Raises:
        BadSignature: it did not.
    """
    message = _Response(status, dict(headers), _request(method, path, query))
    _verify(keys, message, [*COVERED, *covering], body)


def verify_push(keys: KeySet, body: bytes, *, path: str, headers: Mapping[str, str]) -> None:
    """That a holder of one of the keys sent this body to this path, just now.

    Raises:
        BadSignature: it did not.
    """
    _verify(keys, _Request("POST", f"http://huimin{path}", dict(headers)), COVERED_OF_PUSH, body)


def _verify(keys: KeySet, message: Any, covered: Sequence[str], body: bytes) -> None:
    verifier = HTTPMessageVerifier(signature_algorithm=ECDSA_P256_SHA256, key_resolver=_Keys(keys))
    try:
        verifier.verify(message, max_age=MAX_AGE, expect_tag=TAG, require_components=covered, body=body)
    except InvalidSignature as error:
        raise BadSignature(str(error)) from error


def _request(method: str, path: str, query: str) -> _Request:
    # The authority is not covered: inside and outside the proxy it has different names.
    return _Request(method, f"http://huimin{path}{'?' + query if query else ''}")
