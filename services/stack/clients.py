"""Clients of the suite: registered by whoever holds its secret, with a key made here that never leaves."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import ECKey

from services.kit.calls import Calls, DomainError, client_assertion
from services.kit.settings import Settings
from services.stack.home import Home
from services.stack.terminal import Refusal

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class ClientFile:
    """A client's key file, `clients/<name>.json`: what it needs to ask for tokens."""

    client_id: str
    issuer: str
    kind: str
    jwk: dict[str, Any]
    organisation: str | None = None

    @classmethod
    def read(cls, path: Path) -> "ClientFile":
        try:
            found = json.loads(path.read_text())
            return cls(**{name: found.get(name) for name in cls.__dataclass_fields__})
        except (OSError, ValueError, AttributeError) as error:
            raise Refusal(f"无法读取密钥文件 {path} · cannot read the key file: {error}") from error

    def write(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(vars(self), file, ensure_ascii=False, indent=1)
            file.write("\n")
        temporary.replace(path)

    async def token(self, scope: str = "", *, address: str | None = None) -> str:
        """An access token. Raises Refusal with the issuer's words when there is none."""
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": client_assertion(self.client_id, ECKey.import_key(self.jwk), self.issuer),
        }
        if scope:
            form["scope"] = scope
        url = f"{address or self.issuer}/oauth/token"
        try:
            async with httpx.AsyncClient(timeout=20.0) as http:
                answer = await http.post(url, data=form)
                body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Refusal(f"无法取得令牌 · no token from {url}: {error or type(error).__name__}") from error
        if answer.status_code != 200:
            reason = body.get("error_description") or body.get("error") or body
            raise Refusal(f"令牌请求被拒绝 · the token was refused: {reason}")
        return str(body["access_token"])


def running_address(home: Home) -> str:
    """Where the suite of this home answers. Raises Refusal when it does not run."""
    state = home.running()
    if state is not None:
        return str(state["address"])
    if os.environ.get("HUIMIN_PUBLIC_URL"):
        return os.environ["HUIMIN_PUBLIC_URL"].rstrip("/")
    raise Refusal(f"套件未运行, 请先 ./run up · the suite does not run ({home.path}): start it with ./run up")


@asynccontextmanager
async def calls_as_stack(home: Home, address: str | None = None) -> AsyncIterator[Calls]:
    """Calls to the running suite as its own service `stack`: this is what holding the secret allows."""
    address = address or running_address(home)
    calls = Calls(
        Settings(
            home=home.path,
            mode="separate",
            secret=home.secret(),
            public_url=address,
            issuer=os.environ.get("HUIMIN_ISSUER", address),
            service_url_template=address,
        ),
        "stack",
    )
    try:
        yield calls
    finally:
        await calls.close()


async def add_client(home: Home, *, kind: str, name: str, organisation: str, area: str | None = None) -> Path:
    """Registers a client and writes its key file; returns where.

    Raises:
        Refusal: the name is taken or unusable, or identity refused.
    """
    async with calls_as_stack(home) as calls:
        return await register(calls, home.clients, kind=kind, name=name, organisation=organisation, area=area)


async def register(
    calls: Calls, folder: Path, *, kind: str, name: str, organisation: str | None, area: str | None = None
) -> Path:
    """The same, over calls that are there already, into a folder of the caller's choice."""
    path = folder / f"{file_name(name)}.json"
    if path.exists():
        raise Refusal(f"已有密钥文件 {path} · there is one already: choose another --name, or delete it")
    key = ECKey.generate_key("P-256", private=True)
    asked = {"kind": kind, "name": name, "organisation": organisation, "area": area}
    try:
        answer = await calls.request(
            "identity",
            "POST",
            "/identity/clients",
            json={k: v for k, v in asked.items() if v is not None} | {"jwk": key.as_dict(private=False)},
        )
    except DomainError as error:
        raise Refusal(f"登记失败 · the client was not registered: {words_of(error)}") from error
    client_id = str(answer.json()["client_id"])
    private = dict(key.as_dict(private=True))
    client = ClientFile(client_id, calls.settings.issuer, kind, private, organisation)
    await asyncio.to_thread(client.write, path)
    return path


async def fetch_token(path: Path, scope: str) -> str:
    return await ClientFile.read(path).token(scope)


def file_name(name: str) -> str:
    """The client's name as a file name: letters of any script, digits, `-`, `_` and `.`."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if not safe:
        raise Refusal(f"名称 {name!r} 不能用作文件名 · cannot be a file's name: use letters or digits")
    return safe


def words_of(error: DomainError) -> str:
    """What a service said, with the fields it named."""
    faults = [
        f"{fault.get('field') or fault.get('path') or ''} {fault.get('message', '')}".strip()
        for fault in error.problem.get("errors", [])
        if isinstance(fault, dict)
    ]
    return "; ".join([error.detail, *faults])
