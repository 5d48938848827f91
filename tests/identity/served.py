"""An identity in a process and on a database of its own, listening on a loopback port."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from services.kit.settings import Settings
from services.stack.program import free_port
from tests.identity.parties import Machine
from tests.support.databases import TestServers


@dataclass
class Served:
    issuer: str
    http: httpx.AsyncClient
    admin_token: str

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As its command line would: something is made."""
        headers = {"authorization": f"Bearer {self.admin_token}"}
        answer = await self.http.post(f"{self.issuer}/identity/{path}", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def served_identity(servers: TestServers) -> AsyncIterator[Served]:
    async with servers.copy(["identity"]) as database:
        port = free_port()
        issuer = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "HUIMIN_DATABASE_URL": servers.public_url(database),
            "HUIMIN_PUBLIC_URL": issuer,
            "HUIMIN_MODE": "separate",
            "HUIMIN_SERVICE_URL_TEMPLATE": issuer,
            "HUIMIN_DEMO": "1",
        }
        command = [sys.executable, "-m", "uvicorn", "services.identity.app:app", "--port", str(port)]
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=quiet)
        try:
            async with httpx.AsyncClient(timeout=60) as http:
                await _answering(http, f"{issuer}/identity/livez")
                stack = Machine.service(Settings(public_url=issuer), "stack")
                granted = await http.post(
                    f"{issuer}/oauth/token", data=stack.form(grant_type="client_credentials")
                )
                yield Served(issuer, http, granted.json()["access_token"])
        finally:
            process.terminate()
            await process.wait()


async def _answering(http: httpx.AsyncClient, url: str) -> None:
    for _ in range(300):
        try:
            await http.get(url)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("identity did not start")
