"""A suite of the test's own behind httpx: it takes what the city sends and remembers it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from city.roster import Roster

ISSUER = "http://suite.test"


@dataclass
class Call:
    method: str
    path: str
    client: str
    headers: httpx.Headers
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Doors:
    """Gives tokens to known clients and answers every push with 200, unless told otherwise.

    Attributes:
        refusing: (path, answers): the next calls to the path get these answers first.
    """

    keys: dict[str, ECKey] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    refusing: dict[str, list[httpx.Response]] = field(default_factory=dict)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=ISSUER, transport=httpx.MockTransport(self._answer))

    def write_clients(self, roster: Roster, folder: Path) -> None:
        for client in roster.clients:
            key = ECKey.generate_key("P-256")
            self.keys[client.name] = key
            document = {
                "client_id": client.name,
                "issuer": ISSUER,
                "kind": client.kind,
                "jwk": key.as_dict(private=True),
            }
            (folder / f"{client.name}.json").write_text(json.dumps(document))

    def of(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/oauth/token":
            return self._token(request)
        waiting = self.refusing.get(path, [])
        if waiting:
            return waiting.pop(0)
        client = request.headers["authorization"].removeprefix("Bearer token of ")
        self.calls.append(Call(request.method, path, client, request.headers, request.content))
        if path == "/identity/persons":
            people = [
                {"ref": p["ref"], "sector_id": "s", "outcome": "created"}
                for p in self.calls[-1].json()["people"]
            ]
            return httpx.Response(200, json={"people": people})
        return httpx.Response(200, json={})

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = httpx.QueryParams(request.content.decode())
        assert form["grant_type"] == "client_credentials"
        unchecked = json.loads(_part(form["client_assertion"], 1))
        decoded = jwt.decode(form["client_assertion"], self.keys[unchecked["sub"]], algorithms=["ES256"])
        self.assertions.append(decoded.claims)
        return httpx.Response(
            200, json={"access_token": f"token of {decoded.claims['sub']}", "expires_in": 300}
        )


def _part(token: str, at: int) -> bytes:
    from base64 import urlsafe_b64decode

    part = token.split(".")[at]
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
