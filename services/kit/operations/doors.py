"""The operators' doors under each service's prefix: liveness, readiness, metrics, figures."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.requests import Request
from starlette.responses import JSONResponse, Response

from services.kit import telemetry
from services.kit.database import Connection
from services.kit.operations import figures
from services.kit.operations.shapes import Operations
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed

SCOPE = "operations:read"
FIGURES = Resource("Kit::Operations", id="operations")
COUNTS_KEPT_S = 2.0
SHOWN_S = 1.0
"""However many operators look, the figures are read once within this time."""

Counts = Callable[[Connection], Awaitable[dict[str, int]]]


def router(name: str, prefix: str, counts: Counts | None = None) -> APIRouter:
    from services.kit.app import Router

    found = Router(prefix=prefix, include_in_schema=False)

    @found.get("/livez")
    async def livez() -> dict[str, str]:
        return {"service": name, "status": "live", "version": figures.VERSION}

    @found.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        checks = await figures.checks(request.app.state.kit)
        ready = all(value == "ok" for value in checks.values())
        return JSONResponse(
            {"service": name, "status": "ready" if ready else "not ready", "checks": checks},
            status_code=200 if ready else 503,
        )

    @found.get("/metrics")
    async def metrics() -> Response:
        return telemetry.metrics_response()

    _add_figures(found)
    if counts is not None:
        _add_counts(found, counts)
    return found


def _add_figures(router: APIRouter) -> None:
    from services.kit.app import KitDep, permitted

    kept: dict[str, tuple[float, Operations]] = {}

    @router.get("/operations")
    async def operations(
        kit: KitDep, _who: Annotated[Principal, permitted("operations.read", FIGURES, SCOPE)]
    ) -> Operations:
        until, found = kept.get(kit.name, (0.0, None))
        if found is None or until < time.monotonic():
            found = await figures.read(kit)
            kept[kit.name] = time.monotonic() + SHOWN_S, found
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
