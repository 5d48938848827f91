"""What has to stand before the city can push: registers, clients with keys, and later the accounts."""

import asyncio
import json
import time
from itertools import islice
from typing import Any

from services.kit.calls import Calls, DomainError
from services.stack.clients import ClientFile, file_name, register, words_of
from services.stack.home import Home
from services.stack.terminal import Refusal

PASSWORD = "huimin-demo"  # noqa: S105 - printed on purpose: these accounts exist in the demo alone
PUSHED_AT_ONCE = 2_000
AUDIT_SECONDS = 90.0
AUDIT_ENDS = frozenset({"finished", "superseded", "failed"})


async def register_city(calls: Calls, home: Home, roster: dict[str, Any]) -> int:
    """Places, organisations, departments and clients; safe to repeat. Returns how many clients there are."""
    for what in ("places", "organisations"):
        rows = iter(roster[what])
        while chunk := list(islice(rows, PUSHED_AT_ONCE)):
            await _ask(calls, f"/identity/{what}", {what: chunk})
    for service, department in roster["departments"].items():
        await _call(calls, "exchange", "PUT", f"/exchange/departments/{service}", department)
    for client in roster["clients"]:
        await _client(calls, home, client)
    return len(roster["clients"])


async def _client(calls: Calls, home: Home, client: dict[str, str]) -> None:
    """The client's key file, good at the suite as it runs now: its address may have changed since."""
    path = home.clients / f"{file_name(client['name'])}.json"
    if path.exists():
        known = ClientFile.read(path)
        moved = ClientFile(**(vars(known) | {"issuer": calls.settings.issuer}))
        try:
            await moved.token(address=calls.settings.public_url)
        except Refusal:
            await asyncio.to_thread(path.unlink)  # of a database that is gone
        else:
            await asyncio.to_thread(moved.write, path)
            return
    await register(
        calls,
        home.clients,
        kind=client["kind"],
        name=client["name"],
        organisation=client["organisation"],
        area=client["area"],
    )


async def open_accounts(calls: Calls, roster: dict[str, Any]) -> list[dict[str, Any]]:
    """The demo's accounts; identity refuses them anywhere else. Returns them as the roster has them."""
    for account in roster["accounts"]:
        named = ("username", "kind", "roles", "areas", "organisation", "identifier")
        body = {name: account[name] for name in named if account[name] is not None}
        await _ask(calls, "/identity/accounts", {**body, "password": PASSWORD})
    found: list[dict[str, Any]] = roster["accounts"]
    return found


async def audit_benefits(calls: Calls) -> dict[str, Any]:
    """Has the benefit audit run over what was pushed, as its operators would; returns the run as it ended.

    Raises:
        Refusal: the service refused, or the run did not end in time.
    """
    run = await _call(calls, "social_security", "POST", "/social-security/audit-runs", {})
    until = time.monotonic() + AUDIT_SECONDS
    while run["status"] not in AUDIT_ENDS:
        if time.monotonic() > until:
            raise Refusal(
                f"稽核未在 {AUDIT_SECONDS:.0f} 秒内完成 · the benefit audit is still {run['status']}"
            )
        await asyncio.sleep(0.5)
        run = await _call(calls, "social_security", "GET", f"/social-security/audit-runs/{run['id']}")
    found: dict[str, Any] = run
    return found


async def _call(
    calls: Calls, service: str, method: str, path: str, body: dict[str, Any] | None = None
) -> Any:
    try:
        return (await calls.request(service, method, path, json=body, deadline_s=60.0)).json()
    except DomainError as error:
        raise Refusal(f"{service} 服务拒绝 · {service} refused {path}: {words_of(error)}") from error


async def _ask(calls: Calls, path: str, body: dict[str, Any]) -> Any:
    try:
        answer = await calls.request("identity", "POST", path, json=body, deadline_s=60.0)
    except DomainError as error:
        raise Refusal(f"身份服务拒绝 · identity refused {path}: {words_of(error)}") from error
    return json.loads(answer.content) if answer.content else None
