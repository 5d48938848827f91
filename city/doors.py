"""The suite's public doors, as an organisation outside it uses them: one function for each call.

Every call goes out with a token that the organisation's own client has asked for with its key.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

Json = dict[str, Any]
TRIES = 7
ASSERTION_SECONDS = 120
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TRY_AGAIN = frozenset({425, 429, 502, 503, 504})


class Refused(Exception):
    """A door said no, or did not answer. `words` are the door's own."""

    def __init__(self, call: str, status: int | None, words: str) -> None:
        super().__init__(f"{call}: {status or 'no answer'} {words}")
        self.call, self.status, self.words = call, status, words


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client's key file, as `client add` writes it."""

    client_id: str
    issuer: str
    kind: str
    jwk: Json

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(found["client_id"], found["issuer"], found["kind"], found["jwk"])

    def assertion(self) -> str:
        """private_key_jwt (RFC 7523): short, for the token endpoint alone, never used twice."""
        key = ECKey.import_key(self.jwk)
        header = {"alg": "ES256"} | ({"kid": self.jwk["kid"]} if "kid" in self.jwk else {})
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": f"{self.issuer}/oauth/token",
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": uuid4().hex,
        }
        return jwt.encode(header, claims, key, algorithms=["ES256"])


class Caller:
    """One organisation's client at work: asks for tokens, keeps them while they last, tries again if told."""

    def __init__(self, http: httpx.AsyncClient, credentials: Credentials) -> None:
        self._http, self._credentials = http, credentials
        self._token, self._until = "", 0.0
        self._asking = asyncio.Lock()

    async def token(self, *, fresh: bool = False) -> str:
        async with self._asking:
            if fresh or time.monotonic() > self._until:
                form = {
                    "grant_type": "client_credentials",
                    "client_assertion_type": _ASSERTION_TYPE,
                    "client_assertion": self._credentials.assertion(),
                }
                answer = await self._http.post("/oauth/token", data=form)
                if answer.status_code != 200:
                    raise Refused("POST /oauth/token", answer.status_code, _words(answer))
                granted = answer.json()
                self._token = str(granted["access_token"])
                self._until = time.monotonic() + float(granted.get("expires_in", 300)) * 0.8
            return self._token

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Json | list[Json] | None = None,
        content: bytes | None = None,
        kind: str = "application/json",
        files: dict[str, tuple[str, bytes, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """One call, sent again while the door is busy or away. All of the city's calls may be sent twice.

        Raises:
            Refused: the door will not take it, or never answered.
        """
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
        last: Refused | None = None
        for attempt in range(TRIES):
            try:
                sent = {
                    "authorization": f"Bearer {await self.token(fresh=_expired(last))}",
                    **(headers or {}),
                }
                if content is not None:
                    sent["content-type"] = kind
                answer = await self._http.request(method, path, content=content, files=files, headers=sent)
            except httpx.TransportError as error:
                last = Refused(f"{method} {path}", None, f"{type(error).__name__} {error}".strip())
                await asyncio.sleep(_pause(attempt, None))
                continue
            if answer.is_success:
                return answer.json() if answer.content else None
            last = Refused(f"{method} {path}", answer.status_code, _words(answer))
            if answer.status_code == 401 and attempt == 0:
                continue
            if answer.status_code not in _TRY_AGAIN:
                raise last
            await asyncio.sleep(_pause(attempt, answer.headers.get("retry-after")))
        assert last is not None
        raise last


def _expired(last: Refused | None) -> bool:
    return last is not None and last.status == 401


def _pause(attempt: int, asked: str | None) -> float:
    return min(float(asked), 30.0) if asked is not None and asked.isdigit() else min(0.25 * 2**attempt, 8.0)


def _words(answer: httpx.Response) -> str:
    """What the door said, whichever standard it says it in; short."""
    try:
        said = answer.json()
    except ValueError:
        return answer.text[:300]
    if isinstance(said, dict):
        for name in ("detail", "error_description", "title", "error"):
            if isinstance(said.get(name), str):
                faults = [
                    f"{f.get('path') or f.get('field') or ''} {f.get('message', '')}"
                    for f in said.get("errors", [])
                ]
                return "; ".join([said[name], *faults[:3]])[:600]
        issues = [issue.get("diagnostics") or issue.get("code", "") for issue in said.get("issue", [])]
        if issues:
            return "; ".join(str(issue) for issue in issues[:3])[:600]
    return json.dumps(said, ensure_ascii=False)[:300]


async def push_persons(caller: Caller, people: list[Json]) -> Any:
    """The population register's word on who there is; at most 2,000 people."""
    return await caller.call("POST", "/identity/persons", body={"people": people, "create": True})


async def push_register(caller: Caller, kind: str, rows: list[Json]) -> Any:
    """Guardianships, households, births, deaths or moves; at most 2,000 at once."""
    return await caller.call("POST", f"/identity/{kind}", body={kind: rows})


async def push_bundle(caller: Caller, bundle: bytes, *, key: str) -> Any:
    """A FHIR transaction."""
    headers = {"accept": "application/fhir+json", "prefer": "return=minimal", "idempotency-key": key}
    return await caller.call("POST", "/fhir", content=bundle, kind="application/fhir+json", headers=headers)


async def push_roster(caller: Caller, archive: bytes, *, key: str) -> Any:
    """A OneRoster 1.2 CSV zip."""
    return await caller.call(
        "POST",
        "/education/imports",
        content=archive,
        kind="application/zip",
        headers={"idempotency-key": key},
    )


async def push_social_security(caller: Caller, tables: dict[str, bytes], *, key: str) -> Any:
    """CSV files of one push, by kind; all of them are taken or none."""
    files = {kind: (f"{kind}.csv", table, "text/csv") for kind, table in tables.items()}
    return await caller.call(
        "POST", "/social-security/imports", files=files, headers={"idempotency-key": key}
    )


async def put_site(caller: Caller, site_id: str, body: Json) -> Any:
    return await caller.call("PUT", f"/transport/sites/{site_id}", body=body)


async def put_zone(caller: Caller, zone_id: str, body: Json) -> Any:
    return await caller.call("PUT", f"/transport/zones/{zone_id}", body=body)


async def put_sensor(caller: Caller, sensor_id: str, body: Json) -> Any:
    return await caller.call("PUT", f"/transport/sensors/{sensor_id}", body=body)


async def put_capacity_policy(caller: Caller, zone_id: str, body: Json) -> Any:
    return await caller.call("PUT", f"/transport/zones/{zone_id}/capacity-policy", body=body)


async def push_count(caller: Caller, zone_id: str, time_of_count: str, people: int) -> Any:
    """A manual count: an anchor for the zone."""
    return await caller.call(
        "POST", f"/transport/zones/{zone_id}/counts", body={"time": time_of_count, "count": people}
    )


async def push_readings(caller: Caller, readings: list[Json]) -> Any:
    """A batch: all of it or nothing."""
    return await caller.call("POST", "/transport/readings", body=readings)


async def stream_readings(caller: Caller, readings: list[Json]) -> Any:
    """Lines: what can be taken is taken, a thousand at a time."""
    lines = "".join(json.dumps(reading, separators=(",", ":")) + "\n" for reading in readings)
    return await caller.call(
        "POST", "/transport/readings", content=lines.encode(), kind="application/x-ndjson"
    )
