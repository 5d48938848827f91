"""The operators' doors under each service's prefix: liveness, readiness, metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.requests import Request
from starlette.responses import JSONResponse, Response

from services.kit import telemetry
from services.kit.database import Connection
from services.kit.principals import Principal, allowed

VERSION = "0.1.0"
READY_WITHIN_S = 2.0
COUNTS_KEPT_S = 2.0

Counts = Callable[[Connection], Awaitable[dict[str, int]]]


def router(name: str, prefix: str, counts: Counts | None = None) -> APIRouter:
    found = APIRouter(prefix=prefix, include_in_schema=False)

    @found.get("/livez")
    async def livez() -> dict[str, str]:
        return {"service": name, "status": "live", "version": VERSION}

    @found.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        checks = await _checks(request.app.state.kit)
        ready = all(value == "ok" for value in checks.values())
        return JSONResponse(
            {"service": name, "status": "ready" if ready else "not ready", "checks": checks},
            status_code=200 if ready else 503,
        )

    @found.get("/metrics")
    async def metrics() -> Response:
        return telemetry.metrics_response()

    if counts is not None:
        _add_counts(found, counts)
    return found


def _add_counts(router: APIRouter, counts: Counts) -> None:
    kept: dict[str, Any] = {"until": 0.0, "counts": {}}

    @router.get("/counts")
    async def read(
        request: Request, _who: Annotated[Principal, allowed(kinds=("service",))]
    ) -> dict[str, int]:
        if kept["until"] < time.monotonic():
            async with request.app.state.kit.db.read() as connection:
                kept["counts"] = await counts(connection)
            kept["until"] = time.monotonic() + COUNTS_KEPT_S
        found: dict[str, int] = kept["counts"]
        return found


async def _checks(kit: Any) -> dict[str, str]:
    checks = {"broker": kit.redis.ping()}
    if kit.database is not None:
        checks["database"] = _select_one(kit.database)
    answers = await asyncio.gather(
        *(asyncio.wait_for(check, READY_WITHIN_S) for check in checks.values()), return_exceptions=True
    )
    return {
        name: "ok" if not isinstance(answer, BaseException) else type(answer).__name__
        for name, answer in zip(checks, answers, strict=True)
    }


async def _select_one(database: Any) -> None:
    async with database.read() as connection:
        await connection.fetchval("select 1")
