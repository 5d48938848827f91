"""What went wrong, for the person who gets it (RFC 9457, problem details).

A door raises `Problem`; the app factory renders it. A standard with an error form of its own
(OperationOutcome, imsx_StatusInfo) renders the same object at its own mount.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with what was sent: where it stands and what to do about it."""

    message: str
    line: int | None = None
    field: str | None = None
    path: str | None = None
    file: str | None = None
    code: str | None = None
    hint: str | None = None
    value: str | None = None
    """What stood there; the writer masks anything personal before putting it here."""


class Problem(Exception):
    """An answer that is not the one asked for.

    Args:
        status: HTTP status.
        code: machine-readable name of the problem, snake_case; becomes `type` `urn:huimin:problem:<code>`.
        detail: what was wrong and what to do, for a person.
        faults: each single fault, in the order of the input.
        headers: headers of the answer, such as Retry-After.
        extra: further members of the body, such as a receipt id.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = list(faults)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @property
    def title(self) -> str:
        return self.code.replace("_", " ").capitalize()

    def body(self) -> dict[str, Any]:
        """The RFC 9457 object; `errors` holds the faults without their empty members."""
        body: dict[str, Any] = {
            "type": f"urn:huimin:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }
        if self.faults:
            body["errors"] = [{k: v for k, v in asdict(f).items() if v is not None} for f in self.faults]
        return body

    def response(self) -> Response:
        return Response(_encoded(self.body()), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # What it repeats of the input holds half a surrogate pair, which no UTF-8 can carry.
        return json.dumps(body).encode()


def bad_request(code: str, detail: str, *faults: Fault) -> Problem:
    return Problem(400, code, detail, faults=faults)


def unauthenticated(detail: str, *, error: str = "invalid_token") -> Problem:
    """401 with the challenge RFC 6750 asks for."""
    # A header is printable ASCII (RFC 6750 section 3), whatever the token that is spoken of holds.
    quoted = re.sub(r"[^ -~]", "?", detail.replace('"', "'").replace("\\", "/"))
    challenge = f'Bearer error="{error}", error_description="{quoted}"'
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def forbidden(detail: str, *, code: str = "forbidden") -> Problem:
    return Problem(403, code, detail)


def not_found(detail: str, *, code: str = "not_found") -> Problem:
    return Problem(404, code, detail)


def conflict(code: str, detail: str, *faults: Fault) -> Problem:
    return Problem(409, code, detail, faults=faults)


def unprocessable(code: str, detail: str, *faults: Fault) -> Problem:
    return Problem(422, code, detail, faults=faults)


def unavailable(detail: str, *, retry_after_s: int = 2) -> Problem:
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(retry_after_s)})
