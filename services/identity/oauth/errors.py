"""Errors in OAuth's own form: `{"error", "error_description"}` (RFC 6749 section 5.2)."""

import orjson
from starlette.responses import Response

from services.kit.problems import Problem

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}

_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "unsupported_token_type",
        "temporarily_unavailable",
        "server_error",
    }
)
_OF_STATUS = {401: "invalid_client", 429: "temporarily_unavailable", 503: "temporarily_unavailable"}


def render(problem: Problem) -> Response:
    """A Problem whose code is an OAuth error keeps it; any other is named by its status."""
    error = problem.code
    if error not in _ERRORS:
        error = _OF_STATUS.get(problem.status, "server_error" if problem.status >= 500 else "invalid_request")
    body = orjson.dumps({"error": error, "error_description": _plain(problem.detail)})
    headers = {**problem.headers, **NO_STORE}
    return Response(body, problem.status, headers=headers, media_type="application/json")


def _plain(text: str) -> str:
    """RFC 6749 allows printable ASCII without quote and backslash."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" if c in '"\\' else "?" for c in text)
