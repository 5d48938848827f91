"""From whatever was raised to the answer: one place that knows every kind of error a door can end in."""

import errno
from collections.abc import Callable
from typing import Any

import asyncpg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.kit import telemetry
from services.kit.calls import DomainError
from services.kit.disk import storage_full
from services.kit.problems import Fault, Problem, unavailable

Render = Callable[[Problem], Response]

_BUSY = (
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    ConnectionError,
    TimeoutError,
)


def render_problem(problem: Problem) -> Response:
    return problem.response()


def problem_of(error: Exception) -> Problem:
    """The Problem that any exception amounts to; what nobody foresaw becomes a bare 500, and is logged."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _problem_of_validation(error)
        case HTTPException():
            return _problem_of_http(error)
        case DomainError():
            return _problem_of_domain(error)
        case asyncpg.DiskFullError():
            telemetry.logger("kit").error("the database's disk is full", extra={"error": repr(error)})
            return storage_full()
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            telemetry.logger("kit").error("the disk is full", extra={"error": repr(error)})
            return storage_full()
        case asyncpg.DataError():
            # The database's own words may repeat the value, which may be personal.
            return Problem(422, "unstorable_value", f"a value cannot be stored: {type(error).__name__}")
        case _ if isinstance(error, _BUSY):
            telemetry.logger("kit").warning("unavailable", extra={"error": repr(error)})
            return unavailable(
                "the service is busy or restarting; nothing was applied, send it again shortly"
            )
        case _:
            telemetry.logger("kit").error("unforeseen error", exc_info=error)
            return Problem(500, "internal", "an unforeseen error; nothing was applied. It has been recorded")


def install_handlers(app: FastAPI, render: Render) -> None:
    """Every exception of the app goes through `problem_of` and leaves in this form."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        request.state.problem = problem.code
        return render(problem)

    handled: tuple[Any, ...] = (
        Problem,
        RequestValidationError,
        HTTPException,
        DomainError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        OSError,
        TimeoutError,
        Exception,
    )
    for kind in handled:
        app.add_exception_handler(kind, handle)


def _problem_of_validation(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        item = found[0]
        where = item["loc"][-1] if len(item["loc"]) > 1 else None
        reason = (item.get("ctx") or {}).get("error", item["msg"])
        return Problem(
            400,
            "malformed_json",
            f"the body is not JSON: {reason}" + (f" at character {where}" if where is not None else ""),
            faults=[
                Fault(str(reason), path=f"$[{where}]" if where is not None else "$", code="malformed_json")
            ],
        )
    faults = [
        Fault(
            item["msg"],
            path=".".join(str(step) for step in item["loc"]),
            field=str(item["loc"][-1]) if item["loc"] else None,
            code=item["type"],
        )
        for item in found
    ]
    return Problem(422, "invalid_input", "; ".join(f"{f.path}: {f.message}" for f in faults), faults=faults)


def _problem_of_http(error: HTTPException) -> Problem:
    code = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}.get(
        error.status_code, "http_error"
    )
    detail = {
        404: "there is nothing at this path",
        405: "this path does not take this method; the Allow header names those it takes",
    }.get(error.status_code, str(error.detail))
    return Problem(error.status_code, code, detail, headers=dict(error.headers or {}))


def _problem_of_domain(error: DomainError) -> Problem:
    if error.code == "RATE_LIMITED":
        return Problem(429, "rate_limited", error.detail)
    if error.code in {"SERVICE_UNAVAILABLE", "TIMEOUT"}:
        return unavailable(f"{error.service} is needed for this and does not answer; nothing was applied")
    telemetry.logger("kit").error(
        "a call failed", extra={"service": error.service, "code": error.code, "detail": error.detail}
    )
    return Problem(502, "bad_gateway", f"{error.service} could not do its part; nothing was applied")
